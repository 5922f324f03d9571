#include "graft/nn/shape.h"

#include "graft/core/ops.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

Tensor Flatten::forward(const Tensor& x) { return x.flatten(start_dim, end_dim); }
Tensor Unflatten::forward(const Tensor& x) { return x.unflatten(dim, unflattened_size); }
std::string Unflatten::extra_repr() const {
  return concat("dim=", dim, ", unflattened_size=", Value(std::vector<int64_t>(unflattened_size.begin(), unflattened_size.end())));
}

void register_shape(Registry& r) {
  r.add<Flatten>("Flatten", [](ArgReader& a) {
    const auto start = a.get("start_dim", 1);
    return make<Flatten>(start, a.get("end_dim", -1));
  }, {attribute<&Flatten::start_dim>("start_dim"), attribute<&Flatten::end_dim>("end_dim")});
  r.add<Unflatten>("Unflatten", [](ArgReader& a) {
    const auto dim = a.get<int>("dim");
    return make<Unflatten>(dim, a.get<Shape>("unflattened_size"));
  }, {attribute<&Unflatten::dim>("dim"), attribute<&Unflatten::unflattened_size>("unflattened_size")});
}

}  // namespace graft
