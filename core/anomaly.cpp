// Anomaly mode: the first op whose derivative makes a NaN, and where it was recorded.
#include <cmath>
#include "graft/core/autograd.h"

namespace graft::inline v1 {

static bool has_nan(const Tensor& t) {
  if (t.device().type == Device::meta) return false;
  const NoGrad quiet;
  const Tensor host = t.detach().to(Device(Device::cpu)).contiguous();
  bool found = false;
  const auto look = [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = host.view().as<T>();
    found = std::any_of(x, x + host.numel(), [](T v) {
      if constexpr (is_complex_v<T>) return std::isnan(v.real()) || std::isnan(v.imag());
      else return std::isnan(compute_t<T>(v));
    });
  };
  with_type(t.dtype(), FloatTypes{}, look) || with_type(t.dtype(), ComplexTypes{}, look);
  return found;
}

void check_anomaly(const Node& n, int input, const Tensor& grad) {
  if (!has_nan(grad)) return;
  const std::string path = n.note ? n.note->path : "";
  const std::string_view name = n.note && n.note->function ? n.note->function->name() : n.op->name;
  throw Error(concat("backward: the derivative of ", name, " returned NaN for its input ", input, " (gradient ", grad,
                     ", output ", n.outputs[0].meta, ")", path.empty() ? "" : "; it was called in ", path),
              ErrorCode::autograd, "found because anomaly mode is on");
}

}  // namespace graft
