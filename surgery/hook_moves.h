// Hooks that move from one module to another, prepared first and then made without a way to fail. Handles stay valid.
#pragma once
#include <vector>
#include "graft/nn/module.h"

namespace graft::inline v1::surgery {

struct HookMove {
  nn::ModulePtr from;
  nn::HookKind kind;
  nn::ModulePtr to;  // behind those that it has
};

void drop_call_hooks(nn::Module&);  // all that run on its calls

class HookMoves {
 public:
  HookMoves() = default;
  explicit HookMoves(const std::vector<HookMove>&);  // the modules as they are now
  // The way back: what was moved and not removed since returns to its place; hooks added since stay where they are.
  HookMoves back() const;
  void exchange() noexcept;

 private:
  using List = std::shared_ptr<const nn::HookTable::List>;
  struct Side {
    nn::ModulePtr module;
    std::shared_ptr<nn::HookTable> table;
    nn::HookKind kind;
    List before, after, other;  // other: what exchange() puts in
  };
  Side& side(const nn::ModulePtr&, nn::HookKind);
  std::vector<Side> sides_;
};

}  // namespace graft
