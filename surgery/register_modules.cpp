#include "graft/surgery/register_modules.h"

#include "graft/nn/registry.h"
#include "graft/surgery/activation_checkpointing.h"
#include "graft/surgery/batchnorm_swaps.h"
#include "graft/surgery/blurpool.h"
#include "graft/surgery/factorize.h"
#include "graft/surgery/ghost_batchnorm.h"
#include "graft/surgery/intermediates.h"
#include "graft/surgery/lora.h"
#include "graft/surgery/squeeze_excite.h"
#include "graft/surgery/stochastic_depth.h"
#include "graft/surgery/weight_standardization.h"

namespace graft::inline v1::surgery {
namespace {

using nn::ArgReader;
using nn::attribute;
using nn::make;
using nn::Registry;
using nn::Value;

// What lies inside of a wrapper is described as its child; the factory's own stands for it until then.

void register_blurpool(Registry& r) {
  using Pool = BlurMaxPool2d;
  r.add<Pool>("BlurMaxPool2d", [](ArgReader& a) {
    const auto kernel = a.get<nn::Window<2>>("kernel_size");
    nn::MaxPool2dOptions o;
    o.stride = a.get("stride", o.stride);
    o.padding = a.get("padding", o.padding);
    o.dilation = a.get("dilation", o.dilation);
    o.ceil_mode = a.get("ceil_mode", o.ceil_mode);
    return make<Pool>(nn::MaxPool2d(kernel, o));
  }, {attribute<&Pool::kernel_size>("kernel_size"), attribute<&Pool::stride>("stride"), attribute<&Pool::padding>("padding"),
      attribute<&Pool::dilation>("dilation"), attribute<&Pool::ceil_mode>("ceil_mode")});
  r.add<BlurConv2d>("BlurConv2d", [](ArgReader& a) {
    const auto channels = a.get<int64_t>("channels");
    const auto stride = a.get("stride", nn::Sizes<2>(1));
    return make<BlurConv2d>(make<nn::Conv2d>(channels, channels, 1, stride), a.get("blur_first", true));
  }, {{"channels", [](const nn::Module& m) { return Value(dynamic_cast<const BlurConv2d&>(m).blur_filter->size(0)); }},
      attribute<&BlurConv2d::stride>("stride"), attribute<&BlurConv2d::blur_first>("blur_first")});
}

template <class Ghost, class Norm> void add_ghost(Registry& r, const char* name) {
  r.add<Ghost>(name, [](ArgReader& a) {
    const auto size = a.get("ghost_batch_size", int64_t{32});
    return make<Ghost>(make<Norm>(a.get("num_features", int64_t{1})), size);
  }, {attribute<&Ghost::ghost_batch_size>("ghost_batch_size")});
}

template <class Conv, class Standardized> void add_standardized(Registry& r, const char* plain, const char* name) {
  r.add<Standardized>(name, [conv = *r.find(plain)](ArgReader& a) {
    return make<Standardized>(dynamic_cast<const Conv&>(*conv(a)));
  });  // its attributes are those of Conv
}

void register_factorize(Registry& r) {
  r.add<FactorizedConv2d>("FactorizedConv2d", [](ArgReader&) {
    return make<FactorizedConv2d>(make<nn::Conv2d>(1, 1, 1), make<nn::Conv2d>(1, 1, 1));
  });
  r.add<FactorizedLinear>("FactorizedLinear", [](ArgReader&) {
    return make<FactorizedLinear>(make<nn::Linear>(1, 1), make<nn::Linear>(1, 1));
  });
}

Value size_of_weight(const nn::Child<nn::Layer>& layer, int dim) {
  const nn::ParamEntry* e = layer.module()->find_param("weight");
  return e && e->value().defined() && e->value().dim() >= 2 ? Value(e->value().size(dim)) : Value();
}
template <class L> std::vector<nn::Attribute> lora_attributes(const char* inputs, const char* outputs) {
  return {{inputs, [](const nn::Module& m) { return size_of_weight(dynamic_cast<const L&>(m).lora_A, 1); }},
          {outputs, [](const nn::Module& m) { return size_of_weight(dynamic_cast<const L&>(m).lora_B, 0); }},
          attribute<&L::r>("r"), attribute<&L::alpha>("alpha"),
          {"merged", [](const nn::Module& m) { return Value(dynamic_cast<const L&>(m).merged()); }}};
}
template <class L> nn::ModulePtr lora_layer(const nn::ModulePtr& base, ArgReader& a) {
  LoRAOptions o;
  o.r = a.get("r", o.r);
  o.alpha = a.get("alpha", o.alpha);
  const bool merged = a.get("merged", false);
  const auto layer = make<L>(base, o);
  if (merged) layer->assume_merged();
  return layer;
}
void register_lora(Registry& r) {
  r.add<LoRALinear>("LoRALinear", [](ArgReader& a) {
    const auto in = a.get<int64_t>("in_features"), out = a.get<int64_t>("out_features");
    return lora_layer<LoRALinear>(make<nn::Linear>(in, out), a);
  }, lora_attributes<LoRALinear>("in_features", "out_features"));
  r.add<LoRAConv2d>("LoRAConv2d", [](ArgReader& a) {
    const auto in = a.get<int64_t>("in_channels"), out = a.get<int64_t>("out_channels");
    return lora_layer<LoRAConv2d>(make<nn::Conv2d>(in, out, 1), a);
  }, lora_attributes<LoRAConv2d>("in_channels", "out_channels"));
}

void register_wrappers(Registry& r) {
  r.add<SqueezeExcite2d>("SqueezeExcite2d", [](ArgReader& a) {
    const auto features = a.get("num_features", int64_t{1});
    return make<SqueezeExcite2d>(features, a.get("latent", int64_t{1}));
  });
  r.add<SqueezeExciteConv2d>("SqueezeExciteConv2d", [](ArgReader&) {
    return make<SqueezeExciteConv2d>(make<nn::Conv2d>(1, 1, 1), 1);
  });
  r.add<StochasticDepth>("StochasticDepth", [](ArgReader& a) {
    const auto rate = a.get("drop_rate", 0.2);
    const auto by = a.get("by", std::string("block"));
    GRAFT_CHECK(by == "block" || by == "sample", "StochasticDepth: by must be 'block' or 'sample', not '", by, "'");
    return make<StochasticDepth>(make<nn::Identity>(), rate, by == "block" ? DropBy::block : DropBy::sample);
  }, {attribute<&StochasticDepth::drop_rate>("drop_rate"), {"by", [](const nn::Module& m) {
        return Value(dynamic_cast<const StochasticDepth&>(m).by == DropBy::block ? "block" : "sample");
      }}});
  r.add<FrozenBatchNorm>("FrozenBatchNorm", [](ArgReader& a) {
    const auto n = a.get<int64_t>("num_features");
    return make<FrozenBatchNorm>(nn::BatchNorm1d(n, {.eps = a.get("eps", 1e-5)}));
  }, {attribute<&FrozenBatchNorm::num_features>("num_features"), attribute<&FrozenBatchNorm::eps>("eps")});
  r.add<Checkpointed>("Checkpointed", [](ArgReader&) { return make<Checkpointed>(make<nn::Identity>()); });
  r.add<KnockedOut>("KnockedOut", [](ArgReader&) { return make<KnockedOut>(make<nn::Identity>()); });
}

void register_all(Registry& r) {
  register_blurpool(r);
  add_ghost<GhostBatchNorm1d, nn::BatchNorm1d>(r, "GhostBatchNorm1d");
  add_ghost<GhostBatchNorm2d, nn::BatchNorm2d>(r, "GhostBatchNorm2d");
  add_ghost<GhostBatchNorm3d, nn::BatchNorm3d>(r, "GhostBatchNorm3d");
  add_standardized<nn::Conv1d, StandardizedConv1d>(r, "Conv1d", "StandardizedConv1d");
  add_standardized<nn::Conv2d, StandardizedConv2d>(r, "Conv2d", "StandardizedConv2d");
  add_standardized<nn::Conv3d, StandardizedConv3d>(r, "Conv3d", "StandardizedConv3d");
  register_factorize(r);
  register_lora(r);
  register_wrappers(r);
}

}  // namespace

void register_modules() {
  static const bool once = (nn::detail::register_family(register_all), true);
  static_cast<void>(once);
}

}  // namespace graft::inline v1::surgery
