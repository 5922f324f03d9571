// Pooling layers: Max, Avg, Adaptive, LP, 1d-3d. Names, arguments: torch.nn. A pool made with return_indices is a layer
// of its own, since its call returns two tensors.
#pragma once
#include <tuple>
#include "graft/nn/child.h"
#include "graft/nn/functional.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

// Window sizes as they were given: PyTorch prints one number as a number.
template <int N> struct Window {
  Window(int64_t all) : sizes(all), uniform(true) {}                     // NOLINT(google-explicit-constructor)
  Window(std::initializer_list<int64_t> each) : sizes(each) {}
  Window(const Sizes<N>& each, bool one = false) : sizes(each), uniform(one) {}  // NOLINT(google-explicit-constructor)
  operator const Sizes<N>&() const { return sizes; }                     // NOLINT(google-explicit-constructor)
  friend std::ostream& operator<<(std::ostream& o, const Window& w) { return w.uniform ? o << w.sizes[0] : o << w.sizes; }

  Sizes<N> sizes;
  bool uniform = false;
};
template <int N> struct Flow<Window<N>> {  // None in a list of output sizes is -1
  static bool fits(const Value& v) { return Flow<Sizes<N>>::fits(v); }
  static Value in(const Window<N>& w) { return w.uniform ? Value(w.sizes[0]) : Flow<Sizes<N>>::in(w.sizes); }
  static Window<N> out(const Value& v) {
    if (const Values* list = v.get_if<Values>()) {
      Values all = *list;
      for (Value& x : all)
        if (x.is_none()) x = Value(int64_t{-1});
      return Window<N>(Flow<Sizes<N>>::out(Value(all)));
    }
    return Window<N>(v.as<int64_t>());
  }
};

template <int N> struct MaxPoolLayerOptions {
  std::optional<Window<N>> stride = {};  // none: the kernel's size
  Window<N> padding = 0;
  Window<N> dilation = 1;
  bool ceil_mode = false;
};
template <int N> class MaxPoolBase {
 public:
  MaxPoolBase(const Window<N>& kernel, const MaxPoolLayerOptions<N>& o)
      : kernel_size(kernel), stride(o.stride.value_or(kernel)), padding(o.padding), dilation(o.dilation), ceil_mode(o.ceil_mode) {}
  functional::MaxPoolOptions<N> geometry() const { return {stride.sizes, padding.sizes, dilation.sizes, ceil_mode}; }
  std::string describe() const;

  Window<N> kernel_size;
  Window<N> stride;
  Window<N> padding;
  Window<N> dilation;
  bool ceil_mode;
};
template <int N> class MaxPoolNd : public Layer, public MaxPoolBase<N> {
 public:
  explicit MaxPoolNd(const Window<N>& kernel, const MaxPoolLayerOptions<N>& o = {}) : MaxPoolBase<N>(kernel, o) {}
  MaxPoolNd(const Window<N>& kernel, const Window<N>& stride, const Window<N>& padding = 0)
      : MaxPoolNd(kernel, MaxPoolLayerOptions<N>{.stride = stride, .padding = padding}) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override { return this->describe(); }
};
class MaxPool1d : public MaxPoolNd<1> { public: using MaxPoolNd::MaxPoolNd; };
class MaxPool2d : public MaxPoolNd<2> { public: using MaxPoolNd::MaxPoolNd; };
class MaxPool3d : public MaxPoolNd<3> { public: using MaxPoolNd::MaxPoolNd; };
using MaxPool1dOptions = MaxPoolLayerOptions<1>;
using MaxPool2dOptions = MaxPoolLayerOptions<2>;
using MaxPool3dOptions = MaxPoolLayerOptions<3>;

using ValuesAndIndices = std::tuple<Tensor, Tensor>;
// MaxPoolNd(return_indices=True): an index counts elements of the input's spatial dimensions.
template <int N> class MaxPoolWithIndices : public ModuleOf<ValuesAndIndices(const Tensor&)>, public MaxPoolBase<N> {
 public:
  explicit MaxPoolWithIndices(const Window<N>& kernel, const MaxPoolLayerOptions<N>& o = {}) : MaxPoolBase<N>(kernel, o) {}
  ValuesAndIndices forward(const Tensor& x) override;
  std::string extra_repr() const override { return this->describe(); }
  std::string class_name() const override { return concat("MaxPool", N, "d"); }
};

