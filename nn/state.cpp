// state_dict and load_state_dict. Loading is planned first (everything that is missing, unexpected or misfitting is
// reported at once), then copied; whatever fails, the model is as before.
#include <algorithm>
#include <tuple>

#include "graft/core/op.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

constexpr const char* kExtraState = "_extra_state";

// Every path of every module, children after their parent; leave(module, prefix) comes after the children.
template <class Enter, class Leave> static void walk_paths(Module& root, std::string prefix, Enter&& enter, Leave&& leave) {
  struct Step { Module* module; std::string prefix; size_t next; };
  std::vector<Step> stack;
  auto push = [&](Module& m, std::string p) {
    enter(m, p);
    stack.push_back({&m, std::move(p), 0});
  };
  push(root, std::move(prefix));
  while (!stack.empty()) {
    Step& top = stack.back();
    if (top.next < top.module->child_entries().size()) {
      const ChildEntry& e = *top.module->child_entries()[top.next++];
      if (e.module) push(*e.module, top.prefix + e.name + ".");
      continue;
    }
    const Step done = std::move(top);
    stack.pop_back();
    leave(*done.module, done.prefix);
  }
}

// ---- saving ------------------------------------------------------------------------------------------------------

static void save_own(const Module& m, StateDict& to, const std::string& prefix, bool keep_vars) {
  auto save = [&](const std::string& name, const Tensor& t) {
    if (t.defined()) to.set(prefix + name, keep_vars ? t : t.detach());
  };
  to.set_version(prefix, m.state_version());
  for (const auto& e : m.param_entries()) save(e->name, e->value());
  for (const auto& e : m.buffer_entries())
    if (e->persistent) save(e->name, e->value);
  save(kExtraState, m.get_extra_state());
}

void Module::state_dict(StateDict& destination, const std::string& prefix, bool keep_vars) const {
  auto& root = const_cast<Module&>(*this);  // hooks take the module as they registered on it
  const std::string dotted = prefix.empty() || prefix.back() == '.' ? prefix : prefix + ".";
  walk_paths(
      root, dotted,
      [&](Module& m, const std::string& at) {
        if (const auto hooks = m.hooks_ ? m.hooks_->list(HookKind::state_dict_pre) : nullptr)
          for (const auto& hook : *hooks) hook->get<HookKind::state_dict_pre>()(m, at, keep_vars);
        save_own(m, destination, at, keep_vars);
      },
      [&](Module& m, const std::string& at) {
        if (const auto hooks = m.hooks_ ? m.hooks_->list(HookKind::state_dict) : nullptr)
          for (const auto& hook : *hooks) hook->get<HookKind::state_dict>()(m, destination, at);
      });
}
StateDict Module::state_dict(const std::string& prefix, bool keep_vars) const {
  StateDict dict;
  state_dict(dict, prefix, keep_vars);
  return dict;
}
void Module::set_extra_state(const Tensor&) {
  fail(ErrorCode::not_implemented, type_name(*this), ": has no set_extra_state(), but its state_dict has extra state");
}

// ---- loading -----------------------------------------------------------------------------------------------------

namespace {

std::string torch_size(const Shape& s) {
  std::string text = "torch.Size([";
  for (int i = 0; i < s.rank(); ++i) text += (i ? ", " : "") + std::to_string(s[i]);
  return text + "])";
}
std::string quoted(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& n : names) text += (text.empty() ? "\"" : ", \"") + n + "\"";
  return text;
}

class Loading {
 public:
  Loading(Module& root, const StateDict& dict, LoadOptions options) : root_(root), dict_(dict), options_(options) {}

  IncompatibleKeys run() {
    walk_paths(root_, "", [this](Module& m, const std::string& prefix) { plan(m, prefix); },
               [this](Module& m, const std::string&) { leaving_.push_back(&m); });
    find_unexpected();
    if (!errors_.empty() || !has_post_hooks_) fail_if_wrong();
    stage();
    try {
      commit();
      run_post_hooks();
      fail_if_wrong();
    } catch (...) {
      roll_back();
      throw;
    }
    return keys_;
  }

 private:
  struct Write {
    Tensor* slot;  // the entry's tensor
    Tensor to, from, before;
    ParamEntry* param;  // null: a buffer
    Tensor edited_before;
    bool replaces = false;  // the tensor in the slot, instead of copying into it
  };
  struct Extra { Module* module; Tensor from, before; };

  void plan(Module& m, const std::string& prefix) {
    const size_t visit = visits_++;
    places_.emplace(prefix, visit);
    const HookTable* hooks = m.hooks();
    if (hooks && hooks->has(HookKind::load)) has_post_hooks_ = true;
    m.prepare_load(dict_, prefix, dict_.version(prefix));
    if (hooks && hooks->has(HookKind::load_pre)) {
      const auto list = hooks->list(HookKind::load_pre);
      for (const auto& hook : *list) hook->get<HookKind::load_pre>()(m, dict_, prefix);
    }
    for (const auto& e : m.param_entries())
      if (e->value().defined()) plan_tensor(prefix + e->name, e->value(), &e->leaf, e.get());
    for (const auto& e : m.buffer_entries())
      if (e->value.defined() && e->persistent) plan_tensor(prefix + e->name, e->value, &e->value, nullptr);
    plan_extra(m, prefix + kExtraState);
  }

