// A layer with the norms, the sum and the ReLU that become part of it.
#pragma once
#include "graft/surgery/fold.h"
#include "graft/surgery/fuse.h"

namespace graft::inline v1::surgery {

struct Chain {  // in order of execution: before, layer, behind, add, relu
  Foldable layer;
  const nn::BatchNormNd* before = nullptr;
  const nn::BatchNormNd* behind = nullptr;
  const nn::Module* add = nullptr;  // of the result and a residual: then the fused one is in its place
  bool residual_first = false;
  const nn::Module* relu = nullptr;
  nn::ModulePtr folded = {};  // the layer with what `before` and `behind` do; null: not computed yet

  std::vector<const nn::Module*> modules() const;
  const nn::Module* place() const { return add ? add : layer.module; }
};
nn::ModulePtr folded_layer(const Chain&);  // the layer alone
nn::ModulePtr fused_layer(const Chain&);   // and, where they are there, with the sum and the ReLU behind it: ConvReLU2d, ConvAddReLU2d, ...

// Puts them into the model: one edit, which is recorded as a fusion. An Identity takes the places of all but the layers.
Edit fuse_chains(detail::Root, const std::vector<Chain>&, const std::function<std::string(const nn::Module*)>& path,
                 const FuseOptions&, std::vector<Fused>& report);

}  // namespace graft
