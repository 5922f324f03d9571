// Attention on cpu: for a block of queries the scores of all keys, as two matrix products with a softmax between them. The
// derivative computes the scores again. 16-bit types are converted to f32 before.
#include <algorithm>
#include <cmath>
#include <limits>
#include "graft/kernels/attention/attrs.h"
#include "graft/kernels/gemm/gemm.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/scratch.h"
#include "graft/kernels/softmax/lines.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

constexpr int64_t kQueries = 64;  // of a block

template <class C> struct Matrix {
  const C* data;
  int64_t row, column;
  Matrix rows_from(int64_t i) const { return {data + i * row, row, column}; }
  Matrix turned() const { return {data, column, row}; }
};
// c[m, n] = a[m, k] b[k, n], or that is added; c has rows without gaps.
template <class C> void multiply(int64_t m, int64_t n, int64_t k, const Matrix<C>& a, const Matrix<C>& b, C* c, bool accumulate = false) {
  if constexpr (std::is_same_v<C, float>) {
    gemm::multiply(m, n, k, {a.data, a.row, a.column}, {b.data, b.row, b.column}, {c, n, 1}, {.accumulate = accumulate});
  } else {
    for (int64_t i = 0; i < m; ++i) {
      C* to = c + i * n;
      if (!accumulate) std::fill_n(to, n, C(0));
      if (b.column == 1 || b.row != 1) {
        for (int64_t j = 0; j < k; ++j) {
          const C x = a.data[i * a.row + j * a.column];
          for (int64_t l = 0; l < n; ++l) to[l] += x * b.data[j * b.row + l * b.column];
        }
      } else {
        for (int64_t l = 0; l < n; ++l) {
          C part[4] = {};  // four chains: an addition takes four cycles
          for (int64_t j = 0; j < k; ++j) part[j % 4] += a.data[i * a.row + j * a.column] * b.data[j + l * b.column];
          to[l] += (part[0] + part[1]) + (part[2] + part[3]);
        }
      }
    }
  }
}

// Where product number z has its matrix, in an operand whose leading dimensions may broadcast.
int64_t place(const View& v, const View& out, int64_t z) {
  int64_t at = 0;
  for (int d = out.rank - 3; d >= 0; --d) {
    const int own = d - (out.rank - v.rank);
    if (own >= 0 && v.size[own] != 1) at += z % out.size[d] * v.stride[own];
    z /= out.size[d];
  }
  return at;
}
// Rows of matrix z as numbers that are computed with: as they lie, or copied.
template <class T> class Rows {
 public:
  using C = compute_t<T>;
  Rows(const View& v, const View& out, int64_t z, int64_t first, int64_t rows, double scale = 1)
      : copy_(copies(scale) ? rows * v.size[v.rank - 1] : 0) {
    const int64_t row = v.stride[v.rank - 2], column = v.stride[v.rank - 1], columns = v.size[v.rank - 1];
    const T* from = v.as<T>() + place(v, out, z) + first * row;
    if (!copies(scale)) {
      if constexpr (std::is_same_v<T, C>) matrix_ = {from, row, column};
      return;
    }
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) copy_[i * columns + j] = C(from[i * row + j * column]) * C(scale);
    matrix_ = {copy_.get(), columns, 1};
  }
  operator const Matrix<C>&() const { return matrix_; }  // NOLINT(google-explicit-constructor)
  const Matrix<C>* operator->() const { return &matrix_; }

 private:
  static bool copies(double scale) { return !std::is_same_v<T, C> || scale != 1; }
  Scratch<C> copy_;
  Matrix<C> matrix_{};
};
template <class T> void put_rows(const View& v, const View& out, int64_t z, int64_t first, int64_t rows, const compute_t<T>* from, double scale = 1) {
  const int64_t row = v.stride[v.rank - 2], column = v.stride[v.rank - 1], columns = v.size[v.rank - 1];
  T* to = v.as<T>() + place(v, out, z) + first * row;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[i * row + j * column] = T(from[i * columns + j] * compute_t<T>(scale));
}

struct Task {
  const View &q, &k, &v, &y;
  const View* mask;
  AttentionAttrs attrs;
  int64_t queries, keys, e, ev, products;

  Task(const View& q, const View& k, const View& v, const View& y, const View* mask, const AttentionAttrs& a)
      : q(q), k(k), v(v), y(y), mask(mask), attrs(a), queries(q.size[q.rank - 2]), keys(k.size[k.rank - 2]), e(q.size[q.rank - 1]),
        ev(v.size[v.rank - 1]), products(1) {
    for (int d = 0; d + 2 < y.rank; ++d) products *= y.size[d];
  }
  int64_t seen(int64_t last) const { return attrs.causal ? std::min(keys, last) : keys; }  // keys of the queries before `last`
};

