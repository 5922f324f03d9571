#include "graft/surgery/fuse.h"

#include <algorithm>
#include "graft/nn/activation.h"
#include "graft/nn/add.h"
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/surgery/fuse_chain.h"
#include "graft/surgery/trace.h"

namespace graft::inline v1::surgery {
namespace {

using nn::Module;
constexpr size_t none = Trace::none;

struct Refusal {  // thrown by a check, caught per chain
  Reason code;
  std::string text;
};

class Finder {
 public:
  Finder(Module& model, const Trace& trace, const FuseOptions& options) : t_(trace), options_(options) {
    for (const auto& [path, m] : std::as_const(model).named_modules()) paths_[m] = path;
    for (const Module* m : std::as_const(model).modules())
      for (const auto& e : m->param_entries())
        if (e->leaf.defined()) ++owners_[e->leaf.impl()];
    for (const optim::Optimizer* o : options.optimizers)
      for (const Tensor& p : o->params()) optimized_.insert(p.impl());
  }
  void run();

  std::vector<Chain> chains;
  std::vector<Refused> refused;
  const std::string& path(const Module* m) const { return paths_.at(m); }

 private:
  void consider(size_t norm_call);
  void behind(size_t norm_call, size_t input, const Foldable&);
  void before(size_t norm_call);
  bool is_written(const Tensor& x, size_t from, size_t to) const;
  size_t take_add(Chain&, size_t norm_call) const;
  void add_relu(Chain&, size_t last_call);
  void check_layer(const Foldable&) const;
  static nn::ModulePtr folded(const Foldable&, const Weights&);
  void check_norm(const nn::BatchNormNd&) const;
  void check_own(const Module&) const;
  size_t input_of(size_t call) const;
  size_t output_of(size_t call) const { return t_.calls[call].out.size() == 1 ? t_.calls[call].out[0] : none; }
  bool called_once(const Module* m) const { return t_.calls_of.at(m).size() == 1; }
  const Module* module_of(size_t call) const { return call == none ? nullptr : t_.calls[call].module; }
  bool is_relu(size_t op) const { return t_.ops[op].name == "relu"; }
  std::string quoted(const Module* m) const { return "'" + path(m) + "'"; }

