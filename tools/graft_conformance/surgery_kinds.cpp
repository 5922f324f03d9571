#include "surgery_kinds.h"

#include "graft/nn/activation.h"
#include "graft/nn/containers.h"
#include "graft/nn/conv.h"
#include "graft/nn/dropout.h"
#include "graft/nn/embedding.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"
#include "graft/nn/pooling.h"
#include "graft/nn/shape.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

const Kind kKinds[] = {
    Kind::of<nn::Module>("Module"),
    Kind::of<nn::Sequential>("Sequential"),
    Kind::of<nn::ModuleList>("ModuleList"),
    Kind::of<nn::ModuleDict>("ModuleDict"),
    Kind::of<nn::Identity>("Identity"),
    Kind::of<nn::Linear>("Linear"),
    Kind::of<nn::Bilinear>("Bilinear"),
    Kind::of<nn::Conv1d>("Conv1d"),
    Kind::of<nn::Conv2d>("Conv2d"),
    Kind::of<nn::Conv3d>("Conv3d"),
    Kind::of<nn::ConvTranspose1d>("ConvTranspose1d"),
    Kind::of<nn::ConvTranspose2d>("ConvTranspose2d"),
    Kind::of<nn::ConvTranspose3d>("ConvTranspose3d"),
    Kind::of<nn::BatchNormNd>("_BatchNorm"),
    Kind::of<nn::BatchNorm1d>("BatchNorm1d"),
    Kind::of<nn::BatchNorm2d>("BatchNorm2d"),
    Kind::of<nn::BatchNorm3d>("BatchNorm3d"),
    Kind::of<nn::LayerNorm>("LayerNorm"),
    Kind::of<nn::GroupNorm>("GroupNorm"),
    Kind::of<nn::Embedding>("Embedding"),
    Kind::of<nn::Dropout>("Dropout"),
    Kind::of<nn::Flatten>("Flatten"),
    Kind::of<nn::MaxPool1d>("MaxPool1d"),
    Kind::of<nn::MaxPool2d>("MaxPool2d"),
    Kind::of<nn::MaxPool3d>("MaxPool3d"),
    Kind::of<nn::AvgPool2d>("AvgPool2d"),
    Kind::of<nn::AdaptiveAvgPool2d>("AdaptiveAvgPool2d"),
    Kind::of<nn::ReLU>("ReLU"),
    Kind::of<nn::ReLU6>("ReLU6"),
    Kind::of<nn::LeakyReLU>("LeakyReLU"),
    Kind::of<nn::GELU>("GELU"),
    Kind::of<nn::SiLU>("SiLU"),
    Kind::of<nn::Sigmoid>("Sigmoid"),
    Kind::of<nn::Tanh>("Tanh"),
    Kind::of<nn::Softmax>("Softmax"),
    Kind::of<nn::LogSoftmax>("LogSoftmax"),
};

template <int N>
Json list_of(const nn::Sizes<N>& s) {
  return Json(std::vector<int64_t>(s.begin(), s.end()));
}

// Attributes by PyTorch's names, of the layers that programs ask about; null where there is no such attribute.
template <int N>
Json of_conv(const nn::Module& m, const std::string& name) {
  const auto* c = dynamic_cast<const nn::ConvNd<N>*>(&m);
  if (!c) return {};
  if (name == "in_channels") return c->in_channels;
  if (name == "out_channels") return c->out_channels;
  if (name == "kernel_size") return list_of(c->kernel_size);
  if (name == "stride") return list_of(c->stride);
  if (name == "padding") return list_of(c->padding.amount);
  if (name == "dilation") return list_of(c->dilation);
  if (name == "groups") return c->groups;
  return {};
}
Json of_linear(const nn::Module& m, const std::string& name) {
  const auto* l = dynamic_cast<const nn::Linear*>(&m);
  if (l && name == "in_features") return l->in_features;
  if (l && name == "out_features") return l->out_features;
  return {};
}
Json of_norm(const nn::Module& m, const std::string& name) {
  const auto* n = dynamic_cast<const nn::BatchNormNd*>(&m);
  if (n && name == "num_features") return n->num_features;
  if (n && name == "momentum") return n->momentum ? Json(*n->momentum) : Json();
  return {};
}

}  // namespace

const Kind& find_kind(const std::string& name) {
  for (const auto table : {std::span<const Kind>(kKinds), own_kinds()})
    for (const Kind& k : table)
      if (k.name == name) return k;
  throw Unsupported("the module type " + name);
}

bool is_kind(const nn::Module& m, const std::string& kind) { return find_kind(kind).matches(m); }
bool is_exactly(const nn::Module& m, const std::string& kind) {
  return std::type_index(typeid(m)) == find_kind(kind).type;
}
std::string kind_name(const nn::Module& m) { return m.class_name(); }

Json attribute_of(const nn::Module& m, const std::string& name) {
  for (const auto read : {of_linear, of_conv<1>, of_conv<2>, of_conv<3>, of_norm})
    if (Json value = read(m, name); !value.is_null()) return value;
  throw Unsupported("attribute " + name + " of " + m.class_name());
}

}  // namespace conformance
