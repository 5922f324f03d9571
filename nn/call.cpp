// The erased call: pre-hooks, forward, hooks; full backward hooks around them.
#include "graft/nn/call.h"

#include "graft/core/autograd.h"

namespace graft::inline v1::nn {

Value Module::invoke(const Values&) {
  fail(ErrorCode::not_implemented, type_name(*this), ": Module [", type_name(*this),
       "] is missing the required \"forward\" function");
}
void detail::fail_no_forward(const Module& m, const Values& args) {
  std::string kinds;
  for (const Value& v : args) kinds += (kinds.empty() ? "" : ", ") + v.kind();
  fail(ErrorCode::type_error, type_name(m), ": no forward takes (", kinds, ")");
}

Value Module::call(Values args) {
  if (!runs_hooks() || thread_modes().dry_run) return invoke(args);  // a dry run calls no code of the user's
  return call_hooked(std::move(args));
}

namespace {

// Of one kind: those of all modules, then the module's own. Lists are snapshots: hooks may add and remove hooks.
struct Hooks {
  std::shared_ptr<const HookTable::List> all, own;
  Hooks() = default;
  Hooks(const HookTable* table, HookKind kind) {
    if (const HookTable* t = HookTable::of_all()) all = t->list(kind);
    if (table) own = table->list(kind);
  }
  explicit operator bool() const { return all || own; }
  template <class F> void each(F f) const {
    for (const auto* list : {all.get(), own.get()})
      if (list)
        for (const auto& hook : *list) f(*hook);
  }
};

// One call of a module with full backward hooks. The gradients of its outputs pass through one node, those of its
// inputs through another, which therefore runs after them.
struct BackwardCall {
  Module* module = nullptr;
  ModulePtr keep;  // where the module is shared, the graph keeps it alive
  Hooks before, after;
  Tensors grad_output;
  size_t inputs = 0;             // tensors among the arguments
  std::vector<size_t> wanted;    // which of them need a gradient

  void run_before(Tensors& g) const {
    before.each([&](const HookRecord& hook) { hook.get<HookKind::full_backward_pre>()(*module, g); });
  }
  void run_after(Tensors& grad_input) const {
    const size_t n = grad_input.size();
    after.each([&](const HookRecord& hook) {
      hook.get<HookKind::full_backward>()(*module, grad_input, grad_output);
      GRAFT_CHECK(grad_input.size() == n, "full backward hook of ", type_name(*module), ": got ", grad_input.size(),
                  " gradients for ", n, " inputs");
    });
  }
};

struct AtInputs final : Function {
  explicit AtInputs(std::shared_ptr<BackwardCall> c) : call(std::move(c)) {}
  std::string_view name() const override { return "module_inputs"; }
  Tensors forward(const Tensors& in) override { return in; }
  Tensors backward(Backward&, const Tensors& g) override {
    Tensors all(call->inputs);
    for (size_t i = 0; i < call->wanted.size(); ++i) all[call->wanted[i]] = g[i];
    call->run_after(all);
    Tensors result;
    for (const size_t i : call->wanted) result.push_back(all[i]);
    return result;
  }
  std::shared_ptr<BackwardCall> call;
};
struct AtOutputs final : Function {
  explicit AtOutputs(std::shared_ptr<BackwardCall> c) : call(std::move(c)) {}
  std::string_view name() const override { return "module_outputs"; }
  Tensors forward(const Tensors& in) override { return in; }
  Tensors backward(Backward&, const Tensors& g) override {
    Tensors changed = g;
    call->run_before(changed);
    GRAFT_CHECK(changed.size() == g.size(), "full backward pre-hook of ", type_name(*call->module), ": got ",
                changed.size(), " gradients for ", g.size(), " outputs");
    call->grad_output = changed;
    if (call->wanted.empty()) {  // no input needs a gradient: the hooks run with none
      Tensors none(call->inputs);
      call->run_after(none);
    }
    return changed;
  }
  std::shared_ptr<BackwardCall> call;
};

// Replaces those tensors in `v` that need gradients by what `f` makes of them.
void pass_through(Value& v, const std::shared_ptr<Function>& f) {
  Tensors in;
  for_each_tensor(v, [&](Tensor& t) { if (t.defined() && t.requires_grad()) in.push_back(t); });
  if (in.empty()) return;
  const Tensors out = graft::call(f, in);
  size_t i = 0;
  for_each_tensor(v, [&](Tensor& t) { if (t.defined() && t.requires_grad()) t = out[i++]; });
}

void run_forward_hooks(const Hooks& hooks, bool only_always, Module& m, const Values& args, Value& out) {
  hooks.each([&](const HookRecord& hook) {
    if (!only_always || hook.options.always_call) hook.get<HookKind::forward>()(m, args, out);
  });
}

}  // namespace

Value Module::call_hooked(Values args) {
  const std::shared_ptr<HookTable> table = hooks_;
  const Hooks pre(table.get(), HookKind::forward_pre), post(table.get(), HookKind::forward);
  pre.each([&](const HookRecord& hook) { hook.get<HookKind::forward_pre>()(*this, args); });

  std::shared_ptr<BackwardCall> backward;
  const Hooks before(table.get(), HookKind::full_backward_pre), after(table.get(), HookKind::full_backward);
  if (thread_modes().grad && (before || after)) {
    backward = std::make_shared<BackwardCall>();
    backward->module = this;
    backward->keep = weak_from_this().lock();
    backward->before = before;
    backward->after = after;
    Value all(std::move(args));
    for_each_tensor(all, [&](Tensor& t) {
      if (t.defined() && t.requires_grad()) backward->wanted.push_back(backward->inputs);
      ++backward->inputs;
    });
    pass_through(all, std::make_shared<AtInputs>(backward));
    args = std::move(*all.get_if<Values>());
  }

  Value out;
  try {
    out = invoke(args);
    run_forward_hooks(post, false, *this, args, out);
  } catch (...) {
    Value none;
    run_forward_hooks(post, true, *this, args, none);
    throw;
  }
  if (backward) pass_through(out, std::make_shared<AtOutputs>(backward));
  return out;
}

}  // namespace graft::nn
