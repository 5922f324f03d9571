// Views of parts of a tensor: narrow, slice, select, diagonal, unfold; and of several parts: split, chunk, unbind.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

// A view op is a function of geometry; its derivative puts the gradient where the same function finds the elements in
// a contiguous tensor.
template <class A, void (*geometry)(View& y, const View& x, const A&)> constexpr OpDef part_op(std::string_view name) {
  return {
      .name = name,
      .infer = [](Infer& c) { geometry(c.out(), c.in(0), c.attrs<A>()); },
      .backward =
          [](Backward& b) {
            View x, y;
            set_shape(x, b.input_shape(0));
            set_contiguous(x);
            geometry(y, x, b.attrs<A>());
            b.to(0) = embed(b.g(), region_of(y, x), Shape(x));
          },
      .view = true,
  };
}

struct Range { int dim = 0; int64_t start = 0, length = 0, step = 1; };
static void take_range(View& y, const View& x, const Range& r) {
  copy_geometry(y, x);
  y.size[r.dim] = r.length;
  y.stride[r.dim] *= r.step;
  if (r.length > 0) y.offset += r.start * x.stride[r.dim];
}
static const OpDef narrow_op = part_op<Range, take_range>("narrow");
static const OpDef slice_op = part_op<Range, take_range>("slice");

