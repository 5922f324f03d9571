// The emulated CUDA device itself: what it computes, and that its checker finds what is wrong. No tensors here.
#include "graft/kernels/cuda/emulation/emulation.h"

#include <cmath>
#include <numeric>
#include <vector>
#include <gtest/gtest.h>
#include "cuda_emulation_test/kernels.h"

namespace graft::emulation_test {
namespace {

namespace emu = cuda::emulation;

struct Device : testing::Test {
  Device() { cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking); }
  ~Device() override {
    emu::settings() = {};
    emu::reset();
    for (void* p : allocated) cudaFree(p);
    cudaStreamDestroy(stream);
    emu::reset();
    emu::take_host_errors();
  }
  template <class T> T* make(const std::vector<T>& values) {
    T* p = make_unwritten<T>(values.size());
    cudaMemcpyAsync(p, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, stream);
    return p;
  }
  template <class T> T* make_unwritten(size_t n) {
    void* p = nullptr;
    cudaMalloc(&p, n * sizeof(T));
    allocated.push_back(p);
    return static_cast<T*>(p);
  }
  template <class T> std::vector<T> read(const T* p, size_t n) {
    std::vector<T> values(n);
    const cudaError_t e = cudaMemcpyAsync(values.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost, stream);
    EXPECT_EQ(e, cudaSuccess) << cudaGetErrorString(e);
    return values;
  }
  // The kernels before this have failed, for this reason, and the device says so from now on.
  void expect_fault(const std::string& text) {
    EXPECT_NE(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_NE(emu::fault().find(text), std::string::npos) << "the fault is: " << emu::fault();
    void* p = nullptr;
    EXPECT_NE(cudaMalloc(&p, 4), cudaSuccess);
    EXPECT_NE(cudaGetLastError(), cudaSuccess);
    EXPECT_NE(cudaGetLastError(), cudaSuccess) << "a fault stays";
  }
  void expect_no_fault() {
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(emu::fault(), "");
  }
  std::vector<float> zeros(size_t n) { return std::vector<float>(n); }
  cudaStream_t stream = nullptr;
  std::vector<void*> allocated;
};

struct InAnyOrder : Device, testing::WithParamInterface<emu::Order> {
  InAnyOrder() { emu::settings().order = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Orders, InAnyOrder, testing::Values(emu::Order::forward, emu::Order::reverse, emu::Order::random));

TEST_P(InAnyOrder, warp_operations_obey_masks_and_widths) {
  int* out = make_unwritten<int>(32);
  warp_operations(out, stream);
  const std::vector<int> got = read(out, 32);
  for (int lane = 0; lane < 32; ++lane) {
    const int half_sum = lane < 16 ? 120 : 376, up = lane ? lane - 1 : 0, down = lane < 30 ? lane + 2 : lane;
    EXPECT_EQ(got[size_t(lane)], half_sum + 0x49 * 1000 + up * 7 + down * 11 + 70 * 13 + (lane / 8 * 8 + 1) * 17);
  }
}
TEST_P(InAnyOrder, barriers_count_and_combine_predicates) {
  int* out = make_unwritten<int>(3);
  barrier_votes(out, stream);
  EXPECT_EQ(read(out, 3), (std::vector<int>{13, 1, 1}));
}
TEST_P(InAnyOrder, atomics_lose_nothing) {
  float* f = make(zeros(1));
  auto* h = reinterpret_cast<__half2*>(make(zeros(1)));
  unsigned* u = make(std::vector<unsigned>{0});
  atomics(f, h, u, stream);
  EXPECT_EQ(read(f, 1)[0], 64);
  const __half2 pair = read(h, 1)[0];
  EXPECT_EQ(__low2float(pair), 128);
  EXPECT_EQ(__high2float(pair), 256);
  EXPECT_EQ(read(u, 1)[0], 63U);
}
TEST_P(InAnyOrder, tensor_core_products_are_those_of_the_definition) {
  const auto bf16 = [](int v) { return uint16_t(std::bit_cast<uint32_t>(float(v)) >> 16); };
  std::vector<uint16_t> a(256), b(128);
  for (int i = 0; i < 256; ++i) a[size_t(i)] = bf16(i * 7 % 31 - 15);
  for (int i = 0; i < 128; ++i) b[size_t(i)] = bf16(i * 5 % 23 - 11);
  float* d = make_unwritten<float>(128);
  multiply_bf16(make(a), make(b), d, stream);
  const std::vector<float> got = read(d, 128);
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c) {
      int sum = 0;
      for (int k = 0; k < 16; ++k) sum += ((r * 16 + k) * 7 % 31 - 15) * ((k * 8 + c) * 5 % 23 - 11);
      EXPECT_EQ(got[size_t(r * 8 + c)], float(sum)) << r << ", " << c;
    }
  expect_no_fault();
}
TEST_P(InAnyOrder, a_barrier_makes_shared_memory_safe) {
  std::vector<float> x(64);
  std::iota(x.begin(), x.end(), 0.F);
  float* y = make_unwritten<float>(64);
  reverses_in_shared(make(x), y, true, stream);
  EXPECT_EQ(read(y, 64)[0], 63);
  expect_no_fault();
}
TEST_P(InAnyOrder, a_missing_barrier_is_a_race) {
  reverses_in_shared(make(zeros(64)), make_unwritten<float>(64), false, stream);
  cudaStreamSynchronize(stream);
  const std::string fault = emu::fault();
  EXPECT_TRUE(fault.find("race on shared memory") != std::string::npos || fault.find("uninitialised shared") != std::string::npos) << fault;
  EXPECT_NE(fault.find("kernels.cu:"), std::string::npos) << fault;
}
TEST_P(InAnyOrder, blocks_see_each_other_through_fence_and_atomic) {
  std::vector<float> x(128, 1.F);
  float* out = make_unwritten<float>(1);
  sum_over_blocks(make(x), make_unwritten<float>(4), make(std::vector<unsigned>{0}), out, true, stream);
  EXPECT_EQ(read(out, 1)[0], 128);
  expect_no_fault();
}
TEST_P(InAnyOrder, blocks_without_a_fence_race) {
  sum_over_blocks(make(zeros(128)), make_unwritten<float>(4), make(std::vector<unsigned>{0}), make_unwritten<float>(1), false, stream);
  expect_fault("race on global memory");
}

TEST_F(Device, a_lambda_runs_with_what_it_captures) {
  float* y = make_unwritten<float>(300);
  add_lambda(make(std::vector<float>(300, 1.F)), y, 300, 3, stream);
  EXPECT_EQ(read(y, 300)[299], 4);
}
TEST_F(Device, copies_of_cp_async_arrive_at_the_wait) {
  std::vector<float> x(128);
  std::iota(x.begin(), x.end(), 0.F);
  float *y = make_unwritten<float>(128), *dx = make(x);
  copies_late(dx, y, true, stream);
  EXPECT_EQ(read(y, 128), x);
  copies_late(dx, y, false, stream);
  cudaStreamSynchronize(stream);
  EXPECT_TRUE(emu::fault().find("race on shared memory") != std::string::npos || (emu::fault().empty() && std::isnan(read(y, 128)[5]))) << emu::fault();
}

// ---- launches -------------------------------------------------------------------------------------------------

TEST_F(Device, impossible_launches_are_refused) {
  empty(1025, 0, stream);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "this error does not stay";
  empty(32, 49 << 10, stream);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  allow_shared(64 << 10);
  empty(32, 49 << 10, stream);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  expect_no_fault();
}
TEST_F(Device, launches_of_more_threads_than_the_checker_can_tell_apart_are_refused) {
  empty(1024, 0, stream, (1U << 17) + 1);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotSupported);
  EXPECT_EQ(emu::take_host_errors(), std::vector<std::string>{"a launch of more than 134217728 threads is not played"});
  expect_no_fault();
}
TEST_F(Device, too_much_static_shared_memory_is_a_fault) {
  too_much_shared(make_unwritten<float>(32), stream);
  expect_fault("over the limit");
}
TEST_F(Device, a_barrier_at_two_places_is_a_fault) {
  divergent_barrier(stream);
  expect_fault("divergent __syncthreads: some threads at ");
}
TEST_F(Device, a_barrier_that_half_the_block_skips_is_a_fault) {
  barrier_skipped_by_half(make_unwritten<int>(64), stream);
  cudaStreamSynchronize(stream);
  EXPECT_NE(emu::fault(), "");
}
TEST_F(Device, a_mask_that_names_an_absent_lane_is_a_fault) {
  mask_of_absent_lane(make_unwritten<int>(64), stream);
  cudaStreamSynchronize(stream);
  EXPECT_NE(emu::fault(), "");
}

// ---- the checker ----------------------------------------------------------------------------------------------

TEST_F(Device, an_index_past_the_end_is_found_with_its_line) {
  increment(make(zeros(31)), 32, stream);
  expect_fault("global memory out of bounds: 4-byte read at ");
  EXPECT_NE(emu::fault().find("kernels.cu:"), std::string::npos) << emu::fault();
  EXPECT_NE(emu::fault().find("by thread (31,0,0) of block (0,0,0)"), std::string::npos) << emu::fault();
  EXPECT_NE(emu::fault().find("k_increment"), std::string::npos) << emu::fault();
}
TEST_F(Device, freed_memory_is_found) {
  float* p = make(zeros(32));
  allocated.clear();
  cudaFree(p);
  increment(p, 32, stream);
  expect_fault("use after free");
}
TEST_F(Device, unwritten_global_memory_is_found) {
  increment(make_unwritten<float>(32), 32, stream);
  expect_fault("uninitialised global memory");
}
TEST_F(Device, unwritten_shared_memory_is_found) {
  reads_shared_unwritten(make_unwritten<float>(32), stream);
  expect_fault("uninitialised shared memory");
}
TEST_F(Device, host_memory_is_found) {
  std::vector<float> host(32);
  increment(host.data(), 32, stream);
  expect_fault("host memory touched by a kernel");
}
TEST_F(Device, misaligned_vectors_are_found) {
  increment_misaligned(make(zeros(16)), stream);
  expect_fault("misaligned");
}
TEST_F(Device, two_threads_that_write_one_place_race) {
  all_write_one(make(zeros(1)), stream);
  expect_fault("race on global memory");
}
TEST_F(Device, memory_that_an_allocator_has_taken_back_is_found) {
  float* p = make(zeros(64));
  emu::mark_released(stream, p + 32, 32 * sizeof(float));
  increment(p, 32, stream);
  EXPECT_EQ(read(p, 1)[0], 1);
  increment(p, 33, stream, 64);
  expect_fault("past the end of a tensor");
}
TEST_F(Device, memory_of_another_device_is_found) {
  float* p = make(zeros(32));
  cudaStreamSynchronize(stream);
  cudaSetDevice(1);
  cudaStream_t second = nullptr;
  cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
  increment(p, 32, second);
  cudaStreamSynchronize(second);
  EXPECT_NE(emu::fault().find("memory of another device"), std::string::npos) << emu::fault();
  emu::reset();
  cudaStreamDestroy(second);
  cudaSetDevice(0);
}

// ---- the host's side ------------------------------------------------------------------------------------------

TEST_F(Device, device_memory_is_closed_to_the_host) {
  const float* p = make(zeros(32));
  cudaStreamSynchronize(stream);
  EXPECT_EXIT(
      {
        emu::explain_segmentation_faults();
        volatile float x = p[3];
        (void)x;
      },
      testing::ExitedWithCode(99), "host code dereferenced device pointer");
}
TEST_F(Device, misuse_by_the_host_is_listed) {
  float* p = make(zeros(32));
  std::vector<float> host(40);
  EXPECT_NE(cudaMemcpy(host.data(), p, 160, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_NE(cudaMemcpy(host.data(), p, 128, cudaMemcpyHostToDevice), cudaSuccess);
  cudaFree(p);
  cudaFree(p);
  allocated.clear();
  EXPECT_EQ(emu::take_host_errors().size(), 3U);
  emu::settings().legacy_stream = false;
  empty(32, 0, nullptr);
  EXPECT_EQ(emu::take_host_errors().size(), 1U);
}
TEST_F(Device, memory_runs_out) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, size_t{5} << 30), cudaErrorMemoryAllocation);
  emu::settings().fail_allocation = 1;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorMemoryAllocation);
  cudaGetLastError();
  EXPECT_NE(make_unwritten<float>(1), nullptr);
}
TEST_F(Device, work_runs_only_when_something_waits_for_it) {
  float* p = make(zeros(32));
  cudaStream_t other = nullptr;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  const size_t before = emu::launches();
  increment(p, 32, stream);
  cudaStreamSynchronize(other);
  EXPECT_EQ(emu::launches(), before);
  cudaEvent_t done = nullptr;
  cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
  cudaEventRecord(done, stream);
  cudaStreamWaitEvent(other, done, 0);
  cudaStreamSynchronize(other);
  EXPECT_EQ(emu::launches(), before + 1);
  cudaEventDestroy(done);
  cudaStreamDestroy(other);
}
TEST_F(Device, pinned_memory_is_read_late) {
  void* host = nullptr;
  cudaMallocHost(&host, 4);
  *static_cast<float*>(host) = 1;
  float* p = make_unwritten<float>(1);
  cudaMemcpyAsync(p, host, 4, cudaMemcpyHostToDevice, stream);
  *static_cast<float*>(host) = 2;  // too early
  EXPECT_EQ(read(p, 1)[0], 2);
  cudaFreeHost(host);
}

