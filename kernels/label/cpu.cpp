// Elements picked by class label or row number on cpu: nll, embedding, one hot.
#include "graft/kernels/label/attrs.h"

#include <algorithm>
#include <cmath>
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

constexpr Decline kContiguous = "needs contiguous inputs";
bool contiguous(const Launch& l) {
  return std::ranges::all_of(l.in, [](const View* v) { return v->contiguous; });
}

// Label number i = (sample, place) belongs to the elements (sample * classes + c) * places + place.
struct Labels {
  const int64_t* label;
  int64_t n, classes, places;
  int64_t at(int64_t i) const { return (i / places * classes + label[i]) * places + i % places; }
};
Labels labels_of(const View& v, int64_t classes, int logits_rank) {
  int64_t places = 1;
  for (int d = 1; d < logits_rank - 1; ++d) places *= v.size[d];
  return {v.as<int64_t>(), v.numel, classes, std::max<int64_t>(places, 1)};
}

template <class T> Decline nll(const Launch& l) {
  if (!contiguous(l)) return kContiguous;
  const auto& a = l.attrs_as<NllAttrs>();
  const Labels labels = labels_of(*l.in[1], a.classes, l.in[0]->rank);
  const T* weight = a.weight ? l.in[2]->as<T>() : nullptr;
  for (int64_t i = 0; i < labels.n; ++i) {
    const bool used = labels.label[i] != a.ignore;
    const T w = !used ? T(0.0F) : weight ? weight[labels.label[i]] : T(1.0F);
    l.out[0]->as<T>()[i] = used ? T(-compute_t<T>(w) * compute_t<T>(l.in[0]->as<T>()[labels.at(i)])) : T(0.0F);
    l.out[1]->as<T>()[i] = w;
  }
  return kRan;
}
template <class T> Decline nll_grad(const Launch& l) {
  if (!contiguous(l)) return kContiguous;
  const auto& a = l.attrs_as<NllAttrs>();
  const Labels labels = labels_of(*l.in[1], a.classes, l.out[0]->rank);
  const T* weight = a.weight ? l.in[2]->as<T>() : nullptr;
  T* dx = l.out[0]->as<T>();
  std::fill_n(dx, l.out[0]->numel, T(0.0F));
  for (int64_t i = 0; i < labels.n; ++i) {
    if (labels.label[i] == a.ignore) continue;
    const auto w = weight ? compute_t<T>(weight[labels.label[i]]) : compute_t<T>(1);
    dx[labels.at(i)] = T(-w * compute_t<T>(l.in[0]->as<T>()[i]));
  }
  return kRan;
}

template <class T> Decline embedding(const Launch& l) {
  if (!contiguous(l)) return kContiguous;
  const int64_t width = l.in[0]->size[1];
  for (int64_t i = 0; i < l.in[1]->numel; ++i)
    std::copy_n(l.in[0]->as<T>() + l.in[1]->as<int64_t>()[i] * width, width, l.out[0]->as<T>() + i * width);
  return kRan;
}
template <class T> Decline embedding_grad(const Launch& l) {
  using C = compute_t<T>;
  if (!contiguous(l)) return kContiguous;
  const auto& a = l.attrs_as<EmbeddingAttrs>();
  const View &g = *l.in[0], &index = *l.in[1];
  const int64_t width = g.size[g.rank - 1];
  T* dw = l.out[0]->as<T>();
  std::fill_n(dw, l.out[0]->numel, T(0.0F));
  const auto* rows = index.as<int64_t>();
  for (int64_t i = 0; i < index.numel; ++i) {
    if (rows[i] == a.padding) continue;
    const C scale = a.by_frequency ? C(1) / C(std::count(rows, rows + index.numel, rows[i])) : C(1);
    T* to = dw + rows[i] * width;
    const T* from = g.as<T>() + i * width;
    for (int64_t j = 0; j < width; ++j) to[j] = T(C(to[j]) + scale * C(from[j]));
  }
  return kRan;
}
// In place (weight, index): rows that are used and whose p-norm exceeds max_norm are scaled down to it.
template <class T> Decline embedding_renorm(const Launch& l) {
  if (!contiguous(l) || !l.out[0]->contiguous) return kContiguous;
  const auto& a = l.attrs_as<RenormAttrs>();
  const int64_t width = l.out[0]->size[1];
  for (int64_t i = 0; i < l.in[1]->numel; ++i) {
    T* row = l.out[0]->as<T>() + l.in[1]->as<int64_t>()[i] * width;
    double norm = 0;
    for (int64_t j = 0; j < width; ++j) {
      const double x = std::abs(double(row[j]));
      norm = std::isinf(a.p) ? std::max(norm, x) : norm + std::pow(x, a.p);
    }
    if (!std::isinf(a.p)) norm = std::pow(norm, 1 / a.p);
    if (norm <= a.max_norm) continue;
    const double scale = a.max_norm / (norm + 1e-7);
    for (int64_t j = 0; j < width; ++j) row[j] = T(compute_t<T>(double(row[j]) * scale));
  }
  return kRan;
}

Decline one_hot(const Launch& l) {
  if (!contiguous(l)) return kContiguous;
  const int64_t classes = l.attrs_as<OneHotAttrs>().classes;
  auto* y = l.out[0]->as<int64_t>();
  std::fill_n(y, l.out[0]->numel, 0);
  for (int64_t i = 0; i < l.in[0]->numel; ++i) y[i * classes + l.in[0]->as<int64_t>()[i]] = 1;
  return kRan;
}

}  // namespace

void register_label_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("nll", Device::cpu, dtype_v<T>, "reference", nll<T>);
    add_kernel("nll_grad", Device::cpu, dtype_v<T>, "reference", nll_grad<T>);
    add_kernel("embedding", Device::cpu, dtype_v<T>, "rows", embedding<T>);
    add_kernel("embedding_grad", Device::cpu, dtype_v<T>, "reference", embedding_grad<T>);
    add_kernel("embedding_renorm", Device::cpu, dtype_v<T>, "reference", embedding_renorm<T>);
  });
  add_kernel("one_hot", Device::cpu, i64, "reference", one_hot);
}

}  // namespace graft
