// How tests make every registered layer.
#pragma once
#include <cmath>
#include <map>
#include <string>
#include <vector>
#include "graft/core/ops.h"
#include "graft/nn/registry.h"

namespace graft {

using nn::Arg;
using nn::Args;
using nn::Value;
using nn::Values;

inline Arg arg(const char* name, Value v) { return {name, std::move(v)}; }

// Two ways to make each layer, such that every attribute has two values; a layer without attributes needs none.
using Samples = std::map<std::string, std::vector<Args>>;
inline void add_convolutions(Samples& s) {
  for (const char* n : {"1d", "2d", "3d"}) {
    const std::vector<Args> conv{{4, 8, 3}, {6, 9, 2, 2, 1, 2, 3, false, "reflect"}};
    s[std::string("Conv") + n] = s[std::string("StandardizedConv") + n] = conv;
    s[std::string("Conv") + n].push_back({4, 4, 3, arg("padding", "same")});
    s[std::string("ConvTranspose") + n] = {{4, 8, 3}, {6, 9, 2, 2, 1, 1, 3, false, 2}};
    s[std::string("MaxPool") + n] = {{3}, {2, 1, 1, 2, true, true}, {4, 2, 0, 3, false, false}};
    s[std::string("AvgPool") + n] = {{3}, {2, 1, 1, true, false}};
    s[std::string("LPPool") + n] = {{2.0, 3}, {1.0, 2, 1, true}};
    s[std::string("AdaptiveAvgPool") + n] = {{3}, {5}};
    s[std::string("AdaptiveMaxPool") + n] = {{3}, {5}, {4, true}};
    s[std::string("BatchNorm") + n] = {{4}, {5, 1e-3, nullptr, false, false, arg("bias", false)}, {5, arg("bias", false)}};
    s[std::string("InstanceNorm") + n] = {{4}, {5, 1e-3, 0.2, true, true, arg("bias", true)}};
    s[std::string("Dropout") + n] = {{}, {0.25, true}};
    s[std::string("GhostBatchNorm") + n] = {{16}, {8}};
  }
  s["AvgPool2d"].push_back({Values{2, 3}, arg("divisor_override", 3)});
  s["AvgPool3d"].push_back({2, arg("divisor_override", 3)});
}
inline void add_activations(Samples& s) {
  for (const char* name : {"ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardsigmoid", "Hardswish"}) s[name] = {{}, {true}};
  for (const char* name : {"LeakyReLU", "ELU", "CELU"}) s[name] = {{}, {0.3, true}};
  for (const char* name : {"Hardshrink", "Softshrink"}) s[name] = {{}, {0.3}};
  for (const char* name : {"Softmax", "LogSoftmax", "Softmin"}) s[name] = {{}, {-1}};
  s["Threshold"] = {{0.1, 20.0}, {0.2, 3.0, true}};
  s["Hardtanh"] = {{}, {-INFINITY, double(INFINITY), true}};
  s["GELU"] = {{}, {"tanh"}};
  s["Softplus"] = {{}, {2.0, 10.0}};
  s["PReLU"] = {{}, {3}};
  s["Dropout"] = s["AlphaDropout"] = {{}, {0.25, true}};
}
inline Samples layer_samples() {
  Samples s;
  add_convolutions(s);
  add_activations(s);
  s["Linear"] = {{4, 8}, {5, 9, false}};
  s["QuantAware"] = {{arg("layer", "Linear"), arg("arguments", Values{4, 8})},
                     {arg("layer", "Conv2d"), arg("arguments", Values{6, 9, 2, 2, 1, 2, 3, false, "reflect"}), arg("relu", true)},
                     {arg("layer", "Linear"), arg("arguments", Values{4, 8}), arg("freeze_bn", true)}};
  s["FakeQuantize"] = {{}, {-8, 7, true, 3, 0.5, false, false}};
  s["Bilinear"] = {{4, 8, 2}, {5, 9, 3, false}};
  s["Embedding"] = {{4, 8}, {5, 9, -1, 1.5, 3.0, true}};
  s["Flatten"] = {{}, {0, 1}};
  s["Unflatten"] = {{1, Values{2, 3}}, {-1, Values{6}}};
  s["LayerNorm"] = {{4}, {Values{3, 4}, 1e-3, false, false}, {4, arg("bias", false)}};
  s["GroupNorm"] = {{2, 4}, {3, 6, 1e-3, false, arg("bias", false)}, {3, 6, arg("bias", false)}};
  s["RMSNorm"] = {{4}, {Values{3, 4}, 1e-3, false}};
  for (const char* name : {"ConvAddReLU1d", "ConvAddReLU2d", "ConvAddReLU3d"}) s[name] = {{}, {arg("residual_first", true)}};
  for (const char* name : {"MSELoss", "L1Loss", "BCELoss", "BCEWithLogitsLoss"}) s[name] = {{}, {arg("reduction", "sum")}};
  s["BCELoss"].push_back({arg("weight", ones({3}))});
  s["BCEWithLogitsLoss"].push_back({arg("pos_weight", ones({3}))});
  s["CrossEntropyLoss"] = {{}, {arg("weight", ones({3})), arg("ignore_index", 1), arg("reduction", "none"), arg("label_smoothing", 0.1)}};
  s["NLLLoss"] = {{}, {arg("weight", ones({3})), arg("ignore_index", 1), arg("reduction", "none")}};
  s["SmoothL1Loss"] = {{}, {arg("reduction", "sum"), arg("beta", 0.5)}};
  s["HuberLoss"] = {{}, {"sum", 0.5}};
  s["KLDivLoss"] = {{}, {arg("reduction", "batchmean"), arg("log_target", true)}};
  s["BlurMaxPool2d"] = {{3}, {2, 1, 1, 2, true}};
  s["BlurConv2d"] = {{4, 2}, {5, 3, false}};
  s["LoRALinear"] = {{4, 8}, {5, 9, 2, 3.0, true}};
  s["LoRAConv2d"] = {{4, 8}, {5, 9, 2, 3.0, true}};
  s["StochasticDepth"] = {{}, {0.5, "sample"}};
  s["FrozenBatchNorm"] = {{4}, {5, 1e-3}};
  return s;
}

}  // namespace graft
