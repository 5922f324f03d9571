// Adapters of ops that look at a tensor's memory differently.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

int dim(Arguments& a, const char* name) { return int(a.integer(name)); }

template <Tensor (Tensor::*f)() const>
Outputs plain(Arguments& a) {
  return {(a.tensor("input").*f)()};
}
template <Tensor (Tensor::*f)(const Shape&) const>
Outputs with_shape(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {(x.*f)(shape_of(a.ints("shape")))};
}
template <Tensor (Tensor::*f)(const Tensor&) const>
Outputs like_other(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {(x.*f)(a.tensor("other"))};
}

Outputs transpose(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int d0 = dim(a, "dim0");
  return {x.transpose(d0, dim(a, "dim1"))};
}
Outputs movedim(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints from = a.ints("source");
  return {x.movedim(shape_of(from), shape_of(a.ints("destination")))};
}
Outputs squeeze(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dims = a.ints_or_none("dim");
  return {dims ? x.squeeze(shape_of(*dims)) : x.squeeze()};
}
Outputs unsqueeze(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {x.unsqueeze(dim(a, "dim"))};
}
Outputs flatten(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto start = int(a.integer("start_dim", 0));
  return {x.flatten(start, int(a.integer("end_dim", -1)))};
}
Outputs unflatten(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int d = dim(a, "dim");
  return {x.unflatten(d, shape_of(a.ints("sizes")))};
}
Outputs narrow(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int d = dim(a, "dim");
  const int64_t start = a.integer("start");
  return {x.narrow(d, start, a.integer("length"))};
}
Outputs select(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int d = dim(a, "dim");
  return {x.select(d, a.integer("index"))};
}
Outputs diagonal(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t offset = a.integer("offset", 0);
  const auto d1 = int(a.integer("dim1", 0));
  return {x.diagonal(offset, d1, int(a.integer("dim2", 1)))};
}
Outputs unfold_dimension(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int d = dim(a, "dimension");
  const int64_t size = a.integer("size");
  return {x.unfold(d, size, a.integer("step"))};
}
Outputs as_strided(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints size = a.ints("size"), stride = a.ints("stride");
  return {x.as_strided(shape_of(size), shape_of(stride), a.integer_or_none("storage_offset"))};
}
Outputs split(Arguments& a) {
  const Tensor x = a.tensor("input");
  const bool list = a.peek("split_size_or_sections").is_array();
  const Ints sizes = a.ints("split_size_or_sections");
  const auto d = int(a.integer("dim", 0));
  return list ? x.split(sizes, d) : x.split(sizes[0], d);
}
Outputs tensor_split(Arguments& a) {
  const Tensor x = a.tensor("input");
  const bool list = a.peek("indices_or_sections").is_array();
  const Ints ends = a.ints("indices_or_sections");
  const auto d = int(a.integer("dim", 0));
  return list ? x.tensor_split(ends, d) : x.tensor_split(ends[0], d);
}
Outputs chunk(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t chunks = a.integer("chunks");
  return x.chunk(chunks, int(a.integer("dim", 0)));
}
Outputs unbind(Arguments& a) {
  const Tensor x = a.tensor("input");
  return x.unbind(int(a.integer("dim", 0)));
}


const OpAdapter kViewsOps[] = {
    {"view", with_shape<&Tensor::view>},
    {"view_as", like_other<&Tensor::view_as>},
    {"reshape", with_shape<&Tensor::reshape>},
    {"reshape_as", like_other<&Tensor::reshape_as>},
    {"expand", with_shape<&Tensor::expand>},
    {"expand_as", like_other<&Tensor::expand_as>},
    {"broadcast_to", with_shape<&Tensor::broadcast_to>},
    {"permute", with_shape<&Tensor::permute>},
    {"transpose", transpose},
    {"swapaxes", transpose},
    {"swapdims", transpose},
    {"movedim", movedim},
    {"t", plain<&Tensor::t>},
    {"T", plain<&Tensor::T>},
    {"mT", plain<&Tensor::mT>},
    {"squeeze", squeeze},
    {"unsqueeze", unsqueeze},
    {"flatten", flatten},
    {"unflatten", unflatten},
    {"narrow", narrow},
    {"select", select},
    {"diagonal", diagonal},
    {"unfold", unfold_dimension},
    {"as_strided", as_strided},
    {"split", split},
    {"split_with_sizes", split},
    {"tensor_split", tensor_split},
    {"chunk", chunk},
    {"unbind", unbind},
    {"view_as_real", unary<view_as_real>},
    {"view_as_complex", unary<view_as_complex>},
};

}  // namespace

std::span<const OpAdapter> view_ops() { return kViewsOps; }

}  // namespace conformance
