// composer.utils.module_surgery by its own names: thin forms of surgery/plan.h. count_module_instances is in
// surgery/count.h.
//
//   auto replaced = surgery::replace_module_classes(*net, {surgery::on<nn::Linear>([](const nn::Linear& l, int64_t
//   index) {...})},
//                                                   {.recurse_on_replacements = true});
#pragma once
#include "graft/surgery/count.h"
#include "graft/surgery/plan.h"

namespace graft::inline v1::surgery {

struct ReplaceOptions {
  std::vector<optim::Optimizer*> optimizers = {};
  bool recurse_on_replacements = false;
  Indices* indices = nullptr;
};
using Replacements =
    std::vector<std::pair<nn::ModulePtr, nn::ModulePtr>>;  // old, new; in order, intermediate ones included
Replacements replace_module_classes(nn::Module&, const std::vector<Policy>&, const ReplaceOptions& = {});

// The i-th of the new parameters takes group and place of the i-th old one, without its state. Errors, all before any
// change: several optimizers (not_implemented), lists of different lengths, an old parameter that the optimizer lacks.
void replace_params_in_optimizer(const Tensors& old_params, const Tensors& new_params,
                                 const std::vector<optim::Optimizer*>&);
// What is only in old_params leaves, with its state; what is only in new_params enters at the end of the group that the
// former were in, or of the only group. Errors, all before any change: several optimizers (not_implemented), a
// parameter that the optimizer lacks, a group that is not clear.
void update_params_in_optimizer(const Tensors& old_params, const Tensors& new_params,
                                const std::vector<optim::Optimizer*>&);

}  // namespace graft
