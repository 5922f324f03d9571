#include "graft/nn/linear.h"

#include <cmath>

#include "graft/core/ops.h"
#include "graft/nn/init.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

static Tensor bias_for(int64_t n, const LinearOptions& o) { return o.bias ? empty({n}, o.options) : Tensor(); }

Linear::Linear(int64_t in, int64_t out, const LinearOptions& o)
    : in_features(in),
      out_features(out),
      weight(this, "weight", empty({out, in}, o.options)),
      bias(this, "bias", bias_for(out, o)) {
  reset_parameters();
}
void Linear::reset_parameters() {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  const double bound = in_features > 0 ? 1 / std::sqrt(double(in_features)) : 0;
  if (bias) init::uniform_(bias, -bound, bound);
}
Tensor Linear::forward(const Tensor& x) { return graft::linear(x, weight, bias); }
std::string Linear::extra_repr() const {
  return concat("in_features=", in_features, ", out_features=", out_features, ", bias=", Value(bool(bias)));
}

Bilinear::Bilinear(int64_t in1, int64_t in2, int64_t out, const LinearOptions& o)
    : in1_features(in1),
      in2_features(in2),
      out_features(out),
      weight(this, "weight", empty({out, in1, in2}, o.options)),
      bias(this, "bias", bias_for(out, o)) {
  GRAFT_CHECK(in1 > 0, "Bilinear: in1_features must be > 0, but got ", in1);
  reset_parameters();
}
void Bilinear::reset_parameters() {
  const double bound = 1 / std::sqrt(double(in1_features));
  init::uniform_(weight, -bound, bound);
  if (bias) init::uniform_(bias, -bound, bound);
}
Tensor Bilinear::forward(const Tensor& x1, const Tensor& x2) {
  const Tensor rows = matmul(x1.unsqueeze(-2).unsqueeze(-2), weight);  // [..., out, 1, in2]
  const Tensor y = sum(rows * x2.unsqueeze(-2).unsqueeze(-2), {-2, -1});
  return bias ? y + bias : y;
}
std::string Bilinear::extra_repr() const {
  return concat("in1_features=", in1_features, ", in2_features=", in2_features, ", out_features=", out_features,
                ", bias=", Value(bool(bias)));
}

void register_linear(Registry& r) {
  r.add<Linear>("Linear", [](ArgReader& a) {
    const auto in = a.get<int64_t>("in_features"), out = a.get<int64_t>("out_features");
    const bool bias = a.get("bias", true);
    return make<Linear>(in, out, LinearOptions{bias, a.options()});
  }, {attribute<&Linear::in_features>("in_features"), attribute<&Linear::out_features>("out_features"),
      attribute<&Linear::bias>("bias")});
  r.add<Bilinear>("Bilinear", [](ArgReader& a) {
    const auto in1 = a.get<int64_t>("in1_features"), in2 = a.get<int64_t>("in2_features");
    const auto out = a.get<int64_t>("out_features");
    const bool bias = a.get("bias", true);
    return make<Bilinear>(in1, in2, out, LinearOptions{bias, a.options()});
  }, {attribute<&Bilinear::in1_features>("in1_features"), attribute<&Bilinear::in2_features>("in2_features"),
      attribute<&Bilinear::out_features>("out_features"), attribute<&Bilinear::bias>("bias")});
}

}  // namespace graft::nn
