// The modules that surgery puts into models, known to nn::build() and to architectures by name.
#pragma once

namespace graft::inline v1::surgery {

// What needs them calls it: model files, recipes, surgery::structure_hash. Once is enough, more do nothing.
void register_modules();

}  // namespace graft::inline v1::surgery
