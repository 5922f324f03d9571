#include "graft/nn/pooling.h"

namespace graft::inline v1::nn {

template <int N> std::string MaxPoolBase<N>::describe() const {
  return concat("kernel_size=", kernel_size, ", stride=", stride, ", padding=", padding, ", dilation=", dilation,
                ", ceil_mode=", Value(ceil_mode));
}
template <int N> Tensor MaxPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return functional::max_pool1d(x, this->kernel_size, this->geometry());
  else if constexpr (N == 2) return functional::max_pool2d(x, this->kernel_size, this->geometry());
  else return functional::max_pool3d(x, this->kernel_size, this->geometry());
}
static ValuesAndIndices both(functional::Pooled p) { return {std::move(p.values), std::move(p.indices)}; }
template <int N> ValuesAndIndices MaxPoolWithIndices<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return both(functional::max_pool1d_with_indices(x, this->kernel_size, this->geometry()));
  else if constexpr (N == 2) return both(functional::max_pool2d_with_indices(x, this->kernel_size, this->geometry()));
  else return both(functional::max_pool3d_with_indices(x, this->kernel_size, this->geometry()));
}

template <int N> Tensor AvgPoolNd<N>::forward(const Tensor& x) {
  const functional::AvgPoolOptions<N> o{stride.sizes, padding.sizes, ceil_mode, count_include_pad, divisor_override};
  if constexpr (N == 1) return functional::avg_pool1d(x, kernel_size, o);
  else if constexpr (N == 2) return functional::avg_pool2d(x, kernel_size, o);
  else return functional::avg_pool3d(x, kernel_size, o);
}
template <int N> std::string AvgPoolNd<N>::extra_repr() const {
  if constexpr (N == 1)  // PyTorch's prints tuples
    return concat("kernel_size=", kernel_size.sizes, ", stride=", stride.sizes, ", padding=", padding.sizes);
  return concat("kernel_size=", kernel_size, ", stride=", stride, ", padding=", padding);
}

template <int N> Tensor AdaptiveAvgPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return functional::adaptive_avg_pool1d(x, output_size);
  else if constexpr (N == 2) return functional::adaptive_avg_pool2d(x, output_size);
  else return functional::adaptive_avg_pool3d(x, output_size);
}
template <int N> Tensor AdaptiveMaxPoolNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return functional::adaptive_max_pool1d(x, output_size);
  else if constexpr (N == 2) return functional::adaptive_max_pool2d(x, output_size);
  else return functional::adaptive_max_pool3d(x, output_size);
}
template <int N> ValuesAndIndices AdaptiveMaxPoolWithIndices<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return both(functional::adaptive_max_pool1d_with_indices(x, output_size));
  else if constexpr (N == 2) return both(functional::adaptive_max_pool2d_with_indices(x, output_size));
  else return both(functional::adaptive_max_pool3d_with_indices(x, output_size));
}
template <int N> static std::string output_size_repr(const Window<N>& w) {
  std::string text = concat("output_size=", w);
  for (size_t at; (at = text.find("-1")) != std::string::npos;) text.replace(at, 2, "None");
  return text;
}
template <int N> std::string AdaptiveAvgPoolNd<N>::extra_repr() const { return output_size_repr(output_size); }
template <int N> std::string AdaptiveMaxPoolNd<N>::extra_repr() const { return output_size_repr(output_size); }
template <int N> std::string AdaptiveMaxPoolWithIndices<N>::extra_repr() const { return output_size_repr(output_size); }

template <int N> Tensor LPPoolNd<N>::forward(const Tensor& x) {
  const std::optional<Sizes<N>> step = stride ? std::optional(stride->sizes) : std::nullopt;
  if constexpr (N == 1) return functional::lp_pool1d(x, norm_type, kernel_size, step, ceil_mode);
  else if constexpr (N == 2) return functional::lp_pool2d(x, norm_type, kernel_size, step, ceil_mode);
  else return functional::lp_pool3d(x, norm_type, kernel_size, step, ceil_mode);
}
template <int N> std::string LPPoolNd<N>::extra_repr() const {
  const std::string step = stride ? concat(*stride) : "None";
  return concat("norm_type=", Value(norm_type), ", kernel_size=", kernel_size, ", stride=", step, ", ceil_mode=", Value(ceil_mode));
}

#define GRAFT_POOLS(N)                         \
  template class MaxPoolBase<N>;               \
  template class MaxPoolNd<N>;                 \
  template class MaxPoolWithIndices<N>;        \
  template class AvgPoolNd<N>;                 \
  template class AdaptiveAvgPoolNd<N>;         \
  template class AdaptiveMaxPoolNd<N>;         \
  template class AdaptiveMaxPoolWithIndices<N>; \
  template class LPPoolNd<N>;
GRAFT_POOLS(1)
GRAFT_POOLS(2)
GRAFT_POOLS(3)
#undef GRAFT_POOLS

// ---- by name -------------------------------------------------------------------------------------------------

