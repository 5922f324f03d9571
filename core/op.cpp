#include "graft/core/op.h"

#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

constinit thread_local Modes t_modes;

// ---- observers -----------------------------------------------------------------------------------------------

// The observers of the thread, set aside while they run.
struct Observers {
  template <class F> [[gnu::cold, gnu::noinline]] static void notify(F f) {
    const Observers aside;
    for (const Observing* o = aside.list; o; o = o->outer_) f(o->observer_);
  }
  ~Observers() { t_modes.observers = list; }
  const Observing* list = std::exchange(t_modes.observers, nullptr);
};
static void notify_before(const Call& call) {
  Observers::notify([&](Observer& o) { o.before(call); });
}
static void notify_after(const Call& call, std::span<const Tensor> out, const Candidate* ran) {
  Observers::notify([&](Observer& o) { o.after(call, out, ran); });
}

void need_values(std::string_view op, const Tensor& t) {
  if (t.device().type == Device::meta) fail(ErrorCode::data_dependent, op, ": ", t, " has no values");
  if (t_modes.dry_run) fail(ErrorCode::data_dependent, op, ": depends on the values of ", t, ", and a dry run has shapes only");
  cuda::detail::need_readable(op, t);
}

// ---- infer ---------------------------------------------------------------------------------------------------

std::string_view Infer::name() const { return call_.op.name; }
static std::string describe(std::span<TensorImpl* const> in) {
  std::string text;
  for (size_t i = 0; i < in.size(); ++i) text += concat(i ? ", " : "", in[i]->view);
  return text;
}
std::string Infer::describe_inputs() const { return describe(call_.in); }
void Infer::fail_with_inputs(std::initializer_list<TextPart> parts) const {
  fail(name(), ": ", concat_parts(parts), ": ", describe_inputs());
}

int wrap_dim(std::string_view op, int dim, const View& v) {
  GRAFT_CHECK(dim >= -v.rank && dim < v.rank, op, ": dimension ", dim, " is out of range for ", v);
  return dim < 0 ? dim + v.rank : dim;
}

void keep_layout(Infer& c) {
  View& out = c.out();
  for (int i = 0; i < c.inputs(); ++i) {
    const View& x = c.in(i);
    if (!same_sizes(x, out)) continue;
    if (x.contiguous || !is_dense(x)) return;
    std::copy_n(x.stride, x.rank, out.stride);
    return c.strided();
  }
}

void infer_same(Infer& c) {
  copy_sizes(c.out(), c.in(0));
  if (!c.in(0).contiguous) keep_layout(c);
}

Shape broadcast_shapes(const Infer& c, const View& a, const View& b) {
  Shape shape(a.rank >= b.rank ? a : b);
  for (int i = 1; i <= std::min(a.rank, b.rank); ++i) {
    const int64_t x = a.size[a.rank - i];
    const int64_t y = b.size[b.rank - i];
    c.check(x == y || x == 1 || y == 1, "shapes do not broadcast in dimension -", i);
    shape[shape.rank() - i] = x == 1 ? y : x;
  }
  return shape;
}
void infer_broadcast(Infer& c) {
  const View& x = c.in(0);
  bool same = true, contiguous = x.contiguous;
  for (int i = 1; i < c.inputs(); ++i) {
    same = same && same_sizes(x, c.in(i));
    contiguous = contiguous && c.in(i).contiguous;
  }
  copy_sizes(c.out(), x);
  for (int i = 1; !same && i < c.inputs(); ++i)
    if (!same_sizes(c.out(), c.in(i))) set_shape(c.out(), broadcast_shapes(c, c.out(), c.in(i)));
  if (!contiguous) keep_layout(c);
}

// ---- promotion -----------------------------------------------------------------------------------------------

static int category(DType t) { return t == boolean ? 0 : is_integral(t) ? 1 : is_floating(t) ? 2 : 3; }

