// Ops that place elements elsewhere: flip, roll, triangles, repetition, diagonals, grids, pixel shuffles.
#include "graft/kernels/rearrange/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static void infer_contiguous(Infer& c) { copy_sizes(c.out(), c.in(0)); }

static const OpDef flip_op{
    .name = "flip",
    .infer = infer_contiguous,
    .backward = [](Backward& b) { b.to(0) = apply(*b.node().op, b.attrs<FlipAttrs>(), b.g()); },
};
Tensor flip(const Tensor& x, const Shape& dims) {
  FlipAttrs a;
  for (const int64_t dim : dims) {
    const unsigned bit = 1U << wrap_dim("flip", int(dim), x.view());
    GRAFT_CHECK(!(a.dims & bit), "flip: dimension ", dim, " is named twice");
    a.dims |= bit;
  }
  return apply(flip_op, a, x);
}
Tensor fliplr(const Tensor& x) {
  GRAFT_CHECK(x.dim() >= 2, ErrorCode::shape_mismatch, "fliplr: needs at least 2 dimensions, not ", x);
  return flip(x, {1});
}
Tensor flipud(const Tensor& x) {
  GRAFT_CHECK(x.dim() >= 1, ErrorCode::shape_mismatch, "flipud: needs at least 1 dimension, not ", x);
  return flip(x, {0});
}
Tensor rot90(const Tensor& x, int k, const Shape& dims) {
  GRAFT_CHECK(dims.rank() == 2, "rot90: needs two dimensions, not ", dims);
  const int a = wrap_dim("rot90", int(dims[0]), x.view()), b = wrap_dim("rot90", int(dims[1]), x.view());
  GRAFT_CHECK(a != b, "rot90: the dimensions must differ");
  switch ((k % 4 + 4) % 4) {
    case 1: return flip(x, {b}).transpose(a, b);
    case 2: return flip(x, {a, b});
    case 3: return flip(x, {a}).transpose(a, b);
    default: return x.clone();
  }
}

static const OpDef roll_op{
    .name = "roll",
    .infer = infer_contiguous,
    .backward =
        [](Backward& b) {
          const auto [dim, shift] = b.attrs<RollAttrs>();
          b.to(0) = roll(b.g(), Shape{-shift}, Shape{dim});
        },
};
static Tensor roll_one(const Tensor& x, int dim, int64_t shift) {
  const int64_t size = x.size(dim);
  return size ? apply(roll_op, RollAttrs{dim, (shift % size + size) % size}, x) : x.clone();
}
Tensor roll(const Tensor& x, const Shape& shifts, const Shape& dims) {
  if (dims.empty()) {
    GRAFT_CHECK(shifts.rank() == 1, "roll: without dimensions one shift is needed, not ", shifts);
    return roll_one(x.reshape({x.numel()}), 0, shifts[0]).reshape(x.shape());
  }
  GRAFT_CHECK(shifts.rank() == dims.rank(), "roll: shifts ", shifts, " and dimensions ", dims, " differ in length");
  Tensor y = x;
  for (int i = 0; i < dims.rank(); ++i) y = roll_one(y, wrap_dim("roll", int(dims[i]), x.view()), shifts[i]);
  return y;
}

static void infer_triangle(Infer& c) {
  c.check(c.in(0).rank >= 2, "needs at least 2 dimensions");
  infer_same(c);
}
static void triangle_backward(Backward& b) { b.to(0) = apply(*b.node().op, b.attrs<TriangleAttrs>(), b.g()); }
static const OpDef tril_op{.name = "tril", .infer = infer_triangle, .backward = triangle_backward};
static const OpDef triu_op{.name = "triu", .infer = infer_triangle, .backward = triangle_backward};
Tensor tril(const Tensor& x, int64_t diagonal) { return apply(tril_op, TriangleAttrs{diagonal, false}, x); }
Tensor triu(const Tensor& x, int64_t diagonal) { return apply(triu_op, TriangleAttrs{diagonal, true}, x); }
const Tensor& Tensor::tril_(int64_t diagonal) const {
  return apply_inplace(tril_op, TriangleAttrs{diagonal, false}, *this);
}
const Tensor& Tensor::triu_(int64_t diagonal) const {
  return apply_inplace(triu_op, TriangleAttrs{diagonal, true}, *this);
}

// ---- repetition ----------------------------------------------------------------------------------------------

