// Kernels on cpu that order elements along the last dimension: sort, topk, kthvalue, runs of equals, search. NaN counts
// as the greatest. Rows are sorted as (value, place) pairs, so that equals keep their order.
#include "graft/kernels/sort/attrs.h"

#include <algorithm>
#include <vector>
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

template <class T> bool is_nan(T x) {
  if constexpr (is_floating_v<T>) return x != x;
  else return false;
}
template <class T> bool less(T a, T b) { return a < b || (is_nan(b) && !is_nan(a)); }

template <class T> struct Placed {
  compute_t<T> value;
  int64_t place;
};
template <class T> struct Ascending {
  bool operator()(const Placed<T>& a, const Placed<T>& b) const {
    return less(a.value, b.value) || (!less(b.value, a.value) && a.place < b.place);
  }
};
template <class T> struct Descending {
  bool operator()(const Placed<T>& a, const Placed<T>& b) const {
    return less(b.value, a.value) || (!less(a.value, b.value) && a.place < b.place);
  }
};
template <class T> using Row = std::vector<Placed<T>>;

template <class T> void load(Row<T>& row, const T* x) {
  for (size_t i = 0; i < row.size(); ++i) row[i] = {compute_t<T>(x[i]), int64_t(i)};
}
// Calls arrange(row) for every row, then stores its first `keep` pairs.
template <class T, class F> Decline each_row(const Launch& l, int64_t keep, const F& arrange) {
  const View& x = *l.in[0];
  if (!x.contiguous) return "the input is strided";
  const int64_t n = x.rank ? x.size[x.rank - 1] : 1;
  if (x.numel == 0) return kRan;
  Row<T> row(static_cast<size_t>(n));
  T* values = l.out[0]->as<T>();
  auto* places = l.out[1]->as<int64_t>();
  for (int64_t r = 0; r < x.numel / n; ++r) {
    load(row, x.as<T>() + r * n);
    const auto first = arrange(row);
    for (int64_t i = 0; i < keep; ++i) {
      values[r * keep + i] = T(first[i].value);
      places[r * keep + i] = first[i].place;
    }
  }
  return kRan;
}

template <class T> Decline sort(const Launch& l) {
  const bool descending = l.attrs_as<SortAttrs>().descending;
  const View& x = *l.in[0];
  return each_row<T>(l, x.rank ? x.size[x.rank - 1] : 1, [&](Row<T>& row) {
    descending ? std::sort(row.begin(), row.end(), Descending<T>()) : std::sort(row.begin(), row.end(), Ascending<T>());
    return row.begin();
  });
}

// Which of equals are taken is left open, in PyTorch too; the same steps make the same choice.
template <class T> Decline topk(const Launch& l) {
  const auto a = l.attrs_as<TopkAttrs>();
  const auto pick = [&](Row<T>& row, auto before) {
    const auto end = row.begin() + a.k;
    if (a.k == 0) return row.begin();
    if (a.k * 64 <= int64_t(row.size())) {
      std::partial_sort(row.begin(), end, row.end(), before);
    } else {
      std::nth_element(row.begin(), end - 1, row.end(), before);
      if (a.sorted) std::sort(row.begin(), end - 1, before);
    }
    return row.begin();
  };
  const auto smaller = [](const Placed<T>& x, const Placed<T>& y) { return less(x.value, y.value); };
  const auto greater = [](const Placed<T>& x, const Placed<T>& y) { return less(y.value, x.value); };
  return each_row<T>(l, a.k, [&](Row<T>& row) { return a.largest ? pick(row, greater) : pick(row, smaller); });
}

template <class T> Decline kthvalue(const Launch& l) {
  const auto a = l.attrs_as<KthAttrs>();
  return each_row<T>(l, 1, [&](Row<T>& row) {
    if (a.nan_wins)
      for (auto i = row.begin(); i != row.end(); ++i)
        if (is_nan(i->value)) return i;
    const auto kth = row.begin() + (a.k - 1);
    std::nth_element(row.begin(), kth, row.end(), Ascending<T>());
    return kth;
  });
}

// x sorted, order: where each came from. Out: which run each original element is in; the length and the first of each
// run; how many runs there are.
template <class T> Decline unique_runs(const Launch& l) {
  const View& x = *l.in[0];
  if (!x.contiguous || !l.in[1]->contiguous) return "an input is strided";
  const T* v = x.as<T>();
  const auto* order = l.in[1]->as<int64_t>();
  auto *inverse = l.out[0]->as<int64_t>(), *length = l.out[1]->as<int64_t>(), *first = l.out[2]->as<int64_t>();
  int64_t runs = 0;
  for (int64_t i = 0; i < x.numel; ++i) {
    if (i == 0 || !(v[i] == v[i - 1])) {
      first[runs] = i;
      length[runs++] = 0;
    }
    ++length[runs - 1];
    inverse[order[i]] = runs - 1;
  }
  *l.out[3]->as<int64_t>() = runs;
  return kRan;
}

template <class T> Decline searchsorted(const Launch& l) {  // sorted, values
  const View &s = *l.in[0], &x = *l.in[1];
  if (!s.contiguous || !x.contiguous) return "an input is strided";
  const int64_t n = s.size[s.rank - 1], per_row = s.rank == 1 ? x.numel : x.size[x.rank - 1];
  const bool right = l.attrs_as<SearchAttrs>().right;
  auto* y = l.out[0]->as<int64_t>();
  for (int64_t i = 0; i < x.numel; ++i) {
    const T* row = s.as<T>() + (s.rank == 1 ? 0 : i / per_row * n);
    const T value = x.as<T>()[i];
    y[i] =
        (right ? std::upper_bound(row, row + n, value, less<T>) : std::lower_bound(row, row + n, value, less<T>)) - row;
  }
  return kRan;
}

template <class T> void add_types() {
  constexpr DType t = dtype_v<T>;
  add_kernel("sort", Device::cpu, t, "pairs", sort<T>);
  add_kernel("topk", Device::cpu, t, "pairs", topk<T>);
  add_kernel("kthvalue", Device::cpu, t, "pairs", kthvalue<T>);
  add_kernel("unique_runs", Device::cpu, t, "reference", unique_runs<T>);
  add_kernel("searchsorted", Device::cpu, t, "binary", searchsorted<T>);
}

}  // namespace

void register_sort_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) { add_types<typename decltype(tag)::type>(); });
  for_each_type(IntTypes{}, [](auto tag) { add_types<typename decltype(tag)::type>(); });
  add_types<bool>();
}

}  // namespace graft
