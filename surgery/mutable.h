// Mutable modules, as torch-mutable-modules: parameters that take any tensor, with its history.
//
//   auto net = surgery::to_mutable_module(nn::make<nn::Linear>(1, 1));
//   net->weight *= 0;
//   net->weight += 69;            // recorded: a gradient passes through the edits to net->weight.leaf()
//   net->bias = predicted;        // and to the network that predicted it
//   surgery::materialize(*net);   // the values become the parameters
//
// There is one truth: forward, state_dict(), to() and clone() use the value; parameters() yields the leaf, so an
// optimizer trains what the edits start from; tied parameters stay tied; frozen ones stay frozen.
#pragma once
#include <memory>
#include "graft/nn/param.h"

namespace graft::inline v1::surgery {

void make_mutable(nn::Module& model);  // all parameters of the model and of the modules below it; twice is as once
template <class M> std::shared_ptr<M> to_mutable_module(std::shared_ptr<M> model) {
  GRAFT_CHECK(model, "to_mutable_module: there is no model");
  make_mutable(*model);
  return model;
}
// The value of every edited parameter becomes its new leaf; what led to it is forgotten. Optimizers hold the old
// leaves: make them after this.
void materialize(nn::Module& model);

}  // namespace graft