static int64_t product(const Shape& s, int from, int to) {
  int64_t n = 1;
  for (int i = from; i < to; ++i) n *= s[i];
  return n;
}
Tensor repeat(const Tensor& x, const Shape& repeats) {
  GRAFT_CHECK(repeats.rank() >= x.dim(), ErrorCode::shape_mismatch, "repeat: ", repeats, " has fewer entries than ", x,
              " dimensions");
  Shape shape;
  for (int i = 0; i < repeats.rank(); ++i) {
    GRAFT_CHECK(repeats[i] >= 0, "repeat: negative number of repetitions in ", repeats);
    const int own = i - (repeats.rank() - x.dim());
    shape.push_back(own < 0 ? 1 : x.size(own));
  }
  Tensor y = x.reshape(shape);
  for (int d = repeats.rank() - 1; d >= 0; --d) {  // one dimension at a time, within three
    if (repeats[d] == 1) continue;
    const int64_t outer = product(shape, 0, d), inner = product(shape, d, shape.rank());
    shape[d] *= repeats[d];
    y = y.reshape({outer, 1, inner}).expand({outer, repeats[d], inner}).reshape(shape);
  }
  return y.impl() == x.impl() || y.impl()->storage.get() == x.impl()->storage.get() ? y.clone() : y;
}
Tensor tile(const Tensor& x, const Shape& repeats) {
  Shape full;
  for (int i = repeats.rank(); i < x.dim(); ++i) full.push_back(1);
  for (const int64_t n : repeats) full.push_back(n);
  return repeat(x, full);
}
Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int> dim) {
  GRAFT_CHECK(repeats >= 0, "repeat_interleave: negative number of repetitions ", repeats);
  if (!dim) return repeat_interleave(x.reshape({x.numel()}), repeats, 0);
  const int d = wrap_dim("repeat_interleave", *dim, x.view());
  Shape shape = x.shape();
  const int64_t outer = product(shape, 0, d + 1), inner = product(shape, d + 1, shape.rank());
  shape[d] *= repeats;
  return x.reshape({outer, 1, inner}).expand({outer, repeats, inner}).reshape(shape);
}
Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, std::optional<int> dim) {
  if (!dim) return repeat_interleave(x.reshape({x.numel()}), repeats, 0);
  const int d = wrap_dim("repeat_interleave", *dim, x.view());
  GRAFT_CHECK(repeats.device().type != Device::meta && !thread_modes().dry_run, ErrorCode::data_dependent,
              "repeat_interleave: the size of the result depends on the values of ", repeats);
  cuda::detail::need_readable("repeat_interleave", repeats);
  GRAFT_CHECK(repeats.dim() <= 1 && (repeats.numel() == x.size(d) || repeats.numel() == 1), ErrorCode::shape_mismatch,
              "repeat_interleave: ", repeats, " does not match dimension ", d, " of ", x);
  const Tensor counts = repeats.to(i64).to(Device::cpu).reshape({repeats.numel()}).expand({x.size(d)}).contiguous();
  std::vector<int64_t> index;
  for (int64_t i = 0; i < x.size(d); ++i) {
    const int64_t n = counts.data<int64_t>()[i];
    GRAFT_CHECK(n >= 0, "repeat_interleave: negative number of repetitions ", n);
    index.insert(index.end(), size_t(n), i);
  }
  return index_select(x, d, tensor(index, x.device()));
}

// ---- diagonals, grids ----------------------------------------------------------------------------------------

