// Sizes and paddings of N dimensions from recorded arguments.
#pragma once
#include "arguments.h"
#include "graft/nn/sizes.h"
#include "report.h"

namespace conformance {

// One number, or one per dimension.
template <int N>
graft::nn::Sizes<N> sizes_of(const Ints& v) {
  if (v.size() == 1) return v[0];
  if (v.size() != N)
    throw Unsupported("a list of " + std::to_string(v.size()) + " sizes for " + std::to_string(N) + " dimensions");
  graft::nn::Sizes<N> s;
  for (int i = 0; i < N; ++i) s[i] = v[size_t(i)];
  return s;
}
template <int N>
graft::nn::Sizes<N> sizes(Arguments& a, const char* name, int64_t otherwise) {
  return sizes_of<N>(a.ints(name, {otherwise}));
}
template <int N>
std::optional<graft::nn::Sizes<N>> sizes_or_none(Arguments& a, const char* name) {
  const auto v = a.ints_or_none(name);
  if (!v || v->empty()) return std::nullopt;
  return sizes_of<N>(*v);
}
// A padding may also be "same" or "valid".
template <int N>
graft::nn::Padding<N> padding(Arguments& a, const char* name) {
  if (a.peek(name).is_string()) return std::string_view(a.text(name));
  return sizes<N>(a, name, 0);
}
// An output size: None, in the whole or in one place, keeps the input's size, which graft writes as -1.
template <int N>
graft::nn::Sizes<N> output_sizes(Arguments& a, const char* name) {
  Ints v;
  const Json& j = a.json(name);
  if (!j.is_array())
    v.push_back(j.is_null() ? -1 : j.get<int64_t>());
  else
    for (const Json& x : j) v.push_back(x.is_null() ? -1 : x.get<int64_t>());
  return sizes_of<N>(v);
}

}  // namespace conformance
