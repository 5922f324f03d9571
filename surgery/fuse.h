// Fusion for inference: batch norms go into the weights of the layers beside them; an nn::Add and a ReLU behind a convolution
// into its kernel. Chains are found by tracing an example; what is not fused is reported with a reason.
//
//   surgery::Fusion f = surgery::fuse(net->eval(), {x});
//   std::cout << f;
//   f.edit.undo();
//
// Fused are Conv1d-3d, ConvTranspose1d-3d and Linear with the BatchNorm behind them; Conv1d-3d and Linear also with one
// before them, where no zero padding comes in between; then, behind a Conv, an nn::Add of a residual of the same shape; and
// then a ReLU. What is fused with an Add is in its place. By names: surgery/fuse_modules.h.
#pragma once
#include <iosfwd>
#include <string>
#include <vector>
#include "graft/surgery/plan.h"

namespace graft::inline v1::surgery {

struct FuseOptions {
  std::vector<optim::Optimizer*> optimizers = {};  // what they hold is not fused, but for_inference: then they follow
  bool for_inference = false;
  bool move_hooks = false;           // fuse layers with hooks: see Fused::dropped_hooks
  bool relu = true;                  // false: norms only
  bool add = true;                   // false: an nn::Add stays; as it does while optimizers follow
  bool refusals_are_errors = false;  // Error plan_refused at the first, before any change, instead of a list of them
};

enum class Reason : uint8_t {
  several_consumers,      // the layer's output is read by others too
  layer_called_again,     // the layer has several call sites
  norm_called_again,      // the norm has
  activation_between,     // layer, ReLU, norm
  training_mode,
  no_running_statistics,
  wrong_rank,             // the norm works on another dimension than the layer: Linear before BatchNorm1d on [n, c, l]
  not_finite,             // the folded weights are not
  overflow,               // the folded weights do not fit into their dtype
  hooked,
  optimized,              // an optimizer holds the parameters
  tied,                   // another module has or reads the same tensor
  edited,                 // a mutable module's parameter has recorded edits
  zero_padding,           // norm before a convolution: zeros at the border are not normalised
  subclass,               // its forward may compute something else
  no_layer,               // nothing beside the norm can take it up
  relu_called_again,      // only the norm was fused: the ReLU has several call sites
  relu_is_a_function,     // only the norm was fused: relu() is called by the module around
  relu_hooked,            // only the norm was fused
};
std::string_view name_of(Reason);

struct Fused {
  std::string path;                // where the fused one is now: the layer's, or that of the Add
  std::vector<std::string> chain;  // paths in order of execution; all but `path` are an Identity now
  std::string what;                // "Conv2d + BatchNorm2d + ReLU -> ConvReLU2d"
  // With move_hooks: pre-hooks of the first and forward hooks of the last module have moved to the fused one; hooks
  // between them, and backward hooks, do not run any more.
  std::vector<std::string> dropped_hooks;
};
std::string joined(const std::vector<std::string>& paths);  // "conv1, bn1, relu1": a fused module's made_of()
struct Refused {
  std::string path;  // of the norm, or of the ReLU
  Reason code;
  std::string reason;
};
struct Fusion {
  std::vector<Fused> fused;
  std::vector<Refused> refused;
  Edit edit;
};
std::ostream& operator<<(std::ostream&, const Fusion&);  // two tables

// Runs the model on shapes, or on the example's values where it needs some. Errors of the model's own, before any
// change, carry its path.
Fusion fuse(nn::Module& model, const nn::Values& example, const FuseOptions& = {});

}  // namespace graft
