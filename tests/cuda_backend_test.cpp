// Device cuda: tensors there, copies, streams, memory, errors. Kernels are tested by cuda_op_cases_test.cpp.
#include "graft/core/cuda.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <numeric>
#include <sstream>
#include <thread>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/functional.h"
#include "graft/nn/linear.h"
#include "graft/nn/module.h"
#include "refused.h"

namespace graft {
namespace {

using Cuda = OnCuda<testing::Test>;
const Device kCuda(Device::cuda);

std::vector<float> floats(const Tensor& t) {
  const Tensor here = t.cpu().contiguous();
  return {here.data<float>(), here.data<float>() + here.numel()};
}
Tensor counted(const Shape& shape) { return arange(int64_t(numel_of(shape))).to(f32).reshape(shape); }
using graft_test::message;
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// ---- tensors --------------------------------------------------------------------------------------------------

TEST_F(Cuda, values_survive_the_way_there_and_back) {
  for (const DType t : {f32, f64, f16, bf16, i64, i32, i16, i8, u8, boolean, c64, c128}) {
    const Tensor x = counted({3, 5}).to(t), y = x.cuda();
    EXPECT_EQ(y.device(), kCuda);
    EXPECT_EQ(y.dtype(), t);
    const Tensor back = y.cpu();
    EXPECT_EQ(std::memcmp(back.view().data, x.view().data, size_t(x.nbytes())), 0) << name_of(t);
  }
  EXPECT_EQ(empty({0, 3}).cuda().cpu().shape(), (Shape{0, 3}));
}
TEST_F(Cuda, strided_tensors_cross_with_their_values) {
  const Tensor x = counted({4, 6});
  EXPECT_EQ(floats(x.t().cuda()), floats(x.t()));
  EXPECT_EQ(x.t().cuda().strides(), x.t().strides()) << "a dense layout is kept";
  EXPECT_EQ(floats(x.slice(1, 1, {}, 2).cuda()), floats(x.slice(1, 1, {}, 2)));
  EXPECT_EQ(floats(x.cuda().slice(1, 1, {}, 2)), floats(x.slice(1, 1, {}, 2)));
  EXPECT_EQ(floats(x.select(0, 1).expand({3, 6}).cuda()), floats(x.select(0, 1).expand({3, 6})));
}
TEST_F(Cuda, tensors_are_made_there) {
  EXPECT_EQ(floats(zeros({3}, kCuda)), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(floats(full({2}, 2.5, {f32, kCuda})), (std::vector<float>{2.5, 2.5}));
  EXPECT_EQ(floats(tensor({1., 2.}, kCuda)), (std::vector<float>{1, 2}));
  EXPECT_EQ(scalar_tensor(7, kCuda).item<int64_t>(), 7);
  EXPECT_EQ(zeros_like(tensor({1., 2.}, kCuda)).device(), kCuda);
}
TEST_F(Cuda, items_and_printing_fetch_values) {
  const Tensor x = tensor({1.5, -2.}, kCuda);
  EXPECT_EQ(x.select(0, 1).item<float>(), -2);
  EXPECT_EQ(x.at({0}), 1.5);
  std::ostringstream text;
  text << x;
  EXPECT_TRUE(contains(text.str(), "1.5")) << text.str();
  EXPECT_TRUE(contains(text.str(), "device='cuda:0'")) << text.str();
  EXPECT_EQ(summary(x), "f32[2]@cuda:0");
}
TEST_F(Cuda, device_memory_is_not_given_out_as_the_hosts) {
  const Tensor x = zeros({2}, kCuda);
  EXPECT_TRUE(contains(message([&] { x.data<float>(); }, ErrorCode::device_mismatch), "f32[2]@cuda:0"));
  message([&] { x.mutable_data<float>(); }, ErrorCode::device_mismatch);
}
TEST_F(Cuda, KT10_devices_do_not_mix) {
  const Tensor x = zeros({2}), y = zeros({2}, kCuda);
  EXPECT_EQ(message([&] { x + y; }, ErrorCode::device_mismatch), "add: inputs are on different devices: f32[2]@cpu, f32[2]@cuda:0");
}
TEST_F(Cuda, KT10_mixed_dtypes_are_the_error_that_they_are_on_cpu) {
  const std::string text = message([] { matmul(empty({2, 2}, kCuda), empty({2, 2}, {f64, kCuda})); }, ErrorCode::invalid_argument);
  EXPECT_EQ(text, "matmul: dtypes differ: f32[2,2]@cuda:0, f64[2,2]@cuda:0");
}
TEST_F(Cuda, KT11_a_label_out_of_range_is_found_before_the_launch) {
  const Tensor x = counted({2, 3}).cuda();
  const auto label = [](int64_t a, int64_t b) { return tensor({double(a), double(b)}).to(i64).cuda(); };
  EXPECT_TRUE(contains(message([&] { nn::functional::cross_entropy(x, label(0, 3)); }, ErrorCode::index_out_of_range), "label 3 is out of range for 3 classes"));
  EXPECT_TRUE(contains(message([&] { nn::functional::cross_entropy(x, label(-1, 0)); }, ErrorCode::index_out_of_range), "label -1 is out of range for 3 classes"));
  EXPECT_TRUE(contains(message([&] { embedding(counted({4, 2}).cuda(), label(0, 4)); }, ErrorCode::index_out_of_range), "index 4 is out of range for 4 rows"));
  EXPECT_TRUE(std::isfinite(nn::functional::cross_entropy(x, label(-100, 0)).item<double>())) << "the device can be used on";
}
TEST_F(Cuda, copies_cross_devices) {
  const Tensor x = zeros({2, 2}, kCuda);
  x.copy_(tensor({1., 2.}));
  EXPECT_EQ(floats(x), (std::vector<float>{1, 2, 1, 2}));
  const Tensor y = zeros({2, 2});
  y.copy_(x);
  EXPECT_EQ(floats(y), (std::vector<float>{1, 2, 1, 2}));
}
TEST_F(Cuda, gradients_flow_through_a_change_of_device) {
  const Tensor x = tensor({1., 2., 3.}).requires_grad_();
  const Tensor y = x.cuda() * 3.0;
  y.backward(ones({3}, kCuda));
  EXPECT_EQ(x.grad().device(), Device(Device::cpu));
  EXPECT_EQ(floats(x.grad()), (std::vector<float>{3, 3, 3}));
}
TEST_F(Cuda, a_dry_run_knows_the_device_but_copies_nothing) {
  const Tensor x = tensor({1., 2.});
  const int64_t before = cuda::memory_stats().allocations;
  const DryRun dry;
  EXPECT_EQ((x.cuda() * 2.0).shape(), (Shape{2}));
  EXPECT_EQ(cuda::memory_stats().allocations, before);
}
TEST_F(Cuda, modules_move_with_their_gradients_and_back) {
  const auto net = nn::make<nn::Linear>(3, 2);
  const std::vector<float> weights = floats(*net->weight);
  net->weight->set_grad(ones({2, 3}));
  net->cuda();
  EXPECT_EQ(net->weight->device(), kCuda);
  EXPECT_EQ(net->weight->grad().device(), kCuda);
  EXPECT_EQ(floats(*net->weight), weights);
  net->cpu();
  EXPECT_EQ(net->weight->device(), Device(Device::cpu));
  EXPECT_EQ(floats(*net->weight), weights);
}

// ---- streams --------------------------------------------------------------------------------------------------

TEST_F(Cuda, every_thread_has_its_own_current_stream) {
  const cuda::Stream mine;
  const cuda::UseStream scope(mine);
  EXPECT_EQ(cuda::current_stream(), mine);
  bool other = false;
  std::thread([&] { other = !(cuda::current_stream() == mine); }).join();
  EXPECT_TRUE(other);
}
TEST_F(Cuda, streams_wait_for_events) {
  const Tensor x = counted({1000}).cuda();
  const cuda::Event made;
  made.record();
  const cuda::Stream side;
  Tensor y;
  {
    const cuda::UseStream scope(side);
    side.wait(made);
    y = x * 2.0;
    cuda::record_use(x, side);
  }
  const cuda::Event done;
  done.record(side);
  cuda::current_stream().wait(done);
  EXPECT_EQ((y + 1.0).select(0, 999).item<float>(), 1999);
  cuda::synchronize();
  EXPECT_TRUE(done.reached());
}
TEST_F(Cuda, memory_in_use_elsewhere_is_not_given_out_again) {
  const cuda::Stream side;
  Tensor x = counted({1000}).cuda(), y;
  const cuda::Event made;
  made.record();
  {
    const cuda::UseStream scope(side);
    side.wait(made);
    y = x * 2.0;
    cuda::record_use(x, side);
  }
  const std::byte* memory = x.view().data;
  x = Tensor();
  const Tensor next = full({1000}, 5.0, kCuda);
#ifdef GRAFT_CUDA_EMULATED
  if (cuda::emulation::settings().streams == cuda::emulation::Streams::lazy) {
    EXPECT_NE(next.view().data, memory) << "nothing has run yet, so the side stream still needs it";
  }
#endif
  side.synchronize();
  {
    const cuda::UseStream scope(side);
    EXPECT_EQ(y.select(0, 999).item<float>(), 1998);
  }
  EXPECT_NE(memory, nullptr);
}
TEST_F(Cuda, pinned_copies_run_beside_the_program) {
  const Tensor host = cuda::pin(counted({1000}));
  EXPECT_TRUE(cuda::is_pinned(host));
  const Tensor there = host.to(kCuda, true);
  cuda::current_stream().synchronize();
  EXPECT_EQ(floats(there), floats(host));
  const Tensor blocking = host.cuda();
  host.fill_(0.0);  // the copy is over
  EXPECT_EQ(blocking.select(0, 7).item<float>(), 7);
}

// ---- memory ---------------------------------------------------------------------------------------------------

TEST_F(Cuda, released_memory_serves_the_next_tensor) {
  cuda::empty_cache();
  { const Tensor x = empty({1000}, kCuda); }
  const int64_t calls = cuda::memory_stats().device_calls;
  for (int i = 0; i < 10; ++i) const Tensor x = empty({1000}, kCuda);
  EXPECT_EQ(cuda::memory_stats().device_calls, calls);
}
TEST_F(Cuda, statistics_follow_the_tensors) {
  const cuda::MemoryStats before = cuda::memory_stats();
  cuda::reset_peak();
  {
    const Tensor x = empty({1 << 20}, kCuda), y = empty({100}, kCuda);
    EXPECT_EQ(cuda::memory_stats().in_use, before.in_use + (4 << 20) + 512);
  }
  EXPECT_EQ(cuda::memory_stats().in_use, before.in_use);
  EXPECT_EQ(cuda::memory_stats().peak_in_use, before.in_use + (4 << 20) + 512);
  cuda::empty_cache();
  EXPECT_LE(cuda::memory_stats().from_device, before.from_device);
}
TEST_F(Cuda, blocks_are_merged_again) {
  cuda::empty_cache();
  std::vector<Tensor> parts;
  for (int i = 0; i < 4; ++i) parts.push_back(empty({int64_t{5} << 18}, kCuda));  // 5 MiB each: one segment of 20
  const int64_t calls = cuda::memory_stats().device_calls;
  parts.clear();
  const Tensor whole = empty({int64_t{20} << 18}, kCuda);
  EXPECT_EQ(cuda::memory_stats().device_calls, calls);
}
TEST_F(Cuda, KD10_out_of_memory_frees_the_cache_and_leaves_the_device_usable) {
  const std::string text = message([] { empty({int64_t{1} << 44}, kCuda); }, ErrorCode::device_out_of_memory);
  EXPECT_TRUE(contains(text, "wanted " + std::to_string(int64_t{4} << 44) + " bytes")) << text;
  EXPECT_TRUE(contains(text, "free are ")) << text;
  EXPECT_EQ((ones({3}, kCuda) + 1.0).select(0, 2).item<float>(), 2);
#ifdef GRAFT_CUDA_EMULATED
  cuda::empty_cache();
  cuda::emulation::settings().memory = 64 << 20;
  { const Tensor cached = empty({10 << 20}, kCuda); }  // 40 MiB
  const cuda::UseStream scope((cuda::Stream()));
  EXPECT_NO_THROW(empty({10 << 20}, kCuda)) << "does not fit beside what is cached for the other stream";
#endif
}

// ---- errors ---------------------------------------------------------------------------------------------------

TEST_F(Cuda, KD9_a_device_that_does_not_exist_is_named) {
  EXPECT_TRUE(contains(message([] { zeros({2}, Device(Device::cuda, 14)); }, ErrorCode::device_unavailable), "no cuda:14"));
  message([] { zeros({2}).to("cuda:14"); }, ErrorCode::device_unavailable);
}
TEST_F(Cuda, KD11_a_child_process_is_told_that_it_cannot) {
  const Tensor x = zeros({2}, kCuda);
  const pid_t child = fork();
  if (child == 0) {
    bool told = !cuda::available();
    try {
      zeros({2}, kCuda);
      told = false;
    } catch (const Error& e) {
      told = told && e.code() == ErrorCode::device_unavailable && contains(e.what(), "fork");
    }
    _exit(told ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ((x + 1.0).select(0, 0).item<float>(), 1) << "the parent goes on";
}

#ifdef GRAFT_CUDA_EMULATED
TEST_F(Cuda, KD12_a_failed_kernel_breaks_the_device_and_says_so) {
  const Tensor never_written = empty({100}, kCuda);
  const Tensor y = never_written + 1.0;
  const std::string text = message([&] { y.select(0, 0).item<float>(); }, ErrorCode::device_error);
  EXPECT_TRUE(contains(text, "uninitialised global memory")) << text;
  EXPECT_TRUE(contains(text, "until the program is started again")) << text;
  message([&] { zeros({2}, kCuda); }, ErrorCode::device_error);
  message([] { cuda::synchronize(); }, ErrorCode::device_error);
  cuda::emulation::reset();
}
TEST_F(Cuda, several_devices_work_side_by_side) {
  ASSERT_EQ(cuda::device_count(), 2);
  const Tensor x = counted({100}).cuda(0), y = counted({100}).cuda(1);
  EXPECT_EQ(y.device(), Device(Device::cuda, 1));
  message([&] { x + y; }, ErrorCode::device_mismatch);
  const Tensor moved = (x * 2.0).to(Device(Device::cuda, 1)) + y;
  EXPECT_EQ(moved.select(0, 99).item<float>(), 297);
  EXPECT_EQ(cuda::current_stream(1).device(), 1);
}
#endif

}  // namespace
}  // namespace graft
