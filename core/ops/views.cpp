// Views that keep every element: other orders, ranks and sizes of the same memory. Parts of tensors: slices.cpp.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

// ---- order of dimensions -------------------------------------------------------------------------------------

struct Swap { int a = 0, b = 0; };
static const OpDef transpose_op{
    .name = "transpose",
    .infer =
        [](Infer& c) {
          const auto [a, b] = c.attrs<Swap>();
          copy_geometry(c.out(), c.in(0));
          std::swap(c.out().size[a], c.out().size[b]);
          std::swap(c.out().stride[a], c.out().stride[b]);
        },
    .backward = [](Backward& b) { b.to(0) = b.g().transpose(b.attrs<Swap>().a, b.attrs<Swap>().b); },
    .view = true,
};
// Tensors without dimensions may be transposed: PyTorch lets a 0-dim tensor count as having one.
static int wrap_scalar_dim(std::string_view op, int dim, const View& v) {
  if (v.rank > 0 || dim < -1 || dim > 0) return wrap_dim(op, dim, v);
  return 0;
}
Tensor Tensor::transpose(int a, int b) const {
  const Swap swap{wrap_scalar_dim("transpose", a, view()), wrap_scalar_dim("transpose", b, view())};
  return apply(transpose_op, dim() == 0 ? Swap{} : swap, *this);
}

static const OpDef t_op{
    .name = "t",
    .infer =
        [](Infer& c) {
          c.check(c.in(0).rank <= 2, "needs at most 2 dimensions");
          copy_geometry(c.out(), c.in(0));
          if (c.in(0).rank < 2) return;
          std::swap(c.out().size[0], c.out().size[1]);
          std::swap(c.out().stride[0], c.out().stride[1]);
        },
    .backward = [](Backward& b) { b.to(0) = b.g().t(); },
    .view = true,
};
Tensor Tensor::t() const { return apply(t_op, {}, *this); }

static const OpDef permute_op{
    .name = "permute",
    .infer =
        [](Infer& c) {
          const auto& order = c.attrs<Shape>();
          View& y = c.out();
          y.rank = c.in(0).rank;
          y.offset = c.in(0).offset;
          for (int i = 0; i < y.rank; ++i) {
            y.size[i] = c.in(0).size[order[i]];
            y.stride[i] = c.in(0).stride[order[i]];
          }
        },
    .backward =
        [](Backward& b) {
          const auto& order = b.attrs<Shape>();
          Shape inverse = order;
          for (int i = 0; i < order.rank(); ++i) inverse[int(order[i])] = i;
          b.to(0) = b.g().permute(inverse);
        },
    .view = true,
};
Tensor Tensor::permute(const Shape& order) const {
  GRAFT_CHECK(order.rank() == dim(), ErrorCode::shape_mismatch, "permute: ", order, " does not name the ", dim(),
              " dimensions of ", *this);
  Shape wrapped = order;
  unsigned seen = 0;
  for (int i = 0; i < order.rank(); ++i) {
    wrapped[i] = wrap_dim("permute", int(order[i]), view());
    GRAFT_CHECK(!(seen >> wrapped[i] & 1U), "permute: dimension ", wrapped[i], " is named twice in ", order);
    seen |= 1U << wrapped[i];
  }
  return apply(permute_op, wrapped, *this);
}
Tensor Tensor::T() const {
  Shape order;
  for (int i = dim(); i-- > 0;) order.push_back(i);
  return permute(order);
}
Tensor Tensor::mT() const {
  GRAFT_CHECK(dim() >= 2, ErrorCode::shape_mismatch, "mT: needs at least 2 dimensions, not ", *this);
  return transpose(-2, -1);
}
Tensor Tensor::movedim(const Shape& from, const Shape& to) const {
  GRAFT_CHECK(from.rank() == to.rank(), "movedim: ", from, " and ", to, " differ in length");
  std::array<int, kMaxRank> order{};
  order.fill(-1);
  unsigned used = 0, taken = 0;
  for (int i = 0; i < from.rank(); ++i) {
    const int f = wrap_scalar_dim("movedim", int(from[i]), view()), t = wrap_scalar_dim("movedim", int(to[i]), view());
    GRAFT_CHECK(!(used >> f & 1U) && !(taken >> t & 1U), "movedim: repeated dimension in ", from, " or ", to);
    used |= 1U << f;
    taken |= 1U << t;
    order[size_t(t)] = f;
  }
  Shape result;
  int next = 0;
  for (int i = 0; i < dim(); ++i) {
    while (used >> next & 1U) ++next;
    result.push_back(order[size_t(i)] >= 0 ? order[size_t(i)] : next++);
  }
  return permute(result);
}

// ---- broadcasting --------------------------------------------------------------------------------------------

