// Into training with rounded weights and back: prepare_qat() of torch.ao.quantization, and its layers' to_float().
//
//   auto net = surgery::fuse_modules_qat(model, {{"conv1", "bn1", "relu1"}, {"fc", "bn2"}});
//   surgery::replace(*net, surgery::prepare_qat(), {.optimizers = {&sgd}});
//   ...                                                   // train
//   net->apply(nn::qat::freeze_bn_stats);
//   ...                                                   // train on
//   net->eval();
//   surgery::replace(*net, surgery::qat_to_float());      // Conv2d, ConvReLU2d, Linear, LinearReLU, norms folded
#pragma once
#include "graft/nn/qat.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// Layers that know of quantisation, in the places of exactly: ConvBn1d-3d, ConvBnReLU1d-3d and LinearBn1d of fuse_modules_qat;
// ConvReLU1d-3d and LinearReLU of layers; Conv1d-3d and Linear. Parameters and norms stay the same objects, so that optimizers
// have nothing to follow. Declined ("unknown_parts"): one of those that holds something else.
std::vector<Policy> prepare_qat(const nn::qat::QConfig& = {});

// The layers of before with the numbers of now, nothing rounded; norms are folded with their running statistics, so that the
// answers are those of eval mode but for the rounding.
std::vector<Policy> qat_to_float();

}  // namespace graft::inline v1::surgery
