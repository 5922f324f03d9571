// Deep copies, iteratively: shells first (a C++ copy of each module, whose members find their new entries through
// Cloning), then children and tensors, once each, so that what was shared stays shared.
#include <unordered_map>

#include "graft/core/op.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

thread_local Cloning* Cloning::top_ = nullptr;

ModulePtr Module::own(Module* fresh) { return ModulePtr(fresh); }
Module* Module::refuse_copy(const Module& source) {
  fail(ErrorCode::type_error, "clone: ", type_name(source), " has a member that cannot be copied");
}
ModulePtr Cloning::shell(const Module& m) {
  GRAFT_CHECK(m.copier_, ErrorCode::type_error, "clone: ", type_name(m),
              " was not made by nn::make<T>() and cannot be copied");
  const Cloning now(m);
  return Module::own(m.copier_(m));
}
Module& Cloning::copy_of_owner(const Entry& e) {
  for (const Cloning* c = top_; c; c = c->outer_)
    if (c->source_ == e.owner && c->made_) return *c->made_;
  fail(ErrorCode::type_error, "'", e.name, "' of ", type_name(*e.owner),
       " is copied only with its module, by clone(); to name it, bind a reference: auto& a = net->", e.name);
}
ChildEntry* Cloning::where(const ChildEntry& e) { return copy_of_owner(e).children_[e.index].get(); }
ParamEntry* Cloning::where(const ParamEntry& e) { return copy_of_owner(e).params_[e.index].get(); }
BufferEntry* Cloning::where(const BufferEntry& e) { return copy_of_owner(e).buffers_[e.index].get(); }

template <class E> static std::unique_ptr<E> entry_like(const E& e, Module* owner) {
  auto copy = std::make_unique<E>();
  copy->name = e.name;
  copy->owner = owner;
  copy->index = e.index;
  return copy;
}

Module::Module(const Module& source) : std::enable_shared_from_this<Module>(), training_(source.training_), mutable_(source.mutable_),
                                       made_of_(source.made_of_) {
  Cloning* c = Cloning::top_;
  GRAFT_CHECK(c && c->source_ == &source && !c->made_, ErrorCode::type_error, type_name(source),
              ": modules are copied by clone(); a module held by value inside another must be a Child");
  for (const auto& e : source.params_) {
    params_.push_back(entry_like(*e, this));
    params_.back()->editable = e->editable;
    remember(*params_.back());
  }
  for (const auto& e : source.buffers_) {
    buffers_.push_back(entry_like(*e, this));
    buffers_.back()->persistent = e->persistent;
    remember(*buffers_.back());
  }
  for (const auto& e : source.children_) {
    children_.push_back(entry_like(*e, this));
    children_.back()->cast = e->cast;
    children_.back()->may_be_empty = e->may_be_empty;
    remember(*children_.back());
  }
  if (source.hooks_) hooks_ = source.hooks_->clone();
  c->made_ = this;  // tensors and children follow in clone(): no recursion
}

namespace {
class TensorCopies {  // each tensor once, so that ties stay ties
 public:
  Tensor plain(const Tensor& t) {
    if (!t.defined()) return {};
    Tensor& copy = made_[t.impl()];
    if (!copy.defined()) {
      const NoGrad quiet;
      copy = t.detach().clone();
      if (t.is_leaf() && t.requires_grad()) copy.requires_grad_();
    }
    return copy;
  }
  // The value becomes the leaf of the copy; the history of edits stays with the original.
  void param(const ParamEntry& from, ParamEntry& to) {
    to.leaf = plain(from.value().defined() ? from.value() : from.leaf);
    if (from.is_edited() && to.leaf.defined() && from.leaf.defined() && from.leaf.requires_grad()) to.leaf.requires_grad_();
    to.edited = from.editable && from.value().defined() ? to.leaf : Tensor();
    if (!from.edit_ties()) return;
    ParamEntry*& first = ties_[from.edit_ties()];
    if (first) to.tie_edits(*first);
    else first = &to;
  }

 private:
  std::unordered_map<const TensorImpl*, Tensor> made_;
  std::unordered_map<const void*, ParamEntry*> ties_;
};
}  // namespace

ModulePtr Module::clone() const { return clone(false); }
ModulePtr Module::clone_sharing_parameters() const { return clone(true); }

ModulePtr Module::clone(bool share_parameters) const {
  TensorCopies tensors;
  std::unordered_map<const Module*, ModulePtr> made;
  std::vector<const Module*> todo{this};
  const ModulePtr result = made[this] = Cloning::shell(*this);
  while (!todo.empty()) {
    const Module& from = *todo.back();
    todo.pop_back();
    Module& to = *made.at(&from);
    GRAFT_CHECK(to.children_.size() == from.children_.size() && to.params_.size() == from.params_.size() &&
                    to.buffers_.size() == from.buffers_.size(),
                ErrorCode::type_error, "clone: the copy constructor of ", type_name(from), " registers entries of its own");
    for (size_t i = 0; i < from.params_.size(); ++i) {
      if (share_parameters) to.params_[i]->share(*from.params_[i]);
      else tensors.param(*from.params_[i], *to.params_[i]);
    }
    for (size_t i = 0; i < from.buffers_.size(); ++i) to.buffers_[i]->value = tensors.plain(from.buffers_[i]->value);
    for (size_t i = 0; i < from.children_.size(); ++i) {
      const ModulePtr& m = from.children_[i]->module;
      if (!m) continue;
      ModulePtr& copy = made[m.get()];
      if (!copy) {
        copy = Cloning::shell(*m);
        todo.push_back(m.get());
      }
      ChildEntry& e = *to.children_[i];
      void* typed = e.cast ? e.cast(*copy) : nullptr;
      ModulePtr put = copy;
      e.commit(put, typed);
    }
  }
  return result;
}

}  // namespace graft::nn
