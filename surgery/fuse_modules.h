// Fusion of modules that the caller names, as torch.ao.quantization: the names are a promise that these run one after
// the other and nowhere else. surgery/fuse.h finds chains by itself.
//
//   auto fused = surgery::fuse_modules(net, {{"conv1", "bn1", "relu1"}, {"submodule.conv", "submodule.relu"}});
//
// Known are (Conv n, BatchNorm n), (Conv n, BatchNorm n, ReLU), (Conv n, ReLU), (Linear, BatchNorm1d), (Linear, ReLU),
// (BatchNorm 2 or 3, ReLU), (ConvTranspose n, BatchNorm n) with n = 1, 2, 3; and, beyond torch, (Linear, BatchNorm1d,
// ReLU), (ConvTranspose n, BatchNorm n, ReLU), (BatchNorm1d, ReLU), (BatchNorm1d, Linear), (BatchNorm n, Conv n) without
// zero padding, (Conv n, Conv n) where the second is of 1x1, (Linear, Linear). Types count exactly: subclasses are not
// known.
#pragma once
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <typeindex>
#include <vector>
#include "graft/surgery/fuse.h"

namespace graft::inline v1::surgery {

using ModuleGroup = std::vector<nn::ModulePtr>;
using Fuser = std::function<nn::ModulePtr(bool is_qat, const ModuleGroup&)>;
using FuserMethods = std::map<std::vector<std::type_index>, Fuser>;
template <class... M> std::vector<std::type_index> types() { return {typeid(M)...}; }
// One module per module of the group: the fused one first, Identity for the others.
using FuserFunction = std::function<ModuleGroup(const ModuleGroup&, bool is_qat, const FuserMethods&)>;

struct FuseModulesOptions {
  bool inplace = false;                                // false: a clone is fused
  bool share_parameters = false;  // of the clone: those that no fusion touches are the model's, not copies
  std::vector<optim::Optimizer*> optimizers = {};      // of a model that is fused in place: they follow
  FuserMethods additional_fuser_method_mapping =
      {};  // types<Conv2d, BatchNorm2d>() -> a function; goes before the known ones
  FuserFunction fuser_func = {};                       // instead of the known ones altogether
  nn::Values example = {};  // if given, a trace checks that each module is called once, and BatchNorm1d on rows
  std::vector<std::string>* dropped_hooks =
      nullptr;  // receives the hooks that do not run any more: "conv: 1 forward hook"
  Recipe* recipe = nullptr;  // receives what was done; of fuse(), its edit has it too
};

// One list of paths, or a list of them: {"conv", "bn"}, {{"conv1", "bn1"}, {"conv2", "bn2", "relu"}}.
struct ModuleNames {
  ModuleNames(std::initializer_list<std::string> one)
      : groups{std::vector<std::string>(one)} {}                                 // NOLINT(google-explicit-constructor)
  ModuleNames(std::initializer_list<std::initializer_list<const char*>> many) {  // NOLINT(google-explicit-constructor)
    for (const auto& group : many) groups.emplace_back(group.begin(), group.end());
  }
  ModuleNames(const std::vector<std::string>& one) : groups{one} {}  // NOLINT(google-explicit-constructor)
  ModuleNames(std::vector<std::vector<std::string>> many)
      : groups(std::move(many)) {}  // NOLINT(google-explicit-constructor)
  std::vector<std::vector<std::string>> groups;
};

namespace detail {
nn::ModulePtr fuse_named(const nn::ModulePtr&, const ModuleNames&, bool is_qat, const FuseModulesOptions&);
Fusion fuse_in_place(nn::Module&, const ModuleNames&, bool is_qat, const FuseModulesOptions&);
}
// In eval mode; norms are folded. The fused module is at the first path, an Identity at the others. Pre-hooks of the
// first and forward hooks of the last module move to the fused one. Errors, all before any change: an unknown sequence,
// a path that does not exist or is named twice, a shared module, modules in training mode or in different ones.
template <class M>
std::shared_ptr<M> fuse_modules(const std::shared_ptr<M>& model, const ModuleNames& groups,
                                const FuseModulesOptions& o = {}) {
  return std::dynamic_pointer_cast<M>(detail::fuse_named(model, groups, false, o));
}
// The same in place, with a report and an edit to undo: surgery::fuse(*net, ModuleNames{"conv", "bn"}).
Fusion fuse(nn::Module& model, const ModuleNames& groups, const FuseModulesOptions& = {});
// For training that knows of quantization: norms are kept, and trained, behind their layers.
template <class M>
std::shared_ptr<M> fuse_modules_qat(const std::shared_ptr<M>& model, const ModuleNames& groups,
                                    const FuseModulesOptions& o = {}) {
  return std::dynamic_pointer_cast<M>(detail::fuse_named(model, groups, true, o));
}

// Of modules in hand. Hooks move as in fuse_modules; the modules are changed in no other way.
ModuleGroup fuse_known_modules(const ModuleGroup&, bool is_qat = false, const FuserMethods& additional = {});
nn::ModulePtr fuse_conv_bn(bool is_qat, const nn::ModulePtr& conv, const nn::ModulePtr& bn);
nn::ModulePtr fuse_conv_bn_relu(bool is_qat, const nn::ModulePtr& conv, const nn::ModulePtr& bn,
                                const nn::ModulePtr& relu);
nn::ModulePtr fuse_linear_bn(bool is_qat, const nn::ModulePtr& linear, const nn::ModulePtr& bn);
// The function for a sequence of types; Error not_implemented with the types where there is none.
Fuser get_fuser_method(const std::vector<std::type_index>&, const FuserMethods& additional = {});

}  // namespace graft
