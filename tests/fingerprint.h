// A text that names everything about a model and its optimizers: modules by identity, slots, flags, hooks, bytes of all
// tensors, groups with state. Equal texts: nothing has changed.
#pragma once
#include <sstream>
#include "graft/core/op.h"
#include "graft/nn/module.h"
#include "graft/optim/optimizer.h"

namespace graft_test {

inline void print_bytes(std::ostream& o, const graft::Tensor& t) {
  if (!t.defined()) return void(o << " none");
  const graft::NoGrad quiet;
  const graft::Tensor c = t.detach().cpu().contiguous();
  o << ' ' << t.device() << ' ' << c.view() << ':' << std::hex;
  const auto* p = reinterpret_cast<const unsigned char*>(c.view().data);
  for (int64_t i = 0; i < c.nbytes(); ++i) o << int(p[i]) << ',';
  o << std::dec;
}

inline std::string fingerprint(const graft::nn::Module& model, const std::vector<graft::optim::Optimizer*>& optimizers = {}) {
  std::ostringstream o;
  for (const auto& [path, m] : model.named_modules(nullptr, "", false)) {
    o << path << ' ' << m << ' ' << m->training() << ' ' << m->hooked();
    for (const auto& e : m->param_entries()) {
      o << "\n p " << e->name << ' ' << e->leaf.impl() << ' ' << e->editable << ' '
        << (e->leaf.defined() ? e->leaf.requires_grad() + 2 * graft::optim::is_stale(e->leaf) : 0);
      print_bytes(o, e->value());
      print_bytes(o, e->leaf.defined() ? e->leaf.grad() : graft::Tensor());
    }
    for (const auto& e : m->buffer_entries()) o << "\n b " << e->name, print_bytes(o, e->value);
    for (const auto& e : m->child_entries()) o << "\n c " << e->name << ' ' << e->module.get() << ' ' << e->typed;
    o << '\n';
  }
  for (const auto* opt : optimizers)
    for (size_t g = 0; g < opt->groups(); ++g) {
      o << opt->name() << ' ' << g << ' ' << opt->lr(g);
      for (const auto& s : opt->slots(g)) {
        o << "\n " << s.param.impl() << ' ' << s.keep << ' ' << s.state.step;
        for (const auto& b : s.state.buffers) print_bytes(o, b);
      }
      o << '\n';
    }
  return o.str();
}

// The parameters of a group by their names in the model, "stale" if the model has lost them.
inline std::string group(const graft::nn::Module& m, const graft::optim::Optimizer& o, size_t group = 0) {
  std::string text;
  for (const auto& s : o.slots(group)) {
    std::string name = "stale";
    for (const auto& [n, t] : m.named_parameters())
      if (t.is_same(s.param)) name = n;
    text += (text.empty() ? "" : " ") + name;
  }
  return text;
}
}  // namespace graft_test
