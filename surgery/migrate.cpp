// Checkpoints of a model as it was, for the model as it is: the key maps of a recipe's steps, one after the other.
#include <algorithm>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/architecture.h"
#include "graft/surgery/fuse_chain.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/lora.h"
#include "graft/surgery/recipe_step.h"
#include "graft/surgery/register_modules.h"
#include "graft/surgery/weights.h"

namespace graft::inline v1::surgery {
namespace {

using detail::Delta;
using detail::Fold;
using detail::KeyMap;

std::string joined(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

class Migration {
 public:
  Migration(nn::StateDict old, const nn::Module* edited) : now_(std::move(old)) {
    if (edited) edited_ = edited->state_dict();
  }
  void step(const KeyMap& k) {
    GRAFT_CHECK(k.complete, ErrorCode::not_implemented, "the model has more paths than could be listed");
    std::vector<std::pair<std::string, Tensor>> made;  // all of what was; then it is replaced
    std::unordered_set<std::string> gone(k.drop.begin(), k.drop.end()), unknown;
    const auto take = [&](const std::string& to, const std::string& from) {
      if (unknown_.contains(from)) unknown.insert(to);
      else made.emplace_back(to, at(from));
    };
    for (const KeyMap::To& t : k.rename) take(t.to, t.from), gone.insert(t.from);
    for (const KeyMap::To& t : k.tie) take(t.to, t.from);
    for (const KeyMap::Adapted& a : k.carry) {
      if (unknown_.contains(a.from)) unknown.insert(a.to);
      else made.emplace_back(a.to, adapt(a));
    }
    for (const Fold& f : k.fold)
      if (!fold(f, made)) unknown_folds(f, unknown);
    for (const Delta& d : k.add) merge(d, 1, made, unknown);
    for (const Delta& d : k.subtract) merge(d, -1, made, unknown);
    for (const std::string& key : k.fresh) unknown.insert(key);
    nn::StateDict next;
    for (const auto& [key, t] : now_)
      if (!gone.contains(key) && !unknown.contains(key)) next.set(key, t);
    for (const std::string& key : unknown_)
      if (!gone.contains(key)) unknown.insert(key);
    for (auto& [key, t] : made) {
      next.set(key, std::move(t));
      unknown.erase(key);
    }
    now_ = std::move(next);
    unknown_ = std::move(unknown);
  }
  nn::StateDict result() {
    if (!edited_) return std::move(now_);
    nn::StateDict all;  // in the order of the model
    for (const auto& [key, t] : *edited_) {
      if (const Tensor* known = now_.find(key)) all.set(key, *known);
      else if (unknown_.contains(key)) all.set(key, t);
    }
    for (const auto& [key, t] : now_)  // what the model does not know: load_state_dict() says so
      if (!all.contains(key)) all.set(key, t);
    return all;
  }

 private:
  const Tensor& at(const std::string& key) const {
    const Tensor* t = now_.find(key);
    GRAFT_CHECK(t, ErrorCode::key_error, "the dictionary has no '", key, "'");
    return *t;
  }
  const Tensor* known(const std::string& key) const {  // of what is new, as the edited model has it
    if (!unknown_.contains(key)) return &at(key);
    return edited_ ? edited_->find(key) : nullptr;
  }
  // Beyond the block that both have are the numbers of the edited model, or zeros.
  Tensor adapt(const KeyMap::Adapted& a) const {
    const Tensor& from = at(a.from);
    if (a.how == Carried::How::copied) return from;
    const Tensor* known = edited_ ? edited_->find(a.to) : nullptr;
    const Tensor to = known && known->shape() == a.shape ? *known : zeros(a.shape, from.options());
    const bool fits = a.shape.rank() == from.dim() || (a.how == Carried::How::inflated && a.shape.rank() == from.dim() + 1);
    GRAFT_CHECK(fits, ErrorCode::shape_mismatch, "'", a.from, "' is ", from.view(), ", of which nothing of ", a.shape, " can be made");
    return adapted(from, to, a.how == Carried::How::sliced ? Carry::slice : Carry::inflate);
  }
  // A part as it was, with its numbers; null where they are not known.
  nn::ModulePtr part(const std::string& path, const Json& architecture) const {
    if (architecture.is_null()) return nullptr;
    nn::ModulePtr m = nn::from_architecture(architecture, {.empty = true});
    nn::StateDict own;
    for (const auto& [name, t] : m->state_dict()) {
      if (unknown_.contains(joined(path, name))) return nullptr;
      own.set(name, at(joined(path, name)));
    }
    m->load_state_dict(own);
    return m;
  }
  bool fold(const Fold& f, std::vector<std::pair<std::string, Tensor>>& made) const {
    std::vector<nn::ModulePtr> parts;
    for (const auto& [path, architecture] : f.parts) {
      parts.push_back(part(path, architecture));
      if (!parts.back() && !architecture.is_null()) return false;
    }
    nn::ModulePtr result;
    if (f.chain) {
      const auto layer = foldable(*parts[1]);
      GRAFT_CHECK(layer, ErrorCode::type_error, "'", f.parts[1].first, "' is not a layer that takes up a norm");
      Chain c{*layer};
      c.before = norm(parts[0]);
      c.behind = norm(parts[2]);
      result = folded_layer(c);
    } else {
      result = fuse_known_modules(parts)[0];
    }
    for (const auto& [name, t] : result->state_dict()) made.emplace_back(joined(f.to, name), t);
    return true;
  }
  static const nn::BatchNormNd* norm(const nn::ModulePtr& m) {
    GRAFT_CHECK(!m || norm_dims(*m), ErrorCode::type_error, "a norm was expected, not ", m ? nn::type_name(*m) : "nothing");
    return dynamic_cast<const nn::BatchNormNd*>(m.get());
  }
  static void unknown_folds(const Fold& f, std::unordered_set<std::string>& unknown) {
    for (const char* name : {"weight", "bias"}) unknown.insert(joined(f.to, name));
  }
  void merge(const Delta& d, double sign, std::vector<std::pair<std::string, Tensor>>& made, std::unordered_set<std::string>& unknown) const {
    const std::string key = joined(d.path, "base.weight"), a = joined(d.path, "lora_A.weight"), b = joined(d.path, "lora_B.weight");
    if (unknown_.contains(key)) return void(unknown.insert(key));
    const Tensor *wa = known(a), *wb = known(b);
    if (!wa || !wb) return;  // adapters that came and went add nothing
    const Tensor& weight = at(key);
    const Tensor delta = lora_delta(*wa, *wb, d.r, d.alpha, weight.shape());
    made.emplace_back(key, sign > 0 ? weight + delta : weight - delta);
  }

  nn::StateDict now_;
  std::unordered_set<std::string> unknown_;  // keys that the steps so far have brought in new
  std::optional<nn::StateDict> edited_;
};

}  // namespace

nn::StateDict Recipe::migrate(const nn::StateDict& old, const nn::Module* edited) const {
  const NoGrad quiet;
  register_modules();
  Migration m(old, edited);
  for (size_t i = 0; i < size(); ++i) try {
      m.step(steps_[i]->keys);
    } catch (const Error& e) {
      throw Error(concat("migrate: step ", i + 1, " of ", size(), ": ", e.what()), e.code());
    }
  return m.result();
}

}  // namespace graft
