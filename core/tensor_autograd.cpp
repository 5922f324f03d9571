// What a tensor knows of autograd: flags, .grad, hooks. The backward pass itself is in backward.cpp.
#include "graft/core/autograd.h"

namespace graft::inline v1 {

std::string_view Tensor::grad_fn() const {
  if (!needs_grad(*impl_) || !impl_->node) return "";
  const Node& n = *impl_->node;
  return n.note && n.note->function ? n.note->function->name() : n.op->name;
}
bool Tensor::requires_grad() const { return needs_grad(*impl_); }
bool Tensor::is_leaf() const { return !needs_grad(*impl_) || !impl_->node; }
const Tensor& Tensor::requires_grad_(bool on) const {
  GRAFT_CHECK(is_leaf(), ErrorCode::autograd, "requires_grad_: ", *this, " is not a leaf; detach() it first");
  GRAFT_CHECK(!on || is_differentiable(dtype()), ErrorCode::autograd, "requires_grad_: ", *this, " is neither floating point nor complex");
  GRAFT_CHECK(!on || !impl_->inference, ErrorCode::autograd, "requires_grad_: ", *this, " was made in inference mode");
  impl_->requires_grad = on;
  if (on && !impl_->leaf) impl_->leaf = std::make_unique<LeafState>();
  return *this;
}
Tensor Tensor::detach() const { return Tensor(alias(*impl_)); }
// Makes a leaf of it. A view would take its history from its base again.
const Tensor& Tensor::detach_() const {
  GRAFT_CHECK(!impl_->base, ErrorCode::autograd, "detach_: ", *this, " is a view; use detach()");
  if (impl_->retains_grad) forget_retained(*impl_);
  impl_->retains_grad = impl_->requires_grad = false;
  impl_->node = {};
  return *this;
}
Tensor Tensor::grad() const {
  if (!impl_->leaf) return {};
  const std::lock_guard lock(impl_->leaf->mutex);
  return impl_->leaf->grad;
}
void Tensor::set_grad(Tensor g) const {
  if (g.defined()) {
    GRAFT_CHECK(g.shape() == shape(), ErrorCode::shape_mismatch, "set_grad: ", g, " for ", *this);
    GRAFT_CHECK(g.dtype() == dtype(), ErrorCode::dtype_mismatch, "set_grad: ", g, " for ", *this);
    GRAFT_CHECK(g.device() == device(), ErrorCode::device_mismatch, "set_grad: ", g, " for ", *this);
  }
  if (!impl_->leaf) impl_->leaf = std::make_unique<LeafState>();
  const std::lock_guard lock(impl_->leaf->mutex);
  impl_->leaf->grad = std::move(g);
}
void Tensor::set_data(const Tensor& other) const {
  GRAFT_CHECK(is_leaf() && !impl_->base, ErrorCode::autograd, "set_data: ", *this, " is not a leaf");
  GRAFT_CHECK(!impl_->requires_grad || is_differentiable(other.dtype()), ErrorCode::dtype_mismatch, "set_data: ", *this,
              " requires grad and cannot hold ", other);
  impl_->view = other.view();
  impl_->storage = other.impl()->storage;
  impl_->inference = other.impl()->inference;
}

// ---- hooks ---------------------------------------------------------------------------------------------------

static OutputWatch& watch_of(const TensorImpl& t) {
  NodeOutput& o = t.node->outputs[t.slot];
  if (!o.watch) o.watch = std::make_unique<OutputWatch>();
  return *o.watch;
}
HookHandle Tensor::register_hook(Hook hook) const {
  GRAFT_CHECK(requires_grad(), ErrorCode::autograd, "register_hook: ", *this, " does not require grad");
  return add_hook(impl_->node ? watch_of(*impl_).hooks : impl_->leaf->hooks, std::move(hook));
}
HookHandle Tensor::register_post_accumulate_grad_hook(std::function<void(const Tensor&)> hook) const {
  GRAFT_CHECK(requires_grad() && !impl_->node, ErrorCode::autograd, "register_post_accumulate_grad_hook: ", *this,
              " is not a leaf that requires grad");
  return add_hook(impl_->leaf->post_hooks, [hook = std::move(hook)](const Tensor& leaf) { return hook(leaf), Tensor(); });
}
void Tensor::retain_grad() const {
  GRAFT_CHECK(requires_grad(), ErrorCode::autograd, "retain_grad: ", *this, " does not require grad");
  if (!impl_->node || impl_->retains_grad) return;  // a leaf keeps it anyway
  if (!impl_->leaf) impl_->leaf = std::make_unique<LeafState>();
  watch_of(*impl_).retains = impl_.get();
  impl_->retains_grad = true;
}

}  // namespace graft
