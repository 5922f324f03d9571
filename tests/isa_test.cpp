// Choice of instruction sets.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include "graft/kernels/isa.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using cpu::Isa;

TEST(Contract, KD15_every_lower_instruction_set_can_be_chosen) {
  const Isa before = cpu::isa();
  for (int i = 0; i <= int(cpu::best_isa()); ++i) {
    cpu::set_isa(Isa(i));
    EXPECT_EQ(cpu::isa(), Isa(i));
  }
  cpu::set_isa(before);
}
TEST(Isa, set_isa_returns_the_one_before) {
  const Isa before = cpu::isa();
  EXPECT_EQ(cpu::set_isa(Isa::baseline), before);
  EXPECT_EQ(cpu::set_isa(before), Isa::baseline);
}
TEST(Isa, what_the_machine_lacks_is_refused) {
  if (cpu::best_isa() == Isa::avx512) GTEST_SKIP() << "this machine has everything";
  const Isa before = cpu::isa();
  cpu::set_isa(Isa::avx512);
  EXPECT_EQ(cpu::isa(), before);
}
TEST(Isa, detection_agrees_with_the_kernel) {
  std::ifstream file("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.find("flags") == std::string::npos) GTEST_SKIP() << "no /proc/cpuinfo of x86";
  const auto has = [&](const char* flag) { return text.find(std::string(" ") + flag + " ") != std::string::npos; };
  const bool avx2 = has("avx2") && has("fma") && has("f16c");
  const bool avx512 = avx2 && has("avx512f") && has("avx512vl") && has("avx512dq") && has("avx512bw");
  EXPECT_EQ(cpu::best_isa(), avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::baseline);
}

// A function that any other file could link to must not be compiled for a wider instruction set.
TEST(Isa, files_for_wider_sets_export_their_one_entry_only) {
  namespace fs = std::filesystem;
  const fs::path build = fs::read_symlink("/proc/self/exe").parent_path().parent_path();
  int looked = 0;
  for (const fs::directory_entry& file : fs::recursive_directory_iterator(build / "CMakeFiles")) {
    const std::string path = file.path().string();
    if (!path.ends_with(".avx2.cpp.o") && !path.ends_with(".avx512.cpp.o")) continue;
    FILE* nm = popen(("nm -C --defined-only --extern-only '" + path + "' 2>/dev/null").c_str(), "r");
    ASSERT_TRUE(nm);
    std::string exported;
    int count = 0;
    for (char line[1024]; fgets(line, sizeof line, nm);) {
      if (std::string(line).find("asan") != std::string::npos) continue;
      exported += line;
      ++count;
    }
    if (pclose(nm) != 0) GTEST_SKIP() << "no nm";
    EXPECT_EQ(count, 1) << path << "\n" << exported;
    ++looked;
  }
  if (looked == 0) GTEST_SKIP() << "no object files beside this program";
}

}  // namespace
}  // namespace graft
