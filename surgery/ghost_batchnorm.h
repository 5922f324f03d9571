// Batch norm over parts of a batch: Hoffer, Hubara & Soudry, "Train longer, generalize better" (2017); composer's
// GhostBatchNorm. A policy that wraps: the norm stays, with its parameters and running statistics.
#pragma once
#include "graft/nn/norm.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// In training a batch of N samples is normalised in ceil(N / ghost_batch_size) parts of equal size (the last may be
// smaller), one after the other, each of which moves the running statistics by its share of momentum. In eval mode it
// is the norm itself, whatever the batch. Errors, before anything is changed: a training batch smaller than
// ghost_batch_size; a last part with a single value per channel; a norm without momentum.
class GhostBatchNormNd : public nn::Layer {
 public:
  GhostBatchNormNd(const nn::ModulePtr& batchnorm, int64_t ghost_batch_size);
  Tensor forward(const Tensor& x) override;
  int64_t ghost_batch_size;
  nn::Child<nn::Layer> batchnorm;
};
class GhostBatchNorm1d : public GhostBatchNormNd {
 public:
  using GhostBatchNormNd::GhostBatchNormNd;
};
class GhostBatchNorm2d : public GhostBatchNormNd {
 public:
  using GhostBatchNormNd::GhostBatchNormNd;
};
class GhostBatchNorm3d : public GhostBatchNormNd {
 public:
  using GhostBatchNormNd::GhostBatchNormNd;
};

// surgery::plan(*net, surgery::ghost_batchnorm(32), ...)
std::vector<Policy> ghost_batchnorm(int64_t ghost_batch_size = 32);

}  // namespace graft::inline v1::surgery
