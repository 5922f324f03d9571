// The choke point. An op is a name, a shape rule and a derivative; apply() checks, allocates, dispatches, records.
// Kernels are found by name in kernels/table.h. Autograd is in core/autograd.h.
#pragma once
#include <algorithm>
#include <type_traits>
#include "graft/core/error.h"
#include "graft/core/tensor.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {

class Backward;

// A reference to an op's attributes: any trivially copyable struct. A node keeps its bytes.
class Attrs {
 public:
  Attrs() = default;
  template <class A>
    requires(!std::is_same_v<A, Attrs> && std::is_trivially_copyable_v<A>)
  Attrs(const A& a) : data(&a), type(&kType<A>), size(sizeof(A)) {}  // NOLINT(google-explicit-constructor)
  template <class A> const A& get() const {
    assert(type == &kType<A>);
    return *static_cast<const A*>(data);
  }
  const void* data = nullptr;
  const void* type = nullptr;
  uint32_t size = 0;

 private:
  template <class A> static constexpr char kType = 0;
};

struct OpDef;

// One use of an op. `in` are borrowed.
struct Call {
  const OpDef& op;
  std::span<TensorImpl* const> in;
  Attrs attrs;
};

// What a shape rule sees. It sets sizes and dtype of every output; a view op also strides and offset. An output
// starts with the dtype and device of input 0.
class Infer {
 public:
  Infer(const Call& call, std::span<View* const> out) : call_(call), out_(out) {}
  int inputs() const { return int(call_.in.size()); }
  const View& in(int i) const { return call_.in[size_t(i)]->view; }
  View& out(int i = 0) const { return *out_[size_t(i)]; }
  int outputs() const { return int(out_.size()); }
  template <class A> const A& attrs() const { return call_.attrs.get<A>(); }
  // An op with a kernel gets contiguous outputs, unless its rule sets (dense) strides and says so.
  void strided(int i = 0) { strided_ |= 1U << i; }
  bool is_strided(size_t i) const { return strided_ >> i & 1U; }
  // Throws "<op>: <parts>: <every input>".
  template <class... A> void check(bool ok, const A&... parts) const {
    if (!ok) [[unlikely]] fail_with_inputs({TextPart(parts)...});
  }

 private:
  [[noreturn, gnu::cold]] void fail_with_inputs(std::initializer_list<TextPart> parts) const;
  std::string_view name() const;
  std::string describe_inputs() const;
  const Call& call_;
  std::span<View* const> out_;
  uint32_t strided_ = 0;
};

// What the derivative with respect to one input reads: inputs in bits 0-7, outputs in bits 8-15.
using Reads = uint16_t;
constexpr Reads input(int i) { return Reads(1U << i); }
constexpr Reads output(int i = 0) { return Reads(256U << i); }

enum class Promote : uint8_t { none, common, floating };  // inputs to their common dtype; integers also to f32
DType result_type(std::span<TensorImpl* const>);          // PyTorch's: 0-dim tensors count for their category only
DType result_type(const Tensor&, Scalar);

struct OpDef {
  std::string_view name;
  void (*infer)(Infer&);
  void (*backward)(Backward&) = nullptr;  // written in ops, hence differentiable
  std::array<Reads, 4> reads{};           // per input, the last for all later; only what is read is kept alive
  Promote promote = Promote::none;
  bool view = false;                      // outputs share the storage of input 0; there is no kernel
  bool keeps_shapes = false;              // the derivative asks for the shapes of all inputs
  int64_t (*macs)(const Call&, std::span<const Tensor> out) = nullptr;  // multiply-adds of a call; null: none to speak of
  mutable std::atomic<const OpEntry*> entry{nullptr};  // interned name, filled by the first launch
};

// The general form: any number of inputs and outputs.
void apply_into(const Call&, std::span<Tensor> out);
// Writes the result over in[0], which must have the result's shape.
void apply_inplace(const Call&);
// One kernel that updates `inout` from the call's inputs, over many tensors and without history: optimizer steps.
// Everything is allocated by the constructor; run() fails only where no kernel takes the launch, before it writes.
class Update {
 public:
  Update(const OpDef&, std::vector<TensorImpl*> in, std::vector<TensorImpl*> inout);
  void run(const Attrs&) const;

