// Pooling of 1 to 3 dimensions: from options to attributes.
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {
namespace {

template <int N> PoolAttrs window(const Sizes<N>& kernel, const std::optional<Sizes<N>>& stride, const Sizes<N>& padding,
                                  bool ceil_mode) {
  PoolAttrs a{.rank = N, .ceil_mode = ceil_mode};
  for (int i = 0; i < N; ++i) {
    for (const int64_t v : {kernel[i], stride ? (*stride)[i] : 1, padding[i]})
      GRAFT_CHECK(v >= 0 && v <= INT32_MAX, "pool: size ", v, " is out of range");
    a.kernel[i] = int32_t(kernel[i]);
    a.stride[i] = int32_t(stride ? (*stride)[i] : kernel[i]);
    a.padding[i] = int32_t(padding[i]);
  }
  return a;
}
template <int N> Pooled max(const Tensor& x, const Sizes<N>& kernel, const MaxPoolOptions<N>& o) {
  PoolAttrs a = window(kernel, o.stride, o.padding, o.ceil_mode);
  for (int i = 0; i < N; ++i) a.dilation[i] = int32_t(o.dilation[i]);
  const MaxResult r = max_pool(x, a);
  return {r.values, r.indices};
}
template <int N> Tensor average(const Tensor& x, const Sizes<N>& kernel, const AvgPoolOptions<N>& o) {
  PoolAttrs a = window(kernel, o.stride, o.padding, o.ceil_mode);
  a.count_include_pad = o.count_include_pad;
  GRAFT_CHECK(!o.divisor_override || *o.divisor_override != 0, "avg_pool: divisor_override must not be zero");
  a.divisor_override = int32_t(o.divisor_override.value_or(0));
  return avg_pool(x, a);
}
template <int N> Shape shape_of(const Sizes<N>& s) { return Shape(std::span(s.begin(), size_t(N))); }
template <int N> Pooled adaptive_max(const Tensor& x, const Sizes<N>& output_size) {
  const MaxResult r = adaptive_max_pool(x, shape_of(output_size));
  return {r.values, r.indices};
}
template <int N> Tensor adaptive_average(const Tensor& x, const Sizes<N>& output_size) {
  return adaptive_avg_pool(x, shape_of(output_size));
}

}  // namespace

Pooled max_pool1d_with_indices(const Tensor& x, const Sizes<1>& k, const MaxPoolOptions<1>& o) { return max(x, k, o); }
Pooled max_pool2d_with_indices(const Tensor& x, const Sizes<2>& k, const MaxPoolOptions<2>& o) { return max(x, k, o); }
Pooled max_pool3d_with_indices(const Tensor& x, const Sizes<3>& k, const MaxPoolOptions<3>& o) { return max(x, k, o); }
Tensor max_pool1d(const Tensor& x, const Sizes<1>& k, const MaxPoolOptions<1>& o) { return max(x, k, o).values; }
Tensor max_pool2d(const Tensor& x, const Sizes<2>& k, const MaxPoolOptions<2>& o) { return max(x, k, o).values; }
Tensor max_pool3d(const Tensor& x, const Sizes<3>& k, const MaxPoolOptions<3>& o) { return max(x, k, o).values; }
Tensor avg_pool1d(const Tensor& x, const Sizes<1>& k, const AvgPoolOptions<1>& o) { return average(x, k, o); }
Tensor avg_pool2d(const Tensor& x, const Sizes<2>& k, const AvgPoolOptions<2>& o) { return average(x, k, o); }
Tensor avg_pool3d(const Tensor& x, const Sizes<3>& k, const AvgPoolOptions<3>& o) { return average(x, k, o); }

Tensor adaptive_avg_pool1d(const Tensor& x, const Sizes<1>& output_size) { return adaptive_average(x, output_size); }
Tensor adaptive_avg_pool2d(const Tensor& x, const Sizes<2>& output_size) { return adaptive_average(x, output_size); }
Tensor adaptive_avg_pool3d(const Tensor& x, const Sizes<3>& output_size) { return adaptive_average(x, output_size); }
Pooled adaptive_max_pool1d_with_indices(const Tensor& x, const Sizes<1>& o) { return adaptive_max(x, o); }
Pooled adaptive_max_pool2d_with_indices(const Tensor& x, const Sizes<2>& o) { return adaptive_max(x, o); }
Pooled adaptive_max_pool3d_with_indices(const Tensor& x, const Sizes<3>& o) { return adaptive_max(x, o); }
Tensor adaptive_max_pool1d(const Tensor& x, const Sizes<1>& o) { return adaptive_max(x, o).values; }
Tensor adaptive_max_pool2d(const Tensor& x, const Sizes<2>& o) { return adaptive_max(x, o).values; }
Tensor adaptive_max_pool3d(const Tensor& x, const Sizes<3>& o) { return adaptive_max(x, o).values; }

}  // namespace graft::nn::functional
