// main() of benchmarks whose cases take turns: random interleaving, and the instruction set beside the results.
#pragma once
#include <benchmark/benchmark.h>

#include <string>
#include <vector>
#include "graft/kernels/isa.h"

namespace bench {

inline int run(int argc, char** argv) {
  static char turns[] = "--benchmark_enable_random_interleaving=true";
  std::vector<char*> args{argv[0], turns};
  args.insert(args.end(), argv + 1, argv + argc);  // later flags win
  argc = int(args.size());
  args.push_back(nullptr);
  benchmark::Initialize(&argc, args.data());
  if (benchmark::ReportUnrecognizedArguments(argc, args.data())) return 1;
  benchmark::AddCustomContext("instruction set", std::string(graft::cpu::name_of(graft::cpu::best_isa())));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace bench
