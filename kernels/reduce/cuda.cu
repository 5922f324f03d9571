// Reductions on cuda, over any dimensions: sums, products, extremes with and without index, truth, variance; running sums.
// A fold is start, step, join and write. Threads of a block share an output: each folds every X-th element, then a tree in
// shared memory joins them, in a fixed order. Where outputs are few, several blocks have a share of each (cuda/shares.h).
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/moments.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/shares.h"
#include "graft/kernels/reduce/fold.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

struct Outputs {
  void *value, *second;  // the index, or the mean
  double correction;     // of a variance
};

// Sums of 16-bit floats and f32 are f32: the tree keeps the error at that of a few hundred additions.
template <class T> using Sum = std::conditional_t<std::is_integral_v<T>, int64_t, compute_t<T>>;

template <class T> struct AddFold {
  using Acc = Sum<T>;
  GRAFT_HD static Acc start() { return Acc(0); }
  GRAFT_HD static Acc step(Acc a, T x, unsigned) { return a + convert<Acc>(x); }
  GRAFT_HD static Acc join(Acc a, Acc b) { return a + b; }
  using Out = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
  GRAFT_HD static void write(Acc a, unsigned, const Outputs& y, unsigned o) { static_cast<Out*>(y.value)[o] = convert<Out>(a); }
};
template <class T> struct MeanFold : AddFold<T> {
  GRAFT_HD static void write(Sum<T> a, unsigned n, const Outputs& y, unsigned o) {
    static_cast<T*>(y.value)[o] = convert<T>(a / Sum<T>(n));
  }
};
template <class T> struct ProdFold {
  using Acc = Sum<T>;
  GRAFT_HD static Acc start() { return Acc(1); }
  GRAFT_HD static Acc step(Acc a, T x, unsigned) { return a * convert<Acc>(x); }
  GRAFT_HD static Acc join(Acc a, Acc b) { return a * b; }
  GRAFT_HD static void write(Acc a, unsigned n, const Outputs& y, unsigned o) { AddFold<T>::write(a, n, y, o); }
};
template <class T, bool every> struct TruthFold {
  using Acc = int;
  GRAFT_HD static Acc start() { return every; }
  GRAFT_HD static Acc step(Acc a, T x, unsigned) { return join(a, convert<compute_t<T>>(x) != compute_t<T>(0)); }
  GRAFT_HD static Acc join(Acc a, Acc b) { return every ? a & b : a | b; }
  GRAFT_HD static void write(Acc a, unsigned, const Outputs& y, unsigned o) { static_cast<uint8_t*>(y.value)[o] = uint8_t(a != 0); }
};
// The first of equals; a NaN wins.
template <class T, bool largest, bool with_index> struct ExtremeFold {
  struct Acc {
    compute_t<T> value;
    unsigned index;
  };
  static constexpr unsigned kNone = ~0U;
  GRAFT_HD static Acc start() { return {compute_t<T>(0), kNone}; }
  GRAFT_HD static Acc step(Acc a, T x, unsigned i) { return join(a, {compute_t<T>(x), i}); }
  GRAFT_HD static Acc join(Acc a, Acc b) {
    if (a.index == kNone || b.index == kNone) return a.index == kNone ? b : a;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan) return a_nan ? a : b;
    const bool same = a_nan || a.value == b.value;
    if (same) return a.index < b.index ? a : b;
    return (largest ? a.value > b.value : a.value < b.value) ? a : b;
  }
  GRAFT_HD static void write(Acc a, unsigned, const Outputs& y, unsigned o) {
    static_cast<T*>(y.value)[o] = convert<T>(a.value);
    if constexpr (with_index) static_cast<int64_t*>(y.second)[o] = int64_t(a.index);
  }
};
// Welford's algorithm.
template <class T> struct VarianceFold {
  using C = compute_t<T>;
  using Acc = Moments<C>;
  GRAFT_HD static Acc start() { return {}; }
  GRAFT_HD static Acc step(Acc a, T x, unsigned) {
    a.n += 1;
    const C d = C(x) - a.mean;
    a.mean += d / a.n;
    a.squares += d * (C(x) - a.mean);
    return a;
  }
  GRAFT_HD static Acc join(Acc a, Acc b) { return join_moments(a, b); }
  GRAFT_HD static void write(Acc a, unsigned n, const Outputs& y, unsigned o) {
    const double divisor = double(n) - y.correction;
    static_cast<T*>(y.value)[o] = convert<T>(C(double(a.squares) / (divisor > 0 ? divisor : 0)));
    static_cast<T*>(y.second)[o] = convert<T>(n == 0 ? C(NAN) : a.mean);
  }
};

