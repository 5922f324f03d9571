// The data sets of the examples: images and labels, split for training and testing. See data/README.md.
#pragma once
#include <string>
#include "graft/core/tensor.h"

namespace graft::inline v1::datasets {

struct Images {
  Tensor train_images;  // f32[N,1,H,W], 0 to 1
  Tensor train_labels;  // i64[N]
  Tensor test_images;
  Tensor test_labels;
};

// 1,437 and 360 handwritten digits of 8x8. Without a folder: the copy in the project's data/.
Images load_digits(const std::string& folder = "");

// 60,000 and 10,000 pieces of clothing of 28x28, in ten classes. Without a folder: where Debian's package
// dataset-fashion-mnist puts them.
Images load_fashion(const std::string& folder = "");

// Both read four gzipped IDX files; a missing or damaged one is an Error (io, malformed, mismatch) that names it.

}  // namespace graft::datasets
