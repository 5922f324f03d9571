// Softmax and log softmax over one dimension on cpu, and their derivatives: lines of contiguous numbers (lines.h), and around
// them the other dtypes and dimensions, through a buffer, and threads.
#include <algorithm>
#include "graft/kernels/convert.h"
#include "graft/kernels/isa.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/scratch.h"
#include "graft/kernels/softmax/lines.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {

softmax_lines::LineSet softmax_lines::lines_in_use() {
#if defined(__x86_64__)
  if (cpu::isa() == cpu::Isa::avx512) return lines_avx512();
  if (cpu::isa() == cpu::Isa::avx2) return lines_avx2();
#endif
  return lines_baseline();
}

namespace {

using softmax_lines::Lines;
using softmax_lines::LineSet;

template <class C> Lines<C> lines() {
  const LineSet set = softmax_lines::lines_in_use();
  if constexpr (std::is_same_v<C, float>) return set.f32;
  else return set.f64;
}

constexpr int64_t kGrain = 1 << 15;  // elements of a thread's piece, at least

// Calls line(result, inputs) for every line along the dimension, on memory of type C without gaps.
template <class T, class F> Decline each_line(const Launch& l, const F& line) {
  using C = compute_t<T>;
  constexpr size_t kOperands = 3;
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  const View& x = *l.in[0];
  const int dim = l.attrs_as<DimAttrs>().dim;
  const int64_t n = x.size[dim], step = x.stride[dim];
  if (x.numel == 0) return kRan;
  const bool direct = std::is_same_v<T, C> && step == 1;
  const graft::Row load = convert_row(dtype_v<C>, dtype_v<T>), store = convert_row(dtype_v<T>, dtype_v<C>);
  parallel_for(0, x.numel / n, std::max<int64_t>(1, kGrain / n), [&](int64_t first, int64_t last) {
    const Scratch<C> buffer(direct ? 0 : n * int64_t(l.in.size()));
    for (int64_t r = first; r < last; ++r) {
      const int64_t at = r / step * step * n + r % step;
      T* out = l.out[0]->as<T>() + at;
      const C* in[kOperands];
      if constexpr (std::is_same_v<T, C>) {
        if (direct) {
          for (size_t k = 0; k < l.in.size(); ++k) in[k] = l.in[k]->as<T>() + at;
          line(out, in, n);
          continue;
        }
      }
      for (size_t k = 0; k < l.in.size(); ++k) {
        C* part = buffer.get() + int64_t(k) * n;
        const Operand pair[] = {{reinterpret_cast<std::byte*>(part), 1}, {reinterpret_cast<std::byte*>(l.in[k]->as<T>() + at), step}};
        load(pair, n, nullptr);
        in[k] = part;
      }
      line(buffer.get(), in, n);
      const Operand pair[] = {{reinterpret_cast<std::byte*>(out), step}, {reinterpret_cast<std::byte*>(buffer.get()), 1}};
      store(pair, n, nullptr);
    }
  });
  return kRan;
}

template <class T, auto member> Decline forward(const Launch& l) {
  using C = compute_t<T>;
  const auto run = lines<C>().*member;
  return each_line<T>(l, [run](C* y, const C* const* in, int64_t n) { run(y, in[0], n); });
}
template <class T, auto member> Decline backward(const Launch& l) {  // in: y, g
  using C = compute_t<T>;
  const auto run = lines<C>().*member;
  return each_line<T>(l, [run](C* dx, const C* const* in, int64_t n) { run(dx, in[0], in[1], n); });
}

}  // namespace

void register_softmax_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    using L = Lines<compute_t<T>>;
    add_kernel("softmax", Device::cpu, dtype_v<T>, "lines", forward<T, &L::softmax>);
    add_kernel("softmax_grad", Device::cpu, dtype_v<T>, "lines", backward<T, &L::softmax_grad>);
    add_kernel("log_softmax", Device::cpu, dtype_v<T>, "lines", forward<T, &L::log_softmax>);
    add_kernel("log_softmax_grad", Device::cpu, dtype_v<T>, "lines", backward<T, &L::log_softmax_grad>);
  });
}

}  // namespace graft