// A fold of so many elements, and where its results go.
template <class F> struct Finished : F {
  Outputs y;
  unsigned count;
  __device__ void write(const typename F::Acc& all, unsigned o) const { F::write(all, count, y, o); }
};
// Elements along the reduced dimensions come n at a time: with n > 1 they are neighbours, of whole packs.
template <class F, class T, int n>
__global__ __launch_bounds__(kThreads) void fold(const T* x, Finished<F> f, Dimensions kept, Dimensions reduced, Groups g,
                                                 typename F::Acc* shares) {
  using Acc = typename F::Acc;
  GRAFT_SHARED(Acc, part, [kThreads]);
  const unsigned o = blockIdx.x * g.outputs + g.group();
  const Share share(reduced.count / n);
  Acc acc = F::start();
  if (o < kept.count) {
    const T* p = x + kept.offset(o);
    if constexpr (n == 1) {
      for (unsigned i = share.first + g.place(); i < share.end; i += g.along) acc = F::step(acc, p[reduced.offset(i)], i);
    } else {
#pragma unroll 4
      for (unsigned i = share.first + g.place(); i < share.end; i += g.along) {
        const Pack<T, n> some = reinterpret_cast<const Pack<T, n>*>(p)[i];
#pragma unroll
        for (int e = 0; e < n; ++e) acc = F::step(acc, some.of[e], i * n + unsigned(e));
      }
    }
  }
  acc = join_threads<F>(g, part, acc);
  if (g.place() == 0 && o < kept.count) leave(f, acc, o, shares);
}

Decline take(const reduce::Walk& w, Dimensions& d) {
  if (w.count > INT32_MAX) return "2^31 elements or more";
  d.rank = w.n;
  d.count = unsigned(w.count);
  for (int i = 0; i < w.n; ++i) {
    d.size[i] = Divider(unsigned(std::max<int64_t>(1, w.size[i])));
    d.step[i] = w.stride[i];
  }
  return kRan;
}
// Whether what is reduced for each output are neighbours in whole packs.
template <class T> bool in_packs(const View& x, const reduce::Walk& kept, const reduce::Walk& along) {
  bool fits = along.n == 1 && along.step() == 1 && along.count % kPerPack<T> == 0 && is_aligned(x.data, 16);
  for (int i = 0; i < kept.n; ++i) fits = fits && kept.stride[i] % kPerPack<T> == 0;
  return fits;
}
template <class F, class T> Decline run_fold(const Launch& l, uint8_t mask, bool in_order, double correction = 0) {
  const View& x = *l.in[0];
  if (l.out[0]->numel == 0) return kRan;
  reduce::Walk along(x, mask);
  const reduce::Walk kept_walk(x, uint8_t(~mask));
  if (!in_order) along.innermost_last();
  Dimensions kept, reduced;
  if (const Decline why = take(kept_walk, kept)) return why;
  if (const Decline why = take(along, reduced)) return why;
  const bool columns = kept_walk.n && std::abs(kept_walk.step()) < std::abs(along.step()) && kept_walk.inner() > 1;
  bool packs = false;
  if constexpr (is_floating_v<T>) packs = in_packs<T>(x, kept_walk, along);
  const unsigned count = packs ? reduced.count / kPerPack<T> : reduced.count;
  const Groups g(count, columns);
  const Finished<F> f{{}, {l.out[0]->data, l.out.size() > 1 ? l.out[1]->data : nullptr, correction}, reduced.count};
  auto kernel = fold<F, T, 1>;
  if constexpr (is_floating_v<T>) kernel = packs ? fold<F, T, kPerPack<T>> : kernel;
  launch_shared(x, f, kept.count, count, g, l.stream, [&](dim3 grid, typename F::Acc* shares) {
    launch(kernel, grid, kThreads, 0, l.stream, x.as<T>(), f, kept, reduced, g, shares);
  });
  return kRan;
}
template <class F, class T> Decline reduce_kernel(const Launch& l) { return run_fold<F, T>(l, l.attrs_as<ReduceAttrs>().reduce, false); }
template <class F, class T> Decline index_kernel(const Launch& l) {
  const uint8_t mask = l.attrs_as<ReduceAttrs>().reduce;
  if (reduce::Walk(*l.in[0], mask).n > 1) return "more than one dimension";
  return run_fold<F, T>(l, mask, true);
}
template <class T> Decline variance(const Launch& l) {
  const auto& a = l.attrs_as<VarAttrs>();
  return run_fold<VarianceFold<T>, T>(l, a.dims.reduce, false, a.correction);
}