// The type of tensors with dimensions, unless a 0-dim one is of a higher category.
static DType combine(std::optional<DType> dims, std::optional<DType> zero) {
  if (!dims || !zero) return dims ? *dims : zero.value_or(f32);
  if (category(*dims) == 2 && is_complex(*zero)) return complex_of(*dims);
  return category(*dims) >= category(*zero) ? *dims : promote_types(*dims, *zero);
}
DType result_type(std::span<TensorImpl* const> in) {
  std::optional<DType> dims, zero;
  for (const TensorImpl* t : in) {
    std::optional<DType>& of = t->view.rank > 0 ? dims : zero;
    of = of ? promote_types(*of, t->view.dtype) : t->view.dtype;
  }
  return combine(dims, zero);
}
DType result_type(const Tensor& t, Scalar s) { return combine(t.dtype(), s.dtype()); }

static DType common_dtype(const Call& call) {
  const DType best = result_type(call.in);
  return call.op.promote == Promote::floating && !is_differentiable(best) ? f32 : best;
}

static bool needs_promotion(const Call& call) {
  if (call.op.promote == Promote::none) return false;
  const DType d = call.in[0]->view.dtype;
  if (call.op.promote == Promote::floating && !is_differentiable(d)) return true;
  return std::ranges::any_of(call.in, [d](const TensorImpl* t) { return t->view.dtype != d; });
}

static Tensors promoted(const Call& call) {
  const DType common = common_dtype(call);
  Tensors cast;
  for (TensorImpl* t : call.in) cast.push_back(Tensor(Ref<TensorImpl>::share(t)).to(common));
  return cast;
}

// ---- dispatch ------------------------------------------------------------------------------------------------

[[noreturn, gnu::cold]] static void fail_no_kernel(const Call& call, const OpEntry& entry, const Launch& launch) {
  std::ostringstream tried;
  tried.imbue(std::locale::classic());
  const View& key = launch.in.empty() ? *launch.out[0] : *launch.in[0];
  for (const Candidate* c = entry.first(key.device.type, key.dtype); c; c = c->next.load())
    tried << "; " << c->name << ": " << c->run(launch);
  fail(ErrorCode::not_implemented, call.op.name, ": no kernel for ", launch.in.empty() ? "output" : describe(call.in), tried.str(),
       "; available: ", available_kernels(entry));
}

[[gnu::cold, gnu::noinline]] static const OpEntry* intern_op(const OpDef& op) {
  const OpEntry* entry = &intern(op.name);
  op.entry.store(entry, std::memory_order_release);
  return entry;
}

// The dtype that selects a kernel is that of input 0; of output 0 for an op without inputs.
[[gnu::always_inline]] static inline const Candidate* run_candidates(const Call& call, const Launch& launch) {
  const View& key = launch.in.empty() ? *launch.out[0] : *launch.in[0];
  const OpEntry* entry = call.op.entry.load(std::memory_order_acquire);
  if (!entry) [[unlikely]] entry = intern_op(call.op);
  for (const Candidate* c = entry->first(key.device.type, key.dtype); c; c = c->next.load(std::memory_order_acquire)) {
    const Decline reason = c->run(launch);
    if (reason == kRan) return c;
    if (t_modes.observers) [[unlikely]] Observers::notify([&](Observer& o) { o.declined(call, *c, reason); });
  }
  fail_no_kernel(call, *entry, launch);
}

[[gnu::cold, gnu::noinline]] static const Candidate* launch_on_cuda(const Call& call, Launch launch, int device) {
  launch.stream = cuda::detail::begin_launch(device);
  cuda::detail::record_launch(call.op.name, call.in, device);
  const Candidate* ran = run_candidates(call, launch);
  if (std::string why; cuda::detail::launch_failed(why))
    fail(ErrorCode::device_error, call.op.name, ": ", why, ": ", launch.in.empty() ? concat(*launch.out[0]) : describe(call.in));
  return ran;
}
[[gnu::always_inline]] static inline const Candidate* launch(const Call& call, const Launch& launch) {
  const View& key = launch.in.empty() ? *launch.out[0] : *launch.in[0];
  // A copy between GPUs runs on the stream of its result, whose memory may have just come from earlier work there.
  const Device where = launch.out.empty() || launch.out[0]->device.type == Device::cpu ? key.device : launch.out[0]->device;
  return where.type == Device::cuda ? launch_on_cuda(call, launch, where.index) : run_candidates(call, launch);
}

