#include "graft/optim/optimizer.h"

#include <algorithm>
#include <unordered_set>
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"

namespace graft::inline v1::optim {

// ---- groups --------------------------------------------------------------------------------------------------

size_t Optimizer::append_group(const Tensors& params) {
  std::unordered_set<const TensorImpl*> known;
  for (const Slots& group : groups_)
    for (const Slot& s : group) known.insert(s.param.impl());
  Slots slots;
  for (const Tensor& p : params) {
    GRAFT_CHECK(p.defined(), name(), ": parameter ", slots.size(), " is undefined");
    GRAFT_CHECK(p.is_leaf(), name(), ": parameter ", slots.size(), " (", p.view(), ") is not a leaf");
    GRAFT_CHECK(is_differentiable(p.dtype()), ErrorCode::dtype_mismatch, name(), ": parameter ", slots.size(), " (",
                p.view(), ") is not floating point");
    GRAFT_CHECK(known.insert(p.impl()).second, name(), ": parameter ", slots.size(), " (", p.view(),
                ") appears twice, in one group or in two");
    slots.push_back({p, {}, false});
  }
  GRAFT_CHECK(!slots.empty() || !groups_.empty(), name(), ": got an empty list of parameters");
  groups_.push_back(std::move(slots));
  return groups_.size() - 1;
}

Tensors Optimizer::params(size_t group) const {
  Tensors list;
  for (const Slot& s : slots(group)) list.push_back(s.param);
  return list;
}
Tensors Optimizer::params() const {
  Tensors list;
  for (const Slots& group : groups_)
    for (const Slot& s : group) list.push_back(s.param);
  return list;
}
const State* Optimizer::state(const Tensor& param) const {
  for (const Slots& group : groups_)
    for (const Slot& s : group)
      if (s.param.is_same(param)) return &s.state;
  return nullptr;
}
void Optimizer::keep(const Tensor& param) {
  for (Slots& group : groups_)
    for (Slot& s : group)
      if (s.param.is_same(param)) return void(s.keep = true);
  fail(name(), ": keep: ", param.view(), " is not one of its parameters");
}

// ---- options -------------------------------------------------------------------------------------------------

static std::string join(const std::vector<std::string_view>& names) {
  std::string text;
  for (const std::string_view n : names) text += (text.empty() ? "" : ", ") + std::string(n);
  return text;
}
double Optimizer::option(size_t group, std::string_view option) const {
  const std::optional<double> v = read_option(group, option);
  GRAFT_CHECK(v.has_value(), ErrorCode::key_error, name(), ": no option '", option, "'; there are: ", join(option_names()));
  return *v;
}
void Optimizer::set_option(size_t group, std::string_view name, double value) {
  option(group, name);  // a name that is not known is an error
  write_option(group, name, value);
}
void Optimizer::set_lr(double lr) {
  for (size_t g = 0; g < groups(); ++g) set_option(g, "lr", lr);
}

// ---- step ----------------------------------------------------------------------------------------------------

void mark_stale(const Tensor& param, bool stale) noexcept { param.impl()->stale = stale; }
bool is_stale(const Tensor& param) noexcept { return param.impl()->stale; }

static void check_slot(std::string_view name, size_t group, size_t k, const Slot& s, const Tensor& grad) {
  if (is_stale(s.param) && !s.keep)
    fail(ErrorCode::stale_parameter, name, ": parameter ", k, " of group ", group, " (", s.param.view(),
         ") is no longer part of its model; pass the optimizer to the surgery, or keep() the parameter");
  if (!grad.defined()) return;
  GRAFT_CHECK(same_sizes(grad.view(), s.param.view()), ErrorCode::shape_mismatch, name, ": parameter ", k, " of group ",
              group, " is ", s.param.view(), " but its gradient is ", grad.view());
  GRAFT_CHECK(grad.dtype() == s.param.dtype(), ErrorCode::dtype_mismatch, name, ": parameter ", k, " of group ", group,
              " is ", s.param.view(), " but its gradient is ", grad.view());
  GRAFT_CHECK(grad.device() == s.param.device(), ErrorCode::device_mismatch, name, ": parameter ", k, " of group ", group,
              " is ", s.param.view(), " but its gradient is ", grad.view());
}

// A model may have moved, or changed its dtype, since its optimizer's last step.
static void bring_to(const Tensor& param, State& s, std::string_view name, size_t group, size_t k) {
  for (Tensor& b : s.buffers) {
    if (!b.defined()) continue;
    GRAFT_CHECK(same_sizes(b.view(), param.view()), ErrorCode::shape_mismatch, name, ": parameter ", k, " of group ", group, " is ",
                param.view(), " but its state is ", b.view(), "; make the optimizer anew");
    if (b.dtype() != param.dtype() || b.device() != param.device()) [[unlikely]] b = b.to(param.dtype()).to(param.device());
  }
}

// The slots that have a gradient, by group, dtype and device: nearly always one batch a group.
std::vector<Optimizer::Batch> Optimizer::batches() {
  std::vector<Batch> all;
  for (size_t g = 0; g < groups(); ++g)
    for (size_t k = 0; k < groups_[g].size(); ++k) {
      Slot& s = groups_[g][k];
      const Tensor grad = s.param.grad();
      check_slot(name(), g, k, s, grad);
      if (!grad.defined()) continue;
      const auto fits = [&](const Batch& b) {
        return b.group == g && b.grads[0].dtype() == grad.dtype() && b.grads[0].device() == grad.device();
      };
      auto batch = std::ranges::find_if(all, fits);
      if (batch == all.end()) batch = all.insert(batch, Batch{g, {}, {}, {}});
      batch->slots.push_back(&s);
      batch->grads.push_back(grad);
      batch->states.push_back(prepare(g, s));
      bring_to(s.param, batch->states.back(), name(), g, k);
      ++batch->states.back().step;
    }
  return all;
}

// What of a batch happens on the host at each replay of a graph: the state is counted as by step(), and the numbers that
// depend on it are written for the kernels.
struct Optimizer::Replayed {
  struct Seen {
    size_t at;
    Tensor param;
    const std::byte* data;
    std::array<Tensor, 3> buffers;
    int64_t before;  // steps of this parameter that come earlier in the graph
  };
  std::weak_ptr<Optimizer* const> alive;
  std::string_view name;
  size_t group;
  Numbers numbers;
  std::vector<Seen> seen;

