// A model without its numbers: the types of its modules, what they were made with, which slots hold which, and what its
// tensors look like; as JSON, through the registry of types (registry.h). From it the same tree is built.
//
//   std::string text = nn::architecture(*net).dump(2);
//   nn::ModulePtr same = nn::from_architecture(Json::parse(text, "net.json"));
//
//   {"modules": [
//     {"type": "Sequential", "children": {"0": 1, "1": 2}},
//     {"type": "Linear", "args": {"in_features": 4, "out_features": 2, "bias": false}, "training": false,
//      "parameters": {"weight": {"dtype": "f32", "shape": [2, 4]}, "bias": null}},
//     ...]}
//
// The first module is the model; others are named by their number, so that shared ones are there once. Per module: `args` are
// its attributes; parameters and buffers are null where they are None; "tied": [module, name] is a tensor described before;
// "requires_grad" and "persistent" are there where they are false, "memory_format" where it is channels_last or
// channels_last_3d, "made_of" where surgery has named parts. Not part of it: numbers, hooks, devices, other strides, recorded
// edits of mutable modules (what they amount to is the parameter).
#pragma once
#include <string>
#include "graft/core/json.h"
#include "graft/nn/module.h"

namespace graft::inline v1::nn {

// For a part of a model: what is not described but named, as {"keep": path}, since it is found in the model around.
struct Surroundings {
  std::unordered_map<const Module*, std::string> modules;
  std::unordered_map<const TensorImpl*, std::string> tensors;
};

// Error type_error, with path and type, for a type that is not registered.
Json architecture(const Module&, const Surroundings& = {});
class Structure;  // structure.h: of a model as it was
Json architecture(const Structure&, uint32_t module, const Surroundings& = {});

struct BuildOptions {
  bool empty = false;  // tensors are not filled: for a model whose numbers are loaded
  uint64_t most_bytes = UINT64_MAX;  // of tensors, beyond which it is an Error too_large before they are made
  // What {"keep": path} names; null: such a name is an Error. They fail where there is no such module or tensor.
  std::function<ModulePtr(const std::string& path)> module = {};
  std::function<Tensor(const std::string& path)> tensor = {};
};
// Errors: malformed; key_error for a type that is not registered here; those of factories, with the path. Numbers are those
// of a new module, but with `empty`.
ModulePtr from_architecture(const Json&, const BuildOptions& = {});
// Is this an architecture? Else an Error malformed that says where. Types and arguments are not looked at.
void check_architecture(const Json&, const std::string& where);

// A number for the structure of a model: types, attributes, slots, sharing, and the names, shapes and dtypes of tensors; not
// modes, devices, memory formats, requires_grad or numbers. Types that are not registered count by their class name alone.
uint64_t architecture_hash(const Module&);

}  // namespace graft::nn
