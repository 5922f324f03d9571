// Softmax over one dimension on cpu, reference.
#include <algorithm>
#include <cmath>
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

template <class T> Decline softmax(const Launch& l) {
  const View& x = *l.in[0];
  const View& y = *l.out[0];
  if (!x.contiguous) return "needs a contiguous input";
  const int dim = l.attrs_as<DimAttrs>().dim;
  const int64_t n = x.size[dim], step = x.stride[dim];
  for (int64_t r = 0; n > 0 && r < x.numel / n; ++r) {
    const int64_t at = r / step * step * n + r % step;
    const T* p = x.as<T>() + at;
    T* q = y.as<T>() + at;
    using C = compute_t<T>;
    C top = p[0], total = 0;
    for (int64_t i = 1; i < n; ++i) top = std::max<C>(top, p[i * step]);
    for (int64_t i = 0; i < n; ++i) total += std::exp(p[i * step] - top);
    for (int64_t i = 0; i < n; ++i) q[i * step] = T(std::exp(p[i * step] - top) / total);
  }
  return kRan;
}

}  // namespace

void register_softmax_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("softmax", Device::cpu, dtype_v<T>, "reference", softmax<T>);
  });
}

}  // namespace graft
