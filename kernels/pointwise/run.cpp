// Runs the rows of a pointwise op over operands of any dtype and strides. Where memory is not what a row takes, blocks of
// elements are converted into buffers that stay in the first-level cache, and back.
#include <algorithm>
#include "graft/kernels/convert.h"
#include "graft/kernels/isa.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/pointwise/rows.h"
#include "graft/kernels/rows.h"
#include "graft/kernels/scalar.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace graft::inline v1::pointwise {
namespace {

constexpr DType kTypeOf[kComputes] = {f32, f64, i64, c64, c128};
Compute compute_of(DType t) {
  constexpr Compute of[kDTypes] = {in_f32, in_f64, in_f32, in_f32, in_i64, in_i64, in_i64, in_i64, in_i64, in_i64, in_c64, in_c128};
  return of[int(t)];
}

constexpr int64_t kBlock = 512;         // elements
constexpr int64_t kGrain = 1 << 15;     // elements of a thread's piece, at least
constexpr int64_t kStream = 4 << 20;    // bytes of a result that bypasses the caches

struct Job {
  pointwise::Row row = nullptr;
  const void* attrs = nullptr;
  int inputs = 0;
  bool stream = false;
  // Of the result, then of the inputs: bytes of an element in memory, whether that is what the row takes, and what
  // moves elements from memory into a buffer or, for the result, back.
  int64_t bytes[1 + kMaxInputs] = {};
  bool same[1 + kMaxInputs] = {};
  graft::Row move[1 + kMaxInputs] = {};
};

// Writes around the caches: a large result would only push out what is in them, after having been read for nothing.
void stream_out(std::byte* to, const std::byte* from, int64_t bytes) {
#if defined(__SSE2__)
  const auto ahead = std::min(bytes, int64_t(-reinterpret_cast<intptr_t>(to) & 15));
  std::memcpy(to, from, size_t(ahead));
  int64_t i = ahead;
  for (; i + 64 <= bytes; i += 64)
    for (int k = 0; k < 64; k += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + i + k), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i + k)));
  std::memcpy(to + i, from + i, size_t(bytes - i));
#else
  std::memcpy(to, from, size_t(bytes));
#endif
}

using Buffer = std::byte[kBlock * 16];

// One row of operands: what a row function cannot take directly goes through a buffer. An operand with step 0 is
// spread over its buffer once.
void block_row(const Operand* o, int64_t n, const void* context) {
  const Job& job = *static_cast<const Job*>(context);
  alignas(64) Buffer buffer[1 + kMaxInputs];
  bool direct[1 + kMaxInputs];
  bool all = true;
  for (int k = 0; k <= job.inputs; ++k) {
    direct[k] = job.same[k] && o[k].step == 1 && !(k == 0 && job.stream);
    all = all && direct[k];
  }
  const void* x[kMaxInputs];
  if (all) {
    for (int k = 0; k < job.inputs; ++k) x[k] = o[k + 1].data;
    return job.row(o[0].data, x, n, job.attrs);
  }
  Operand at[1 + kMaxInputs];
  std::copy_n(o, job.inputs + 1, at);
  const auto load = [&](int k, int64_t count) {
    const Operand pair[] = {{buffer[k], 1}, at[k]};
    job.move[k](pair, count, nullptr);
  };
  for (int64_t done = 0; done < n; done += kBlock) {
    const int64_t count = std::min(kBlock, n - done);
    for (int k = 1; k <= job.inputs; ++k) {
      if (!direct[k] && (at[k].step != 0 || done == 0)) load(k, count);
      x[k - 1] = direct[k] ? at[k].data : buffer[k];
    }
    job.row(direct[0] ? at[0].data : buffer[0], x, count, job.attrs);
    if (job.stream) stream_out(at[0].data, buffer[0], count * job.bytes[0]);
    else if (!direct[0]) {
      const Operand pair[] = {at[0], {buffer[0], 1}};
      job.move[0](pair, count, nullptr);
    }
    for (int k = 0; k <= job.inputs; ++k) at[k].data += count * at[k].step * job.bytes[k];
  }
}

// The number that a scalar form is called with, as the row's type.
struct alignas(16) Bound { std::byte bytes[16]; };
template <class C> void bind_as(const Scalar& s, Bound& to) {
  const C value = s.to<C>();
  std::memcpy(to.bytes, &value, sizeof(C));
}
void bind(const Scalar& s, Compute c, Bound& to) {
  switch (c) {
    case in_f32: return bind_as<float>(s, to);
    case in_f64: return bind_as<double>(s, to);
    case in_i64: return bind_as<int64_t>(s, to);
    case in_c64: return bind_as<std::complex<float>>(s, to);
    case in_c128: return bind_as<std::complex<double>>(s, to);
  }
}