// ---- graphs ---------------------------------------------------------------------------------------------------

struct Graphs : Device {
  Graphs() {
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaStreamSynchronize(stream);
  }
  ~Graphs() override {
    if (executable) cudaGraphExecDestroy(executable);
    cudaEventDestroy(event);
    cudaStreamDestroy(other);
  }
  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) { ASSERT_EQ(cudaStreamBeginCapture(stream, mode), cudaSuccess); }
  cudaError_t end() {
    cudaGraph_t graph = nullptr;
    const cudaError_t e = cudaStreamEndCapture(stream, &graph);
    EXPECT_EQ(graph != nullptr, e == cudaSuccess);
    if (!graph) return e;
    if (executable) cudaGraphExecDestroy(executable);
    cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    return e;
  }
  // The capture has failed: it says so when it ends, and the stream works on.
  void expect_invalid() {
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
    float* p = make(zeros(1));
    increment(p, 1, stream);
    EXPECT_EQ(read(p, 1)[0], 1);
    cudaGetLastError();
  }
  void wait(cudaStream_t waits, cudaStream_t for_this) {
    EXPECT_EQ(cudaEventRecord(event, for_this), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(waits, event, 0), cudaSuccess);
  }
  cudaStream_t other = nullptr;
  cudaEvent_t event = nullptr;
  cudaGraphExec_t executable = nullptr;
};