  void plan_tensor(const std::string& key, const Tensor& now, Tensor* slot, ParamEntry* param) {
    known_.insert(key);
    const Tensor* given = dict_.find(key);
    if (!given) return keys_.missing_keys.push_back(key);
    if (!given->defined()) return errors_.push_back("While copying the parameter named \"" + key + "\", expected a tensor, got None.");
    Tensor from = given->detach();
    if (now.dim() == 0 && from.dim() == 1 && from.numel() == 1) from = from.reshape({});
    if (from.shape() != now.shape())
      return errors_.push_back("size mismatch for " + key + ": copying a param with shape " + torch_size(from.shape()) +
                               " from checkpoint, the shape in current model is " + torch_size(now.shape()) + ".");
    if (now.device().type == Device::meta && from.device().type != Device::meta && !options_.assign)
      return errors_.push_back("While copying the parameter named \"" + key +
                               "\": it has no memory (meta); call to_empty() first or pass assign = true.");
    writes_.push_back({slot, now, from, {}, param, {}, false});
  }

  void plan_extra(Module& m, const std::string& key) {
    const bool has = m.get_extra_state().defined();
    if (!has) return;
    known_.insert(key);
    if (const Tensor* t = dict_.find(key)) extras_.push_back({&m, *t, m.get_extra_state()});
    else keys_.missing_keys.push_back(key);
  }

  // A key that is unexpected is reported where the walk would have met it: at the deepest module on its path.
  void find_unexpected() {
    std::vector<std::tuple<size_t, size_t, std::string>> found;  // visit, position, key
    for (const auto& [key, t] : dict_) {
      if (known_.contains(key)) continue;
      size_t visit = 0;
      for (size_t dot = key.rfind('.'); dot != std::string::npos; dot = dot ? key.rfind('.', dot - 1) : std::string::npos)
        if (const auto it = places_.find(key.substr(0, dot + 1)); it != places_.end()) {
          visit = it->second;
          break;
        }
      found.emplace_back(visit, found.size(), key);
    }
    std::sort(found.begin(), found.end());
    for (auto& [visit, position, key] : found) keys_.unexpected_keys.push_back(std::move(key));
  }

  void fail_if_wrong() const {
    std::vector<std::string> lines;
    if (options_.strict && !keys_.missing_keys.empty())
      lines.push_back("Missing key(s) in state_dict: " + quoted(keys_.missing_keys) + ". ");
    if (options_.strict && !keys_.unexpected_keys.empty())
      lines.push_back("Unexpected key(s) in state_dict: " + quoted(keys_.unexpected_keys) + ". ");
    lines.insert(lines.end(), errors_.begin(), errors_.end());
    if (lines.empty()) return;
    std::string text = "Error(s) in loading state_dict for " + type_name(root_) + ":";
    for (const std::string& line : lines) text += "\n\t" + line;
    throw Error(text, ErrorCode::state_dict);
  }

  // Values in the dtype and on the device of their target, in memory that no write will change. A parameter that was
  // edited gets a new leaf, and its edits end; so does every parameter with LoadOptions::assign.
  void stage() {
    const NoGrad quiet;
    std::unordered_set<const Storage*> targets;
    for (const Write& w : writes_) targets.insert(w.to.impl()->storage.get());
    for (Write& w : writes_) {
      w.replaces = options_.assign || (w.param && w.param->is_edited());
      w.before = w.replaces ? *w.slot : w.to.detach().clone();
      if (w.param) w.edited_before = w.param->edited;
      if (!options_.assign) {
        w.from = w.from.to(w.to.options());
        if (w.replaces || targets.contains(w.from.impl()->storage.get())) w.from = w.from.clone();
      }
      if (w.param && w.replaces) w.from = parameter(w.from, w.before.defined() && w.before.requires_grad());
    }
  }

  void commit() {
    const NoGrad quiet;
    for (; written_ < writes_.size(); ++written_) {
      const Write& w = writes_[written_];
      if (w.replaces) *w.slot = w.from;
      else w.to.copy_(w.from);
      if (w.param && w.param->editable) w.param->edited = w.param->leaf;
    }
    for (; extras_set_ < extras_.size(); ++extras_set_) extras_[extras_set_].module->set_extra_state(extras_[extras_set_].from);
  }
  void roll_back() {
    const NoGrad quiet;
    while (extras_set_-- > 0) extras_[extras_set_].module->set_extra_state(extras_[extras_set_].before);
    for (size_t i = std::min(written_ + 1, writes_.size()); i-- > 0;) {
      const Write& w = writes_[i];
      if (w.replaces) *w.slot = w.before;
      else w.to.copy_(w.before);
      if (w.param) w.param->edited = w.edited_before;
    }
  }
  void run_post_hooks() {
    for (Module* m : leaving_)
      if (const HookTable* hooks = m->hooks(); hooks && hooks->has(HookKind::load)) {
        const auto list = hooks->list(HookKind::load);
        for (const auto& hook : *list) hook->get<HookKind::load>()(*m, keys_);
      }
  }

  Module& root_;
  StateDict dict_;
  const LoadOptions options_;
  IncompatibleKeys keys_;
  std::vector<std::string> errors_;
  std::vector<Write> writes_;
  std::vector<Extra> extras_;
  std::vector<Module*> leaving_;  // children before their parent
  std::unordered_map<std::string, size_t> places_;
  std::unordered_set<std::string> known_;
  size_t visits_ = 0, written_ = 0, extras_set_ = 0;
  bool has_post_hooks_ = false;
};

}  // namespace

IncompatibleKeys Module::load_state_dict(const StateDict& dict, LoadOptions options) {
  return Loading(*this, dict, options).run();
}

}  // namespace graft::nn
