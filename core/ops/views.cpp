// Views: ops without a kernel, whose outputs share the memory of their input.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static void same_geometry(View& to, const View& from) {
  copy_sizes(to, from);
  for (int i = 0; i < from.rank; ++i) to.stride[i] = from.stride[i];
  to.offset = from.offset;
}

struct Swap { int a = 0, b = 0; };
static const OpDef transpose_op{
    .name = "transpose",
    .infer =
        [](Infer& c) {
          const auto [a, b] = c.attrs<Swap>();
          same_geometry(c.out(), c.in(0));
          std::swap(c.out().size[a], c.out().size[b]);
          std::swap(c.out().stride[a], c.out().stride[b]);
        },
    .backward = [](Backward& b) { b.to(0) = b.g().transpose(b.attrs<Swap>().a, b.attrs<Swap>().b); },
    .view = true,
};
Tensor Tensor::transpose(int a, int b) const {
  return apply(transpose_op, Swap{wrap_dim("transpose", a, view()), wrap_dim("transpose", b, view())}, *this);
}

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
Tensor Tensor::expand(const Shape& to) const { return apply(expand_op, to, *this); }

static const OpDef reshape_op{
    .name = "reshape",
    .infer =
        [](Infer& c) {
          const auto& to = c.attrs<Shape>();
          set_shape(c.out(), to);
          set_contiguous(c.out());
          c.out().offset = c.in(0).offset;
          c.check(c.out().numel == c.in(0).numel, "element counts differ from ", to);
        },
    .backward = [](Backward& b) { b.to(0) = b.g().reshape(b.input_shape(0)); },
    .view = true,
};
Tensor Tensor::reshape(const Shape& to) const {
  return is_contiguous() ? apply(reshape_op, to, *this) : apply(reshape_op, to, contiguous());
}

// ---- regions -------------------------------------------------------------------------------------------------

Region region_of(const View& v, const View& base) {
  Region r{.rank = v.rank, .offset = v.offset - base.offset};
  if (!base.contiguous) {
    r.base_rank = base.rank;
    std::copy_n(base.stride, base.rank, r.base_stride);
  }
  for (int i = 0; i < v.rank; ++i) {
    r.size[i] = v.size[i];
    r.stride[i] = v.stride[i];
  }
  return r;
}

static void check_region(const Infer& c, const Region& r, int64_t numel) {
  int64_t first = r.offset, last = r.offset;
  for (int i = 0; i < r.rank; ++i) {
    if (r.size[i] == 0) return;
    (r.stride[i] < 0 ? first : last) += (r.size[i] - 1) * r.stride[i];
  }
  c.check(first >= 0 && last < numel, "the region [", first, ",", last, "] leaves ", numel, " elements");
}

const OpDef as_strided_op{
    .name = "as_strided",
    .infer =
        [](Infer& c) {
          const auto& r = c.attrs<Region>();
          c.check(is_dense(c.in(0)), "needs an input without gaps in memory");
          check_region(c, r, c.in(0).numel);
          View& y = c.out();
          y.rank = r.rank;
          y.offset = c.in(0).offset + r.offset;
          for (int i = 0; i < r.rank; ++i) {
            y.size[i] = r.size[i];
            y.stride[i] = r.stride[i];
          }
        },
    .backward = [](Backward& b) { b.to(0) = embed(b.g(), b.attrs<Region>(), b.input_shape(0)); },
    .view = true,
};
// The tensor in the order of memory that the region's offsets refer to.
static Tensor laid_out_for(const Region& r, const Tensor& x) {
  return r.base_rank ? clone_as(x, Shape(std::span(r.base_stride, r.base_rank))) : x.contiguous();
}
Tensor as_strided(const Tensor& base, const Region& r) { return apply(as_strided_op, r, laid_out_for(r, base)); }

static const OpDef embed_op{
    .name = "embed",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<EmbedAttrs>();
          set_shape(c.out(), Shape(std::span(a.into, a.rank)));
          set_contiguous(c.out());
          check_region(c, a.region, c.out().numel);
          if (!a.region.base_rank) return;
          std::copy_n(a.region.base_stride, a.region.base_rank, c.out().stride);
          c.strided();
        },
    .backward = [](Backward& b) { b.to(0) = as_strided(b.g(), b.attrs<EmbedAttrs>().region); },
};
Tensor embed(const Tensor& x, const Region& region, const Shape& into) {
  EmbedAttrs a{.region = region, .rank = uint8_t(into.rank())};
  std::ranges::copy(into, a.into);
  return apply(embed_op, a, x);
}

const OpDef overwrite_op{
    .name = "overwrite",
    .infer = [](Infer& c) { infer_same(c), check_region(c, c.attrs<Region>(), c.in(0).numel); },  // keeps the layout
    .backward =
        [](Backward& b) {
          const auto& r = b.attrs<Region>();
          if (b.needs(0))
            b.to(0) = overwrite(b.g(), zeros(Shape(std::span(r.size, r.rank)), b.g().options()), r);
          if (b.needs(1)) b.to(1) = as_strided(b.g(), r);
        },
};
Tensor overwrite(const Tensor& base, const Tensor& x, const Region& r) {
  return apply(overwrite_op, r, laid_out_for(r, base), x);
}

// ---- narrow, split -------------------------------------------------------------------------------------------

struct Range { int dim = 0; int64_t start = 0, length = 0; };
static const OpDef narrow_op{
    .name = "narrow",
    .infer =
        [](Infer& c) {
          const auto& r = c.attrs<Range>();
          c.check(r.start >= 0 && r.length >= 0 && r.start + r.length <= c.in(0).size[r.dim], "range [", r.start, ",",
                  r.start + r.length, ") leaves dimension ", r.dim);
          same_geometry(c.out(), c.in(0));
          c.out().size[r.dim] = r.length;
          c.out().offset += r.start * c.in(0).stride[r.dim];
        },
    .backward =
        [](Backward& b) {
          const auto& r = b.attrs<Range>();
          View x;
          set_shape(x, b.input_shape(0));
          set_contiguous(x);
          Region region = region_of(x, x);
          region.size[r.dim] = r.length;
          region.offset = r.start * region.stride[r.dim];
          b.to(0) = embed(b.g(), region, Shape(x));
        },
    .view = true,
};
Tensor Tensor::narrow(int dim, int64_t start, int64_t length) const {
  return apply(narrow_op, Range{wrap_dim("narrow", dim, view()), start, length}, *this);
}

static const OpDef split_op{
    .name = "split",
    .infer =
        [](Infer& c) {
          const auto& r = c.attrs<Range>();
          for (int i = 0; i < c.outputs(); ++i) {
            View& y = c.out(i);
            same_geometry(y, c.in(0));
            y.size[r.dim] = std::min(r.length, c.in(0).size[r.dim] - i * r.length);
            y.offset += i * r.length * y.stride[r.dim];
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
  GRAFT_CHECK(size > 0, "split: size ", size, " is not positive");
  Tensors out(size_t(std::max<int64_t>(1, (this->size(d) + size - 1) / size)));
  TensorImpl* in[] = {impl()};
  apply_into(Call{split_op, in, Range{d, 0, size}}, out);
  return out;
}

}  // namespace graft
