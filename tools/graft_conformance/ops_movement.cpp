// Adapters of ops that rearrange, index, order, contract and resize.
#include "graft/core/ops.h"
#include "ops.h"
#include "report.h"

namespace conformance {
namespace {

using namespace graft;

Shape shape_of(const Ints& v) { return Shape(std::span<const int64_t>(v)); }

// ---- movement ------------------------------------------------------------------------------------------------

Outputs flip_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {flip(x, shape_of(a.ints("dims")))};
}
Outputs roll_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints shifts = a.ints("shifts");
  return {roll(x, shape_of(shifts), shape_of(a.ints("dims", {})))};
}
template <Tensor (*f)(const Tensor&, int64_t)>
Outputs with_diagonal(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, a.integer("diagonal", 0))};
}
template <Tensor (*f)(const Tensor&, const Shape&)>
Outputs repeated(Arguments& a, const char* name) {
  const Tensor x = a.tensor("input");
  return {f(x, shape_of(a.ints(name)))};
}
Outputs pad_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints pads = a.ints("pad");
  const std::string mode = a.text("mode", "constant");
  const bool none = a.peek("value").is_null();
  const Scalar value = none ? (a.json("value"), Scalar(0)) : a.scalar("value");
  return {pad(x, pads, mode, value)};
}
std::array<int64_t, 2> pair_of(Arguments& a, const char* name, int64_t otherwise) {
  const Ints v = a.ints(name, {otherwise});
  return {v[0], v.back()};
}
Outputs unfold_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  WindowOptions o;
  o.kernel_size = pair_of(a, "kernel_size", 1);
  o.dilation = pair_of(a, "dilation", 1);
  o.padding = pair_of(a, "padding", 0);
  o.stride = pair_of(a, "stride", 1);
  return {im2col(x, o)};
}
Outputs interpolate_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  InterpolateOptions o;
  if (const auto size = a.ints_or_none("size")) o.size = *size;
  const Json& factor = a.json("scale_factor");
  if (factor.is_array())
    for (const Json& f : factor) o.scale_factor.push_back(to_number(f));
  else if (!factor.is_null()) o.scale_factor = {to_number(factor)};
  o.mode = a.text("mode", "nearest");
  const Json& align = a.json("align_corners");
  if (!align.is_null()) o.align_corners = align.get<bool>();
  const Json& recompute = a.json("recompute_scale_factor");
  o.recompute_scale_factor = recompute.is_boolean() && recompute.get<bool>();
  return {interpolate(x, o)};
}
template <Tensor (*f)(const Tensor&, int64_t)>
Outputs shuffled(Arguments& a, const char* name) {
  const Tensor x = a.tensor("input");
  return {f(x, a.integer(name))};
}

// ---- indexing ------------------------------------------------------------------------------------------------

