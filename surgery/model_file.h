// A model in one file: its architecture, its numbers, and the recipe of what was done to it. In safetensors format, so that
// other tools read the weights under the names of state_dict(); the rest is in the metadata.
//
//   surgery::save_model("net.safetensors", *net, {.recipe = recipe});
//   nn::ModulePtr same = surgery::load_model("net.safetensors").model;  // answers the same, bit for bit
#pragma once
#include "graft/io/safetensors.h"
#include "graft/surgery/recipe.h"

namespace graft::inline v1::surgery {

struct ModelFile {
  nn::ModulePtr model;
  Recipe recipe;                            // how it came to be what it is; may be empty
  std::shared_ptr<const ModelFile> before;  // as it was before the last edit, if the file keeps that
};
struct SaveModelOptions {
  Recipe recipe = {};
  // Kept in the file as well: what differs is stored beside, so that the edit can be undone (`graft undo`).
  std::shared_ptr<const ModelFile> before = {};
};
// Tied parameters are stored once. Hooks, plain tensor members and recorded edits of mutable modules are not stored. Errors,
// before the file is touched: a type that is not registered, with its path; those of save_safetensors.
void save_model(const std::string& path, const nn::Module&, const SaveModelOptions& = {});

// With the modes, memory formats, requires_grad and ties that it had. Errors, whose text begins with the path: those of load_safetensors;
// malformed for a file of tensors alone; key_error for a type that is not registered, with the names of those that are.
// Nothing is made that is larger than the file.
ModelFile load_model(const std::string& path, const io::ReadOptions& = {});
template <class M> std::shared_ptr<M> load_model_as(const std::string& path, const io::ReadOptions& options = {}) {
  auto m = std::dynamic_pointer_cast<M>(load_model(path, options).model);
  GRAFT_CHECK(m, ErrorCode::type_error, path, ": the model is not of the wanted type");
  return m;
}

}  // namespace graft