static const OpDef expand_op{
    .name = "expand",
    .infer =
        [](Infer& c) {
          const View& x = c.in(0);
          View& y = c.out();
          set_shape(y, c.attrs<Shape>());
          y.offset = x.offset;
          const int lead = y.rank - x.rank;
          for (int i = 0; i < y.rank; ++i) {
            const int own = i - lead;
            c.check(lead >= 0 && (own < 0 || x.size[own] == y.size[i] || x.size[own] == 1), "cannot expand to ",
                    c.attrs<Shape>());
            y.stride[i] = own < 0 || x.size[own] != y.size[i] ? 0 : x.stride[own];
          }
        },
    .backward = [](Backward& b) { b.to(0) = b.g(); },  // the pass sums what was broadcast
    .view = true,
};
Tensor Tensor::expand(const Shape& to) const {
  Shape sizes = to;
  const int lead = to.rank() - dim();
  for (int i = 0; i < to.rank(); ++i) {
    if (to[i] != -1) continue;
    GRAFT_CHECK(i >= lead && lead >= 0, ErrorCode::shape_mismatch, "expand: -1 in ", to,
                " stands for a dimension that ", *this, " does not have");
    sizes[i] = view().size[i - lead];
  }
  return apply(expand_op, sizes, *this);
}

// ---- other shapes of the same elements -----------------------------------------------------------------------

struct Reshaped { Shape size, stride; };
static void infer_reshaped(Infer& c) {
  const auto& a = c.attrs<Reshaped>();
  set_shape(c.out(), a.size);
  std::ranges::copy(a.stride, c.out().stride);
  c.out().offset = c.in(0).offset;
}
static void unreshape(Backward& b) { b.to(0) = b.g().reshape(b.input_shape(0)); }
static const OpDef view_op{.name = "view", .infer = infer_reshaped, .backward = unreshape, .view = true};
static const OpDef squeeze_op{.name = "squeeze", .infer = infer_reshaped, .backward = unreshape, .view = true};
static const OpDef unsqueeze_op{.name = "unsqueeze", .infer = infer_reshaped, .backward = unreshape, .view = true};

// Replaces the one -1 by what is left over; the result has as many elements as x.
static Shape complete(std::string_view op, const Shape& to, const Tensor& x) {
  Shape sizes = to;
  int open = -1;
  for (int i = 0; i < to.rank(); ++i) {
    GRAFT_CHECK(to[i] >= -1, ErrorCode::shape_mismatch, op, ": invalid size ", to[i], " in ", to);
    GRAFT_CHECK(to[i] != -1 || open < 0, ErrorCode::shape_mismatch, op, ": more than one -1 in ", to);
    if (to[i] == -1) open = i;
  }
  if (open >= 0) sizes[open] = 1;
  const auto known = int64_t(numel_of(sizes));
  if (open >= 0) {
    GRAFT_CHECK(known != 0, ErrorCode::shape_mismatch, op, ": -1 in ", to, " could be any size, since ", x,
                " is empty");
    if (x.numel() % known == 0) sizes[open] = x.numel() / known;
  }
  GRAFT_CHECK(int64_t(numel_of(sizes)) == x.numel(), ErrorCode::shape_mismatch, op, ": element counts differ from ", to,
              ": ", x);
  return sizes;
}

// Strides with which `sizes` walks the memory of x in the order of its elements, if there are any: runs of dimensions
// of x without gaps between them are split anew.
static std::optional<Shape> strides_for(const View& x, const Shape& sizes) {
  View dense;
  set_shape(dense, sizes);
  set_contiguous(dense);
  Shape strides(std::span(dense.stride, dense.rank));
  if (x.contiguous) return strides;
  int d = sizes.rank() - 1;
  int64_t run = 1, done = 1, step = x.stride[x.rank - 1];
  for (int i = x.rank - 1; i >= 0; --i) {
    run *= x.size[i];
    if (i > 0 && (x.size[i - 1] == 1 || x.stride[i - 1] == run * step)) continue;
    for (; d >= 0 && (done < run || sizes[d] == 1); --d) {
      strides[d] = done * step;
      done *= sizes[d];
    }
    if (done != run) return std::nullopt;
    run = done = 1;
    if (i > 0) step = x.stride[i - 1];
  }
  return d < 0 ? std::optional(strides) : std::nullopt;
}
Tensor Tensor::view(const Shape& to) const {
  const Shape sizes = complete("view", to, *this);
  const std::optional<Shape> strides = strides_for(view(), sizes);
  GRAFT_CHECK(strides, ErrorCode::shape_mismatch, "view: the strides ", this->strides(), " of ", *this,
              " do not allow a view as ", sizes, "; use reshape()");
  return apply(view_op, Reshaped{sizes, *strides}, *this);
}
Tensor Tensor::reshape(const Shape& to) const {
  const Shape sizes = complete("reshape", to, *this);
  if (const std::optional<Shape> strides = strides_for(view(), sizes))
    return apply(view_op, Reshaped{sizes, *strides}, *this);
  return contiguous().view(sizes);
}