// ---- running sums and products: a thread or a block per line -----------------------------------------------------

template <class T, bool product>
__global__ __launch_bounds__(kThreads) void scan_lines(Strided<2> s, unsigned n, int64_t to, int64_t from) {
  using Acc = Sum<T>;
  const unsigned line = blockIdx.x * kThreads + threadIdx.x;
  if (line >= s.count) return;
  int64_t at[2];
  s.offsets(line, at);
  T* q = reinterpret_cast<T*>(s.data[0] + at[0]);
  const T* p = reinterpret_cast<const T*>(s.data[1] + at[1]);
  Acc acc = Acc(product ? 1 : 0);
  for (unsigned i = 0; i < n; ++i) {
    const Acc x = convert_element<Acc>(p[i * from]);
    acc = product ? acc * x : acc + x;
    q[i * to] = convert_element<T>(acc);
  }
}
// Some neighbours per thread; their totals are added up in shared memory, step by step over twice the distance; and on to the next.
template <class T, bool product>
__global__ __launch_bounds__(kThreads) void scan_line(Strided<2> s, unsigned n, int64_t to, int64_t from) {
  using Acc = Sum<T>;
  constexpr unsigned each = 4;
  GRAFT_SHARED(Acc, total, [2][kThreads]);
  const auto join = [](Acc a, Acc b) { return product ? a * b : a + b; };
  int64_t at[2];
  s.offsets(blockIdx.x, at);
  T* q = reinterpret_cast<T*>(s.data[0] + at[0]);
  const T* p = reinterpret_cast<const T*>(s.data[1] + at[1]);
  const unsigned t = threadIdx.x;
  constexpr unsigned at_once = kPerPack<T> < int(each) ? unsigned(kPerPack<T>) : each;  // elements that are read and written at a time
  using Some = Pack<T, int(at_once)>;
  const auto packed = [](const T* line, int64_t step) { return step == 1 && reinterpret_cast<uintptr_t>(line) % sizeof(Some) == 0; };
  const bool reads = packed(p, from), writes = packed(q, to);
  Acc before = Acc(product ? 1 : 0);  // of what came earlier in the line
  for (unsigned start = 0; start < n; start += kThreads * each) {
    const unsigned first = start + t * each;
    Acc own[each];
    if (reads && first + each <= n) {
#pragma unroll
      for (unsigned k = 0; k < each; k += at_once) {
        const Some some = *reinterpret_cast<const Some*>(p + first + k);
#pragma unroll
        for (unsigned e = 0; e < at_once; ++e) own[k + e] = convert_element<Acc>(some.of[e]);
      }
    } else {
#pragma unroll
      for (unsigned k = 0; k < each; ++k) own[k] = first + k < n ? convert_element<Acc>(p[(first + k) * from]) : Acc(product ? 1 : 0);
    }
#pragma unroll
    for (unsigned k = 1; k < each; ++k) own[k] = join(own[k - 1], own[k]);
    unsigned side = 0;
    total[side][t] = own[each - 1];
    for (unsigned by = 1; by < kThreads; by *= 2, side ^= 1) {
      __syncthreads();
      total[side ^ 1][t] = t >= by ? join(total[side][t - by], total[side][t]) : total[side][t];
    }
    __syncthreads();
    const Acc mine = t > 0 ? join(before, total[side][t - 1]) : before;
    if (writes && first + each <= n) {
#pragma unroll
      for (unsigned k = 0; k < each; k += at_once) {
        Some some;
#pragma unroll
        for (unsigned e = 0; e < at_once; ++e) some.of[e] = convert_element<T>(join(mine, own[k + e]));
        *reinterpret_cast<Some*>(q + first + k) = some;
      }
    } else {
#pragma unroll
      for (unsigned k = 0; k < each; ++k)
        if (first + k < n) q[(first + k) * to] = convert_element<T>(join(mine, own[k]));
    }
    before = join(before, total[side][kThreads - 1]);
    __syncthreads();
  }
}
template <class T, bool product> Decline scan(const Launch& l) {
  View x = *l.in[0], y = *l.out[0];
  if (x.numel == 0) return kRan;
  const int dim = l.attrs_as<ScanAttrs>().dim;
  const int64_t n = x.rank ? x.size[dim] : 1, from = x.rank ? x.stride[dim] : 0, to = x.rank ? y.stride[dim] : 0;
  if (n > INT32_MAX) return "2^31 elements or more in a line";
  for (View* v : {&x, &y}) {  // the beginnings of the lines
    if (v->rank) v->size[dim] = 1;
    v->numel /= n;
    v->contiguous = false;
  }
  const View *in[] = {&x}, *out[] = {&y};
  for_each_part<2>({in, out}, [&](const Strided<2>& s) {
    const bool by_blocks = n >= kThreads && (from == 1 || s.count < 64 * kThreads);  // else neighbouring threads read neighbours
    if (by_blocks) launch(scan_line<T, product>, s.count, kThreads, 0, l.stream, s, unsigned(n), to, from);
    else launch(scan_lines<T, product>, blocks_for(s.count), kThreads, 0, l.stream, s, unsigned(n), to, from);
  });
  return kRan;
}

