// For tests on device cuda: skips where there is none; on the emulated one, whatever its checker found fails the test.
#pragma once
#include <gtest/gtest.h>
#include <cstdlib>
#include <iostream>
#include "graft/core/cuda.h"
#ifdef GRAFT_CUDA_EMULATED
#include "graft/kernels/cuda/emulation/emulation.h"
#include "graft/kernels/cuda/emulation/traffic.h"
#endif

namespace graft {

// Base of a fixture (`Base` is testing::Test or TestWithParam).
template <class Base> struct OnCuda : Base {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << cuda::why_not_available();
    const bool vendor = std::getenv("GRAFT_TEST_VENDOR");  // else graft's own kernels
    cuda::use_vendor_libraries(vendor);
#ifdef GRAFT_CUDA_EMULATED
    cuda::emulation::settings() = {};
    cuda::emulation::settings().legacy_stream = false;
    cuda::emulation::settings().vendor_libraries = vendor;
    if (std::getenv("GRAFT_EMULATE_RANDOM")) {  // threads, blocks and streams in random order: ctest runs each test so as well
      cuda::emulation::settings().order = cuda::emulation::Order::random;
      cuda::emulation::settings().streams = cuda::emulation::Streams::random;
    }
    cuda::emulation::settings().traffic = std::getenv("GRAFT_EMULATE_TRAFFIC");  // printed for every launch
    cuda::emulation::explain_segmentation_faults();
#endif
  }
  void TearDown() override {
    if (!cuda::available()) return;
#ifdef GRAFT_CUDA_EMULATED
    try {
      for (int d = 0; d < cuda::device_count(); ++d) cuda::synchronize(d);
    } catch (const Error&) {  // the fault is reported below
    }
    for (const auto& t : cuda::emulation::take_traffic()) std::cout << describe(t);
    EXPECT_EQ(cuda::emulation::fault(), "");
    for (const std::string& line : cuda::emulation::take_host_errors()) ADD_FAILURE() << line;
    cuda::emulation::reset();
#else
    cuda::synchronize();
#endif
  }
};

}  // namespace graft