TEST_F(Graphs, what_is_captured_runs_when_it_is_launched_each_time) {
  float* p = make(zeros(32));
  begin();
  cudaStreamCaptureStatus status{};
  cudaStreamIsCapturing(stream, &status);
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  increment(p, 32, stream);
  increment(p, 32, stream);
  ASSERT_EQ(end(), cudaSuccess);
  cudaStreamIsCapturing(stream, &status);
  EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  EXPECT_EQ(read(p, 32)[7], 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
  EXPECT_EQ(read(p, 32)[7], 6);
}
TEST_F(Graphs, launches_of_one_graph_follow_each_other_on_any_streams) {
  for (const auto order : {emu::Streams::lazy, emu::Streams::random}) {
    emu::settings().streams = order;
    float* p = make(zeros(32));
    cudaStreamSynchronize(stream);
    begin();
    increment(p, 32, stream);
    ASSERT_EQ(end(), cudaSuccess);
    cudaGraphLaunch(executable, other);
    cudaGraphLaunch(executable, stream);
    EXPECT_EQ(read(p, 32)[0], 2);
    cudaGraphExecDestroy(std::exchange(executable, nullptr));
  }
}
TEST_F(Graphs, a_stream_that_waits_for_a_captured_one_is_captured_until_the_end) {
  for (const auto order : {emu::Streams::eager, emu::Streams::lazy, emu::Streams::random}) {
    emu::settings().streams = order;
    float *p = make(zeros(32)), *q = make(zeros(32));
    cudaStreamSynchronize(stream);
    begin();
    increment(p, 32, stream);
    wait(other, stream);
    increment(p, 32, other);
    increment(q, 32, stream);
    wait(stream, other);
    add_lambda(p, q, 32, 10, stream);  // q = p + 10
    ASSERT_EQ(end(), cudaSuccess);
    for (int i = 0; i < 3; ++i) cudaGraphLaunch(executable, stream);
    EXPECT_EQ(read(q, 32)[3], 16);
    cudaGraphExecDestroy(std::exchange(executable, nullptr));
  }
}
TEST_F(Graphs, what_was_forked_must_be_joined) {
  float* p = make(zeros(32));
  cudaStreamSynchronize(stream);
  begin();
  wait(other, stream);
  increment(p, 32, other);
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
  begin();
  wait(other, stream);
  wait(stream, other);
  increment(p, 32, other);
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined) << "the join came before the last of its work";
  increment(p, 32, other);
  EXPECT_EQ(cudaStreamSynchronize(other), cudaSuccess) << "no stream is captured any more";
  EXPECT_EQ(read(p, 1)[0], 1);
}
TEST_F(Graphs, waiting_and_asking_end_a_capture) {
  begin();
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  increment(make_unwritten<float>(1), 1, stream);
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
  expect_invalid();
  begin();
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorStreamCaptureUnsupported);
  expect_invalid();
  begin();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
  expect_invalid();
  begin();
  cudaEventRecord(event, stream);
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
  expect_invalid();
  begin();
  cudaEventRecord(event, other);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorStreamCaptureUnsupported) << "in the thread that captures";
  expect_invalid();
  cudaEventRecord(event, other);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
}
TEST_F(Graphs, pageable_memory_and_the_default_stream_cannot_be_captured) {
  float* p = make(zeros(4));
  std::vector<float> host(4);
  cudaStreamSynchronize(stream);
  begin();
  EXPECT_EQ(cudaMemcpyAsync(p, host.data(), 16, cudaMemcpyHostToDevice, stream), cudaErrorStreamCaptureUnsupported);
  expect_invalid();
  begin();
  EXPECT_EQ(cudaMemcpyAsync(host.data(), p, 16, cudaMemcpyDeviceToHost, stream), cudaErrorStreamCaptureUnsupported);
  expect_invalid();
  begin();
  EXPECT_EQ(cudaMemcpy(host.data(), p, 16, cudaMemcpyDeviceToHost), cudaErrorStreamCaptureImplicit);
  expect_invalid();
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
}
TEST_F(Graphs, memory_comes_and_goes_only_in_relaxed_mode) {
  begin();
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorStreamCaptureUnsupported);
  expect_invalid();
  begin();
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  EXPECT_EQ(mode, cudaStreamCaptureModeGlobal);
  EXPECT_EQ(cudaMalloc(&p, 4), cudaSuccess);
  cudaThreadExchangeStreamCaptureMode(&mode);
  EXPECT_EQ(cudaFree(p), cudaErrorStreamCaptureUnsupported);
  expect_invalid();
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}
TEST_F(Graphs, events_of_before_and_captures_within_captures_are_refused) {
  cudaEventRecord(event, other);
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaErrorStreamCaptureIsolation);
  expect_invalid();
  begin();
  EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaErrorIllegalState);
  ASSERT_EQ(end(), cudaSuccess);
  EXPECT_EQ(end(), cudaErrorIllegalState);
  begin();
  EXPECT_EQ(cudaStreamBeginCapture(other, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  wait(stream, stream);
  EXPECT_EQ(cudaStreamWaitEvent(other, event, 0), cudaErrorStreamCaptureMerge);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(other, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(end(), cudaSuccess);
}

}  // namespace
}  // namespace graft::emulation_test