template <class T> void add_all() {
  constexpr DType t = dtype_v<T>;
  const auto add = [](const char* op, Kernel k) { add_kernel(op, Device::cuda, t, "tree", k); };
  add("sum", reduce_kernel<AddFold<T>, T>);
  add("prod", reduce_kernel<ProdFold<T>, T>);
  if constexpr (!std::is_integral_v<T>) {
    add("mean", reduce_kernel<MeanFold<T>, T>);
    if constexpr (!is_complex_v<T>) add("var", variance<T>);
  }
  add("any", reduce_kernel<TruthFold<T, false>, T>);
  add("all", reduce_kernel<TruthFold<T, true>, T>);
  if constexpr (!is_complex_v<T>) {
    add("amax", reduce_kernel<ExtremeFold<T, true, false>, T>);
    add("amin", reduce_kernel<ExtremeFold<T, false, false>, T>);
    add("max", index_kernel<ExtremeFold<T, true, true>, T>);
    add("min", index_kernel<ExtremeFold<T, false, true>, T>);
  }
  if constexpr (!std::is_same_v<T, bool>) {
    add_kernel("cumsum", Device::cuda, t, "lines", scan<T, false>);
    add_kernel("cumprod", Device::cuda, t, "lines", scan<T, true>);
  }
}

}  // namespace

void register_reduce_cuda() {
  for_each_type(RealTypes{}, [](auto tag) { add_all<typename decltype(tag)::type>(); });
  for_each_type(KernelComplexTypes{}, [](auto tag) { add_all<typename decltype(tag)::type>(); });
}

}  // namespace graft
