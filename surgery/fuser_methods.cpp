// The known fusers: from a sequence of exact types to the module that takes its place.
#include "graft/nn/intrinsic.h"
#include "graft/surgery/fold.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {
namespace {

using nn::ModulePtr;

const nn::BatchNormNd& as_norm(const ModulePtr& m) {
  GRAFT_CHECK(m && norm_dims(*m), ErrorCode::type_error, "fusion: a BatchNorm was expected, not ",
              m ? nn::type_name(*m) : "nothing");
  return static_cast<const nn::BatchNormNd&>(*m);
}
Foldable as_layer(const ModulePtr& m) {
  const auto l = m ? foldable(*m) : std::nullopt;
  GRAFT_CHECK(l, ErrorCode::type_error, "fusion: a convolution or Linear was expected, not ",
              m ? nn::type_name(*m) : "nothing");
  return *l;
}
// A Sequential of these modules in the mode of the first; their own modes stay.
template <class S> ModulePtr wrap(const ModuleGroup& modules) {
  auto s = nn::make<S>();
  s->train(modules[0]->training());
  s->extend(modules);
  return s;
}
template <class S1, class S2, class S3> ModulePtr wrap_by(int dims, const ModuleGroup& modules) {
  return dims == 1 ? wrap<S1>(modules) : dims == 2 ? wrap<S2>(modules) : wrap<S3>(modules);
}

void check_pair(bool is_qat, const Foldable& l, const nn::BatchNormNd& bn) {
  const std::string layer = nn::type_name(*l.module), norm = nn::type_name(bn);
  GRAFT_CHECK(l.module->training() == bn.training(), ErrorCode::plan_refused, "fusion: ", layer, " and ", norm,
              " must be in the same mode (train or eval)");
  if (is_qat) {
    GRAFT_CHECK(!l.transposed, ErrorCode::not_implemented, "Fusing ConvTranspose+BatchNorm not yet supported in QAT.");
    GRAFT_CHECK(bn.num_features == l.out, ErrorCode::shape_mismatch, "Output channel of ", layer,
                " must match num_features of ", norm, ": ", l.out, " and ", bn.num_features);
    GRAFT_CHECK(bn.affine, ErrorCode::plan_refused, "Only support fusing ", norm, " with affine set to True");
    GRAFT_CHECK(bn.track_running_stats, ErrorCode::plan_refused, "Only support fusing ", norm,
                " with tracking_running_stats set to True");
    return;
  }
  GRAFT_CHECK(!bn.training(), ErrorCode::plan_refused,
              "Fusion only for eval! Call eval() first, or use fuse_modules_qat");
  GRAFT_CHECK(bn.running_mean && bn.running_var, ErrorCode::plan_refused, "fusion: running_mean and running_var of ",
              norm, " must not be None");
  GRAFT_CHECK(bn.num_features == l.out || bn.num_features == 1, ErrorCode::shape_mismatch, "To fuse, the channels of ",
              layer, " must be num_features of ", norm, ", or that 1: ", l.out, " and ", bn.num_features);
}
ModulePtr folded(const ModulePtr& layer, const ModulePtr& norm) {
  const Foldable l = as_layer(layer);
  return with_weights(l, fold_behind(l, weights_of(l), as_norm(norm)));
}

ModulePtr fuse_bn_layer(bool is_qat, const ModuleGroup& g) {
  const auto& bn = as_norm(g[0]);
  const Foldable l = as_layer(g[1]);
  GRAFT_CHECK(!is_qat, ErrorCode::not_implemented, "fusion: BatchNorm before a layer is not supported in QAT");
  GRAFT_CHECK(!bn.training() && !l.module->training(), ErrorCode::plan_refused, "Fusion only for eval!");
  GRAFT_CHECK(bn.running_mean && bn.running_var, ErrorCode::plan_refused,
              "fusion: running_mean and running_var must not be None");
  GRAFT_CHECK(bn.num_features == l.in, ErrorCode::shape_mismatch, "fusion: ", bn.num_features,
              " features are normalised, ", l.in, " are read");
  GRAFT_CHECK(!l.zero_padded, ErrorCode::plan_refused,
              "fusion: the convolution pads with zeros, which BatchNorm would not have normalised");
  return with_weights(l, fold_before(l, weights_of(l), bn));
}
ModulePtr fuse_pointwise(bool is_qat, const ModuleGroup& g) {
  const Foldable first = as_layer(g[0]), second = as_layer(g[1]);
  const std::string layer = nn::type_name(*g[0]);
  GRAFT_CHECK(!is_qat, ErrorCode::not_implemented, "fusion: (", layer, ", ", layer, ") is not supported in QAT");
  GRAFT_CHECK(second.pointwise, ErrorCode::plan_refused,
              "fusion: the second must be of one element, without stride, padding, groups: ", nn::repr(*g[1]));
  GRAFT_CHECK(first.groups == 1, ErrorCode::plan_refused, "fusion: the first convolution has ", first.groups,
              " groups, which one convolution for both could not have");
  GRAFT_CHECK(first.out == second.in, ErrorCode::shape_mismatch, "fusion: the first ", layer, " makes ", first.out,
              ", the second reads ", second.in);
  GRAFT_CHECK(first.module->training() == second.module->training(), ErrorCode::plan_refused,
              "fusion: both must be in the same mode (train or eval)");
  return with_weights(first, fold_pointwise(first, weights_of(first), second));
}
// What torch does not know: a layer, its norm, a ReLU.
template <class S> Fuser folded_and(ModulePtr (*fold)(bool, const ModulePtr&, const ModulePtr&)) {
  return [fold](bool is_qat, const ModuleGroup& g) {
    GRAFT_CHECK(!is_qat, ErrorCode::not_implemented, "fusion: (", nn::type_name(*g[0]), ", ", nn::type_name(*g[1]),
                ", ReLU) is not supported in QAT");
    return wrap<S>({fold(false, g[0], g[1]), g[2]});
  };
}

Fuser pair(ModulePtr (*fn)(bool, const ModulePtr&, const ModulePtr&)) {
  return [fn](bool is_qat, const ModuleGroup& g) { return fn(is_qat, g[0], g[1]); };
}
template <class S> Fuser wrapper() {
  return [](bool, const ModuleGroup& g) { return wrap<S>(g); };
}
template <class Conv, class Transpose, class Norm, class ConvReLU, class TransposeReLU>
void add_dims(FuserMethods& known) {
  known[types<Conv, Norm>()] = pair(fuse_conv_bn);
  known[types<Conv, Norm, nn::ReLU>()] = [](bool is_qat, const ModuleGroup& g) {
    return fuse_conv_bn_relu(is_qat, g[0], g[1], g[2]);
  };
  known[types<Conv, nn::ReLU>()] = wrapper<ConvReLU>();
  known[types<Transpose, Norm>()] = pair(fuse_conv_bn);
  known[types<Transpose, Norm, nn::ReLU>()] = folded_and<TransposeReLU>(fuse_conv_bn);
  known[types<Norm, Conv>()] = fuse_bn_layer;
  known[types<Conv, Conv>()] = fuse_pointwise;
}
const FuserMethods& known_methods() {
  static const FuserMethods all = [] {
    FuserMethods known;
    add_dims<nn::Conv1d, nn::ConvTranspose1d, nn::BatchNorm1d, nn::ConvReLU1d,
             nn::ConvTransposeReLU1d>(known);
    add_dims<nn::Conv2d, nn::ConvTranspose2d, nn::BatchNorm2d, nn::ConvReLU2d,
             nn::ConvTransposeReLU2d>(known);
    add_dims<nn::Conv3d, nn::ConvTranspose3d, nn::BatchNorm3d, nn::ConvReLU3d,
             nn::ConvTransposeReLU3d>(known);
    known[types<nn::Linear, nn::BatchNorm1d>()] = pair(fuse_linear_bn);
    known[types<nn::Linear, nn::ReLU>()] = wrapper<nn::LinearReLU>();
    known[types<nn::Linear, nn::BatchNorm1d, nn::ReLU>()] = folded_and<nn::LinearReLU>(fuse_linear_bn);
    known[types<nn::BatchNorm1d, nn::Linear>()] = fuse_bn_layer;
    known[types<nn::Linear, nn::Linear>()] = fuse_pointwise;
    known[types<nn::BatchNorm1d, nn::ReLU>()] = wrapper<nn::BNReLU1d>();
    known[types<nn::BatchNorm2d, nn::ReLU>()] = wrapper<nn::BNReLU2d>();
    known[types<nn::BatchNorm3d, nn::ReLU>()] = wrapper<nn::BNReLU3d>();
    return known;
  }();
  return all;
}

}  // namespace