Tensor diag_embed(const Tensor& x, int64_t offset, int dim1, int dim2) {
  const int rank = x.dim() + 1;
  GRAFT_CHECK(x.dim() >= 1 && rank <= kMaxRank, ErrorCode::shape_mismatch, "diag_embed: ", x,
              " has no room for a diagonal");
  const auto wrap = [&](int dim) {
    GRAFT_CHECK(dim >= -rank && dim < rank, ErrorCode::index_out_of_range, "diag_embed: dimension ", dim,
                " is out of range for a result with ", rank);
    return dim < 0 ? dim + rank : dim;
  };
  const int a = wrap(dim1), b = wrap(dim2);
  GRAFT_CHECK(a != b, "diag_embed: the dimensions must differ");
  const int64_t n = x.size(-1) + std::abs(offset);
  Shape into;
  for (int i = 0, own = 0; i < rank; ++i) into.push_back(i == a || i == b ? n : x.size(own++));
  View y;
  set_shape(y, into);
  set_contiguous(y);
  Region r{.rank = uint8_t(x.dim())};
  int k = 0;
  for (int i = 0; i < rank; ++i) {
    if (i == a || i == b) continue;
    r.size[k] = y.size[i];
    r.stride[k++] = y.stride[i];
  }
  r.size[k] = x.size(-1);
  r.stride[k] = y.stride[a] + y.stride[b];
  r.offset = offset >= 0 ? offset * y.stride[b] : -offset * y.stride[a];
  return embed(x, r, into);
}
Tensor diag(const Tensor& x, int64_t diagonal) {
  GRAFT_CHECK(x.dim() == 1 || x.dim() == 2, ErrorCode::shape_mismatch, "diag: needs a vector or a matrix, not ", x);
  return x.dim() == 1 ? diag_embed(x, diagonal) : x.diagonal(diagonal).clone();
}
Tensors broadcast_tensors(const Tensors& parts) {
  Shape to;
  for (const Tensor& t : parts) {
    Shape wide;
    for (int i = to.rank(); i < t.dim(); ++i) wide.push_back(1);
    for (const int64_t n : to) wide.push_back(n);
    to = wide;
    for (int i = 1; i <= t.dim(); ++i) {
      int64_t& n = to[to.rank() - i];
      GRAFT_CHECK(n == t.size(-i) || n == 1 || t.size(-i) == 1, ErrorCode::shape_mismatch,
                  "broadcast_tensors: shapes do not broadcast in dimension -", i, ": ", parts[0], ", ", t);
      if (n == 1) n = t.size(-i);
    }
  }
  Tensors out;
  for (const Tensor& t : parts) out.push_back(t.expand(to));
  return out;
}
Tensors meshgrid(const Tensors& axes, std::string_view indexing) {
  GRAFT_CHECK(!axes.empty(), "meshgrid: needs at least one tensor");
  GRAFT_CHECK(indexing == "ij" || indexing == "xy", "meshgrid: indexing '", indexing, "' is not one of ij, xy");
  const bool swap = indexing == "xy" && axes.size() >= 2;
  Shape shape;
  for (const Tensor& t : axes) {
    GRAFT_CHECK(t.dim() <= 1, ErrorCode::shape_mismatch, "meshgrid: needs vectors, not ", t);
    shape.push_back(t.numel());
  }
  if (swap) std::swap(shape[0], shape[1]);
  Tensors out;
  for (int i = 0; i < shape.rank(); ++i) {
    const int at = swap && i < 2 ? 1 - i : i;
    Shape own;
    for (int d = 0; d < shape.rank(); ++d) own.push_back(d == at ? shape[d] : 1);
    out.push_back(axes[size_t(i)].reshape(own).expand(shape));
  }
  return out;
}

static Tensors with_rank(const Tensors& parts, int rank) {
  Tensors out;
  for (Tensor t : parts) {
    if (t.dim() == 0) t = t.reshape({1});
    if (rank >= 2 && t.dim() == 1) t = t.unsqueeze(0);
    if (rank >= 3 && t.dim() == 2) t = t.unsqueeze(-1);
    out.push_back(t);
  }
  return out;
}
Tensor hstack(const Tensors& parts) {
  GRAFT_CHECK(!parts.empty(), "hstack: needs at least one tensor");
  const Tensors wide = with_rank(parts, 1);
  return cat(wide, wide[0].dim() == 1 ? 0 : 1);
}
Tensor vstack(const Tensors& parts) { return cat(with_rank(parts, 2), 0); }
Tensor dstack(const Tensors& parts) { return cat(with_rank(parts, 3), 2); }

// ---- pixel shuffles: [.., c r r, h, w] <-> [.., c, h r, w r] -----------------------------------------------------

Tensor pixel_shuffle(const Tensor& x, int64_t r) {
  GRAFT_CHECK(x.dim() >= 3, ErrorCode::shape_mismatch, "pixel_shuffle: needs at least 3 dimensions, not ", x);
  GRAFT_CHECK(r > 0, "pixel_shuffle: the factor ", r, " is not positive");
  const int64_t c = x.size(-3), h = x.size(-2), w = x.size(-1);
  GRAFT_CHECK(c % (r * r) == 0, ErrorCode::shape_mismatch, "pixel_shuffle: ", c, " channels are not divisible by ",
              r * r);
  Shape to = x.shape();
  const int n = x.dim();
  const int64_t batch = product(to, 0, n - 3);
  to[n - 3] = c / (r * r), to[n - 2] = h * r, to[n - 1] = w * r;
  return x.reshape({batch, c / (r * r), r, r, h, w}).permute({0, 1, 4, 2, 5, 3}).reshape(to);
}
Tensor pixel_unshuffle(const Tensor& x, int64_t r) {
  GRAFT_CHECK(x.dim() >= 3, ErrorCode::shape_mismatch, "pixel_unshuffle: needs at least 3 dimensions, not ", x);
  GRAFT_CHECK(r > 0, "pixel_unshuffle: the factor ", r, " is not positive");
  const int64_t c = x.size(-3), h = x.size(-2), w = x.size(-1);
  GRAFT_CHECK(h % r == 0 && w % r == 0, ErrorCode::shape_mismatch, "pixel_unshuffle: ", h, "x", w,
              " is not divisible by ", r);
  Shape to = x.shape();
  const int n = x.dim();
  const int64_t batch = product(to, 0, n - 3);
  to[n - 3] = c * r * r, to[n - 2] = h / r, to[n - 1] = w / r;
  return x.reshape({batch, c, h / r, r, w / r, r}).permute({0, 1, 3, 5, 2, 4}).reshape(to);
}

}  // namespace graft
