// Random numbers on cuda: the numbers of the cpu. Element i in logical order gets value i of the stream, wherever it lies.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/random/philox.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

// A thread turns the four words of one counter into its values.
template <class Draw, class T>
__global__ __launch_bounds__(kThreads) void draw_values(Draw d, T* y, int64_t count, Dimensions place) {
  constexpr int per = per_block<Draw, T>();
  const int64_t counter = int64_t(blockIdx.x) * kThreads + threadIdx.x, first = counter * per;
  if (first >= count) return;
  T value[4];
  d(philox::words(d.stream.seed, d.stream.first + uint64_t(counter)), value);
  for (int k = 0; k < per && first + k < count; ++k) y[place.rank ? place.offset(unsigned(first + k)) : first + k] = value[k];
}

template <class Draw, class T> Decline draw(const Launch& l) {
  const View& out = *l.out[0];
  if (out.numel == 0) return kRan;
  Dimensions place;
  if (!out.contiguous) {
    if (out.numel > INT32_MAX) return "strided, with 2^31 elements or more";
    place.rank = out.rank;
    for (int d = 0; d < out.rank; ++d) {
      place.size[d] = Divider(unsigned(out.size[d]));
      place.step[d] = out.stride[d];
    }
  }
  const int64_t counters = (out.numel + per_block<Draw, T>() - 1) / per_block<Draw, T>();
  launch(draw_values<Draw, T>, blocks_for(counters), kThreads, 0, l.stream, l.attrs_as<Draw>(), out.as<T>(), out.numel, place);
  return kRan;
}
template <class Draw, class T> void add() { add_kernel(Draw::name, Device::cuda, dtype_v<T>, "counters", draw<Draw, T>); }

}  // namespace

void register_random_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add<UniformDraw, T>(), add<NormalDraw, T>(), add<ExponentialDraw, T>(), add<BernoulliDraw, T>(), add<IntegerDraw, T>();
  });
  for_each_type(IntTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add<IntegerDraw, T>(), add<BernoulliDraw, T>();
  });
  add<IntegerDraw, bool>(), add<BernoulliDraw, bool>();
}

}  // namespace graft