 private:
  const OpDef& op_;
  std::vector<TensorImpl*> in_, inout_;
  std::vector<const View*> in_views_, inout_views_;
};

template <class... T> Tensor apply(const OpDef& op, const Attrs& attrs, const T&... in) {
  const std::array<TensorImpl*, sizeof...(in)> ptrs{in.impl()...};
  Tensor out;
  apply_into(Call{op, ptrs, attrs}, std::span(&out, 1));
  return out;
}
template <class... T> const Tensor& apply_inplace(const OpDef& op, const Attrs& attrs, const Tensor& dst, const T&... in) {
  const std::array<TensorImpl*, 1 + sizeof...(in)> ptrs{dst.impl(), in.impl()...};
  apply_inplace(Call{op, ptrs, attrs});
  return dst;
}
std::vector<TensorImpl*> impls(const Tensors&);

// Shape rules that many ops share. Pointwise ones keep the order in which the first full-sized input lies in memory
// (channels last stays channels last).
void infer_same(Infer&);
void infer_broadcast(Infer&);
void keep_layout(Infer&);  // for out(0), once its sizes are set
Shape broadcast_shapes(const Infer&, const View& a, const View& b);
int wrap_dim(std::string_view op, int dim, const View&);  // counted from either end, checked

// Tracing, profiling, cost counts: sees every call of its thread, views and in-place ops included, but not what observers
// do themselves. Costs one predicted branch when absent. current_path() (core/path.h) says in which module the call is.
class Observer {
 public:
  virtual void before(const Call&) {}
  virtual void declined(const Call&, const Candidate&, const char* /*reason*/) {}
  virtual void after(const Call&, std::span<const Tensor> /*out*/, const Candidate* /*null: no kernel ran*/) {}

 protected:
  ~Observer() = default;
};

class Observing;

// The modes of a thread, in one place so that the choke point reads them with one address.
struct Modes {
  bool grad = true;
  bool inference = false;
  bool dry_run = false;
  bool anomaly = false;
  const Observing* observers = nullptr;  // innermost first
};
extern constinit thread_local Modes t_modes;
inline Modes& thread_modes() { return t_modes; }

// Sets one mode for a scope.
template <auto Field, auto Value> class ModeGuard {
 public:
  ModeGuard() : before_(std::exchange(thread_modes().*Field, Value)) {}
  ~ModeGuard() { thread_modes().*Field = before_; }
  ModeGuard(const ModeGuard&) = delete;
  ModeGuard& operator=(const ModeGuard&) = delete;

 private:
  decltype(Value) before_;
};
using NoGrad = ModeGuard<&Modes::grad, false>;
using EnableGrad = ModeGuard<&Modes::grad, true>;
using InferenceMode = ModeGuard<&Modes::inference, true>;
using DetectAnomaly = ModeGuard<&Modes::anomaly, true>;  // backward fails at the first NaN and names its op
// apply() only infers: results are meta tensors, whatever the devices of the inputs; nothing is written, no random number
// drawn, no hook of a tensor run; what depends on values fails with ErrorCode::data_dependent.
using DryRun = ModeGuard<&Modes::dry_run, true>;
// For functions whose result depends on values: fails in a dry run and for meta tensors.
void need_values(std::string_view op, const Tensor&);

// For modes that are only known at run time: const SetGradEnabled scope(train);
class SetGradEnabled {
 public:
  explicit SetGradEnabled(bool on) : before_(std::exchange(thread_modes().grad, on)) {}
  ~SetGradEnabled() { thread_modes().grad = before_; }
  SetGradEnabled(const SetGradEnabled&) = delete;
  SetGradEnabled& operator=(const SetGradEnabled&) = delete;

 private:
  bool before_;
};
inline bool is_grad_enabled() { return t_modes.grad && !t_modes.inference; }
inline void set_grad_enabled(bool on) { t_modes.grad = on; }  // until changed again; prefer the scopes
inline bool is_inference_mode() { return t_modes.inference; }

// Adds an observer for a scope; several may be nested.
class Observing {
 public:
  explicit Observing(Observer& o) : observer_(o), outer_(std::exchange(thread_modes().observers, this)) {}
  ~Observing() { thread_modes().observers = outer_; }
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;

 private:
  friend struct Observers;
  Observer& observer_;
  const Observing* outer_;
};

}  // namespace graft
