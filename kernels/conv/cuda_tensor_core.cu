// Convolutions of f16 and bf16 on tensor cores. They read 16 bytes at a time, eight neighbouring channels; an operand whose channels
// are no neighbours is copied to an order in which they are.
#include "graft/kernels/cuda/compat.h"

#include <optional>
#include "graft/kernels/conv/cuda_product.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/gemm/cuda_tensor_core.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;
using cuda::conv::Kind;
using cuda::conv::Side;
using cuda::conv::Strides;
using cuda::conv::Task;

Strides channels_last(int64_t channels, const int64_t (&size)[3]) {
  Strides s;
  s.c = 1, s.s[2] = channels, s.s[1] = size[2] * s.s[2], s.s[0] = size[1] * s.s[1], s.n = size[0] * s.s[0];
  return s;
}
// Copies where the channels of a side, `channels` in each group, cannot be read as they lie; false: no memory left.
class Ordered {
 public:
  bool bring(const Task& t, Side& s, int64_t channels, const Strides& order, int64_t rows, bool zeros, void* stream) {
    if (!zeros && cuda::conv::packs_channels(s, channels)) return true;
    const size_t bytes = size_t(rows * 2);
    memory_.emplace(t.out(), bytes);
    if (!memory_->get()) return false;
    cuda::conv::copy_side(s, order, memory_->get(), bytes, zeros, stream);
    return true;
  }

 private:
  std::optional<Workspace> memory_;
};

constexpr Decline kNoMemory = "no memory left for operands in the order of tensor cores";
template <class T> void multiply(const gemm::Product<gemm::Gather>& p, int64_t groups, const View& out, void* stream) {
  const auto run = p.a.along_k ? p.b.along_k ? gemm::run_tensor_cores<T, gemm::Gather, true, true> : gemm::run_tensor_cores<T, gemm::Gather, true, false>
                               : gemm::run_tensor_cores<T, gemm::Gather, false, false>;
  run(p, groups, out, stream);
}
template <class T> Decline tensor_cores(Task t, void* stream) {
  if (t.out().numel == 0) return kRan;
  if (const Decline why = cuda::conv::check_sizes(t)) return why;
  const auto& g = t.g;
  const int64_t rows = t.kind == Kind::weight ? t.cog() : g.n * (t.kind == Kind::forward ? g.out_points() : g.in_points());
  const int64_t columns = t.kind == Kind::forward ? t.cog() : t.kind == Kind::data ? t.cig() : t.cig() * g.taps();
  const int64_t depth = t.kind == Kind::forward ? t.cig() * g.taps() : t.kind == Kind::data ? t.cog() : g.n * g.out_points();
  if (rows * columns < 1024 || depth < 16) return "too small: 32 x 32 results of 16 products at least";
  const bool fill = t.kind == Kind::forward && g.groups == 1 && t.cig() % 8 != 0;  // the channels up to a multiple of eight by zeros
  if (t.kind != Kind::data && t.cig() % 8 != 0 && !fill) return "the input channels of a group are no multiple of 8";
  if (t.kind != Kind::forward && t.cog() % 8 != 0) return "the output channels of a group are no multiple of 8";

  if (fill) t.g.ci = (g.ci + 7) / 8 * 8;
  Ordered x, w, y;
  if (t.kind != Kind::data && !x.bring(t, t.x, t.cig(), channels_last(g.ci, g.in), g.n * g.in_points() * g.ci, fill, stream)) return kNoMemory;
  if (t.kind != Kind::forward && !y.bring(t, t.y, t.cog(), channels_last(g.co, g.out), g.n * g.out_points() * g.co, false, stream)) return kNoMemory;
  const bool as_it_is = t.kind == Kind::weight || (t.kind == Kind::data && cuda::conv::packs_channels(t.w, t.cig()));
  if (!as_it_is && !w.bring(t, t.w, t.kind == Kind::data ? 0 : t.cig(), cuda::conv::order_of_weights(t, t.cig()), g.co * t.cig() * g.taps(), fill, stream))
    return kNoMemory;
  cuda::conv::place_residual(t, stream);
  cuda::conv::for_each_product(t, [&](const cuda::conv::Product& p) { multiply<T>(p, t.g.groups, t.out(), stream); });
  return kRan;
}
template <class T> void add() {
  constexpr DType t = dtype_v<T>;
  const auto add = [](const char* op, Kernel k) { add_kernel(op, Device::cuda, t, "tensor_cores", k); };
  add("conv_forward", [](const Launch& l) { return tensor_cores<T>(cuda::conv::forward_task(l), l.stream); });
  add("conv_backward_data", [](const Launch& l) { return tensor_cores<T>(cuda::conv::backward_data_task(l), l.stream); });
  add("conv_backward_weight", [](const Launch& l) { return tensor_cores<T>(cuda::conv::backward_weight_task(l), l.stream); });
}

}  // namespace

void register_conv_tensor_core_cuda() { add<Half>(), add<BFloat16>(); }

}  // namespace graft
