// Embedding: a table of vectors, looked up by index. Names, arguments: torch.nn.
#pragma once
#include "graft/nn/child.h"
#include "graft/nn/functional.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

struct EmbeddingOptions {
  std::optional<int64_t> padding_idx = {};  // this row is zero at first and gets no gradient; may be negative
  std::optional<double> max_norm = {};      // rows that are used are scaled down to it, in place
  double norm_type = 2;
  bool scale_grad_by_freq = false;
  Options options = {};
};

// input: i64 of any shape; output has embedding_dim as an additional, last dimension. weight [num, dim], normal(0, 1).
class Embedding : public Layer {
 public:
  Embedding(int64_t num_embeddings, int64_t embedding_dim, const EmbeddingOptions& = {});
  static std::shared_ptr<Embedding> from_pretrained(const Tensor& embeddings, bool freeze = true, EmbeddingOptions = {});
  void reset_parameters();
  Tensor forward(const Tensor& input) override;
  std::string extra_repr() const override;

  int64_t num_embeddings;
  int64_t embedding_dim;
  std::optional<int64_t> padding_idx;  // not negative
  std::optional<double> max_norm;
  double norm_type;
  bool scale_grad_by_freq;
  Param weight;
};

}  // namespace graft
