// The walk of docs/cuda.md through one kernel: every step computes what it should, and its code, its traffic and the fault of a
// forgotten barrier are what the page says. `cuda_walkthrough_test --report` prints what the page quotes.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>
#include "cuda_device.h"
#include "cuda_traffic_test/measured.h"
#include "cuda_walkthrough_test/kernels.h"
#include "graft/core/ops.h"

namespace graft::walkthrough {
namespace {

constexpr int kRows = 64, kLength = 1024;

struct Step {
  const char* name;
  void (*run)(const Operands&, void* stream);
};
constexpr Step kSteps[] = {{"by threads", by_threads},
                           {"by blocks", [](const Operands& o, void* stream) { by_blocks(o, true, stream); }},
                           {"by warps", by_warps},
                           {"in registers", in_registers},
                           {"fused", fused}};

struct Rows {
  Tensor x = there(0.3), r = there(0.7), sum = there(0), y = there(0);
  static Tensor there(double seed) {
    return sin(arange(int64_t(kRows) * kLength, f32) * 0.37 + seed).reshape({kRows, kLength}).to(Device(Device::cuda));
  }
  Operands operands() const {
    return {y.view().as<float>(), sum.view().as<float>(), x.view().as<float>(), r.view().as<float>(), kRows, kLength};
  }
};
auto traffic_of(const Step& step) {
  const Rows rows;
  return traffic_test::measured([&] { step.run(rows.operands(), cuda::current_stream().handle()); });
}
std::string report(const Step& step) { return describe(traffic_of(step).back()); }
// Markdown: all launches of each step.
std::string table() {
  std::string text = "| step | launches | bytes moved | of what must be | coalescing | bank conflicts |\n|---|---:|---:|---:|---:|---:|\n";
  for (const Step& step : kSteps) {
    const auto all = traffic_of(step);
    int64_t moved = 0, conflicts = 0;
    for (const auto& t : all) moved += t.moved(), conflicts += t.conflicts();
    char row[160];
    std::snprintf(row, sizeof row, "| %s | %d | %ld | %.2f x | %.1f %% | %ld |\n", step.name, int(all.size()), long(moved),
                  double(moved) / (3. * kRows * kLength * sizeof(float)), 100 * all.back().coalescing(), long(conflicts));
    text += row;
  }
  return text;
}
std::string fault_without_barrier() {
  const Rows rows;
  by_blocks(rows.operands(), false, cuda::current_stream().handle());
  EXPECT_THROW(cuda::synchronize(), Error);
  const std::string fault = std::regex_replace(cuda::emulation::fault(), std::regex("0x[0-9a-f]+"), "0x...");
  cuda::emulation::reset();
  return fault;
}
std::string text_of(const char* file) {
  std::ifstream in(std::string(GRAFT_TESTS_DIR) + file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct CudaWalkthrough : OnCuda<testing::Test> {
  void SetUp() override {
    OnCuda<testing::Test>::SetUp();
    cuda::emulation::settings().order = cuda::emulation::Order::forward;  // which of two threads races is part of the page
  }
};

TEST_F(CudaWalkthrough, every_step_normalizes_the_sum) {
  for (const Step& step : kSteps) {
    const Rows rows;
    step.run(rows.operands(), cuda::current_stream().handle());
    const Tensor s = rows.x.cpu().to(f64) + rows.r.cpu().to(f64), centred = s - mean(s, {-1}, true);
    const Tensor expected = centred / sqrt(mean(centred * centred, {-1}, true) + 1e-5);
    EXPECT_LE(max(abs(rows.y.cpu().to(f64) - expected)).item<double>(), 1e-5) << step.name;
  }
}
TEST_F(CudaWalkthrough, the_page_shows_the_code_that_runs) {
  const std::string page = text_of("/../docs/cuda.md"), code = text_of("/cuda_walkthrough_test/kernels.cu");
  int blocks = 0;
  for (size_t at = 0; (at = page.find("```cuda\n", at)) != std::string::npos; ++blocks) {
    at += 8;
    const std::string block = page.substr(at, page.find("```", at) - at);
    EXPECT_NE(code.find(block), std::string::npos) << block;
  }
  EXPECT_EQ(blocks, 5);
}
TEST_F(CudaWalkthrough, the_page_quotes_what_is_reported) {
  const std::string page = text_of("/../docs/cuda.md");
  for (const Step& step : kSteps) {
    const std::string text = report(step);
    EXPECT_NE(page.find(text), std::string::npos) << step.name << ": docs/cuda.md does not have\n" << text;
  }
  EXPECT_NE(page.find(table()), std::string::npos) << "docs/cuda.md does not have\n" << table();
}
TEST_F(CudaWalkthrough, the_page_quotes_the_fault_of_a_forgotten_barrier) {
  const std::string fault = fault_without_barrier();
  EXPECT_NE(text_of("/../docs/cuda.md").find(fault), std::string::npos) << fault;
}

}  // namespace
}  // namespace graft::walkthrough

int main(int argc, char** argv) {
  using namespace graft::walkthrough;  // NOLINT(google-build-using-namespace)
  if (argc > 1 && std::strcmp(argv[1], "--report") == 0) {
    for (const Step& step : kSteps) std::cout << "-- " << step.name << "\n" << report(step);
    std::cout << "-- all\n" << table() << "-- a forgotten barrier\n" << fault_without_barrier() << "\n";
    return 0;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
