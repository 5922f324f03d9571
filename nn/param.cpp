// Parameter entries: the rules of assignment, ties, and recorded edits.
#include "graft/nn/param.h"

#include "graft/core/op.h"

namespace graft::inline v1::nn {

Parameter parameter(const Tensor& t, bool requires_grad) {
  GRAFT_CHECK(t.defined(), "parameter: the tensor is undefined");
  const Tensor leaf = t.detach();
  if (requires_grad) leaf.requires_grad_();
  return Parameter(leaf);
}

Parameter as_parameter(const Tensor& t) {
  const bool is_one = !t.defined() || (t.is_leaf() && t.requires_grad());
  return is_one ? Parameter(t) : parameter(t, is_differentiable(t.dtype()));
}

static void check_leaf(const ParamEntry& e, const Tensor& t) {
  GRAFT_CHECK(!e.removed, ErrorCode::key_error, "parameter '", e.name, "' was removed from ", type_name(*e.owner));
  GRAFT_CHECK(!t.defined() || t.is_leaf(), ErrorCode::autograd, "Cannot assign non-leaf Tensor to parameter '", e.name,
              "' of ", type_name(*e.owner), ": parameters are leaf tensors. To compute '", e.name,
              "' from other tensors, make the module mutable or compute it in forward()");
}

void ParamEntry::put(Tensor new_leaf) {
  check_leaf(*this, new_leaf);
  untie_edits();
  leaf = std::move(new_leaf);
  edited = editable ? leaf : Tensor();
}

void ParamEntry::check_like(const Tensor& t, Check check) const {
  if (check == Check::none) return;
  const Tensor& now = value().defined() ? value() : leaf;
  if (!t.defined() || !now.defined()) return;
  GRAFT_CHECK(t.shape() == now.shape(), ErrorCode::shape_mismatch, "parameter '", name, "' of ", type_name(*owner), " is ",
              now.view(), ", assigned is ", t.view(), "; assign(t, Check::none) allows it");
  GRAFT_CHECK(t.dtype() == now.dtype(), ErrorCode::dtype_mismatch, "parameter '", name, "' of ", type_name(*owner), " is ",
              now.view(), ", assigned is ", t.view(), "; assign(t, Check::none) allows it");
}
void ParamEntry::set_value(const Tensor& t, Check check) {
  GRAFT_CHECK(!removed, ErrorCode::key_error, "parameter '", name, "' was removed from ", type_name(*owner));
  check_like(t, check);
  edited = t;
  spread();
}

void ParamEntry::assign(const Parameter& p, Check check) {
  if (editable) return set_value(p, check);
  check_leaf(*this, p);
  check_like(p, check);
  put(p);
}
void ParamEntry::assign(const Tensor& t, Check check) {
  if (editable) return set_value(t, check);
  check_leaf(*this, t);
  GRAFT_CHECK(!t.defined() || t.requires_grad() || (leaf.defined() && !leaf.requires_grad()), ErrorCode::type_error,
              "cannot assign a plain tensor as parameter '", name, "' of ", type_name(*owner),
              " (nn::parameter(tensor) or None expected)");
  check_like(t, check);
  put(t);
}

void ParamEntry::share(const ParamEntry& other) {
  if (&other == this) return;
  check_leaf(*this, other.leaf);
  untie_edits();
  leaf = other.leaf;
  if (other.is_edited()) editable = true;
  edited = editable ? other.value() : Tensor();
  if (other.tied_ && editable) tie_edits(*other.tied_->front());
}

void ParamEntry::edit(const char* op, const std::function<Tensor(const Tensor&)>& f) {
  GRAFT_CHECK(value().defined(), ErrorCode::type_error, op, "_: parameter '", name, "' of ", type_name(*owner), " is None");
  if (editable) {
    GRAFT_CHECK(!is_edited() || !value().is_leaf() || !value().requires_grad(), ErrorCode::autograd, op, "_: parameter '", name, "' of ",
                type_name(*owner), " was assigned a leaf of another's: a leaf Variable that requires grad is being used in an in-place operation");
    const Tensor result = f(value());
    GRAFT_CHECK(result.shape() == value().shape(), ErrorCode::shape_mismatch, op, "_: parameter '", name, "' of ",
                type_name(*owner), " is ", value().view(), ", the edit made ", result.view());
    edited = result.dtype() == value().dtype() ? result : result.to(value().dtype());
    return spread();
  }
  GRAFT_CHECK(!thread_modes().grad, ErrorCode::autograd, op, "_: parameter '", name, "' of ", type_name(*owner),
              ": a leaf Variable that requires grad is being used in an in-place operation; use NoGrad, or "
              "surgery::to_mutable_module to record the edit");
  leaf.copy_(f(leaf));
}

void ParamEntry::make_editable() {
  if (editable) return;
  edited = leaf;
  editable = true;
}
void ParamEntry::materialize() {
  if (!is_edited()) return;
  const Tensor now = value().defined() ? Tensor(parameter(value().detach().clone(), leaf.defined() && leaf.requires_grad())) : Tensor();
  leaf = edited = now;
  spread();
}

void ParamEntry::tie_edits(ParamEntry& other) {
  if (&other == this || (tied_ && tied_ == other.tied_)) return;
  untie_edits();
  if (!other.tied_) other.tied_ = std::make_shared<std::vector<ParamEntry*>>(1, &other);
  other.tied_->push_back(this);
  tied_ = other.tied_;
}
void ParamEntry::untie_edits() noexcept {
  if (!tied_) return;
  std::erase(*tied_, this);
  tied_.reset();
}
void ParamEntry::spread() {
  if (!tied_) return;
  for (ParamEntry* e : *tied_) {
    e->leaf = leaf;
    e->edited = edited;
  }
}

}  // namespace graft::nn
