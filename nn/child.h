// Child: the member through which a module calls what one of its slots holds now.
#pragma once
#include "graft/nn/call.h"

namespace graft::inline v1::nn {

namespace detail {
template <class D> struct SignatureOf { using type = void; };
template <class D>
  requires requires { typename D::Signature; }
struct SignatureOf<D> { using type = typename D::Signature; };
}  // namespace detail

// Refers to a slot; cheap to copy, valid as long as the module that has the slot. Containers hand it out.
template <class Declared> class Slot {
  using S = typename detail::SignatureOf<Declared>::type;
  static constexpr bool kCallable = !std::is_void_v<S>;

 public:
  explicit Slot(ChildEntry& e) : entry_(&e) {}

  // Calls what is in the slot now, with its hooks. An error arrives with the slot's name before its text.
  template <class... X>
    requires kCallable
  auto operator()(X&&... x) const {
    auto* f = static_cast<Callable<S>*>(entry_->typed);
    if (!f) [[unlikely]] fail_empty();
    Module& m = *entry_->module;
    const CallScope scope(m, entry_);
    try {
      return detail::typed_call(m, f, std::forward<X>(x)...);
    } catch (Error& e) {
      e.within(entry_->name, type_name(m));
      throw;
    }
  }

  // A checked view of the declared type: net->conv->stride.
  Declared* operator->() const { return &operator*(); }
  Declared& operator*() const {
    auto* d = dynamic_cast<Declared*>(entry_->module.get());
    if (!d) [[unlikely]] fail_type();
    return *d;
  }
  template <class M> M* as() const { return dynamic_cast<M*>(entry_->module.get()); }
  explicit operator bool() const { return entry_->module != nullptr; }

  const Slot& put(ModulePtr m) const {
    entry_->put(std::move(m));
    return *this;
  }
  template <class M> const Slot& operator=(std::shared_ptr<M> m) const {  // NOLINT: a slot is assigned through
    if (m) Module::made_as(*m);
    return put(std::move(m));
  }
  const ModulePtr& module() const { return entry_->module; }
  ChildEntry& entry() const { return *entry_; }

  static void* cast(Module& m) {
    if constexpr (kCallable) return dynamic_cast<Callable<S>*>(&m);
    else return dynamic_cast<Declared*>(&m);
  }

 private:
  [[noreturn, gnu::cold]] void fail_empty() const {
    fail(ErrorCode::type_error, "slot '", entry_->name, "' of ", type_name(*entry_->owner),
         entry_->removed ? " was removed" : " is empty");
  }
  [[noreturn, gnu::cold]] void fail_type() const {
    fail(ErrorCode::type_error, "slot '", entry_->name, "' of ", type_name(*entry_->owner),
         " was declared for another type and now holds ", entry_->module ? type_name(*entry_->module) : "nothing");
  }
  ChildEntry* entry_;
};

class ChildHandle {  // what Child may do that its users may not
 protected:
  static ChildEntry& declare(Module* owner, std::string name, ModulePtr m, ChildEntry::Cast cast, bool may_be_empty) {
    return owner->declare_child(std::move(name), std::move(m), cast, may_be_empty);
  }
};

// A member: Child<Conv2d> conv{this, "conv", 3, 64, 3}. It refers to one slot for life: assigning a module puts it into
// the slot, assigning another Child shares that one's module.
template <class Declared> class Child : private ChildHandle, public Slot<Declared> {
  using Base = Slot<Declared>;

 public:
  Child(Module* owner, std::string name, ModulePtr m)  // an existing module, or any of an interface type
      : Base(declare(owner, std::move(name), std::move(m), Base::cast, false)) {}
  Child(Module* owner, std::string name, std::nullptr_t)  // may be empty
      : Base(declare(owner, std::move(name), nullptr, Base::cast, true)) {}
  template <class... A>  // a new one, made of these; a handle of what fits the slot is taken as it is
    requires(std::is_constructible_v<Declared, A...> && !(sizeof...(A) == 1 && (std::is_convertible_v<A, std::shared_ptr<Declared>> && ...)))
  Child(Module* owner, std::string name, A&&... args)
      : Base(declare(owner, std::move(name), make<Declared>(std::forward<A>(args)...), Base::cast, false)) {}

  Child(const Child& o) : ChildHandle(), Base(*Cloning::where(o.entry())) {}  // inside clone() only
  Child(Child&& o) noexcept : ChildHandle(), Base(o.entry()) {}               // a vector of slots may grow
  ~Child() = default;
  Child& operator=(const Child& o) {
    this->put(o.module());
    return *this;
  }
  template <class M> Child& operator=(std::shared_ptr<M> m) {
    Base::operator=(std::move(m));
    return *this;
  }
  Child& operator=(std::nullptr_t) {
    this->put(nullptr);
    return *this;
  }
};

}  // namespace graft::nn