Slice::Bound bound_of(const Json& j) { return j.is_null() ? Slice::Bound(None) : Slice::Bound(j.get<int64_t>()); }
Tensor indices_of(const Json& j) {
  if (j[0].is_boolean()) {
    Tensor mask = empty({int64_t(j.size())}, DType::boolean);
    for (size_t i = 0; i < j.size(); ++i) mask.mutable_data<bool>()[i] = j[i].get<bool>();
    return mask;
  }
  return tensor(j.get<std::vector<int64_t>>());
}
TensorIndex index_of(const Json& j, CaseTensors& tensors) {
  if (j.is_null()) return None;
  if (j.is_boolean()) return j.get<bool>();
  if (j.is_number_integer()) return j.get<int64_t>();
  if (j.is_array()) return indices_of(j);
  if (j.contains("tensor")) return tensors.get(j);
  if (j.contains("ellipsis")) return Ellipsis;
  if (!j.contains("slice")) throw Unsupported("an index of another kind");
  const Json& s = j["slice"];
  return Slice(bound_of(s[0]), bound_of(s[1]), s[2].is_null() ? 1 : s[2].get<int64_t>());
}
Outputs getitem(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Json& j = a.json("index");
  std::vector<TensorIndex> indices;
  if (j.is_array())
    for (const Json& i : j) indices.push_back(index_of(i, a.case_tensors()));
  else indices.push_back(index_of(j, a.case_tensors()));
  return {x.index(indices)};
}
Outputs scatter_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = int(a.integer("dim"));
  const Tensor index = a.tensor("index");
  if (a.has_tensor("src")) {
    const Tensor src = a.tensor("src");
    const std::string reduce = a.text("reduce");
    return {reduce.empty() ? scatter(x, dim, index, src) : scatter(x, dim, index, src, reduce)};
  }
  const Scalar value = a.scalar("value");
  const std::string reduce = a.text("reduce");
  return {reduce.empty() ? scatter(x, dim, index, value) : scatter(x, dim, index, value, reduce)};
}
template <Tensor (*f)(const Tensor&, int, const Tensor&, const Tensor&)>
Outputs along_dim(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = int(a.integer("dim"));
  const Tensor index = a.tensor("index");
  return {f(x, dim, index, a.tensor("src"))};
}
Outputs index_select_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = int(a.integer("dim"));
  return {index_select(x, dim, a.tensor("index"))};
}
Outputs take_along(Arguments& a) {
  const Tensor x = a.tensor("input"), index = a.tensor("indices");
  const auto dim = a.integer_or_none("dim");
  return {dim ? take_along_dim(x, index, int(*dim)) : take_along_dim(x, index)};
}
Outputs masked_fill_of(Arguments& a) {
  const Tensor x = a.tensor("input"), mask = a.tensor("mask");
  return {a.has_tensor("value") ? masked_fill(x, mask, a.tensor("value")) : masked_fill(x, mask, a.scalar("value"))};
}
Outputs masked_select_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {masked_select(x, a.tensor("mask"))};
}

// ---- order, contraction --------------------------------------------------------------------------------------

Outputs sort_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = int(a.integer("dim", -1));
  const bool descending = a.boolean("descending", false);
  const Sorted s = sort(x, dim, descending, a.boolean("stable", false));
  return {s.values, s.indices};
}
Outputs topk_of(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t k = a.integer("k");
  const auto dim = int(a.integer("dim", -1));
  const bool largest = a.boolean("largest", true);
  const Sorted s = topk(x, k, dim, largest, a.boolean("sorted", true));
  return {s.values, s.indices};
}
Outputs einsum_of(Arguments& a) {
  const Tensors operands = a.tensors("operands");
  return {einsum(a.text("equation"), operands)};
}

const OpAdapter kOps[] = {
    {"flip", flip_of},
    {"roll", roll_of},
    {"tril", with_diagonal<tril>},
    {"triu", with_diagonal<triu>},
    {"repeat", [](Arguments& a) { return repeated<repeat>(a, "repeats"); }},
    {"tile", [](Arguments& a) { return repeated<tile>(a, "dims"); }},
    {"nn.functional.pad", pad_of},
    {"nn.functional.unfold", unfold_of},
    {"nn.functional.interpolate", interpolate_of},
    {"nn.functional.pixel_shuffle", [](Arguments& a) { return shuffled<pixel_shuffle>(a, "upscale_factor"); }},
    {"nn.functional.pixel_unshuffle", [](Arguments& a) { return shuffled<pixel_unshuffle>(a, "downscale_factor"); }},
    {"__getitem__", getitem},
    {"scatter", scatter_of},
    {"scatter_add", along_dim<scatter_add>},
    {"index_select", index_select_of},
    {"take_along_dim", take_along},
    {"masked_fill", masked_fill_of},
    {"masked_select", masked_select_of},
    {"sort", sort_of},
    {"topk", topk_of},
    {"einsum", einsum_of, true},
};

}  // namespace

std::span<const OpAdapter> movement_ops() { return kOps; }

}  // namespace conformance
