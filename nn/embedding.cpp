#include "graft/nn/embedding.h"

#include "graft/nn/init.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

static std::optional<int64_t> from_the_front(std::optional<int64_t> i, int64_t n) {
  if (!i) return i;
  GRAFT_CHECK(*i >= -n && *i < n, "Embedding: padding_idx ", *i, " must be within num_embeddings ", n);
  return *i < 0 ? *i + n : *i;
}

Embedding::Embedding(int64_t n, int64_t dim, const EmbeddingOptions& o)
    : num_embeddings(n),
      embedding_dim(dim),
      padding_idx(from_the_front(o.padding_idx, n)),
      max_norm(o.max_norm),
      norm_type(o.norm_type),
      scale_grad_by_freq(o.scale_grad_by_freq),
      weight(this, "weight", empty({n, dim}, o.options)) {
  reset_parameters();
}
void Embedding::reset_parameters() {
  init::normal_(weight);
  if (padding_idx) init::zeros_(weight->narrow(0, *padding_idx, 1));
}
std::shared_ptr<Embedding> Embedding::from_pretrained(const Tensor& table, bool freeze, EmbeddingOptions o) {
  GRAFT_CHECK(table.dim() == 2, ErrorCode::shape_mismatch, "Embedding: embeddings must be [num, dim], not ", table.view());
  o.options = table.options();
  auto e = make<Embedding>(table.size(0), table.size(1), o);
  e->weight.entry().put(parameter(table, !freeze));
  return e;
}
Tensor Embedding::forward(const Tensor& input) {
  return functional::embedding(input, weight, {padding_idx, max_norm, norm_type, scale_grad_by_freq});
}
std::string Embedding::extra_repr() const {
  std::string text = concat(num_embeddings, ", ", embedding_dim);
  if (padding_idx) text += concat(", padding_idx=", *padding_idx);
  if (max_norm) text += concat(", max_norm=", Value(*max_norm));
  if (norm_type != 2) text += concat(", norm_type=", Value(norm_type));
  if (scale_grad_by_freq) text += ", scale_grad_by_freq=True";
  return text;
}

void register_embedding(Registry& r) {
  r.add<Embedding>("Embedding", [](ArgReader& a) {
    const auto n = a.get<int64_t>("num_embeddings"), dim = a.get<int64_t>("embedding_dim");
    EmbeddingOptions o;
    o.padding_idx = a.get("padding_idx", o.padding_idx);
    o.max_norm = a.get("max_norm", o.max_norm);
    o.norm_type = a.get("norm_type", o.norm_type);
    o.scale_grad_by_freq = a.get("scale_grad_by_freq", o.scale_grad_by_freq);
    const bool sparse = a.get("sparse", false);
    GRAFT_CHECK(!sparse, ErrorCode::unsupported, "Embedding: sparse gradients are not supported");
    o.options = a.options();
    return make<Embedding>(n, dim, o);
  }, {attribute<&Embedding::num_embeddings>("num_embeddings"), attribute<&Embedding::embedding_dim>("embedding_dim"),
      attribute<&Embedding::padding_idx>("padding_idx"), attribute<&Embedding::max_norm>("max_norm"),
      attribute<&Embedding::norm_type>("norm_type"),
      attribute<&Embedding::scale_grad_by_freq>("scale_grad_by_freq")});
}

}  // namespace graft
