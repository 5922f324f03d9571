#include "graft/surgery/ghost_batchnorm.h"

#include "graft/core/ops.h"

namespace graft::inline v1::surgery {
namespace {

// The norm with a share of its momentum, which it gets back in any case.
class Share {
 public:
  Share(nn::BatchNormNd& norm, int64_t parts) : norm_(norm), whole_(norm.momentum) {
    norm.momentum = *whole_ / double(parts);
  }
  ~Share() { norm_.momentum = whole_; }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

 private:
  nn::BatchNormNd& norm_;
  std::optional<double> whole_;
};

template <class Norm, class Ghost>
Policy wrap(int64_t size) {
  return on<Norm>([size](const Norm&, const Site& site) -> nn::ModulePtr {
    if (site.slot && dynamic_cast<const GhostBatchNormNd*>(site.slot->owner)) return nullptr;
    return nn::make<Ghost>(site.module, size);
  });
}

}  // namespace

GhostBatchNormNd::GhostBatchNormNd(const nn::ModulePtr& m, int64_t size)
    : ghost_batch_size(size), batchnorm(this, "batchnorm", m) {}

Tensor GhostBatchNormNd::forward(const Tensor& x) {
  auto* norm = batchnorm.as<nn::BatchNormNd>();
  if (!norm || !norm->training()) return batchnorm(x);
  const int64_t n = x.size(0);
  GRAFT_CHECK(n >= ghost_batch_size, "a training batch of ", n, " samples is smaller than ghost_batch_size ",
              ghost_batch_size);
  GRAFT_CHECK(norm->momentum, "ghost batch norm needs a momentum, which is None");
  const int64_t parts = (n + ghost_batch_size - 1) / ghost_batch_size, size = (n + parts - 1) / parts;
  const int64_t last = n - (n - 1) / size * size;
  GRAFT_CHECK(last * (x.numel() / n) > norm->num_features, ErrorCode::shape_mismatch, "of ", n, " samples in parts of ",
              size, " the last has one value per channel, which cannot be normalised in training");
  const Share share(*norm, parts);
  Tensors results;
  for (int64_t at = 0; at < n; at += size) results.push_back(batchnorm(x.narrow(0, at, std::min(size, n - at))));
  return cat(results, 0);
}

std::vector<Policy> ghost_batchnorm(int64_t size) {
  GRAFT_CHECK(size > 0, "ghost_batchnorm: ghost_batch_size must be positive, not ", size);
  return {wrap<nn::BatchNorm1d, GhostBatchNorm1d>(size), wrap<nn::BatchNorm2d, GhostBatchNorm2d>(size),
          wrap<nn::BatchNorm3d, GhostBatchNorm3d>(size)};
}

}  // namespace graft::inline v1::surgery
