// Low-rank adapters: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021). A policy that wraps: the layer
// stays, and beside it two thin ones learn what is added to its weight.
//
//   surgery::replace(*net, surgery::lora({.r = 4, .alpha = 8}));
//   surgery::mark_only_lora_as_trainable(*net);
//   optim::Adam adam(surgery::lora_parameters(*net));       // ... train ...
//   surgery::merge_lora(*net);                               // as fast as before
//   surgery::replace(*net, surgery::remove_lora());          // the plain layers, with what was learned
#pragma once
#include <iosfwd>
#include "graft/nn/conv.h"
#include "graft/nn/dropout.h"
#include "graft/nn/linear.h"
#include "graft/surgery/recipe.h"

namespace graft::inline v1::surgery {

struct LoRAOptions {
  int64_t r = 8;       // rank of what is added
  double alpha = 8;    // it is scaled by alpha / r
  double dropout = 0;  // of the adapter's input, in training
};

// y = base(x) + alpha / r * lora_B(lora_A(dropout(x))); base(x) alone while merged. lora_B starts at zero, so that nothing
// changes at first. State: base.*, lora_A.weight, lora_B.weight; whether it is merged is not part of it, but of model files.
class LoRALayer : public nn::Layer {
 public:
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  Tensor delta() const;  // what merging adds to base.weight, in its shape
  bool merged() const { return merged_; }
  // Adds delta() to base.weight in place; the weight as it was is kept, and unmerge() puts it back bit for bit. Error if
  // the weight was changed in between.
  void merge();
  void unmerge();
  void assume_merged() { merged_ = true; }  // a weight that was merged elsewhere: unmerge() subtracts delta()

  int64_t r;
  double alpha;
  nn::Child<nn::Layer> base, lora_A, lora_B;
  nn::Child<nn::Dropout> dropout;

 protected:
  LoRALayer(const nn::ModulePtr& layer, nn::ModulePtr a, nn::ModulePtr b, const LoRAOptions&);

 private:
  bool merged_ = false;
  Tensor unmerged_;  // base.weight before it was merged here
  uint32_t version_ = 0;
};
class LoRALinear : public LoRALayer {
 public:
  LoRALinear(const nn::ModulePtr& linear, const LoRAOptions&);
};
class LoRAConv2d : public LoRALayer {  // lora_A is a convolution like the layer, lora_B one of 1x1
 public:
  LoRAConv2d(const nn::ModulePtr& conv, const LoRAOptions&);
};

Tensor lora_delta(const Tensor& a, const Tensor& b, int64_t r, double alpha, const Shape& weight);  // b a alpha / r

// For every Linear and Conv2d, or those of a selection. Grouped convolutions are declined ("grouped").
std::vector<Policy> lora(const LoRAOptions& = {});
Policy lora(const Selection&, const LoRAOptions& = {});
std::vector<Policy> remove_lora();  // base as it is: what is merged stays

std::vector<Tensor> lora_parameters(const nn::Module&);
void mark_only_lora_as_trainable(nn::Module&);  // requires_grad of all others: false
Recipe merge_lora(nn::Module&);                 // all that are not, or, with an Error, none; what it did
Recipe unmerge_lora(nn::Module&);

struct LoRAStatus {
  struct Adapter {
    std::string path, type;
    int64_t r;
    double alpha;
    bool merged;
    int64_t parameters;  // of the adapter alone
  };
  std::vector<Adapter> adapters;
  int64_t trainable = 0, parameters = 0;  // of the whole model
};
LoRAStatus lora_status(const nn::Module&);
std::ostream& operator<<(std::ostream&, const LoRAStatus&);  // a table

}  // namespace graft::inline v1::surgery
