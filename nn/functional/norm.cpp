// Normalizations with running statistics, and those by a norm.
#include "graft/core/op.h"
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {

// running = (1 - momentum) running + momentum now. In a dry run nothing is written.
static void move_average(const Tensor& running, const Tensor& now, double momentum) {
  if (!running.defined() || thread_modes().dry_run) return;
  const NoGrad quiet;
  running.mul_(1 - momentum);
  running.add_(now, momentum);
}

Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, const BatchNormOptions& o) {
  if (!o.training) {
    GRAFT_CHECK(running_mean.defined() && running_var.defined(),
                "batch_norm: Expected running_mean and running_var to be defined in evaluation mode");
    return graft::batch_norm_eval(input, running_mean, running_var, weight, bias, o.eps);
  }
  GRAFT_CHECK(input.dim() >= 2, ErrorCode::shape_mismatch, "batch_norm: needs at least two dimensions: ", input);
  const int64_t count = input.size(1) ? input.numel() / input.size(1) : 2;
  GRAFT_CHECK(count > 1, ErrorCode::shape_mismatch,
              "batch_norm: Expected more than 1 value per channel when training, got input size ", input.shape());
  const NormResult r = graft::batch_norm_train(input, weight, bias, o.eps);
  const double momentum = o.momentum ? *o.momentum : 1.0 / double(std::max<int64_t>(o.num_batches, 1));
  move_average(running_mean, r.mean, momentum);
  if (running_var.defined()) move_average(running_var, r.var * (double(count) / double(count - 1)), momentum);
  return r.values;
}

Tensor instance_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                     const Tensor& bias, const InstanceNormOptions& o) {
  if (!o.use_input_stats) {
    GRAFT_CHECK(running_mean.defined() && running_var.defined(),
                "instance_norm: Expected running_mean and running_var to be defined when use_input_stats is false");
    return graft::batch_norm_eval(input, running_mean, running_var, weight, bias, o.eps);
  }
  GRAFT_CHECK(input.dim() >= 3, ErrorCode::shape_mismatch, "instance_norm: needs at least three dimensions: ", input);
  const int64_t n = input.size(0), channels = input.size(1);
  const int64_t count = n > 0 && channels > 0 ? input.numel() / (n * channels) : 2;
  GRAFT_CHECK(count > 1, ErrorCode::shape_mismatch,
              "instance_norm: Expected more than 1 spatial element when training, got input size ", input.shape());
  if (channels == 0) return input.clone();
  const GroupNormResult r = graft::group_norm_stats(input, channels, weight, bias, o.eps);
  if (running_mean.defined() && n > 0 && !thread_modes().dry_run) {
    const NoGrad quiet;
    const auto mean = [&](const Tensor& t) { return sum(t.reshape({n, channels}), {0}) * (1.0 / double(n)); };
    const Tensor var = ones(r.rstd.shape(), r.rstd.options()) / (r.rstd * r.rstd) + -o.eps;
    move_average(running_mean, mean(r.mean), o.momentum);
    move_average(running_var, mean(var) * (double(count) / double(count - 1)), o.momentum);
  }
  return r.values;
}

Tensor layer_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias, double eps) {
  return graft::layer_norm(input, normalized_shape, weight, bias, eps);
}
Tensor group_norm(const Tensor& input, int64_t num_groups, const Tensor& weight, const Tensor& bias, double eps) {
  return graft::group_norm(input, num_groups, weight, bias, eps);
}
Tensor rms_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight, std::optional<double> eps) {
  return graft::rms_norm(input, normalized_shape, weight, eps);
}

}  // namespace graft::nn::functional