  const Trace& t_;
  const FuseOptions& options_;
  std::unordered_map<const Module*, std::string> paths_;
  std::unordered_map<const TensorImpl*, int> owners_;
  std::unordered_set<const TensorImpl*> optimized_;
};

// The one value that a call reads beside parameters, buffers and constants.
size_t Finder::input_of(size_t call) const {
  size_t found = none;
  for (const size_t v : t_.calls[call].in) {
    if (t_.values[v].producer == none && !t_.values[v].input) continue;
    if (found != none) return none;
    found = v;
  }
  return found;
}

// Its tensors are its own: no other module has them, no op outside of its call reads them.
void Finder::check_own(const Module& m) const {
  const auto read_elsewhere = [&](const Tensor& t) {
    const auto it = t_.reads_of.find(t.impl());
    return it != t_.reads_of.end() &&
           std::ranges::any_of(it->second, [&](size_t op) { return module_of(t_.ops[op].call) != &m; });
  };
  for (const auto& e : m.param_entries()) {
    if (!e->leaf.defined()) continue;
    if (e->is_edited())
      throw Refusal{Reason::edited, concat(quoted(&m), " has edits on '", e->name, "'; materialize() first")};
    if (owners_.at(e->leaf.impl()) > 1 || read_elsewhere(e->leaf))
      throw Refusal{Reason::tied, concat("'", e->name, "' of ", quoted(&m), " is used by another module too")};
    if (!options_.for_inference && optimized_.contains(e->leaf.impl()))
      throw Refusal{Reason::optimized, concat("an optimizer holds '", e->name, "' of ", quoted(&m),
                                              "; FuseOptions::for_inference fuses it all the same")};
  }
  for (const auto& e : m.buffer_entries())
    if (e->value.defined() && read_elsewhere(e->value))
      throw Refusal{Reason::tied, concat("'", e->name, "' of ", quoted(&m), " is used by another module too")};
}

void Finder::check_norm(const nn::BatchNormNd& norm) const {
  if (norm.training()) throw Refusal{Reason::training_mode, "the norm is in training mode; call eval() first"};
  if (!norm.running_mean || !norm.running_var)
    throw Refusal{Reason::no_running_statistics, "the norm uses the statistics of each batch"};
  if (norm.hooked() && !options_.move_hooks) throw Refusal{Reason::hooked, "the norm has hooks"};
  check_own(norm);
}
void Finder::check_layer(const Foldable& l) const {
  const Module* m = l.module;
  if (!called_once(m))
    throw Refusal{Reason::layer_called_again, concat(quoted(m), " is called ", t_.calls_of.at(m).size(), " times")};
  if (m->training()) throw Refusal{Reason::training_mode, concat(quoted(m), " is in training mode; call eval() first")};
  const nn::HookTable* h = m->hooks();
  const bool only_pre = !h || !(h->has(nn::HookKind::forward) || h->has(nn::HookKind::full_backward_pre) ||
                                h->has(nn::HookKind::full_backward));
  if (!only_pre && !options_.move_hooks) throw Refusal{Reason::hooked, concat(quoted(m), " has hooks")};
  check_own(*m);
}
nn::ModulePtr Finder::folded(const Foldable& l, const Weights& w) {
  try {
    return with_weights(l, w);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::overflow && e.code() != ErrorCode::plan_refused) throw;
    throw Refusal{e.code() == ErrorCode::overflow ? Reason::overflow : Reason::not_finite, e.text()};
  }
}

void Finder::behind(size_t call, size_t input, const Foldable& l) {
  const auto& norm = dynamic_cast<const nn::BatchNormNd&>(*t_.calls[call].module);
  if (!fits(l, norm_dims(norm)))
    throw Refusal{Reason::no_layer, concat("it follows ", quoted(l.module), ", which is of another kind")};
  if (t_.only_consumer(input) != call)
    throw Refusal{Reason::several_consumers, concat("the output of ", quoted(l.module), " is used elsewhere too")};
  const int rank = l.dims + 2;
  if (t_.values[input].tensor.dim() != rank)
    throw Refusal{Reason::wrong_rank, concat("it normalises dimension 1 of ", t_.values[input].tensor.dim(), ", which ",
                                             quoted(l.module), " does not make")};
  check_norm(norm);
  check_layer(l);
  const auto known = std::ranges::find_if(chains, [&](const Chain& c) { return c.layer.module == l.module; });
  const Weights w =
      known != chains.end() && known->before ? fold_before(l, weights_of(l), *known->before) : weights_of(l);
  nn::ModulePtr layer = folded(l, fold_behind(l, w, norm));
  Chain& chain = known != chains.end() ? *known : chains.emplace_back(Chain{l});
  chain.behind = &norm;
  chain.folded = std::move(layer);
  add_relu(chain, take_add(chain, call));
}

void Finder::before(size_t call) {
  const auto& norm = dynamic_cast<const nn::BatchNormNd&>(*t_.calls[call].module);
  const size_t y = output_of(call), next = y == none ? none : t_.only_consumer(y);
  const auto l = next == none ? std::nullopt : foldable(*module_of(next));
  if (!l || l->transposed || !fits(*l, norm_dims(norm)) || input_of(next) != y)
    throw Refusal{Reason::no_layer, "neither what it follows nor what follows it is a layer that can take it up"};
  if (l->zero_padded)
    throw Refusal{Reason::zero_padding, concat(quoted(l->module), " pads with zeros, which would not be normalised")};
  if (t_.values[y].tensor.dim() != l->dims + 2)
    throw Refusal{Reason::wrong_rank, concat("it normalises another dimension than ", quoted(l->module), " reads")};
  if (l->module->hooked() && !options_.move_hooks)
    throw Refusal{Reason::hooked, concat(quoted(l->module), " has hooks")};
  check_norm(norm);
  check_layer(*l);
  chains.push_back({.layer = *l, .before = &norm, .folded = folded(*l, fold_before(*l, weights_of(*l), norm))});
}

// Does an op between these two write to the memory of x?
bool Finder::is_written(const Tensor& x, size_t from, size_t to) const {
  for (size_t op = from + 1; op < to; ++op)
    for (const size_t out : t_.ops[op].out)
      for (const size_t in : t_.ops[op].in) {
        const TensorImpl* t = t_.values[out].tensor.impl();
        if (t == t_.values[in].tensor.impl() && (t == x.impl() || (t->storage && t->storage.get() == x.impl()->storage.get()))) return true;
      }
  return false;
}
// The sum behind the norm, where it is an Add of equal shapes that nothing else calls, no hook would see the difference, and
// the layer's input is still there when the sum is made. Returns the call that is the last of the chain now.
size_t Finder::take_add(Chain& chain, size_t call) const {
  const size_t y = output_of(call), next = y == none ? none : t_.only_consumer(y);
  const Module* m = module_of(next);
  if (!options_.add || !options_.optimizers.empty() || !m || typeid(*m) != typeid(nn::Add) || !can_add(chain.layer)) return call;
  if (std::ranges::any_of(chains, [m](const Chain& c) { return c.add == m; })) return call;
  if (!called_once(m) || m->training() || m->hooked() || chain.layer.module->hooked() || chain.behind->hooked()) return call;
  const size_t op = t_.values[y].consumers[0], layer = t_.calls_of.at(chain.layer.module)[0], x = input_of(layer);
  const std::vector<size_t>& in = t_.ops[op].in;
  if (in.size() != 2 || in[0] == in[1] || output_of(next) == none || chain.before || x == none) return call;
  const Tensor &a = t_.values[in[0]].tensor, &b = t_.values[in[1]].tensor;
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return call;
  if (is_written(t_.values[x].tensor, t_.values[output_of(layer)].producer, op)) return call;
  chain.add = m;
  chain.residual_first = in[1] == y;
  return next;
}
void Finder::add_relu(Chain& chain, size_t last_call) {
  if (!options_.relu) return;
  const size_t y = output_of(last_call), next = y == none ? none : t_.only_consumer(y);
  if (next == none) return;
  const Module* m = module_of(next);
  if (typeid(*m) != typeid(nn::ReLU)) {
    const auto& readers = t_.values[y].consumers;
    if (readers.size() == 1 && is_relu(readers[0]))
      refused.push_back(
          {path(chain.behind), Reason::relu_is_a_function, "the relu() behind it is a function, which stays as it is"});
    return;
  }
  if (!called_once(m))
    refused.push_back(
        {path(m), Reason::relu_called_again, concat("it is called ", t_.calls_of.at(m).size(), " times and stays")});
  else if (m->hooked() && !options_.move_hooks)
    refused.push_back({path(m), Reason::relu_hooked, "it has hooks and stays"});
  else chain.relu = m;
}

void Finder::consider(size_t call) {
  const Module* norm = t_.calls[call].module;
  if (!called_once(norm))
    throw Refusal{Reason::norm_called_again, concat("it is called ", t_.calls_of.at(norm).size(), " times")};
  const size_t x = input_of(call);
  if (x == none) return before(call);
  const Module* from = module_of(t_.producer_call(x));
  if (from && t_.calls[t_.producer_call(x)].out.size() == 1) {
    if (const auto l = foldable(*from)) return behind(call, x, *l);
    if (dynamic_cast<const nn::Conv2d*>(from) || dynamic_cast<const nn::Conv1d*>(from) ||
        dynamic_cast<const nn::Conv3d*>(from) || dynamic_cast<const nn::Linear*>(from))
      throw Refusal{Reason::subclass,
                    concat(quoted(from), " is a ", nn::type_name(*from), ", which may compute something else")};
  }
  const size_t op = t_.values[x].producer;
  const bool after_relu = op != none && ((from && typeid(*from) == typeid(nn::ReLU)) || is_relu(op));
  if (!after_relu) return before(call);
  try {
    before(call);
  } catch (const Refusal& r) {
    const Module* first = r.code == Reason::no_layer ? module_of(t_.producer_call(t_.ops[op].in.back())) : nullptr;
    if (!first || !foldable(*first)) throw;
    throw Refusal{Reason::activation_between, concat("a ReLU is between ", quoted(first), " and it")};
  }
}

void Finder::run() {
  std::unordered_set<const Module*> seen;
  for (size_t c = 0; c < t_.calls.size(); ++c) {
    const Module* m = t_.calls[c].module;
    if (!norm_dims(*m) || !paths_.contains(m) || !seen.insert(m).second) continue;
    try {
      consider(c);
    } catch (Refusal& r) {
      refused.push_back({path(m), r.code, std::move(r.text)});
    }
  }
}

}  // namespace

Fusion fuse(Module& model, const nn::Values& example, const FuseOptions& options) {
  const Trace t = trace(model, example);
  Finder finder(model, t, options);
  finder.run();
  if (options.refusals_are_errors && !finder.refused.empty()) {
    const Refused& r = finder.refused[0];
    Error e(concat("fusion: ", name_of(r.code), ": ", r.reason), ErrorCode::plan_refused);
    e.within(r.path, nn::type_name(model.get_submodule(r.path)));
    throw e;
  }

  std::vector<Fused> fused;
  Edit edit = fuse_chains({.module = &model, .owner = model.weak_from_this().lock()}, finder.chains,
                          [&](const Module* m) { return finder.path(m); }, options, fused);
  return {std::move(fused), std::move(finder.refused), std::move(edit)};
}

}  // namespace graft
