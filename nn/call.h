// Typed calls: a layer's forward functions, the erased call that serves hooks, and the frames of running calls.
#pragma once
#include <concepts>
#include "graft/core/path.h"
#include "graft/nn/module.h"

namespace graft::inline v1::nn {

// A running call: its frame on the path (core/path.h) that tracing reads, errors name and surgery refuses. What a call
// replaces in slots lives until the outermost call of the thread returns: it may be executing.
extern constinit thread_local bool t_has_retired;
void release_retired() noexcept;

class CallScope {
 public:
  CallScope(const Module& m, const ChildEntry* slot) : path_(slot ? std::string_view(slot->name) : std::string_view(), &m) {}
  ~CallScope() {
    if (t_has_retired && !current_frame()->outer) [[unlikely]] release_retired();
  }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  PathScope path_;
};
inline bool in_call() { return current_frame() != nullptr; }
std::string current_path();                 // dotted slots of the running calls of this thread
void refuse_during_call(const char* what);  // Error concurrent_modification when a call runs on this thread

template <class S> struct Callable;
template <class R, class... A> struct Callable<R(A...)> {
  virtual R forward(A...) = 0;

 protected:
  ~Callable() = default;
};

template <class T> inline constexpr bool is_optional_v = false;
template <class T> inline constexpr bool is_optional_v<std::optional<T>> = true;

namespace detail {

template <class S> struct Arity;
template <class R, class... A> struct Arity<R(A...)> {
  static constexpr size_t value = sizeof...(A);
  template <size_t N> static constexpr bool takes() {  // the arguments that are left out must be optional
    if (N > value) return false;
    return []<size_t... I>(std::index_sequence<I...>) {
      return ((I < N || is_optional_v<std::decay_t<std::tuple_element_t<I, std::tuple<A...>>>>) && ...);
    }(std::index_sequence_for<A...>{});
  }
};
// The first signature that takes N arguments.
template <size_t N, class First, class... More> struct Pick {
  using type = typename std::conditional_t<Arity<First>::template takes<N>(), std::type_identity<First>, Pick<N, More...>>::type;
};
template <size_t N, class Last> struct Pick<N, Last> { using type = Last; };

// Argument K of a call: what was given, or an empty optional.
template <size_t K, class P, class Given> decltype(auto) argument(Given& given) {
  if constexpr (K < std::tuple_size_v<Given>) return std::forward<std::tuple_element_t<K, Given>>(std::get<K>(given));
  else return P{};
}

template <class R, class... P, class... X> R typed_call(Module& m, Callable<R(P...)>* f, X&&... x) {
  static_assert(Arity<R(P...)>::template takes<sizeof...(X)>(),
                "wrong number of arguments: only trailing std::optional ones may be left out");
  std::tuple<X&&...> given(std::forward<X>(x)...);
  return [&]<size_t... I>(std::index_sequence<I...>) -> R {
    if (!m.runs_hooks()) [[likely]] return f->forward(argument<I, std::decay_t<P>>(given)...);
    return Flow<R>::out(m.call(Values{
        Flow<std::decay_t<P>>::in(static_cast<std::decay_t<P>>(argument<I, std::decay_t<P>>(given)))...}));
  }(std::index_sequence_for<P...>{});
}

template <class R, class... P> bool try_invoke(Callable<R(P...)>* f, const Values& args, Value& out) {
  if (args.size() > sizeof...(P)) return false;
  static const Value none;
  return [&]<size_t... I>(std::index_sequence<I...>) {
    auto at = [&](size_t i) -> const Value& { return i < args.size() ? args[i] : none; };
    if (!(Flow<std::decay_t<P>>::fits(at(I)) && ...)) return false;
    out = Flow<std::decay_t<R>>::in(f->forward(Flow<std::decay_t<P>>::out(at(I))...));
    return true;
  }(std::index_sequence_for<P...>{});
}
[[noreturn]] void fail_no_forward(const Module&, const Values& args);

}  // namespace detail

// A module with one or more typed forward functions: ModuleOf<Tensor(const Tensor&), Tensor(const Tensor&, const Tensor&)>.
// A slot that declares it calls the first.
template <class First, class... More> class ModuleOf : public Module, public Callable<First>, public Callable<More>... {
 public:
  using Signature = First;

  // Runs hooks; forward() does not.
  template <class... X> auto operator()(X&&... x) {
    using S = typename detail::Pick<sizeof...(X), First, More...>::type;
    const CallScope scope(*this, nullptr);
    return detail::typed_call(*this, static_cast<Callable<S>*>(this), std::forward<X>(x)...);
  }
  Value invoke(const Values& args) final {
    Value out;
    const bool ran = detail::try_invoke(static_cast<Callable<First>*>(this), args, out) ||
                     (detail::try_invoke(static_cast<Callable<More>*>(this), args, out) || ...);
    if (!ran) detail::fail_no_forward(*this, args);
    return out;
  }
};

using Layer = ModuleOf<Tensor(const Tensor&)>;

}  // namespace graft::nn
