// Choice of instruction sets.
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

}  // namespace
}  // namespace graft