Tensor Tensor::narrow(int dim, int64_t start, int64_t length) const {
  const int d = wrap_dim("narrow", dim, view());
  const int64_t size = view().size[d];
  GRAFT_CHECK(length >= 0, "narrow: negative length ", length);
  GRAFT_CHECK(start >= -size && start <= size, ErrorCode::index_out_of_range, "narrow: start ", start,
              " is out of range for dimension ", d, " of ", *this);
  if (start < 0) start += size;
  GRAFT_CHECK(length <= size - start, ErrorCode::index_out_of_range, "narrow: range [", start, ",", start + length,
              ") leaves dimension ", d, ": ", *this);
  return apply(narrow_op, Range{d, start, length}, *this);
}
Tensor Tensor::slice(int dim, std::optional<int64_t> start, std::optional<int64_t> end, int64_t step) const {
  const int d = wrap_dim("slice", dim, view());
  GRAFT_CHECK(step > 0, "slice: step must be positive, not ", step);
  const int64_t size = view().size[d];
  auto clip = [size](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  const int64_t from = clip(start.value_or(0)), to = std::max(from, clip(end.value_or(size)));
  const int64_t length = (to - from) / step + ((to - from) % step != 0);
  return apply(slice_op, Range{d, from, length, std::min(step, std::max<int64_t>(size, 1))}, *this);
}

struct At { int dim = 0; int64_t index = 0; };
static void drop_dim(View& y, const View& x, const At& a) {
  y.rank = uint8_t(x.rank - 1);
  y.offset = x.offset + a.index * x.stride[a.dim];
  for (int i = 0; i < y.rank; ++i) {
    const int own = i < a.dim ? i : i + 1;
    y.size[i] = x.size[own];
    y.stride[i] = x.stride[own];
  }
}
static const OpDef select_op = part_op<At, drop_dim>("select");
Tensor Tensor::select(int dim, int64_t index) const {
  const int d = wrap_dim("select", dim, view());
  const int64_t size = view().size[d];
  GRAFT_CHECK(index >= -size && index < size, ErrorCode::index_out_of_range, "select: index ", index,
              " is out of range for dimension ", d, " with size ", size, ": ", *this);
  return apply(select_op, At{d, index < 0 ? index + size : index}, *this);
}

struct Diagonal { int64_t offset = 0; int dim1 = 0, dim2 = 1; };
static void take_diagonal(View& y, const View& x, const Diagonal& a) {
  const int64_t row = std::max<int64_t>(-a.offset, 0), column = std::max<int64_t>(a.offset, 0);
  const int64_t length = std::max<int64_t>(0, std::min(x.size[a.dim1] - row, x.size[a.dim2] - column));
  y.rank = 0;
  y.offset = x.offset + (length > 0 ? row * x.stride[a.dim1] + column * x.stride[a.dim2] : 0);
  for (int i = 0; i < x.rank; ++i) {
    if (i == a.dim1 || i == a.dim2) continue;
    y.size[y.rank] = x.size[i];
    y.stride[y.rank++] = x.stride[i];
  }
  y.size[y.rank] = length;
  y.stride[y.rank++] = x.stride[a.dim1] + x.stride[a.dim2];
}
static const OpDef diagonal_op = part_op<Diagonal, take_diagonal>("diagonal");
Tensor Tensor::diagonal(int64_t offset, int dim1, int dim2) const {
  const Diagonal a{offset, wrap_dim("diagonal", dim1, view()), wrap_dim("diagonal", dim2, view())};
  GRAFT_CHECK(a.dim1 != a.dim2, "diagonal: the dimensions must differ, both are ", a.dim1);
  return apply(diagonal_op, a, *this);
}

static void take_windows(View& y, const View& x, const Range& r) {  // start: unused
  copy_geometry(y, x);
  if (x.rank == 0) {
    y.rank = 1;
    y.size[0] = r.length;
    y.stride[0] = 1;
    return;
  }
  y.size[r.dim] = (x.size[r.dim] - r.length) / r.step + 1;
  y.stride[r.dim] *= r.step;
  y.size[y.rank] = r.length;
  y.stride[y.rank++] = x.stride[r.dim];
}
static const OpDef unfold_op = part_op<Range, take_windows>("unfold");
Tensor Tensor::unfold(int dim, int64_t size, int64_t step) const {
  const int d = this->dim() == 0 && (dim == 0 || dim == -1) ? 0 : wrap_dim("unfold", dim, view());
  const int64_t length = this->dim() == 0 ? 1 : view().size[d];
  GRAFT_CHECK(size >= 0 && size <= length, "unfold: size ", size, " is not within [0,", length, "]: ", *this);
  GRAFT_CHECK(step > 0, "unfold: step ", step, " is not positive");
  GRAFT_CHECK(this->dim() < kMaxRank, "unfold: ", *this, " has the greatest rank already");
  return apply(unfold_op, Range{d, 0, size, step}, *this);
}

// ---- several parts -------------------------------------------------------------------------------------------

static const OpDef split_op{
    .name = "split",
    .infer =
        [](Infer& c) {
          const auto& r = c.attrs<Range>();
          for (int i = 0; i < c.outputs(); ++i) {
            View& y = c.out(i);
            copy_geometry(y, c.in(0));
            const int64_t start = std::min(i * r.length, c.in(0).size[r.dim]);
            y.size[r.dim] = std::min(r.length, c.in(0).size[r.dim] - start);
            y.offset += start * y.stride[r.dim];
          }
        },
    .backward =
        [](Backward& b) {
          Tensors parts;
          for (int i = 0; i < b.outputs(); ++i) parts.push_back(b.g(i));
          b.to(0) = cat(parts, b.attrs<Range>().dim);
        },
    .view = true,
};
Tensors Tensor::split(int64_t size, int dim) const {
  const int d = wrap_dim("split", dim, view());
  const int64_t length = view().size[d];
  GRAFT_CHECK(size > 0 || (size == 0 && length == 0), "split: size ", size, " is not positive");
  Tensors out(size_t(size == 0 ? 1 : std::max<int64_t>(1, (length - 1) / size + 1)));
  TensorImpl* in[] = {impl()};
  apply_into(Call{split_op, in, Range{d, 0, size}}, out);
  return out;
}
Tensors Tensor::split(const std::vector<int64_t>& sizes, int dim) const {
  const int d = wrap_dim("split", dim, view());
  int64_t total = 0;
  for (const int64_t s : sizes) {
    GRAFT_CHECK(s >= 0, "split: negative size ", s);
    total += s;
  }
  GRAFT_CHECK(total == view().size[d], ErrorCode::shape_mismatch, "split: the sizes sum to ", total, ", dimension ", d,
              " has ", view().size[d], ": ", *this);
  Tensors out;
  int64_t at = 0;
  for (const int64_t s : sizes) {
    out.push_back(narrow(d, at, s));
    at += s;
  }
  return out;
}
Tensors Tensor::chunk(int64_t chunks, int dim) const {
  const int d = wrap_dim("chunk", dim, view());
  GRAFT_CHECK(chunks > 0, "chunk: number of chunks ", chunks, " is not positive");
  const int64_t size = (view().size[d] + chunks - 1) / chunks;
  if (size == 0) return split(std::vector<int64_t>(size_t(chunks), 0), d);
  return split(size, d);
}
Tensors Tensor::tensor_split(int64_t sections, int dim) const {
  const int d = wrap_dim("tensor_split", dim, view());
  GRAFT_CHECK(sections > 0, "tensor_split: number of sections ", sections, " is not positive");
  const int64_t small = view().size[d] / sections, larger = view().size[d] % sections;
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < sections; ++i) sizes.push_back(small + (i < larger));
  return split(sizes, d);
}
Tensors Tensor::tensor_split(const std::vector<int64_t>& ends, int dim) const {
  const int d = wrap_dim("tensor_split", dim, view());
  Tensors out;
  int64_t start = 0;
  for (size_t i = 0; i <= ends.size(); ++i) {
    const int64_t end = i < ends.size() ? ends[i] : view().size[d];
    out.push_back(slice(d, start, end));
    start = end;
  }
  return out;
}

static const OpDef unbind_op{
    .name = "unbind",
    .infer =
        [](Infer& c) {
          const int dim = c.attrs<DimAttrs>().dim;
          for (int i = 0; i < c.outputs(); ++i) drop_dim(c.out(i), c.in(0), {dim, i});
        },
    .backward =
        [](Backward& b) {
          Tensors parts;
          for (int i = 0; i < b.outputs(); ++i) parts.push_back(b.g(i));
          b.to(0) = stack(parts, b.attrs<DimAttrs>().dim);
        },
    .view = true,
};
Tensors Tensor::unbind(int dim) const {
  const int d = wrap_dim("unbind", dim, view());
  Tensors out(size_t(view().size[d]));
  if (out.empty()) return out;
  TensorImpl* in[] = {impl()};
  apply_into(Call{unbind_op, in, DimAttrs{d}}, out);
  return out;
}

}  // namespace graft