ModulePtr fuse_conv_bn(bool is_qat, const ModulePtr& conv, const ModulePtr& bn) {
  const Foldable l = as_layer(conv);
  check_pair(is_qat, l, as_norm(bn));
  return is_qat ? wrap_by<nn::ConvBn1d, nn::ConvBn2d, nn::ConvBn3d>(l.dims, {conv, bn}) : folded(conv, bn);
}
ModulePtr fuse_conv_bn_relu(bool is_qat, const ModulePtr& conv, const ModulePtr& bn, const ModulePtr& relu) {
  const Foldable l = as_layer(conv);
  check_pair(is_qat, l, as_norm(bn));
  GRAFT_CHECK(!l.transposed && l.dims > 0, ErrorCode::type_error, "fuse_conv_bn_relu: not of a ", nn::type_name(*conv));
  if (is_qat) return wrap_by<nn::ConvBnReLU1d, nn::ConvBnReLU2d, nn::ConvBnReLU3d>(l.dims, {conv, bn, relu});
  return wrap_by<nn::ConvReLU1d, nn::ConvReLU2d, nn::ConvReLU3d>(l.dims, {folded(conv, bn), relu});
}
ModulePtr fuse_linear_bn(bool is_qat, const ModulePtr& linear, const ModulePtr& bn) {
  check_pair(is_qat, as_layer(linear), as_norm(bn));
  return is_qat ? wrap<nn::LinearBn1d>({linear, bn}) : folded(linear, bn);
}

Fuser get_fuser_method(const std::vector<std::type_index>& sequence, const FuserMethods& additional) {
  if (const auto it = additional.find(sequence); it != additional.end()) return it->second;
  if (const auto it = known_methods().find(sequence); it != known_methods().end()) return it->second;
  std::string names;
  for (const std::type_index& t : sequence) names += (names.empty() ? "" : ", ") + short_type_name(t);
  fail(ErrorCode::not_implemented, "did not find fuser method for: (", names,
       "). Known are Conv or Linear or ConvTranspose with BatchNorm, with ReLU "
       "behind; their exact types; see fuse_modules.h");
}

}  // namespace graft
