// Rows of a table by number, and one hot.
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {

Tensor embedding(const Tensor& input, const Tensor& weight, const EmbeddingOptions& o) {
  GRAFT_CHECK(weight.dim() == 2, ErrorCode::shape_mismatch, "embedding: weight must be [rows, width], not ", weight);
  const int64_t rows = weight.size(0);
  int64_t padding = o.padding_idx.value_or(-1);
  if (o.padding_idx) {
    GRAFT_CHECK(padding >= -rows && padding < rows, ErrorCode::index_out_of_range,
                "embedding: Padding_idx must be within num_embeddings: ", padding, " for ", rows, " rows");
    if (padding < 0) padding += rows;
  }
  if (o.max_norm) graft::embedding_renorm_(weight, input, *o.max_norm, o.norm_type);
  return graft::embedding(weight, input, padding, o.scale_grad_by_freq);
}
Tensor one_hot(const Tensor& input, int64_t num_classes) { return graft::one_hot(input, num_classes); }

}  // namespace graft::nn::functional
