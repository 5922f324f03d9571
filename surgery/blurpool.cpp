#include "graft/surgery/blurpool.h"

#include <algorithm>
#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft::inline v1::surgery {

static Tensor binomial_filter(int64_t channels, const Options& options) {
  const NoGrad quiet;
  const Tensor one = tensor({1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0}, {1, 1, 3, 3}, f64) * (1.0 / 16);
  return one.expand({channels, 1, 3, 3}).contiguous().to(options);
}

Tensor blur2d(const Tensor& x, const Tensor& filter, const nn::Sizes<2>& stride) {
  const int64_t channels = x.size(-3);
  const Tensor per_channel = filter.size(0) == channels ? filter : filter.expand({channels, 1, 3, 3}).contiguous();
  return nn::functional::conv2d(x, per_channel, {}, {.stride = stride, .padding = 1, .groups = channels});
}

BlurMaxPool2d::BlurMaxPool2d(const nn::MaxPool2d& p)
    : kernel_size(p.kernel_size),
      stride(p.stride),
      padding(p.padding),
      dilation(p.dilation),
      ceil_mode(p.ceil_mode),
      filt2d(this, "filt2d", binomial_filter(1, f32)) {}
Tensor BlurMaxPool2d::forward(const Tensor& x) {
  const Tensor y = nn::functional::max_pool2d(
      x, kernel_size, {.stride = nn::Sizes<2>(1), .padding = padding.sizes, .dilation = dilation.sizes, .ceil_mode = ceil_mode});
  return blur2d(y, filt2d, stride);
}
std::string BlurMaxPool2d::extra_repr() const {
  return concat("kernel_size=", kernel_size, ", stride=", stride, ", padding=", padding, ", dilation=", dilation,
                ", ceil_mode=", nn::Value(ceil_mode));
}

static nn::ModulePtr conv_for(const nn::ModulePtr& m, bool blur_first) {
  if (blur_first) return m;
  nn::ModulePtr copy = m->clone_sharing_parameters();
  dynamic_cast<nn::Conv2d&>(*copy).stride = 1;
  return copy;
}
static const nn::Conv2d& blurred(const nn::ModulePtr& m) { return dynamic_cast<const nn::Conv2d&>(*m); }

BlurConv2d::BlurConv2d(const nn::ModulePtr& m, bool first)
    : blur_first(first),
      stride(blurred(m).stride),
      conv(this, "conv", conv_for(m, first)),
      blur_filter(this, "blur_filter", binomial_filter(first ? blurred(m).in_channels : blurred(m).out_channels,
                                                       blurred(m).weight->options())) {}
Tensor BlurConv2d::forward(const Tensor& x) {
  return blur_first ? conv(blur2d(x, blur_filter, 1)) : blur2d(conv(x), blur_filter, stride);
}

std::vector<Policy> blurpool(const BlurPoolOptions& o) {
  std::vector<Policy> policies;
  if (o.replace_maxpools)
    policies.push_back(on<nn::MaxPool2d>([](const nn::MaxPool2d& p) { return nn::make<BlurMaxPool2d>(p); }));
  if (o.replace_convs)
    policies.push_back(on<nn::Conv2d>([o](const nn::Conv2d& c, const Site& site) -> nn::ModulePtr {
      const bool strided = std::max(c.stride[0], c.stride[1]) > 1;
      const bool blurred = site.slot && dynamic_cast<const BlurConv2d*>(site.slot->owner);
      if (!strided || blurred || c.in_channels < o.min_channels) return nullptr;
      return nn::make<BlurConv2d>(site.module, o.blur_first);
    }));
  return policies;
}

}  // namespace graft
