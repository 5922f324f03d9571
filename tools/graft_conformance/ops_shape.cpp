// Adapters of ops that copy elements to other places, order them, and of those that make tensors.
#include "graft/core/ops.h"
#include "ops.h"
#include "report.h"

namespace conformance {
namespace {

using namespace graft;

std::array<int64_t, 2> pair_of(const Ints& v) { return {v.at(0), v.size() == 1 ? v[0] : v.at(1)}; }

Options options_of(Arguments& a) {
  Options o;
  o.dtype = a.dtype("dtype");
  if (const std::string device = a.text("device"); !device.empty()) o.device = Device(std::string_view(device));
  return o;
}
template <Tensor (*f)(const Tensor&, const Options&)>
Outputs like(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, options_of(a))};
}
Outputs full_like(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Scalar value = a.scalar("fill_value");
  return {graft::full_like(x, value, options_of(a))};
}
Outputs fill(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Scalar value = a.scalar("value");
  return {x.clone().fill_(value)};
}

template <Tensor (*f)(const Tensors&)>
Outputs of_list(Arguments& a) {
  return {f(a.tensors("tensors"))};
}
template <Tensor (*f)(const Tensors&, int)>
Outputs of_list_along(Arguments& a) {
  const Tensors tensors = a.tensors("tensors");
  return {f(tensors, int(a.integer("dim", 0)))};
}
template <Tensor (*f)(const Tensor&, const Shape&)>
Outputs with_shape(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, shape_of(a.ints("dims")))};
}
template <Tensor (*f)(const Tensor&, int64_t)>
Outputs with_diagonal(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, a.integer("diagonal", 0))};
}
Outputs roll(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints shifts = a.ints("shifts");
  return {graft::roll(x, shape_of(shifts), shape_of(a.ints("dims", {})))};
}
Outputs rot90(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto k = int(a.integer("k", 1));
  return {graft::rot90(x, k, shape_of(a.ints("dims", {0, 1})))};
}
Outputs diag_embed(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t offset = a.integer("offset", 0);
  const auto d1 = int(a.integer("dim1", -2));
  return {graft::diag_embed(x, offset, d1, int(a.integer("dim2", -1)))};
}
Outputs repeat_interleave(Arguments& a) {
  const Tensor x = a.tensor("input");
  if (a.has_tensor("repeats")) {
    const Tensor repeats = a.tensor("repeats");
    return {graft::repeat_interleave(x, repeats, a.dim_or_none("dim"))};
  }
  const int64_t repeats = a.integer("repeats");
  return {graft::repeat_interleave(x, repeats, a.dim_or_none("dim"))};
}
Outputs pad(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints pads = a.ints("pad");
  const std::string mode = a.text("mode", "constant");
  return {graft::pad(x, pads, mode, a.scalar("value", 0))};
}
template <Tensor (*f)(const Tensor&, int64_t)>
Outputs shuffle(Arguments& a, const char* factor) {
  const Tensor x = a.tensor("input");
  return {f(x, a.integer(factor))};
}
WindowOptions windows(Arguments& a) {
  WindowOptions o;
  o.kernel_size = pair_of(a.ints("kernel_size"));
  o.dilation = pair_of(a.ints("dilation", {1}));
  o.padding = pair_of(a.ints("padding", {0}));
  o.stride = pair_of(a.ints("stride", {1}));
  return o;
}
Outputs unfold(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {im2col(x, windows(a))};
}
Outputs fold(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto size = pair_of(a.ints("output_size"));
  return {col2im(x, size, windows(a))};
}
Outputs interpolate(Arguments& a) {
  const Tensor x = a.tensor("input");
  InterpolateOptions o;
  o.size = a.ints("size", {});
  const Json& scale = a.json("scale_factor");
  if (scale.is_number())
    o.scale_factor = {to_number(scale)};
  else if (scale.is_array())
    o.scale_factor = scale.get<std::vector<double>>();
  o.mode = a.text("mode", "nearest");
  if (const Json& align = a.json("align_corners"); !align.is_null()) o.align_corners = align.get<bool>();
  o.recompute_scale_factor = a.boolean("recompute_scale_factor", false);
  if (a.boolean("antialias", false)) throw Unsupported("antialias=true");
  return {graft::interpolate(x, o)};
}

Outputs pair(const Sorted& s) { return {s.values, s.indices}; }
Outputs sort(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = int(a.integer("dim", -1));
  const bool descending = a.boolean("descending", false);
  return pair(graft::sort(x, dim, descending, a.boolean("stable", false)));
}
Outputs argsort(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = int(a.integer("dim", -1));
  const bool descending = a.boolean("descending", false);
  return {graft::argsort(x, dim, descending, a.boolean("stable", false))};
}
Outputs topk(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t k = a.integer("k");
  const auto dim = int(a.integer("dim", -1));
  const bool largest = a.boolean("largest", true);
  return pair(graft::topk(x, k, dim, largest, a.boolean("sorted", true)));
}
Outputs kthvalue(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t k = a.integer("k");
  const auto dim = int(a.integer("dim", -1));
  return pair(graft::kthvalue(x, k, dim, a.boolean("keepdim", false)));
}
Outputs median(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = a.dim_or_none("dim");
  if (!dim) return {graft::median(x)};
  return pair(graft::median(x, *dim, a.boolean("keepdim", false)));
}
Outputs bincount(Arguments& a) {
  const Tensor x = a.tensor("input"), weights = a.tensor_or_none("weights");
  return {graft::bincount(x, weights, a.integer("minlength", 0))};
}

const OpAdapter kShapeOps[] = {
    {"cat", of_list_along<cat>},
    {"stack", of_list_along<stack>},
    {"hstack", of_list<hstack>},
    {"vstack", of_list<vstack>},
    {"dstack", of_list<dstack>},
    {"clone", [](Arguments& a) -> Outputs { return {a.tensor("input").clone()}; }},
    {"contiguous", [](Arguments& a) -> Outputs { return {a.tensor("input").contiguous()}; }},
    {"ones_like", like<ones_like>},
    {"zeros_like", like<zeros_like>},
    {"full_like", full_like},
    {"fill", fill},
    {"zero_", [](Arguments& a) -> Outputs { return {a.tensor("input").zero_()}; }},
    {"flip", with_shape<flip>},
    {"fliplr", unary<fliplr>},
    {"flipud", unary<flipud>},
    {"rot90", rot90},
    {"roll", roll},
    {"tril", with_diagonal<tril>},
    {"triu", with_diagonal<triu>},
    {"diag", with_diagonal<diag>},
    {"diag_embed", diag_embed},
    {"repeat", with_shape<repeat>},
    {"tile", with_shape<tile>},
    {"repeat_interleave", repeat_interleave},
    {"nn.functional.pad", pad},
    {"nn.functional.pixel_shuffle", [](Arguments& a) { return shuffle<pixel_shuffle>(a, "upscale_factor"); }},
    {"nn.functional.pixel_unshuffle", [](Arguments& a) { return shuffle<pixel_unshuffle>(a, "downscale_factor"); }},
    {"nn.functional.unfold", unfold},
    {"nn.functional.fold", fold},
    {"nn.functional.interpolate", interpolate},
    {"sort", sort},
    {"argsort", argsort},
    {"msort", unary<msort>},
    {"topk", topk},
    {"kthvalue", kthvalue},
    {"median", median},
    {"bincount", bincount},
    {"outer", binary<outer>, true},
    {"kron", binary<kron>},
};

}  // namespace

std::span<const OpAdapter> shape_ops() { return kShapeOps; }

}  // namespace conformance
