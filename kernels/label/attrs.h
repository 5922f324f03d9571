// Attributes of the ops that pick elements by a class label or a row number. Labels are i64, contiguous and checked.
//
//   nll             in logp[n, classes, d...], label[n, d...][, weight[classes]]   out -weight logp at the label, weight there
//   nll_grad        in g[n, d...], label[, weight]                                 out d logp
//   cross_entropy   in x[n, classes, d...], label[n, d...][, weight]               out loss[n, d...], weight at the label, and of each
//                                                                                  line of x its maximum and sum exp(x - maximum)
//   cross_entropy_grad  in g[n, d...], x, label, that maximum and sum[, weight]    out dx
//   embedding       in weight[rows, width], index[...]                             out [..., width]
//   embedding_grad  in g[..., width], index                                        out d weight
#pragma once
#include <cstdint>

namespace graft::inline v1 {

constexpr int class_dim(int rank) { return rank > 1 ? 1 : 0; }  // of what is [n, classes, d...], or [classes]

struct NllAttrs {
  int64_t classes = 0;
  int64_t ignore = -100;  // labels of this value count for nothing
  bool weight = false;
};
struct CrossEntropyAttrs {
  int64_t classes = 0;
  int64_t ignore = -100;
  double smoothing = 0;  // the share of a label that is spread over all classes
  bool weight = false;
};
struct EmbeddingAttrs {
  int64_t rows = 0;
  int64_t padding = -1;  // that row gets no gradient
  bool by_frequency = false;  // a row's gradient is divided by its number of uses
};
struct RenormAttrs { double max_norm = 0, p = 2; };
struct OneHotAttrs { int64_t classes = 0; };

}  // namespace graft
