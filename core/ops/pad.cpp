// Padding, and sliding windows as columns (im2col) and back.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/kernels/rearrange/attrs.h"

namespace graft::inline v1 {

static const OpDef pad_op{
    .name = "pad",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<PadAttrs>();
          copy_sizes(c.out(), c.in(0));
          for (int d = 0; d < c.in(0).rank; ++d) {
            int64_t& n = c.out().size[d];
            n += a.before[d] + a.after[d];
            c.check(n >= 0, "padding ", a.before[d], ",", a.after[d], " leaves a negative size in dimension ", d);
          }
        },
    .backward =
        [](Backward& b) {  // what was added is cut off, what was cut off is zero
          PadAttrs a = b.attrs<PadAttrs>();
          for (int d = 0; d < kMaxRank; ++d) a.before[d] = -a.before[d], a.after[d] = -a.after[d];
          a.value = 0;
          b.to(0) = apply(*b.node().op, a, b.g());
        },
};

// For each place of the padded dimension the one it repeats.
static Tensor sources(int64_t n, int64_t before, int64_t after, std::string_view mode, Device device) {
  std::vector<int64_t> index;
  for (int64_t i = -before; i < n + after; ++i) {
    int64_t j = std::clamp<int64_t>(i, 0, n - 1);
    if (mode == "reflect") j = i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
    if (mode == "circular") j = (i % n + n) % n;
    index.push_back(j);
  }
  return device.type == Device::meta ? empty({int64_t(index.size())}, {i64, device}) : tensor(index, device);
}
static Tensor pad_by_repeating(const Tensor& x, std::span<const int64_t> pads, std::string_view mode) {
  const auto dims = int(pads.size() / 2);
  GRAFT_CHECK(x.dim() == dims + 1 || x.dim() == dims + 2, ErrorCode::shape_mismatch, "pad: mode ", mode, " with ",
              pads.size(), " values pads the last ", dims, " dimensions of a tensor with ", dims + 1, " or ", dims + 2,
              ", not ", x);
  Tensor y = x;
  for (int k = 0; k < dims; ++k) {
    const int d = x.dim() - 1 - k;
    const int64_t n = x.size(d), before = pads[size_t(2 * k)], after = pads[size_t(2 * k + 1)];
    if (before == 0 && after == 0) continue;
    const int64_t most = mode == "reflect" ? n - 1 : mode == "circular" ? n : INT64_MAX;
    GRAFT_CHECK(n > 0 && before <= most && after <= most && n + before + after > 0, ErrorCode::shape_mismatch,
                "pad: mode ", mode, " cannot pad dimension ", d, " by ", before, ",", after, ": ", x);
    y = index_select(y, d, sources(n, before, after, mode, x.device()));
  }
  return y.is_same(x) ? x.clone() : y;
}
Tensor pad(const Tensor& x, const std::vector<int64_t>& pads, std::string_view mode, Scalar value) {
  GRAFT_CHECK(pads.size() % 2 == 0, "pad: needs pairs of numbers, not ", pads.size());
  GRAFT_CHECK(int(pads.size() / 2) <= x.dim(), ErrorCode::shape_mismatch, "pad: ", pads.size() / 2,
              " pairs for fewer dimensions: ", x);
  if (mode == "reflect" || mode == "replicate" || mode == "circular") return pad_by_repeating(x, pads, mode);
  GRAFT_CHECK(mode == "constant", "pad: mode '", mode, "' is not one of constant, reflect, replicate, circular");
  PadAttrs a;
  a.value = value;
  for (size_t k = 0; k < pads.size() / 2; ++k) {
    a.before[x.dim() - 1 - int(k)] = pads[2 * k];
    a.after[x.dim() - 1 - int(k)] = pads[2 * k + 1];
  }
  return apply(pad_op, a, x);
}

// ---- columns -------------------------------------------------------------------------------------------------

namespace {
struct Windows {  // of a padded image [n, c, h, w]: [n, c, kh, kw, oh, ow] in its memory
  Shape image, size;
  int64_t out_h, out_w;
  Region region;
};
}  // namespace
static Windows windows_of(std::string_view op, int64_t n, int64_t c, int64_t h, int64_t w, const WindowOptions& o) {
  const auto [kh, kw] = o.kernel_size;
  const auto [ph, pw] = o.padding;
  GRAFT_CHECK(kh > 0 && kw > 0 && o.stride[0] > 0 && o.stride[1] > 0 && o.dilation[0] > 0 && o.dilation[1] > 0 &&
                  ph >= 0 && pw >= 0,
              op, ": kernel, stride and dilation must be positive, padding not negative");
  Windows a;
  a.image = {n, c, h + 2 * ph, w + 2 * pw};
  a.out_h = (a.image[2] - o.dilation[0] * (kh - 1) - 1) / o.stride[0] + 1;
  a.out_w = (a.image[3] - o.dilation[1] * (kw - 1) - 1) / o.stride[1] + 1;
  GRAFT_CHECK(a.image[2] > o.dilation[0] * (kh - 1) && a.image[3] > o.dilation[1] * (kw - 1), ErrorCode::shape_mismatch,
              op, ": the kernel ", kh, "x", kw, " is larger than the padded image ", a.image[2], "x", a.image[3]);
  const int64_t row = a.image[3], plane = a.image[2] * row;
  a.size = {n, c, kh, kw, a.out_h, a.out_w};
  const Shape stride{c * plane, plane, o.dilation[0] * row, o.dilation[1], o.stride[0] * row, o.stride[1]};
  a.region.rank = 6;
  std::ranges::copy(a.size, a.region.size);
  std::ranges::copy(stride, a.region.stride);
  return a;
}
Tensor im2col(const Tensor& x, const WindowOptions& o) {
  if (x.dim() == 3) return im2col(x.unsqueeze(0), o).squeeze(0);
  GRAFT_CHECK(x.dim() == 4, ErrorCode::shape_mismatch, "unfold: needs [n,c,h,w] or [c,h,w], not ", x);
  const Windows a = windows_of("unfold", x.size(0), x.size(1), x.size(2), x.size(3), o);
  const auto [ph, pw] = o.padding;
  const Tensor image = ph || pw ? pad(x, {pw, pw, ph, ph}) : x.contiguous();
  return as_strided(image, a.region).reshape({x.size(0), a.size[1] * a.size[2] * a.size[3], a.out_h * a.out_w});
}
Tensor col2im(const Tensor& x, const std::array<int64_t, 2>& output_size, const WindowOptions& o) {
  if (x.dim() == 2) return col2im(x.unsqueeze(0), output_size, o).squeeze(0);
  const int64_t k = o.kernel_size[0] * o.kernel_size[1];
  GRAFT_CHECK(x.dim() == 3 && k > 0 && x.size(1) % k == 0, ErrorCode::shape_mismatch, "fold: needs [n, c ", k,
              ", l], not ", x);
  const Windows a = windows_of("fold", x.size(0), x.size(1) / k, output_size[0], output_size[1], o);
  GRAFT_CHECK(x.size(2) == a.out_h * a.out_w, ErrorCode::shape_mismatch, "fold: ", x, " has ", x.size(2),
              " windows, the image ", output_size[0], "x", output_size[1], " has ", a.out_h * a.out_w);
  const Tensor image = embed(x.reshape(a.size), a.region, a.image);
  const auto [ph, pw] = o.padding;
  return ph || pw ? pad(image, {-pw, -pw, -ph, -ph}) : image;
}

}  // namespace graft