  Slots& slots() const {
    const auto self = alive.lock();
    GRAFT_CHECK(self, "Graph::replay: an optimizer that the step uses is gone");
    return (*self)->groups_[group];
  }
  void write(std::byte* to) const {
    const Slots& now = slots();
    for (const Seen& s : seen) {
      const bool same = s.at < now.size() && now[s.at].param.is_same(s.param) && s.param.view().data == s.data &&
                        std::ranges::equal(now[s.at].state.buffers, s.buffers, {}, &Tensor::impl, &Tensor::impl);
      GRAFT_CHECK(same, name, ": parameter ", s.at, " of group ", group, " (", s.param.view(),
                  "), or its state, is not what it was when the graph was captured; capture it again");
      check_slot(name, group, s.at, now[s.at], {});
      const State& own = now[s.at].state;
      if (numbers.write) numbers.write({.step = own.step + 1 + s.before, .fresh = own.fresh && s.before == 0, .buffers = {}}, to);
      to += numbers.bytes;
    }
  }
  void count() const {
    Slots& now = slots();
    for (const Seen& s : seen) {
      ++now[s.at].state.step;
      now[s.at].state.fresh = false;
    }
  }
};
void Optimizer::follow(Batch& b) {
  const auto r = std::make_shared<Replayed>(alive(), name(), b.group, numbers(b.group));
  for (size_t k = 0; k < b.slots.size(); ++k) {
    const Tensor& p = b.slots[k]->param;
    r->seen.push_back({size_t(b.slots[k] - groups_[b.group].data()), p, p.view().data, b.states[k].buffers,
                       cuda::detail::times_followed(p.impl())});
  }
  b.later = cuda::detail::follow({r->numbers.bytes * r->seen.size(), [r](std::byte* to) { r->write(to); }, [r] { r->count(); }});
}

// Everything that can fail comes before the first write.
void Optimizer::step() {
  const NoGrad quiet;
  std::vector<Batch> all;
  {
    const cuda::detail::Aside now;  // new buffers are filled once, not at each replay of a graph
    all = batches();
  }
  std::vector<std::function<void()>> updates;
  for (Batch& b : all) {
    if (cuda::detail::is_unreadable(b.grads[0])) follow(b);
    updates.push_back(update(b));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    updates[i]();
    for (size_t k = 0; k < all[i].slots.size(); ++k) {
      if (all[i].later) --all[i].states[k].step;  // it is recorded, and does not run
      else all[i].states[k].fresh = false;
      std::swap(all[i].slots[k]->state, all[i].states[k]);
    }
  }
}

Tensor Optimizer::step(const std::function<Tensor()>& closure) {
  Tensor loss;
  {
    const EnableGrad on;
    loss = closure();
  }
  step();
  return loss;
}

void Optimizer::zero_grad(bool set_to_none) {
  for (Slots& group : groups_)
    for (Slot& s : group) {
      const Tensor g = s.param.grad();
      if (!g.defined()) continue;
      s.param.set_grad(set_to_none ? Tensor() : zeros(g.shape(), g.options()));
    }
}

// ---- state_dict ----------------------------------------------------------------------------------------------

static std::string key(const char* kind, size_t k, std::string_view what) {
  return concat(kind, ".", k, ".", what);
}

StateDict Optimizer::state_dict() const {
  const NoGrad quiet;
  StateDict dict;
  size_t k = 0;
  for (size_t g = 0; g < groups(); ++g) {
    for (const std::string_view o : option_names()) dict.emplace_back(key("group", g, o), scalar_tensor(option(g, o), f64));
    dict.emplace_back(key("group", g, "params"), scalar_tensor(int64_t(slots(g).size())));
    for (const Slot& s : slots(g)) {
      if (!s.state.empty()) dict.emplace_back(key("state", k, "step"), scalar_tensor(s.state.step));
      for (size_t b = 0; b < buffer_names().size(); ++b)
        if (s.state.buffers[b].defined())
          dict.emplace_back(key("state", k, buffer_names()[b]), s.state.buffers[b].clone());
      ++k;
    }
  }
  return dict;
}

void Optimizer::load_state_dict(const StateDict& dict) {
  const NoGrad quiet;
  std::unordered_set<std::string> used;
  const auto find = [&](const std::string& name) -> const Tensor* {
    for (const auto& [n, t] : dict)
      if (n == name) return used.insert(n), &t;
    return nullptr;
  };
  std::vector<Slots> loaded = groups_;
  std::vector<std::pair<size_t, std::vector<double>>> options;
  size_t k = 0;
  for (size_t g = 0; g < groups(); ++g) {
    const Tensor* count = find(key("group", g, "params"));
    GRAFT_CHECK(count && count->item<int64_t>() == int64_t(slots(g).size()), ErrorCode::state_dict, name(),
                ": load_state_dict: group ", g, " has ", slots(g).size(), " parameters here and ",
                count ? std::to_string(count->item<int64_t>()) : std::string("none"), " in the state");
    options.emplace_back(g, std::vector<double>());
    for (const std::string_view o : option_names()) {
      const Tensor* v = find(key("group", g, o));
      options.back().second.push_back(v ? v->item<double>() : option(g, o));
    }
    for (Slot& s : loaded[g]) {
      s.state = {};
      if (const Tensor* step = find(key("state", k, "step"))) s.state.step = step->item<int64_t>();
      for (size_t b = 0; b < buffer_names().size(); ++b) {
        const Tensor* t = find(key("state", k, buffer_names()[b]));
        if (!t) continue;
        GRAFT_CHECK(t->shape() == s.param.shape(), ErrorCode::state_dict, name(), ": load_state_dict: ",
                    key("state", k, buffer_names()[b]), " is ", t->view(), " for a parameter ", s.param.view());
        s.state.buffers[b] = t->to(s.param.options()).clone();
      }
      ++k;
    }
  }
  for (const auto& [n, t] : dict)
    GRAFT_CHECK(used.contains(n), ErrorCode::state_dict, name(), ": load_state_dict: unexpected entry '", n, "'");
  const std::vector<std::string_view> names = option_names();
  const StateDict before = state_dict();
  try {
    for (const auto& [g, values] : options)
      for (size_t i = 0; i < names.size(); ++i) write_option(g, names[i], values[i]);
  } catch (...) {  // an option out of range: put back those already written
    for (size_t g = 0; g < groups(); ++g)
      for (const std::string_view o : names)
        for (const auto& [n, t] : before)
          if (n == key("group", g, o)) write_option(g, o, t.item<double>());
    throw;
  }
  groups_.swap(loaded);
}

}  // namespace graft