// Integers cannot be divided by zero.
Decline check_divisor(const Launch& l, const Op& op, const Bound& bound) {
  constexpr Decline kZero = "integer division by zero";
  if (op.form == Form::scalar_second) {
    int64_t s = 0;
    std::memcpy(&s, bound.bytes, sizeof(s));
    return s == 0 ? kZero : kRan;
  }
  const View& v = *l.in.back();
  struct Search { graft::Row load; int64_t bytes; bool* found; };
  bool found = false;
  const Search search{convert_row(i64, v.dtype), size_of(v.dtype), &found};
  const View* views[] = {&v};
  for_each_row(Launch{{}, views, &search}, [](const Operand* o, int64_t n, const void* context) {
    const auto& s = *static_cast<const Search*>(context);
    int64_t x[64];
    for (int64_t i = 0; i < n; i += 64) {
      const int64_t count = std::min<int64_t>(64, n - i);
      const Operand pair[] = {{reinterpret_cast<std::byte*>(x), 1}, {o[0].data + i * o[0].step * s.bytes, o[0].step}};
      s.load(pair, count, nullptr);
      *s.found = *s.found || std::find(x, x + count, 0) != x + count;
    }
  });
  return found ? kZero : kRan;
}

// True if one row does it, in which an operand has step 1, or 0: one element that is spread over everything.
bool is_row(const Launch& l, int64_t (&step)[1 + kMaxInputs]) {
  const View& out = *l.out[0];
  if (!out.contiguous) return false;
  step[0] = 1;
  for (size_t k = 0; k < l.in.size(); ++k) {
    const View& v = *l.in[k];
    const auto is_spread = [&v] {
      for (int i = 0; i < v.rank; ++i)
        if (v.size[i] != 1 && v.stride[i] != 0) return false;
      return true;
    };
    if (v.contiguous && v.numel == out.numel) step[k + 1] = 1;
    else if (is_spread()) step[k + 1] = 0;
    else return false;
  }
  return true;
}
void run_row(const Launch& l, Job& job, const int64_t (&step)[1 + kMaxInputs]) {
  const View& out = *l.out[0];
  const int64_t bytes = out.numel * job.bytes[0];
  Operand o[1 + kMaxInputs] = {{out.data, 1}};
  for (int k = 1; k <= job.inputs; ++k) {
    o[k] = {l.in[size_t(k) - 1]->data, step[k]};
    if (o[k].data < out.data + bytes && out.data < o[k].data + out.numel * job.bytes[k]) job.stream = false;
  }
  if (out.numel < 2 * kGrain && !job.stream) return block_row(o, out.numel, &job);
  parallel_for(0, out.numel, kGrain, [&](int64_t first, int64_t last) {
    Operand part[1 + kMaxInputs];
    for (int k = 0; k <= job.inputs; ++k) part[k] = {o[k].data + first * o[k].step * job.bytes[k], o[k].step};
    block_row(part, last - first, &job);
  });
#if defined(__SSE2__)
  if (job.stream) _mm_sfence();
#endif
}

}  // namespace

Decline run(const Launch& l, const Op& op) {
  const View& out = *l.out[0];
  const Compute c = compute_of(l.in[0]->dtype);
  const pointwise::Row row = op.rows[int(cpu::isa())][c];
  const void* attrs = l.attrs;
  Bound bound;
  if (op.form != Form::tensors) {
    bind(l.attrs_as<Scalar>(), c, bound);
    attrs = bound.bytes;
  }
  if (op.divides && c == in_i64)
    if (const Decline why = check_divisor(l, op, bound)) return why;

  bool same = out.dtype == op.result[c];
  for (const View* v : l.in) same = same && v->dtype == kTypeOf[c];
  const bool covers = one_row_covers(l);
  if (same && covers && out.numel < 2 * kGrain) {
    const void* x[kMaxInputs];
    for (size_t k = 0; k < l.in.size(); ++k) x[k] = l.in[k]->data;
    row(out.data, x, out.numel, attrs);
    return kRan;
  }
  Job job{.row = row, .attrs = attrs, .inputs = int(l.in.size())};
  for (int k = 0; k <= job.inputs; ++k) {
    const DType in_memory = k ? l.in[size_t(k) - 1]->dtype : out.dtype, in_row = k ? kTypeOf[c] : op.result[c];
    job.bytes[k] = size_of(in_memory);
    job.same[k] = in_memory == in_row;
    job.move[k] = k ? convert_row(in_row, in_memory) : convert_row(in_memory, in_row);
  }
  job.stream = covers && job.same[0] && out.numel * job.bytes[0] >= kStream;
  int64_t step[1 + kMaxInputs] = {1, 1, 1, 1};
  if (covers || is_row(l, step)) run_row(l, job, step);
  else for_each_row_parallel(Launch{l.in, l.out, &job}, block_row);
  return kRan;
}

}  // namespace graft::pointwise
