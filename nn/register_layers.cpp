// The list of layer families that nn::build() knows. A family is one word here and one function in its own file.
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

detail::Family register_activation, register_add, register_containers, register_conv, register_dropout, register_embedding,
    register_intrinsic, register_linear, register_loss, register_norm, register_pooling, register_qat, register_shape;

void register_layers(Registry& r) {
  for (detail::Family* family :
       {register_activation, register_add, register_containers, register_conv, register_dropout, register_embedding, register_intrinsic,
        register_linear, register_loss, register_norm, register_pooling, register_qat, register_shape})
    family(r);
}

}  // namespace graft::nn