static const Candidate* dispatch(const Call& call, std::span<View* const> out) {
  constexpr size_t kInline = 8;
  std::array<const View*, kInline> few;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
  std::vector<const View*> many;
  if (call.in.size() > kInline) many.resize(call.in.size());
  const View** in = many.empty() ? few.data() : many.data();
  for (size_t i = 0; i < call.in.size(); ++i) in[i] = &call.in[i]->view;

  Launch l{{in, call.in.size()}, {const_cast<const View* const*>(out.data()), out.size()}, call.attrs.data};
  std::array<Packs*, kInline> packs;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
  if (t_modes.inference && call.in.size() <= kInline) {
    for (size_t i = 0; i < call.in.size(); ++i) packs[i] = call.in[i]->storage.get();
    l.packs = packs.data();
  }
  return launch(call, l);
}

// ---- apply ---------------------------------------------------------------------------------------------------

static void check_inputs(const Call& call) {
  for (size_t i = 0; i < call.in.size(); ++i) {
    if (!call.in[i]) fail(call.op.name, ": input ", i, " is undefined");
    if (!(call.in[i]->view.device == call.in[0]->view.device) && !t_modes.dry_run)
      fail(ErrorCode::device_mismatch, call.op.name, ": inputs are on different devices: ", describe(call.in));
  }
}

static bool wants_record(const Call& call) {
  if (!t_modes.grad || t_modes.inference) return false;
  return std::ranges::any_of(call.in, [](TensorImpl* t) { return needs_grad(*t); });
}

static void make_outputs(const Call& call, std::span<Tensor> out, std::span<View*> views) {
  for (size_t i = 0; i < out.size(); ++i) {
    Ref<TensorImpl> t = make_impl();
    if (!call.in.empty()) {
      t->view.dtype = call.in[0]->view.dtype;
      t->view.device = call.in[0]->view.device;
    }
    t->inference = t_modes.inference;
    views[i] = &t->view;
    out[i] = Tensor(std::move(t));
  }
}

static void become_view(TensorImpl& view, TensorImpl& of) {
  share_storage(view, of);
  if (t_modes.inference) return;
  view.base = of.base ? of.base : Ref<TensorImpl>::share(&of);
  view.base_history.store(view.base->history, std::memory_order_relaxed);
  view.untracked_view = !t_modes.grad || of.untracked_view;
}

void apply_into(const Call& call, std::span<Tensor> out) {
  check_inputs(call);
  if (needs_promotion(call)) [[unlikely]] {
    const Tensors cast = promoted(call);
    return apply_into(Call{call.op, impls(cast), call.attrs}, out);
  }
  if (t_modes.observers) [[unlikely]] notify_before(call);

  constexpr size_t kInline = 4;
  std::array<View*, kInline> few;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by make_outputs
  std::vector<View*> many;
  if (out.size() > kInline) many.resize(out.size());
  const std::span<View*> views(many.empty() ? few.data() : many.data(), out.size());
  make_outputs(call, out, views);
  Infer infer(call, views);
  call.op.infer(infer);

  const Candidate* ran = nullptr;
  if (call.op.view) {
    for (Tensor& t : out) become_view(*t.impl(), *call.in[0]);
  } else {
    for (size_t i = 0; i < out.size(); ++i) {
      View& v = *views[i];
      infer.is_strided(i) ? set_strided(v) : set_contiguous(v);
      if (t_modes.dry_run) v.device = Device::meta;
      allocate_storage(*out[i].impl());
    }
    if (views[0]->device.type != Device::meta) ran = dispatch(call, views);
  }
  if (wants_record(call)) record(call, out);
  if (t_modes.observers) [[unlikely]] notify_after(call, out, ran);
}

// ---- in place ------------------------------------------------------------------------------------------------

static bool identical_memory(const View& a, const View& b) {
  if (a.offset != b.offset || !same_sizes(a, b)) return false;
  for (int i = 0; i < a.rank; ++i)
    if (a.stride[i] != b.stride[i]) return false;
  return true;
}

// An op may write straight over in[0] if no other input is read through the same memory at other places, and if the
// derivative does not read what would be overwritten. Otherwise the result is computed aside and copied.
static bool must_compute_aside(const Call& call, bool recording) {
  const TensorImpl& dst = *call.in[0];
  if (call.op.promote != Promote::none && common_dtype(call) != dst.view.dtype) return true;
  Reads reads = 0;
  if (recording)
    for (size_t i = 0; i < call.in.size(); ++i)
      if (needs_grad(*call.in[i])) reads |= call.op.reads[std::min<size_t>(i, 3)];
  for (size_t i = 0; i < call.in.size(); ++i) {
    const TensorImpl& t = *call.in[i];
    if (t.storage.get() != dst.storage.get()) continue;
    if (reads >> std::min<size_t>(i, 7) & 1 || !identical_memory(t.view, dst.view)) return true;
  }
  return false;
}

