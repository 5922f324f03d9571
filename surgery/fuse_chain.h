// A layer with the norms and the ReLU that become part of it.
#pragma once
#include "graft/surgery/fold.h"
#include "graft/surgery/fuse.h"

namespace graft::inline v1::surgery {

struct Chain {  // in order of execution: before, layer, behind, relu
  Foldable layer;
  const nn::BatchNormNd* before = nullptr;
  const nn::BatchNormNd* behind = nullptr;
  const nn::Module* relu = nullptr;
  nn::ModulePtr folded = {};  // the layer with what `before` and `behind` do; null: not computed yet

  std::vector<const nn::Module*> modules() const;
};
nn::ModulePtr folded_layer(const Chain&);  // the layer alone
nn::ModulePtr fused_layer(const Chain&);   // and, if there is one, with the ReLU behind it: ConvReLU2d, ...

// Puts them into the model: one edit, which is recorded as a fusion. An Identity takes the places of all but the layers.
Edit fuse_chains(detail::Root, const std::vector<Chain>&, const std::function<std::string(const nn::Module*)>& path,
                 const FuseOptions&, std::vector<Fused>& report);

}  // namespace graft
