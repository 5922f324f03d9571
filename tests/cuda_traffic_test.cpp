// What the emulated device counts of a kernel's traffic, and the bars that graft's memory-bound kernels are held to: coalescing of
// 90 %, no bank conflicts, at most 1.1 times the bytes that must be moved. `cuda_traffic_test --table` prints the table of expected
// times, `--report` what was counted.
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include "cuda_device.h"
#include "cuda_traffic_test/kernels.h"
#include "cuda_traffic_test/measured.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/kernels/pool/attrs.h"

namespace graft::traffic_test {
namespace {

using cuda::emulation::AccessLine;
using cuda::emulation::LaunchTraffic;

constexpr int kN = 2048;

struct CudaTraffic : OnCuda<testing::Test> {
  void SetUp() override {
    OnCuda<testing::Test>::SetUp();
    x = ones({kN * 40}, {f32, Device(Device::cuda)});
    y = ones({kN}, {f32, Device(Device::cuda)});
  }
  template <class Run, class... A> LaunchTraffic of(Run run, A... a) {
    const auto all = measured([&] { run(y.view().as<float>(), x.view().as<float>(), a..., cuda::current_stream().handle()); });
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? LaunchTraffic{} : all[0];
  }
  static AccessLine find(const LaunchTraffic& t, bool shared, bool write) {
    AccessLine found;
    for (const AccessLine& l : t.lines)
      if (l.shared == shared && l.write == write) found = l;
    return found;
  }
  Tensor x, y;
};

double coalescing(const AccessLine& l) { return double(l.ideal) / double(l.transactions); }

TEST_F(CudaTraffic, neighbours_take_the_sectors_that_they_fill) {
  const LaunchTraffic t = of(copy_from, kN, 0);
  EXPECT_EQ(t.coalescing(), 1);
  EXPECT_EQ(t.unique_read, kN * 4);
  EXPECT_EQ(t.unique_written, kN * 4);
  EXPECT_EQ(t.moved(), t.unique());
  const AccessLine read = find(t, false, false);
  EXPECT_EQ(read.requests, kN / 32);
  EXPECT_EQ(read.transactions, kN / 32 * 4);
  EXPECT_NE(t.kernel.find("k_from"), std::string::npos) << t.kernel;
  EXPECT_NE(read.line.find("kernels.cu:"), std::string::npos) << read.line;
}
TEST_F(CudaTraffic, a_step_of_eight_words_uses_an_eighth_of_each_sector) {
  const LaunchTraffic t = of(copy_with_step, kN, 8);
  EXPECT_EQ(coalescing(find(t, false, false)), 0.125);
  EXPECT_EQ(coalescing(find(t, false, true)), 1);
  EXPECT_EQ(coalescing(find(of(copy_with_step, kN, 2), false, false)), 0.5);
  EXPECT_EQ(coalescing(find(of(copy_with_step, kN, 40), false, false)), 0.125) << "no worse than one sector per lane";
}
TEST_F(CudaTraffic, a_shift_by_one_word_takes_a_fifth_sector) {
  EXPECT_EQ(coalescing(find(of(copy_from, kN, 1), false, false)), 0.8);
  EXPECT_EQ(coalescing(find(of(copy_from, kN, 8), false, false)), 1);
}
TEST_F(CudaTraffic, a_request_of_packs_is_512_bytes) {
  const LaunchTraffic t = of(copy_packs, kN);
  const AccessLine read = find(t, false, false);
  EXPECT_EQ(read.requests, kN / 128);
  EXPECT_EQ(read.bytes, kN * 4);
  EXPECT_EQ(t.coalescing(), 1);
}
TEST_F(CudaTraffic, bytes_that_come_again_are_moved_again_and_unique_once) {
  const LaunchTraffic t = of(read_twice, kN);
  EXPECT_EQ(t.moved(), kN * 12);
  EXPECT_EQ(t.unique(), kN * 8);
}
TEST_F(CudaTraffic, one_word_for_a_warp_is_one_sector) {
  const LaunchTraffic t = of(read_one, kN);
  const AccessLine read = find(t, false, false);
  EXPECT_EQ(read.bytes, kN / 32 * 4);
  EXPECT_EQ(read.transactions, kN / 32);
  EXPECT_EQ(t.unique_read, 4);
}
TEST_F(CudaTraffic, part_of_a_warp_counts_as_it_is) {
  const LaunchTraffic t = of(copy_from, 40, 0);  // a warp, and eight lanes
  const AccessLine read = find(t, false, false);
  EXPECT_EQ(read.requests, 2);
  EXPECT_EQ(read.transactions, 5);
  EXPECT_EQ(t.moved(), 320);
}
TEST_F(CudaTraffic, words_of_one_bank_come_one_after_another) {
  for (const int step : {1, 2, 4, 8, 16, 32}) {
    const LaunchTraffic t = of(turn_in_shared, step);
    EXPECT_EQ(find(t, true, true).transactions, step) << step;
    EXPECT_EQ(t.conflicts(), 2 * (step - 1)) << step;
  }
  for (const int step : {3, 7, 31}) EXPECT_EQ(of(turn_in_shared, step).conflicts(), 0) << step;
}
TEST_F(CudaTraffic, a_tile_with_a_pitch_of_33_has_no_conflicts_and_one_of_32_has_31_in_each_row) {
  EXPECT_EQ(of(turn_tile, 33).conflicts(), 0);
  EXPECT_EQ(of(turn_tile, 32).conflicts(), 32 * 31);
}
TEST_F(CudaTraffic, sixteen_bytes_of_a_quarter_warp_are_one_wavefront) {
  const LaunchTraffic t = of(reverse_packs);
  EXPECT_EQ(find(t, true, false).transactions, 4);
  EXPECT_EQ(t.conflicts(), 0);
}
TEST_F(CudaTraffic, nothing_is_counted_unless_it_is_asked_for) {
  copy_from(y.view().as<float>(), x.view().as<float>(), kN, 0, cuda::current_stream().handle());
  cuda::synchronize();
  EXPECT_TRUE(cuda::emulation::take_traffic().empty());
}

// ---- bars ------------------------------------------------------------------------------------------------------

Shape shape_for(const MemoryBound&) { return {24, 1024}; }

TEST_F(CudaTraffic, memory_bound_kernels_move_what_they_must_and_little_else) {
  for (const MemoryBound& k : memory_bound()) {
    const Shape shape = shape_for(k);
    std::vector<LaunchTraffic> all = measured(k.prepare(shape));
    std::erase_if(all, [](const LaunchTraffic& t) {  // labels are looked at before
      return t.kernel.find("find_outside") != t.kernel.npos || t.kernel.find("place_to_value") != t.kernel.npos;
    });
    ASSERT_EQ(all.size(), 1U) << k.name;
    const LaunchTraffic& t = all[0];
    SCOPED_TRACE(concat(k.name, " ", name_of(k.dtype), "\n", describe(t)));
    const double least = double(numel_of(shape)) * (k.read + k.written);
    EXPECT_GE(double(t.unique()), least);
    EXPECT_LE(double(t.unique()), 1.01 * least) << "the table of expected times";
    EXPECT_LE(double(t.moved()), 1.1 * double(t.unique()));
    EXPECT_GE(t.coalescing(), 0.9);
    EXPECT_EQ(t.conflicts(), 0);
  }
}
// What all rows share comes again for each of them, out of the cache: it is not among the bytes that memory must move.
TEST_F(CudaTraffic, what_rows_share_is_read_once_per_row) {
  const Tensor a = ones({24, 1024}, {f32, Device(Device::cuda)}), w = ones({1024}, {f32, Device(Device::cuda)});
  const NoGrad quiet;
  const auto norm = measured([&] { layer_norm(a, {1024}, w, w); });
  ASSERT_EQ(norm.size(), 1U);
  EXPECT_LE(norm[0].moved(), 24 * 1024 * 16 + 24 * 8) << describe(norm[0]);
  EXPECT_GE(norm[0].coalescing(), 0.9);
  const auto biased = measured([&] { a + w; });
  ASSERT_EQ(biased.size(), 1U);
  EXPECT_LE(biased[0].moved(), 24 * 1024 * 12) << describe(biased[0]);
  EXPECT_GE(biased[0].coalescing(), 0.9);
}
// Of windows of 2 x 2 each point reads the gradient: neighbours together, the next row of points once more.
TEST_F(CudaTraffic, the_gradient_of_windows_is_read_once_per_row_of_points) {
  const PoolAttrs halves{.kernel = {2, 2, 1}, .stride = {2, 2, 1}};
  const Tensor a = ones({1, 32, 24, 32}, {f32, Device(Device::cuda)}).to(MemoryFormat::channels_last).requires_grad_();
  const Tensor p = avg_pool(a, halves), g = ones_like(p);
  const auto all = measured([&] { grad({p}, {a}, {.grad_outputs = {g}}); });
  ASSERT_EQ(all.size(), 1U);
  EXPECT_LE(all[0].moved(), (a.numel() + 2 * p.numel()) * 4) << describe(all[0]);
  EXPECT_GE(all[0].coalescing(), 0.9);
}

TEST(ExpectedTimes, the_page_has_the_table_that_is_calculated) {
  std::ifstream file(GRAFT_TESTS_DIR "/../docs/cuda-expected-times.md");
  std::stringstream page;
  page << file.rdbuf();
  EXPECT_NE(page.str().find(table_of_expected_times()), std::string::npos)
      << "docs/cuda-expected-times.md is not what `cuda_traffic_test --table` prints:\n" << table_of_expected_times();
}

}  // namespace
}  // namespace graft::traffic_test

int main(int argc, char** argv) {
  using namespace graft::traffic_test;  // NOLINT(google-build-using-namespace)
  const auto asked = [&](const char* option) { return argc > 1 && std::strcmp(argv[1], option) == 0; };
  if (asked("--table")) std::cout << table_of_expected_times();
  if (asked("--report"))
    for (const MemoryBound& k : memory_bound())
      for (const auto& t : measured(k.prepare(shape_for(k)))) std::cout << k.name << " " << name_of(k.dtype) << "\n" << describe(t);
  if (asked("--table") || asked("--report")) return 0;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
