// Layers that train as they will be quantised, under the names of torch.ao.nn.qat and torch.ao.nn.intrinsic.qat: weights, and
// if wanted results, are rounded to the steps of an integer in the forward pass, and gradients pass straight through. Jacob et
// al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018);
// Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference" (2018), for norms.
//
//   auto net = surgery::fuse_modules_qat(model, {{"conv", "bn", "relu"}});
//   surgery::Edit edit = surgery::replace(*net, surgery::prepare_qat());   // surgery/qat.h
#pragma once
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"

namespace graft::inline v1::nn {

namespace functional {
// (clamp(round(x / scale) + zero_point, quant_min, quant_max) - zero_point) * scale, halves to even. scale and zero_point
// have one element, or broadcast to x. The gradient is 1 where nothing was clamped, else 0; none reaches scale and zero_point.
Tensor fake_quantize(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t quant_min, int64_t quant_max);
}  // namespace functional

namespace qat {

struct FakeQuantizeOptions {
  int64_t quant_min = 0, quant_max = 255;
  bool symmetric = false;             // the same range on both sides of zero; zero_point is the middle of the integers
  int64_t channels = 0;               // one scale for each slice of dimension 0, of which there are so many; 0: one for all
  double averaging_constant = 0.01;   // of what is new in the range; the first tensor sets it
  Options options = {};
};
// Watches the range of what passes, and rounds it. It does so in eval mode as well, as torch's does, until it is told to stop.
class FakeQuantize : public Layer {
 public:
  explicit FakeQuantize(const FakeQuantizeOptions& = {});
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  void enable_observer(bool on = true) { observer_enabled = on; }
  void disable_observer() { enable_observer(false); }
  void enable_fake_quant(bool on = true) { fake_quant_enabled = on; }
  void disable_fake_quant() { enable_fake_quant(false); }

  int64_t quant_min, quant_max;
  bool symmetric;
  int64_t channels;
  double averaging_constant;
  bool observer_enabled = true, fake_quant_enabled = true;
  Buffer scale, zero_point;   // [channels], or [1]
  Buffer min_val, max_val;    // the range so far; inf and -inf before there was one

 private:
  void observe(const Tensor& x);
  Tensor per_channel(const Tensor& value, const Tensor& x) const;
};

// What prepare_qat gives its layers.
struct QConfig {
  FakeQuantizeOptions weight = {.quant_min = -128, .quant_max = 127, .symmetric = true};
  FakeQuantizeOptions activation = {};
  bool per_channel = true;   // weights
  bool activations = true;   // false: results are not rounded
};

template <class L> inline constexpr bool is_linear = std::is_same_v<L, nn::Linear>;

// A Conv1d, Conv2d, Conv3d or Linear whose weights are rounded, perhaps with a norm and a ReLU behind it: what torch.ao has as
// qat.ConvBnReLU2d, LinearBn1d and so on is one type here, which prints and names its tensors as those do. With a norm
// (`bn`, which may be empty) weights are rounded as they will be when it is folded: y = L(x; fake_quant(W f)) / f + b with
// f = gamma / sqrt(running_var + eps); then the norm. Where gamma is 0, f is taken for 1 / sqrt(running_var + eps): the result
// is beta, and everything stays finite. Parameters are those of the layer that it is made of, and `bn` is its norm.
class QuantAware : public Layer {
 public:
  // Error for another type of layer, or None for a weight.
  explicit QuantAware(const Module& layer, ModulePtr bn = nullptr, bool relu = false, const QConfig& = {});
  Tensor forward(const Tensor& x) override;
  void set_training(bool on) override;
  std::string class_name() const override;  // "qat.ConvBnReLU2d"
  std::string extra_repr() const override;
  // The norm goes on with its running statistics, or is held in eval mode, also under train().
  void update_bn_stats();
  void freeze_bn_stats();
  ModulePtr plain() const;  // a layer as that of which it was made, with the parameters of now
  const Module& geometry() const { return *geometry_; }  // the same, without numbers

  Param weight, bias;
  Child<Layer> weight_fake_quant;
  Child<Layer> bn;                       // may be empty
  Child<Layer> activation_post_process;  // may be empty
  bool relu;
  bool freeze_bn = false;

 private:
  Tensor run(const Tensor& x, const Tensor& w, const Tensor& b) const;
  std::shared_ptr<const Module> geometry_;
};

// Of one module, for Module::apply; others than the above are left alone.
void update_bn_stats(Module&);
void freeze_bn_stats(Module&);
void enable_observer(Module&);
void disable_observer(Module&);
void enable_fake_quant(Module&);
void disable_fake_quant(Module&);

}  // namespace qat
}  // namespace graft::nn
