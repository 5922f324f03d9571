// The list of layer families that nn::build() knows. A family is one word here and one function in its own file.
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

using Family = void(Registry&);
Family register_containers, register_linear;

void register_layers(Registry& r) {
  for (Family* family : {register_containers, register_linear}) family(r);
}

}  // namespace graft::nn