template <class Plain, int N> static void add_max_pool(Registry& r, const char* name) {
  r.add<Plain>(name, [](ArgReader& a) -> ModulePtr {
    const auto kernel = a.get<Window<N>>("kernel_size");
    MaxPoolLayerOptions<N> o;
    o.stride = a.get("stride", o.stride);
    o.padding = a.get("padding", o.padding);
    o.dilation = a.get("dilation", o.dilation);
    const bool indices = a.get("return_indices", false);
    o.ceil_mode = a.get("ceil_mode", o.ceil_mode);
    if (indices) return make<MaxPoolWithIndices<N>>(kernel, o);
    return make<Plain>(kernel, o);
  }, {attribute<&Plain::kernel_size>("kernel_size"), attribute<&Plain::stride>("stride"),
      attribute<&Plain::padding>("padding"), attribute<&Plain::dilation>("dilation"),
      attribute<&Plain::ceil_mode>("ceil_mode")});
  using WithIndices = MaxPoolWithIndices<N>;
  r.variant<WithIndices>(name, "return_indices", true);
  r.attributes<WithIndices>({attribute<&WithIndices::kernel_size>("kernel_size"),
                             attribute<&WithIndices::stride>("stride"), attribute<&WithIndices::padding>("padding"),
                             attribute<&WithIndices::dilation>("dilation"),
                             attribute<&WithIndices::ceil_mode>("ceil_mode")});
}
template <class Pool, int N> static void add_avg_pool(Registry& r, const char* name) {
  std::vector<Attribute> attributes{
      attribute<&Pool::kernel_size>("kernel_size"), attribute<&Pool::stride>("stride"), attribute<&Pool::padding>("padding"),
      attribute<&Pool::ceil_mode>("ceil_mode"), attribute<&Pool::count_include_pad>("count_include_pad")};
  if (N > 1) attributes.push_back(attribute<&Pool::divisor_override>("divisor_override"));
  r.add<Pool>(name, [](ArgReader& a) {
    const auto kernel = a.get<Window<N>>("kernel_size");
    AvgPoolLayerOptions<N> o;
    o.stride = a.get("stride", o.stride);
    o.padding = a.get("padding", o.padding);
    o.ceil_mode = a.get("ceil_mode", o.ceil_mode);
    o.count_include_pad = a.get("count_include_pad", o.count_include_pad);
    if (N > 1) o.divisor_override = a.get("divisor_override", o.divisor_override);
    return make<Pool>(kernel, o);
  }, std::move(attributes));
}
template <class Pool, int N> static void add_adaptive_avg(Registry& r, const char* name) {
  r.add<Pool>(name, [](ArgReader& a) { return make<Pool>(a.get<Window<N>>("output_size")); },
              {attribute<&Pool::output_size>("output_size")});
}
template <class Pool, int N> static void add_adaptive_max(Registry& r, const char* name) {
  r.add<Pool>(name, [](ArgReader& a) -> ModulePtr {
    const auto size = a.get<Window<N>>("output_size");
    if (a.get("return_indices", false)) return make<AdaptiveMaxPoolWithIndices<N>>(size);
    return make<Pool>(size);
  }, {attribute<&Pool::output_size>("output_size")});
  using WithIndices = AdaptiveMaxPoolWithIndices<N>;
  r.variant<WithIndices>(name, "return_indices", true);
  r.attributes<WithIndices>({attribute<&WithIndices::output_size>("output_size")});
}
template <class Pool, int N> static void add_lp_pool(Registry& r, const char* name) {
  r.add<Pool>(name, [](ArgReader& a) {
    const auto norm = a.get<double>("norm_type");
    const auto kernel = a.get<Window<N>>("kernel_size");
    const auto stride = a.get("stride", std::optional<Window<N>>());
    return make<Pool>(norm, kernel, stride, a.get("ceil_mode", false));
  }, {attribute<&Pool::norm_type>("norm_type"), attribute<&Pool::kernel_size>("kernel_size"),
      attribute<&Pool::stride>("stride"), attribute<&Pool::ceil_mode>("ceil_mode")});
}
void register_pooling(Registry& r) {
  add_max_pool<MaxPool1d, 1>(r, "MaxPool1d");
  add_max_pool<MaxPool2d, 2>(r, "MaxPool2d");
  add_max_pool<MaxPool3d, 3>(r, "MaxPool3d");
  add_avg_pool<AvgPool1d, 1>(r, "AvgPool1d");
  add_avg_pool<AvgPool2d, 2>(r, "AvgPool2d");
  add_avg_pool<AvgPool3d, 3>(r, "AvgPool3d");
  add_adaptive_avg<AdaptiveAvgPool1d, 1>(r, "AdaptiveAvgPool1d");
  add_adaptive_avg<AdaptiveAvgPool2d, 2>(r, "AdaptiveAvgPool2d");
  add_adaptive_avg<AdaptiveAvgPool3d, 3>(r, "AdaptiveAvgPool3d");
  add_adaptive_max<AdaptiveMaxPool1d, 1>(r, "AdaptiveMaxPool1d");
  add_adaptive_max<AdaptiveMaxPool2d, 2>(r, "AdaptiveMaxPool2d");
  add_adaptive_max<AdaptiveMaxPool3d, 3>(r, "AdaptiveMaxPool3d");
  add_lp_pool<LPPool1d, 1>(r, "LPPool1d");
  add_lp_pool<LPPool2d, 2>(r, "LPPool2d");
  add_lp_pool<LPPool3d, 3>(r, "LPPool3d");
}

}  // namespace graft