// The copy that ends it is a recorded op of its own, so that derivative, dtype and overlap need no rule here.
static void compute_aside(const Call& call) {
  const TensorImpl& dst = *call.in[0];
  const Tensor target(Ref<TensorImpl>::share(call.in[0]));
  Tensors in;
  for (TensorImpl* t : call.in) {
    const Tensor x(Ref<TensorImpl>::share(t));
    in.push_back(t->storage.get() == dst.storage.get() ? x.clone() : x);
  }
  if (&call.op == &copy_op) return void(target.copy_(in[1]));
  Tensor result;
  apply_into(Call{call.op, impls(in), call.attrs}, std::span(&result, 1));
  if (category(dst.view.dtype) < category(result.dtype()))
    fail(ErrorCode::dtype_mismatch, call.op.name, "_: result ", result, " cannot be stored in ", dst.view);
  target.copy_(result);
  if (!t_modes.dry_run) dst.storage->writer.store(call.op.name.data(), std::memory_order_relaxed);
}

static void mark_written(Storage& storage, const OpDef& op) {
  storage.version.store(storage.version.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  storage.writer.store(op.name.data(), std::memory_order_relaxed);
}

void apply_inplace(const Call& call) {
  check_inputs(call);
  TensorImpl& dst = *call.in[0];
  const bool recording = !t_modes.dry_run && wants_record(call);
  check_writable(call, recording);
  if (must_compute_aside(call, recording)) [[unlikely]] return compute_aside(call);
  if (t_modes.observers) [[unlikely]] notify_before(call);

  View result;
  result.dtype = dst.view.dtype;
  result.device = dst.view.device;
  View* views[] = {&result};
  Infer infer(call, views);
  call.op.infer(infer);
  if (!same_sizes(result, dst.view) || result.dtype != dst.view.dtype)
    fail(call.op.name, "_: result ", result, " does not fit in ", dst.view);

  InplaceRecord history;
  if (recording) history = prepare_inplace(call);
  const Candidate* ran = nullptr;
  views[0] = &dst.view;
  if (dst.view.device.type != Device::meta && !t_modes.dry_run) ran = dispatch(call, views);
  if (!t_modes.dry_run) mark_written(*dst.storage, call.op);
  if (recording) commit_inplace(dst, std::move(history));
  if (t_modes.observers) [[unlikely]] {
    const Tensor out(Ref<TensorImpl>::share(&dst));
    notify_after(call, std::span(&out, 1), ran);
  }
}

Update::Update(const OpDef& op, std::vector<TensorImpl*> in, std::vector<TensorImpl*> inout)
    : op_(op), in_(std::move(in)), inout_(std::move(inout)) {
  check_inputs({op_, in_, {}});
  for (TensorImpl* t : in_) in_views_.push_back(&t->view);
  for (TensorImpl* t : inout_) inout_views_.push_back(&t->view);
}

void Update::run(const Attrs& attrs) const {
  if (in_.empty()) return;
  const Call call{op_, in_, attrs};
  if (t_modes.observers) [[unlikely]] notify_before(call);
  const Candidate* ran = nullptr;
  if (in_[0]->view.device.type == Device::cuda) cuda::detail::record_launch(op_.name, inout_, in_[0]->view.device.index);
  if (in_[0]->view.device.type != Device::meta && !t_modes.dry_run) ran = launch(call, {in_views_, inout_views_, attrs.data});
  if (!t_modes.dry_run)
    for (TensorImpl* t : inout_) mark_written(*t->storage, op_);
  if (t_modes.observers) [[unlikely]] notify_after(call, {}, ran);
}

std::vector<TensorImpl*> impls(const Tensors& list) {
  std::vector<TensorImpl*> ptrs(list.size());
  std::ranges::transform(list, ptrs.begin(), [](const Tensor& t) { return t.impl(); });
  return ptrs;
}

}  // namespace graft
