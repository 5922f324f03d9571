#include "op_case.h"

#include "graft/core/ops.h"

namespace graft::cases {

Tensor ramp(const Shape& shape, double from, double step) {
  Tensor t = empty(shape, f64);
  double* p = t.mutable_data<double>();
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = from + step * double((i * 7) % 11) + 0.01 * double(i);
  return t;
}
Tensor ints(const Shape& shape, int64_t from) {
  Tensor t = empty(shape, i64);
  const int64_t n = t.numel(), step = n % 7 ? 7 : 5;
  for (int64_t i = 0; i < n; ++i) t.mutable_data<int64_t>()[i] = from + i * step % n;
  return t;
}
std::string label(const OpCase& c) { return std::string(c.op) + (*c.name ? " (" : "") + c.name + (*c.name ? ")" : ""); }

std::vector<double> elements(const Tensor& x) {
  const NoGrad quiet;
  const Tensor t = x.to(Device::cpu).contiguous().to(f64);
  return {t.data<double>(), t.data<double>() + t.numel()};
}

const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {"pointwise", pointwise_cases}, {"activation", activation_cases}, {"reduce", reduce_cases}, {"views", view_cases},
      {"move", move_cases}, {"nn", nn_cases}, {"index", index_cases}, {"conv", conv_cases}, {"norm", norm_cases},
      {"movement", movement_cases}};
  return all;
}

Tensors converted(const Tensors& in, DType t) {
  Tensors out;
  for (const Tensor& x : in) out.push_back(floating(x) ? x.to(t) : x);
  return out;
}
Tensor weigh(const Tensor& y) {
  return sum(y * ramp(y.shape(), 0.2, 0.13).to(y.device()));
}

Tensor transposed(const Tensor& x) {
  return x.dim() < 2 ? x : x.transpose(0, x.dim() - 1).contiguous().transpose(0, x.dim() - 1);
}
Tensor with_gaps(const Tensor& x) {  // every second element of the last dimension, behind an offset
  if (x.dim() == 0) return x;
  Shape wide = x.shape();
  wide.push_back(2);
  const Tensor y = zeros(wide, x.options());
  const Tensor view = y.narrow(x.dim(), 1, 1);
  Region r = region_of(view.view(), y.view());
  r.rank = uint8_t(x.dim());
  const Tensor gapped = as_strided(y, r);
  gapped.copy_(x);
  return gapped;
}
Tensor expanded(const Tensor& x) {  // one row repeated: other values
  if (x.dim() == 0 || x.size(0) < 2) return x;
  return x.narrow(0, 0, 1).expand(x.shape());
}

}  // namespace graft::cases