// The shares p[rows][n] of n keys in queries first ..., from their scores there; zeros where a query sees none. lse may be null.
template <class T> void share(const Task& t, int64_t z, int64_t first, int64_t rows, int64_t n, compute_t<T>* p, compute_t<T>* lse) {
  using C = compute_t<T>;
  constexpr C kHidden = -std::numeric_limits<C>::infinity();
  const auto softmax = [] {
    if constexpr (std::is_same_v<C, float>) return softmax_lines::lines_in_use().f32.softmax;
    else return softmax_lines::lines_in_use().f64.softmax;
  }();
  const View* m = t.mask;
  const auto step = [&](int from_end) { return m && m->rank >= from_end && m->size[m->rank - from_end] != 1 ? m->stride[m->rank - from_end] : 0; };
  const int64_t row_step = step(2), key_step = step(1), at = m ? place(*m, t.y, z) : 0;
  for (int64_t i = 0; i < rows; ++i) {
    C* s = p + i * n;
    for (int64_t j = 0; m && j < n; ++j) {
      const int64_t from = at + (first + i) * row_step + j * key_step;
      if (m->dtype == boolean) s[j] = m->as<bool>()[from] ? s[j] : kHidden;
      else s[j] += C(m->as<T>()[from]);
    }
    if (t.attrs.causal) std::fill(s + std::min(n, first + i + 1), s + n, kHidden);
    int64_t top = 0;
    bool sees = false;
    for (int64_t j = 0; j < n; ++j) {
      sees = sees || s[j] != kHidden;
      if (s[j] > s[top]) top = j;
    }
    const C highest = n ? s[top] : kHidden;
    if (sees) softmax(s, s, n);
    else std::fill_n(s, n, C(0));
    if (lse) lse[i] = sees ? highest - std::log(s[top]) : kHidden;
  }
}

template <class T> Decline attention(const Launch& l) {
  using C = compute_t<T>;
  const Task t(*l.in[0], *l.in[1], *l.in[2], *l.out[0], l.in.size() > 3 ? l.in[3] : nullptr, l.attrs_as<AttentionAttrs>());
  const int64_t blocks = (t.queries + kQueries - 1) / kQueries;
  const int64_t grain = std::max<int64_t>(1, 100000 / std::max<int64_t>(1, kQueries * t.keys * (t.e + t.ev)));
  parallel_for(0, t.products * blocks, grain, [&](int64_t begin, int64_t end) {
    const Scratch<C> p(kQueries * t.keys), out(kQueries * t.ev);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t z = i / blocks, first = i % blocks * kQueries, rows = std::min(kQueries, t.queries - first), n = t.seen(first + rows);
      const Rows<T> q(t.q, t.y, z, first, rows, t.attrs.scale), k(t.k, t.y, z, 0, n), v(t.v, t.y, z, 0, n);
      multiply<C>(rows, n, t.e, q, k->turned(), p.get());
      share<T>(t, z, first, rows, n, p.get(), l.out[1]->as<C>() + z * t.queries + first);
      multiply<C>(rows, t.ev, n, {p.get(), n, 1}, v, out.get());
      put_rows<T>(t.y, t.y, z, first, rows, out.get());
    }
  });
  return kRan;
}

template <class T> Decline attention_backward(const Launch& l) {
  using C = compute_t<T>;
  const Task t(*l.in[1], *l.in[2], *l.in[3], *l.in[4], l.in.size() > 6 ? l.in[6] : nullptr, l.attrs_as<AttentionAttrs>());
  const auto softmax_grad = [] {
    if constexpr (std::is_same_v<C, float>) return softmax_lines::lines_in_use().f32.softmax_grad;
    else return softmax_lines::lines_in_use().f64.softmax_grad;
  }();
  parallel_for(0, t.products, 1, [&](int64_t begin, int64_t end) {
    const Scratch<C> p(kQueries * t.keys), ds(kQueries * t.keys), dq(kQueries * t.e), dk(t.keys * t.e), dv(t.keys * t.ev);
    for (int64_t z = begin; z < end; ++z) {
      const Rows<T> k(t.k, t.y, z, 0, t.keys), v(t.v, t.y, z, 0, t.keys);
      std::fill_n(dk.get(), t.keys * t.e, C(0));
      std::fill_n(dv.get(), t.keys * t.ev, C(0));
      for (int64_t first = 0; first < t.queries; first += kQueries) {
        const int64_t rows = std::min(kQueries, t.queries - first), n = t.seen(first + rows);
        const Rows<T> q(t.q, t.y, z, first, rows, t.attrs.scale), g(*l.in[0], t.y, z, first, rows);
        multiply<C>(rows, n, t.e, q, k->turned(), p.get());
        share<T>(t, z, first, rows, n, p.get(), nullptr);
        multiply<C>(rows, n, t.ev, g, v->turned(), ds.get());
        for (int64_t i = 0; n && i < rows; ++i) softmax_grad(ds.get() + i * n, p.get() + i * n, ds.get() + i * n, n);
        multiply<C>(n, t.ev, rows, Matrix<C>{p.get(), n, 1}.turned(), g, dv.get(), true);
        multiply<C>(n, t.e, rows, Matrix<C>{ds.get(), n, 1}.turned(), q, dk.get(), true);  // q is scaled
        multiply<C>(rows, t.e, n, {ds.get(), n, 1}, k, dq.get());
        put_rows<T>(*l.out[0], t.y, z, first, rows, dq.get(), t.attrs.scale);
      }
      put_rows<T>(*l.out[1], t.y, z, 0, t.keys, dk.get());
      put_rows<T>(*l.out[2], t.y, z, 0, t.keys, dv.get());
    }
  });
  return kRan;
}

}  // namespace

void register_attention_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("scaled_dot_product_attention", Device::cpu, dtype_v<T>, "blocks", attention<T>);
    add_kernel("scaled_dot_product_attention_backward", Device::cpu, dtype_v<T>, "blocks", attention_backward<T>);
  });
}

}  // namespace graft
