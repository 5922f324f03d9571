// Making tensors: sequences, identities, tensors like others, index grids, complex numbers from parts.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/kernels/rearrange/attrs.h"

namespace graft::inline v1 {

static void infer_sequence(Infer& c) {
  const auto& a = c.attrs<SequenceAttrs>();
  set_shape(c.out(), {a.n});
  c.out().dtype = a.dtype;
  c.out().device = a.device;
}
static const OpDef arange_op{.name = "arange", .infer = infer_sequence};
static const OpDef linspace_op{.name = "linspace", .infer = infer_sequence};

static bool whole(Scalar s) { return s.kind() <= Scalar::Kind::integer; }
Tensor arange(Scalar start, Scalar end, Scalar step, const Options& o) {
  SequenceAttrs a{.start = start, .step = step, .end = end, .device = o.device};
  const bool integers = whole(start) && whole(end) && whole(step);
  a.dtype = o.dtype_or(integers ? i64 : f32);
  const double from = start.value(), to = end.value(), by = step.value();
  GRAFT_CHECK(by != 0, "arange: step must not be 0");
  GRAFT_CHECK(std::isfinite(from) && std::isfinite(to), "arange: the bounds ", from, " and ", to, " are not finite");
  GRAFT_CHECK(by > 0 ? to >= from : to <= from, "arange: bounds ", from, " to ", to,
              " do not agree with the sign of step ", by);
  if (integers) {
    const auto first = __int128(start.to<int64_t>()), last = __int128(end.to<int64_t>()),
               s = __int128(step.to<int64_t>());
    const __int128 n = (last - first + s + (s > 0 ? -1 : 1)) / s;
    GRAFT_CHECK(n <= INT64_MAX, ErrorCode::overflow, "arange: too many elements");
    a.n = int64_t(n);
  } else {
    const double n = std::ceil((to - from) / by);
    GRAFT_CHECK(n < 9e18, ErrorCode::overflow, "arange: too many elements");
    a.n = int64_t(n);
  }
  return apply(arange_op, a);
}
Tensor arange(Scalar end, const Options& o) { return arange(0, end, 1, o); }

static DType type_of_ends(Scalar start, Scalar end, const Options& o) {
  const bool complex = start.kind() == Scalar::Kind::complex || end.kind() == Scalar::Kind::complex;
  return o.dtype_or(complex ? c64 : f32);
}
Tensor linspace(Scalar start, Scalar end, int64_t steps, const Options& o) {
  GRAFT_CHECK(steps >= 0, "linspace: negative number of steps ", steps);
  return apply(linspace_op, SequenceAttrs{.n = steps, .start = start, .end = end, .dtype = type_of_ends(start, end, o),
                                          .device = o.device});
}
Tensor logspace(Scalar start, Scalar end, int64_t steps, double base, const Options& o) {
  GRAFT_CHECK(steps >= 0, "logspace: negative number of steps ", steps);
  GRAFT_CHECK(base > 0, "logspace: base ", base, " is not positive");
  return apply(linspace_op, SequenceAttrs{.n = steps, .start = start, .end = end, .base = base,
                                          .dtype = type_of_ends(start, end, o), .device = o.device});
}

Tensor eye(int64_t n, std::optional<int64_t> m, const Options& o) {
  GRAFT_CHECK(n >= 0 && m.value_or(0) >= 0, "eye: negative size");
  const Shape into{n, m.value_or(n)};
  const int64_t length = std::min(n, into[1]);
  const NoGrad constant;
  const Tensor y = full(into, 0, {o.dtype_or(f32), o.device});
  if (length > 0) y.diagonal().copy_(full({}, 1, y.options()));
  return y.detach();
}

static Options like(const Tensor& x, const Options& o) {
  return {o.dtype_or(x.dtype()), o.device == Device() ? x.device() : o.device};
}
// In the order of memory of x, where that has no gaps.
Tensor empty_like(const Tensor& x, const Options& o) {
  const Tensor y = empty(x.shape(), like(x, o));
  if (x.is_contiguous() || !is_dense(x.view())) return y;
  std::copy_n(x.view().stride, x.dim(), y.impl()->view.stride);
  set_strided(y.impl()->view);
  return y;
}
Tensor full_like(const Tensor& x, Scalar value, const Options& o) {
  const Tensor y = full(x.shape(), value, like(x, o));
  if (x.is_contiguous() || !is_dense(x.view())) return y;
  std::copy_n(x.view().stride, x.dim(), y.impl()->view.stride);
  set_strided(y.impl()->view);
  return y;
}
Tensor zeros_like(const Tensor& x, const Options& o) { return full_like(x, 0, o); }
Tensor ones_like(const Tensor& x, const Options& o) { return full_like(x, 1, o); }

Tensor empty_strided(const Shape& size, const Shape& stride, const Options& o) {
  GRAFT_CHECK(size.rank() == stride.rank(), ErrorCode::shape_mismatch, "empty_strided: sizes ", size, " and strides ",
              stride, " differ in rank");
  int64_t last = 0;
  bool overflow = false;
  for (int i = 0; i < size.rank(); ++i) {
    GRAFT_CHECK(stride[i] > 0 || size[i] <= 1, "empty_strided: stride ", stride[i], " of dimension ", i,
                " is not positive; elements must not share memory");
    int64_t reach = 0;
    overflow = overflow || __builtin_mul_overflow(std::max<int64_t>(size[i] - 1, 0), stride[i], &reach) ||
               __builtin_add_overflow(last, reach, &last);
  }
  GRAFT_CHECK(!overflow, ErrorCode::overflow, "empty_strided: sizes ", size, " and strides ", stride, " overflow");
  const bool none = numel_of(size) == 0;
  const Tensor memory = empty({none ? 0 : last + 1}, o);
  Ref<TensorImpl> t = alias(*memory.impl());
  set_shape(t->view, size);
  std::ranges::copy(stride, t->view.stride);
  set_strided(t->view);
  GRAFT_CHECK(!may_overlap(t->view), "empty_strided: with shape ", size, " and strides ", stride,
              " elements share memory");
  return Tensor(std::move(t));
}

// [2, n]: rows and columns of a triangle.
static Tensor triangle_indices(int64_t rows, int64_t columns, int64_t offset, bool upper, const Options& o) {
  GRAFT_CHECK(rows >= 0 && columns >= 0, "tril_indices, triu_indices: negative size");
  std::vector<int64_t> index, second;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t edge = std::clamp<int64_t>(i + offset + (upper ? 0 : 1), 0, columns);
    for (int64_t j = upper ? edge : 0; j < (upper ? columns : edge); ++j) index.push_back(i), second.push_back(j);
  }
  const auto n = int64_t(index.size());
  index.insert(index.end(), second.begin(), second.end());
  return tensor(std::span<const int64_t>(index), Shape{2, n}, Options(o.dtype_or(i64), o.device));
}
Tensor tril_indices(int64_t rows, int64_t columns, int64_t offset, const Options& o) {
  return triangle_indices(rows, columns, offset, false, o);
}
Tensor triu_indices(int64_t rows, int64_t columns, int64_t offset, const Options& o) {
  return triangle_indices(rows, columns, offset, true, o);
}

Tensor complex(const Tensor& real, const Tensor& imag) {
  GRAFT_CHECK(real.dtype() == imag.dtype() && (real.dtype() == f32 || real.dtype() == f64), ErrorCode::dtype_mismatch,
              "complex: needs two tensors of f32 or of f64, not ", real, " and ", imag);
  const Tensors parts = broadcast_tensors({real, imag});
  return view_as_complex(stack(parts, -1));
}

}  // namespace graft