static Tensor drop_dims(const Tensor& x, unsigned dims) {
  Reshaped a;
  for (int i = 0; i < x.dim(); ++i) {
    if ((dims >> i & 1U) && x.view().size[i] == 1) continue;
    a.size.push_back(x.view().size[i]);
    a.stride.push_back(x.view().stride[i]);
  }
  return apply(squeeze_op, a, x);
}
Tensor Tensor::squeeze() const { return drop_dims(*this, ~0U); }
Tensor Tensor::squeeze(int dim) const { return drop_dims(*this, 1U << wrap_scalar_dim("squeeze", dim, view())); }
Tensor Tensor::squeeze(const Shape& dims) const {
  unsigned mask = 0;
  for (const int64_t d : dims) mask |= 1U << wrap_scalar_dim("squeeze", int(d), view());
  return drop_dims(*this, mask);
}
Tensor Tensor::unsqueeze(int dim) const {
  const int rank = this->dim() + 1;
  GRAFT_CHECK(dim >= -rank && dim < rank, ErrorCode::index_out_of_range, "unsqueeze: dimension ", dim,
              " is out of range for ", *this);
  GRAFT_CHECK(rank <= kMaxRank, "unsqueeze: ", *this, " has the greatest rank already");
  const int at = dim < 0 ? dim + rank : dim;
  Reshaped a;
  for (int i = 0; i < rank; ++i) {
    const int own = i < at ? i : i - 1;
    a.size.push_back(i == at ? 1 : view().size[own]);
    a.stride.push_back(i != at ? view().stride[own] : at < this->dim() ? view().stride[at] * view().size[at] : 1);
  }
  return apply(unsqueeze_op, a, *this);
}
Tensor Tensor::flatten(int start, int end) const {
  if (dim() == 0) return reshape({1});
  const int a = wrap_dim("flatten", start, view()), b = wrap_dim("flatten", end, view());
  GRAFT_CHECK(a <= b, "flatten: start ", start, " lies behind end ", end, ": ", *this);
  if (a == b) return *this;
  Shape to;
  for (int i = 0; i < dim(); ++i) {
    if (i > a && i <= b) to[a] *= view().size[i];
    else to.push_back(view().size[i]);
  }
  return reshape(to);
}
Tensor Tensor::unflatten(int dim, const Shape& sizes) const {
  const int at = wrap_dim("unflatten", dim, view());
  GRAFT_CHECK(sizes.rank() > 0, ErrorCode::shape_mismatch, "unflatten: needs at least one size");
  int64_t known = 1, open = 0;
  for (const int64_t s : sizes) s == -1 ? ++open : known *= s;
  const int64_t size = view().size[at];
  GRAFT_CHECK(open <= 1 && (open ? known != 0 && size % known == 0 : known == size), ErrorCode::shape_mismatch,
              "unflatten: ", sizes, " does not multiply to the size ", size, " of dimension ", at, " of ", *this);
  Shape to;
  for (int i = 0; i < this->dim(); ++i) {
    if (i != at) to.push_back(view().size[i]);
    else for (const int64_t s : sizes) to.push_back(s == -1 ? size / known : s);
  }
  return view(to);
}

// ---- complex numbers as pairs of real ones -------------------------------------------------------------------

static const OpDef view_as_real_op{
    .name = "view_as_real",
    .infer =
        [](Infer& c) {
          const View& x = c.in(0);
          View& y = c.out();
          c.check(is_complex(x.dtype), "needs complex numbers");
          c.check(x.rank < kMaxRank, "needs one more dimension than there may be");
          y.dtype = real_of(x.dtype);
          y.rank = uint8_t(x.rank + 1);
          y.offset = 2 * x.offset;
          for (int i = 0; i < x.rank; ++i) y.size[i] = x.size[i], y.stride[i] = 2 * x.stride[i];
          y.size[x.rank] = 2;
          y.stride[x.rank] = 1;
        },
    .backward = [](Backward& b) { b.to(0) = view_as_complex(b.g().contiguous()); },
    .view = true,
};
Tensor view_as_real(const Tensor& x) { return apply(view_as_real_op, {}, x); }

static const OpDef view_as_complex_op{
    .name = "view_as_complex",
    .infer =
        [](Infer& c) {
          const View& x = c.in(0);
          View& y = c.out();
          c.check(x.dtype == f32 || x.dtype == f64, "needs f32 or f64");
          c.check(x.rank > 0 && x.size[x.rank - 1] == 2 && x.stride[x.rank - 1] == 1,
                  "the last dimension must have size 2 and stride 1");
          y.dtype = complex_of(x.dtype);
          y.rank = uint8_t(x.rank - 1);
          c.check(x.offset % 2 == 0, "an odd offset in memory");
          y.offset = x.offset / 2;
          for (int i = 0; i < y.rank; ++i) {
            c.check(x.stride[i] % 2 == 0, "the stride of dimension ", i, " is odd");
            y.size[i] = x.size[i], y.stride[i] = x.stride[i] / 2;
          }
        },
    .backward = [](Backward& b) { b.to(0) = view_as_real(b.g()); },
    .view = true,
};
Tensor view_as_complex(const Tensor& x) { return apply(view_as_complex_op, {}, x); }

}  // namespace graft
