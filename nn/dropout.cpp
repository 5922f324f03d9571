#include "graft/nn/dropout.h"

#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

DropoutNd::DropoutNd(double p, bool inplace) : p(p), inplace(inplace) {
  GRAFT_CHECK(p >= 0 && p <= 1, "Dropout: dropout probability has to be between 0 and 1, but got ", p);
}
Tensor DropoutNd::forward(const Tensor& x) {
  const Tensor y = compute(x);
  return inplace && training() ? x.copy_(y) : y;
}
std::string DropoutNd::extra_repr() const { return concat("p=", Value(p), ", inplace=", Value(inplace)); }

template <class D> static void add_dropout(Registry& r, const char* name) {
  r.add<D>(name, [](ArgReader& a) {
    const auto p = a.get("p", 0.5);
    return make<D>(p, a.get("inplace", false));
  }, {attribute<&D::p>("p"), attribute<&D::inplace>("inplace")});
}
void register_dropout(Registry& r) {
  add_dropout<Dropout>(r, "Dropout");
  add_dropout<Dropout1d>(r, "Dropout1d");
  add_dropout<Dropout2d>(r, "Dropout2d");
  add_dropout<Dropout3d>(r, "Dropout3d");
  add_dropout<AlphaDropout>(r, "AlphaDropout");
}

}  // namespace graft