template <int N> struct AvgPoolLayerOptions {
  std::optional<Window<N>> stride = {};
  Window<N> padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
  std::optional<int64_t> divisor_override = {};
};
template <int N> class AvgPoolNd : public Layer {
 public:
  explicit AvgPoolNd(const Window<N>& kernel, const AvgPoolLayerOptions<N>& o = {})
      : kernel_size(kernel), stride(o.stride.value_or(kernel)), padding(o.padding), ceil_mode(o.ceil_mode),
        count_include_pad(o.count_include_pad), divisor_override(o.divisor_override) {}
  AvgPoolNd(const Window<N>& kernel, const Window<N>& stride, const Window<N>& padding = 0)
      : AvgPoolNd(kernel, AvgPoolLayerOptions<N>{.stride = stride, .padding = padding}) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  Window<N> kernel_size;
  Window<N> stride;
  Window<N> padding;
  bool ceil_mode;
  bool count_include_pad;
  std::optional<int64_t> divisor_override;
};
class AvgPool1d : public AvgPoolNd<1> { public: using AvgPoolNd::AvgPoolNd; };
class AvgPool2d : public AvgPoolNd<2> { public: using AvgPoolNd::AvgPoolNd; };
class AvgPool3d : public AvgPoolNd<3> { public: using AvgPoolNd::AvgPoolNd; };
using AvgPool1dOptions = AvgPoolLayerOptions<1>;
using AvgPool2dOptions = AvgPoolLayerOptions<2>;
using AvgPool3dOptions = AvgPoolLayerOptions<3>;

// Windows chosen so that the output has output_size; -1: the input's size (PyTorch's None).
template <int N> class AdaptiveAvgPoolNd : public Layer {
 public:
  explicit AdaptiveAvgPoolNd(const Window<N>& output_size) : output_size(output_size) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  Window<N> output_size;
};
class AdaptiveAvgPool1d : public AdaptiveAvgPoolNd<1> { public: using AdaptiveAvgPoolNd::AdaptiveAvgPoolNd; };
class AdaptiveAvgPool2d : public AdaptiveAvgPoolNd<2> { public: using AdaptiveAvgPoolNd::AdaptiveAvgPoolNd; };
class AdaptiveAvgPool3d : public AdaptiveAvgPoolNd<3> { public: using AdaptiveAvgPoolNd::AdaptiveAvgPoolNd; };

template <int N> class AdaptiveMaxPoolNd : public Layer {
 public:
  explicit AdaptiveMaxPoolNd(const Window<N>& output_size) : output_size(output_size) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  Window<N> output_size;
};
class AdaptiveMaxPool1d : public AdaptiveMaxPoolNd<1> { public: using AdaptiveMaxPoolNd::AdaptiveMaxPoolNd; };
class AdaptiveMaxPool2d : public AdaptiveMaxPoolNd<2> { public: using AdaptiveMaxPoolNd::AdaptiveMaxPoolNd; };
class AdaptiveMaxPool3d : public AdaptiveMaxPoolNd<3> { public: using AdaptiveMaxPoolNd::AdaptiveMaxPoolNd; };
template <int N> class AdaptiveMaxPoolWithIndices : public ModuleOf<ValuesAndIndices(const Tensor&)> {
 public:
  explicit AdaptiveMaxPoolWithIndices(const Window<N>& output_size) : output_size(output_size) {}
  ValuesAndIndices forward(const Tensor& x) override;
  std::string extra_repr() const override;
  std::string class_name() const override { return concat("AdaptiveMaxPool", N, "d"); }
  Window<N> output_size;
};

// (sum of x^p over the window)^(1/p)
template <int N> class LPPoolNd : public Layer {
 public:
  LPPoolNd(double norm_type, const Window<N>& kernel, std::optional<Window<N>> stride = {}, bool ceil_mode = false)
      : norm_type(norm_type), kernel_size(kernel), stride(stride), ceil_mode(ceil_mode) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  double norm_type;
  Window<N> kernel_size;
  std::optional<Window<N>> stride;
  bool ceil_mode;
};
class LPPool1d : public LPPoolNd<1> { public: using LPPoolNd::LPPoolNd; };
class LPPool2d : public LPPoolNd<2> { public: using LPPoolNd::LPPoolNd; };
class LPPool3d : public LPPoolNd<3> { public: using LPPoolNd::LPPoolNd; };

}  // namespace graft
