#include "graft/nn/activation.h"

#include "graft/core/op.h"
#include "graft/nn/functional.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

Tensor InplaceLayer::forward(const Tensor& x) {
  if (!inplace) return compute(x);
  const bool keeps = derivative_reads_input() && x.requires_grad() && is_grad_enabled();
  return x.copy_(compute(keeps ? x.clone() : x));
}
std::string InplaceLayer::extra_repr() const {
  const std::string text = options();
  if (!inplace) return text;
  return text + (text.empty() ? "" : ", ") + "inplace=True";
}

PReLU::PReLU(int64_t n, double init, Options options)
    : num_parameters(n), weight(this, "weight", full({n}, init, Options(options.dtype_or(f32), options.device))) {}

static std::string dim_repr(const std::optional<int>& dim) { return dim ? concat("dim=", *dim) : "dim=None"; }
Tensor Softmax::forward(const Tensor& x) { return functional::softmax(x, dim); }
std::string Softmax::extra_repr() const { return dim_repr(dim); }
Tensor LogSoftmax::forward(const Tensor& x) { return functional::log_softmax(x, dim); }
std::string LogSoftmax::extra_repr() const { return dim_repr(dim); }
Tensor Softmin::forward(const Tensor& x) { return functional::softmin(x, dim); }
std::string Softmin::extra_repr() const { return dim_repr(dim); }
Tensor Softmax2d::forward(const Tensor& x) {
  GRAFT_CHECK(x.dim() == 3 || x.dim() == 4, ErrorCode::shape_mismatch, "Softmax2d: expected input to be 3D or 4D, got ", x.view());
  return functional::softmax(x, -3);
}

// ---- by name -------------------------------------------------------------------------------------------------

template <class A> static void add_plain(Registry& r, const char* name) {
  r.add<A>(name, [](ArgReader&) { return make<A>(); });
}
template <class A> static void add_inplace(Registry& r, const char* name) {
  r.add<A>(name, [](ArgReader& a) { return make<A>(a.get("inplace", false)); }, {attribute<&A::inplace>("inplace")});
}
template <class A, auto member> static void add_number(Registry& r, const char* name, const char* argument, double fallback) {
  std::vector<Attribute> attributes{attribute<member>(argument)};
  if constexpr (std::is_base_of_v<InplaceLayer, A>) attributes.push_back(attribute<&A::inplace>("inplace"));
  r.add<A>(name, [=](ArgReader& a) {
    const double v = a.get(argument, fallback);
    if constexpr (std::is_base_of_v<InplaceLayer, A>) return make<A>(v, a.get("inplace", false));
    else return make<A>(v);
  }, std::move(attributes));
}
template <class A> static void add_softmax(Registry& r, const char* name) {
  r.add<A>(name, [](ArgReader& a) { return make<A>(a.get("dim", std::optional<int>())); }, {
                                                                                            attribute<&A::dim>("dim")});
}
void register_activation(Registry& r) {
  add_plain<Sigmoid>(r, "Sigmoid");
  add_plain<Tanh>(r, "Tanh");
  add_plain<LogSigmoid>(r, "LogSigmoid");
  add_plain<Softsign>(r, "Softsign");
  add_plain<Tanhshrink>(r, "Tanhshrink");
  add_plain<Softmax2d>(r, "Softmax2d");
  add_inplace<ReLU>(r, "ReLU");
  add_inplace<ReLU6>(r, "ReLU6");
  add_inplace<SELU>(r, "SELU");
  add_inplace<SiLU>(r, "SiLU");
  add_inplace<Mish>(r, "Mish");
  add_inplace<Hardsigmoid>(r, "Hardsigmoid");
  add_inplace<Hardswish>(r, "Hardswish");
  add_number<LeakyReLU, &LeakyReLU::negative_slope>(r, "LeakyReLU", "negative_slope", 0.01);
  add_number<ELU, &ELU::alpha>(r, "ELU", "alpha", 1);
  add_number<CELU, &CELU::alpha>(r, "CELU", "alpha", 1);
  add_number<Hardshrink, &Hardshrink::lambd>(r, "Hardshrink", "lambd", 0.5);
  add_number<Softshrink, &Softshrink::lambd>(r, "Softshrink", "lambd", 0.5);
  add_softmax<Softmax>(r, "Softmax");
  add_softmax<LogSoftmax>(r, "LogSoftmax");
  add_softmax<Softmin>(r, "Softmin");
  r.add<Threshold>("Threshold", [](ArgReader& a) {
    const auto threshold = a.get<double>("threshold"), value = a.get<double>("value");
    return make<Threshold>(threshold, value, a.get("inplace", false));
  }, {attribute<&Threshold::threshold>("threshold"), attribute<&Threshold::value>("value"),
      attribute<&Threshold::inplace>("inplace")});
  r.add<Hardtanh>("Hardtanh", [](ArgReader& a) {
    const auto low = a.get("min_val", -1.0), high = a.get("max_val", 1.0);
    return make<Hardtanh>(low, high, a.get("inplace", false));
  }, {attribute<&Hardtanh::min_val>("min_val"), attribute<&Hardtanh::max_val>("max_val"),
      attribute<&Hardtanh::inplace>("inplace")});
  r.add<GELU>("GELU", [](ArgReader& a) { return make<GELU>(a.get("approximate", std::string("none"))); },
              {attribute<&GELU::approximate>("approximate")});
  r.add<Softplus>("Softplus", [](ArgReader& a) {
    const auto beta = a.get("beta", 1.0), threshold = a.get("threshold", 20.0);
    return make<Softplus>(beta, threshold);
  }, {attribute<&Softplus::beta>("beta"), attribute<&Softplus::threshold>("threshold")});
  r.add<PReLU>("PReLU", [](ArgReader& a) {
    const auto n = a.get("num_parameters", int64_t{1});
    const auto init = a.get("init", 0.25);
    return make<PReLU>(n, init, a.options());
  }, {attribute<&PReLU::num_parameters>("num_parameters")});
}

}  // namespace graft
