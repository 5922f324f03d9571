// Normalisation layers: BatchNorm1d-3d, InstanceNorm1d-3d, LayerNorm, GroupNorm, RMSNorm. Names, arguments: torch.nn.
#pragma once
#include "graft/nn/child.h"
#include "graft/nn/functional.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

struct BatchNormOptions {
  double eps = 1e-5;
  std::optional<double> momentum = 0.1;  // none: the cumulative mean
  bool affine = true;
  bool track_running_stats = true;
  Options options = {};
  bool bias = true;  // with affine: a bias beside the weight
};

// y = (x - mean) / sqrt(var + eps) * weight + bias per channel; mean and var of the batch in training (and always, if
// running statistics are not tracked), else those running. Ioffe & Szegedy 2015.
class BatchNormNd : public Layer {
 public:
  BatchNormNd(int64_t num_features, const BatchNormOptions& = {});
  void reset_parameters();
  void reset_running_stats();
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  int64_t state_version() const override { return 2; }  // 1 had no num_batches_tracked
  void prepare_load(StateDict&, const std::string& prefix, std::optional<int64_t> version) const override;

  int64_t num_features;
  double eps;
  std::optional<double> momentum;
  bool affine;
  bool track_running_stats;
  Param weight;
  Param bias;
  Buffer running_mean;
  Buffer running_var;
  Buffer num_batches_tracked;

 protected:
  virtual void check_input(const Tensor&) const = 0;
};
class BatchNorm1d : public BatchNormNd {  // [n, c] or [n, c, l]
 public:
  using BatchNormNd::BatchNormNd;
  void check_input(const Tensor&) const override;
};
class BatchNorm2d : public BatchNormNd {  // [n, c, h, w]
 public:
  using BatchNormNd::BatchNormNd;
  void check_input(const Tensor&) const override;
};
class BatchNorm3d : public BatchNormNd {  // [n, c, d, h, w]
 public:
  using BatchNormNd::BatchNormNd;
  void check_input(const Tensor&) const override;
};

struct InstanceNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = false;
  bool track_running_stats = false;
  Options options = {};
  bool bias = true;  // with affine: a bias beside the weight
};
// As BatchNorm, with the statistics of each sample. Input with or without a batch dimension. Ulyanov et al. 2016.
template <int N> class InstanceNormNd : public Layer {
 public:
  InstanceNormNd(int64_t num_features, const InstanceNormOptions& = {});
  void reset_parameters();
  void reset_running_stats();
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  int64_t num_features;
  double eps;
  double momentum;
  bool affine;
  bool track_running_stats;
  Param weight;
  Param bias;
  Buffer running_mean;
  Buffer running_var;
  Buffer num_batches_tracked;
};
class InstanceNorm1d : public InstanceNormNd<1> { public: using InstanceNormNd::InstanceNormNd; };
class InstanceNorm2d : public InstanceNormNd<2> { public: using InstanceNormNd::InstanceNormNd; };
class InstanceNorm3d : public InstanceNormNd<3> { public: using InstanceNormNd::InstanceNormNd; };

struct LayerNormOptions {
  double eps = 1e-5;
  bool elementwise_affine = true;
  bool bias = true;
  Options options = {};
};
// Over the last dimensions, which have normalized_shape. Ba et al. 2016.
class LayerNorm : public Layer {
 public:
  explicit LayerNorm(const Shape& normalized_shape, const LayerNormOptions& = {});
  explicit LayerNorm(int64_t last, const LayerNormOptions& o = {}) : LayerNorm(Shape{last}, o) {}
  void reset_parameters();
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  Shape normalized_shape;
  double eps;
  bool elementwise_affine;
  Param weight;
  Param bias;
};

struct GroupNormOptions {
  double eps = 1e-5;
  bool affine = true;
  Options options = {};
  bool bias = true;  // with affine: a bias beside the weight
};
// Over the channels of a group and all positions. Wu & He 2018.
class GroupNorm : public Layer {
 public:
  GroupNorm(int64_t num_groups, int64_t num_channels, const GroupNormOptions& = {});
  void reset_parameters();
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  int64_t num_groups;
  int64_t num_channels;
  double eps;
  bool affine;
  Param weight;
  Param bias;
};

struct RMSNormOptions {
  std::optional<double> eps = {};  // none: the distance from 1 to the next number of the input's dtype
  bool elementwise_affine = true;
  Options options = {};
};
// x / sqrt(mean(x^2) + eps) * weight over the last dimensions. Zhang & Sennrich 2019.
class RMSNorm : public Layer {
 public:
  explicit RMSNorm(const Shape& normalized_shape, const RMSNormOptions& = {});
  explicit RMSNorm(int64_t last, const RMSNormOptions& o = {}) : RMSNorm(Shape{last}, o) {}
  void reset_parameters();
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  Shape normalized_shape;
  std::optional<double> eps;
  bool elementwise_affine;
  Param weight;
};

extern template class InstanceNormNd<1>;
extern template class InstanceNormNd<2>;
extern template class InstanceNormNd<3>;

}  // namespace graft
