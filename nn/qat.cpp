#include "graft/nn/qat.h"

#include <cmath>
#include <limits>

#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

// Through x - x, which is zero, gradients arrive; the value stays as it is to the last bit.
Tensor functional::fake_quantize(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t quant_min, int64_t quant_max) {
  GRAFT_CHECK(is_differentiable(x.dtype()) && !is_complex(x.dtype()), ErrorCode::type_error, "fake_quantize: real numbers are needed, not ",
              x.view());
  GRAFT_CHECK(quant_min < quant_max, "fake_quantize: quant_min ", quant_min, " must be less than quant_max ", quant_max);
  const bool wanted = thread_modes().grad && x.requires_grad();
  Tensor y, inside;
  {
    const NoGrad quiet;
    const DType wide = x.dtype() == f64 ? f64 : f32;
    const Tensor s = scale.detach().to(wide), z = zero_point.detach().to(wide);
    const Tensor q = round(x.detach().to(wide) * reciprocal(s)) + z;
    y = ((clamp(q, quant_min, quant_max) - z) * s).to(x.dtype());
    if (wanted) inside = logical_and(ge(q, quant_min), le(q, quant_max));
  }
  if (!wanted) return y;
  return y + where(inside, x - x.detach(), 0.0);
}

namespace qat {

// ---- FakeQuantize ------------------------------------------------------------------------------------------------

static Shape range_shape(const FakeQuantizeOptions& o) { return {std::max<int64_t>(o.channels, 1)}; }
FakeQuantize::FakeQuantize(const FakeQuantizeOptions& o)
    : quant_min(o.quant_min), quant_max(o.quant_max), symmetric(o.symmetric), channels(o.channels),
      averaging_constant(o.averaging_constant), scale(this, "scale", ones(range_shape(o), o.options)),
      zero_point(this, "zero_point", zeros(range_shape(o), {i32, o.options.device})),
      min_val(this, "min_val", full(range_shape(o), INFINITY, o.options)), max_val(this, "max_val", full(range_shape(o), -INFINITY, o.options)) {
  GRAFT_CHECK(quant_min < quant_max, "FakeQuantize: quant_min ", quant_min, " must be less than quant_max ", quant_max);
  GRAFT_CHECK(channels >= 0, "FakeQuantize: channels must not be negative, but is ", channels);
  GRAFT_CHECK(averaging_constant > 0 && averaging_constant <= 1, "FakeQuantize: averaging_constant must be in (0, 1], but is ", averaging_constant);
}
Tensor FakeQuantize::forward(const Tensor& x) {
  GRAFT_CHECK(channels == 0 || (x.dim() > 0 && x.size(0) == channels), ErrorCode::shape_mismatch, "FakeQuantize: ", channels,
              " slices of dimension 0 are needed, not ", x.view());
  if (observer_enabled && x.numel() > 0 && !thread_modes().dry_run && x.device().type != Device::meta) observe(x.detach());
  if (!fake_quant_enabled) return x;
  return functional::fake_quantize(x, per_channel(scale, x), per_channel(zero_point, x), quant_min, quant_max);
}
Tensor FakeQuantize::per_channel(const Tensor& value, const Tensor& x) const {
  if (channels == 0) return value;
  Shape each = {channels};
  while (each.rank() < x.dim()) each.push_back(1);
  return value.reshape(each);
}
// The range moves towards that of x, and always holds zero, which is to stay exact.
void FakeQuantize::observe(const Tensor& x) {
  const NoGrad quiet;
  const Tensor rows = x.reshape({scale->size(0), -1}).to(min_val->dtype());
  const Tensor low = amin(rows, 1), high = amax(rows, 1), first = gt(min_val, max_val);
  const Tensor lowest = where(first, low, min_val + averaging_constant * (low - min_val));
  const Tensor highest = where(first, high, max_val + averaging_constant * (high - max_val));
  const Tensor below = clamp_max(lowest, 0.0), above = clamp_min(highest, 0.0);
  const double steps = double(quant_max - quant_min);
  const Tensor width = symmetric ? maximum(neg(below), above) / (steps / 2) : (above - below) / steps;
  const Tensor step = clamp_min(width, double(std::numeric_limits<float>::epsilon()));
  min_val->copy_(lowest);
  max_val->copy_(highest);
  scale->copy_(step);
  if (symmetric) zero_point->fill_(quant_min + (quant_max - quant_min + 1) / 2);
  else zero_point->copy_(clamp(double(quant_min) - round(below / step), quant_min, quant_max));
}
std::string FakeQuantize::extra_repr() const {
  return concat("quant_min=", quant_min, ", quant_max=", quant_max, ", symmetric=", Value(symmetric), ", channels=", channels);
}

// ---- layers ------------------------------------------------------------------------------------------------------

// A layer like this one, without numbers; null for other types.
static ModulePtr without_numbers(const Module& m) {
  const auto conv = [](const auto& c) -> ModulePtr {
    return make<std::decay_t<decltype(c)>>(c.in_channels, c.out_channels, c.kernel_size, c.layer_options(Device::meta));
  };
  if (typeid(m) == typeid(Conv1d)) return conv(static_cast<const Conv1d&>(m));
  if (typeid(m) == typeid(Conv2d)) return conv(static_cast<const Conv2d&>(m));
  if (typeid(m) == typeid(Conv3d)) return conv(static_cast<const Conv3d&>(m));
  if (typeid(m) != typeid(Linear)) return nullptr;
  const auto& l = static_cast<const Linear&>(m);
  return make<Linear>(l.in_features, l.out_features, LinearOptions{bool(l.bias), {l.weight->dtype(), Device::meta}});
}
static ModulePtr quantizer(FakeQuantizeOptions o, int64_t channels, const Tensor& weight) {
  o.channels = channels;
  o.options = {weight.dtype() == f64 ? f64 : f32, weight.device()};
  return make<FakeQuantize>(o);
}
QuantAware::QuantAware(const Module& layer, ModulePtr norm, bool relu, const QConfig& c)
    : weight(this, "weight", Parameter()), bias(this, "bias", Parameter()), weight_fake_quant(this, "weight_fake_quant", nullptr),
      bn(this, "bn", nullptr), activation_post_process(this, "activation_post_process", nullptr), relu(relu), geometry_(without_numbers(layer)) {
  GRAFT_CHECK(geometry_, ErrorCode::type_error, "qat: a Conv1d, Conv2d, Conv3d or Linear was expected, not a ", type_name(layer));
  weight.entry().share(*layer.find_param("weight"));
  bias.entry().share(*layer.find_param("bias"));
  const Tensor& w = weight;
  GRAFT_CHECK(w.defined(), ErrorCode::type_error, "qat: the ", type_name(layer), " has no weight");
  weight_fake_quant.put(quantizer(c.weight, c.per_channel ? w.size(0) : 0, w));
  bn.put(std::move(norm));
  if (c.activations) activation_post_process.put(quantizer(c.activation, 0, w));
}
ModulePtr QuantAware::plain() const {
  const ModulePtr p = without_numbers(*geometry_);
  p->find_param("weight")->share(weight.entry());
  p->find_param("bias")->share(bias.entry());
  p->train(training());
  return p;
}
std::string QuantAware::class_name() const {
  const std::string layer = type_name(*geometry_), behind = std::string(bn ? "Bn" : "") + (relu ? "ReLU" : "");
  if (layer == "Linear") return "qat.Linear" + std::string(bn ? "Bn1d" : "") + (relu ? "ReLU" : "");
  return "qat.Conv" + behind + layer.substr(4);
}
std::string QuantAware::extra_repr() const { return geometry_->extra_repr(); }

Tensor QuantAware::run(const Tensor& x, const Tensor& w, const Tensor& b) const {
  const Module& m = *geometry_;
  if (typeid(m) == typeid(Conv2d)) return functional::conv2d(x, w, b, static_cast<const Conv2d&>(m).geometry());
  if (typeid(m) == typeid(Conv1d)) return functional::conv1d(x, w, b, static_cast<const Conv1d&>(m).geometry());
  if (typeid(m) == typeid(Conv3d)) return functional::conv3d(x, w, b, static_cast<const Conv3d&>(m).geometry());
  return graft::linear(x, w, b);
}
Tensor QuantAware::forward(const Tensor& x) {
  const Tensor w = weight, b = bias;
  Tensor y;
  if (!bn) {
    y = run(x, weight_fake_quant(w), b);
  } else {
    const int64_t out = w.size(0);
    const int dims = w.dim();
    const auto* n = bn.as<BatchNormNd>();
    GRAFT_CHECK(n && n->running_var && n->num_features == out, ErrorCode::type_error, "bn: a BatchNorm with running statistics of ", out,
                " features is needed, not ", repr(*bn.module()));
    GRAFT_CHECK(x.dim() == dims, ErrorCode::shape_mismatch, class_name(), ": an input of ", dims, " dimensions is needed, not ", x.view());
    const Tensor deviation = sqrt(*n->running_var + n->eps), inverse = 1.0 / deviation;
    const Tensor factor = n->weight ? *n->weight / deviation : inverse;
    const Tensor f = where(eq(factor, 0.0), inverse, factor);
    Shape of_weight = {out}, of_result = {1, out};
    while (of_weight.rank() < dims) of_weight.push_back(1);
    while (of_result.rank() < dims) of_result.push_back(1);
    y = run(x, weight_fake_quant(w * f.reshape(of_weight)), Tensor()) / f.reshape(of_result);
    y = bn(b.defined() ? y + b.reshape(of_result) : y);
  }
  if (relu) y = graft::relu(y);
  return activation_post_process ? activation_post_process(y) : y;
}

void QuantAware::set_training(bool on) {
  Layer::set_training(on);
  if (freeze_bn && bn) bn.module()->set_training(false);
}
void QuantAware::update_bn_stats() {
  freeze_bn = false;
  if (bn) bn.module()->set_training(true);
}
void QuantAware::freeze_bn_stats() {
  freeze_bn = true;
  if (bn) bn.module()->set_training(false);
}
void update_bn_stats(Module& m) {
  if (auto* q = dynamic_cast<QuantAware*>(&m)) q->update_bn_stats();
}
void freeze_bn_stats(Module& m) {
  if (auto* q = dynamic_cast<QuantAware*>(&m)) q->freeze_bn_stats();
}
static void set_observer(Module& m, bool on) {
  if (auto* q = dynamic_cast<FakeQuantize*>(&m)) q->enable_observer(on);
}
static void set_fake_quant(Module& m, bool on) {
  if (auto* q = dynamic_cast<FakeQuantize*>(&m)) q->enable_fake_quant(on);
}
void enable_observer(Module& m) { set_observer(m, true); }
void disable_observer(Module& m) { set_observer(m, false); }
void enable_fake_quant(Module& m) { set_fake_quant(m, true); }
void disable_fake_quant(Module& m) { set_fake_quant(m, false); }

// ---- by name: with the type of the plain layer and its arguments; what lies in the slots is described as children --

static Value arguments_of_layer(const Module& m) {
  const Module& layer = dynamic_cast<const QuantAware&>(m).geometry();
  Values all;
  for (const Attribute& a : attributes_of(layer)) all.push_back(a.read(layer));
  return all;
}
static void register_layers(Registry& r) {
  r.add<FakeQuantize>("FakeQuantize", [](ArgReader& a) {
    FakeQuantizeOptions o;
    o.quant_min = a.get("quant_min", o.quant_min);
    o.quant_max = a.get("quant_max", o.quant_max);
    o.symmetric = a.get("symmetric", o.symmetric);
    o.channels = a.get("channels", o.channels);
    o.averaging_constant = a.get("averaging_constant", o.averaging_constant);
    const auto m = make<FakeQuantize>(o);
    m->observer_enabled = a.get("observer_enabled", true);
    m->fake_quant_enabled = a.get("fake_quant_enabled", true);
    return m;
  }, {attribute<&FakeQuantize::quant_min>("quant_min"), attribute<&FakeQuantize::quant_max>("quant_max"),
      attribute<&FakeQuantize::symmetric>("symmetric"), attribute<&FakeQuantize::channels>("channels"),
      attribute<&FakeQuantize::averaging_constant>("averaging_constant"), attribute<&FakeQuantize::observer_enabled>("observer_enabled"),
      attribute<&FakeQuantize::fake_quant_enabled>("fake_quant_enabled")});
  r.add<QuantAware>("QuantAware", [](ArgReader& a) {
    const auto layer = a.get<std::string>("layer");
    Args args;
    const Value list = a.get<Value>("arguments");
    for (const Value& v : list.list()) args.emplace_back("", v);
    const bool relu = a.get("relu", false);
    const auto m = make<QuantAware>(*build(layer, args), nullptr, relu);
    if (a.get("freeze_bn", false)) m->freeze_bn_stats();
    return m;
  }, {{"layer", [](const Module& m) { return Value(type_name(dynamic_cast<const QuantAware&>(m).geometry())); }},
      {"arguments", arguments_of_layer}, attribute<&QuantAware::relu>("relu"), attribute<&QuantAware::freeze_bn>("freeze_bn")});
}

}  // namespace qat
void register_qat(Registry& r) { qat::register_layers(r); }

}  // namespace graft::nn
