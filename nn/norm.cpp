#include "graft/nn/norm.h"

#include "graft/core/op.h"
#include "graft/nn/init.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

static Tensor ones_if(bool wanted, const Shape& shape, const Options& o) { return wanted ? ones(shape, o) : Tensor(); }
static Tensor zeros_if(bool wanted, const Shape& shape, const Options& o) { return wanted ? zeros(shape, o) : Tensor(); }
static Tensor counter_if(bool wanted, const Options& o) { return wanted ? zeros({}, {i64, o.device}) : Tensor(); }
static void reset_affine(const Tensor& weight, const Tensor& bias) {
  if (weight.defined()) init::ones_(weight);
  if (bias.defined()) init::zeros_(bias);
}
static std::string tuple(const Shape& s) {  // as Python prints it: (4,), (3, 4)
  std::string text = "(";
  for (int i = 0; i < s.rank(); ++i) text += (i ? ", " : "") + std::to_string(s[i]);
  return text + (s.rank() == 1 ? ",)" : ")");
}
static Value value(bool b) { return Value(b); }
static Value value(double d) { return Value(d); }
static Value value(const std::optional<double>& d) { return d ? Value(*d) : Value(); }

// ---- BatchNorm -----------------------------------------------------------------------------------------------

BatchNormNd::BatchNormNd(int64_t n, const BatchNormOptions& o)
    : num_features(n),
      eps(o.eps),
      momentum(o.momentum),
      affine(o.affine),
      track_running_stats(o.track_running_stats),
      weight(this, "weight", ones_if(o.affine, {n}, o.options)),
      bias(this, "bias", zeros_if(o.affine && o.bias, {n}, o.options)),
      running_mean(this, "running_mean", zeros_if(o.track_running_stats, {n}, o.options)),
      running_var(this, "running_var", ones_if(o.track_running_stats, {n}, o.options)),
      num_batches_tracked(this, "num_batches_tracked", counter_if(o.track_running_stats, o.options)) {}

void BatchNormNd::reset_running_stats() {
  if (!track_running_stats) return;
  init::zeros_(running_mean);
  init::ones_(running_var);
  init::zeros_(num_batches_tracked);
}
void BatchNormNd::reset_parameters() {
  reset_running_stats();
  reset_affine(weight, bias);
}

Tensor BatchNormNd::forward(const Tensor& x) {
  check_input(x);
  functional::BatchNormOptions o{.training = training() || !running_mean, .momentum = momentum, .eps = eps};
  if (training() && num_batches_tracked && !thread_modes().dry_run && num_batches_tracked->device().type != Device::meta) {
    const NoGrad quiet;
    num_batches_tracked->add_(scalar_tensor(int64_t{1}, num_batches_tracked->options()));
    if (!momentum) o.num_batches = num_batches_tracked->item<int64_t>();
  }
  const bool running = !training() || track_running_stats;
  return functional::batch_norm(x, running ? *running_mean : Tensor(), running ? *running_var : Tensor(), weight, bias, o);
}
std::string BatchNormNd::extra_repr() const {
  return concat(num_features, ", eps=", value(eps), ", momentum=", value(momentum), ", affine=", value(affine),
                ", bias=", value(bool(bias)), ", track_running_stats=", value(track_running_stats));
}
void BatchNormNd::prepare_load(StateDict& dict, const std::string& prefix, std::optional<int64_t> version) const {
  const std::string name = prefix + "num_batches_tracked";
  if ((!version || *version < 2) && num_batches_tracked && !dict.contains(name)) dict.set(name, num_batches_tracked->clone());
}

static void check_rank(const Module& m, const Tensor& x, int a, int b, const char* text) {
  GRAFT_CHECK(x.dim() == a || x.dim() == b, ErrorCode::shape_mismatch, type_name(m), ": expected ", text, " input (got ",
              x.dim(), "D input ", x.view(), ")");
}
void BatchNorm1d::check_input(const Tensor& x) const { check_rank(*this, x, 2, 3, "2D or 3D"); }
void BatchNorm2d::check_input(const Tensor& x) const { check_rank(*this, x, 4, 4, "4D"); }
void BatchNorm3d::check_input(const Tensor& x) const { check_rank(*this, x, 5, 5, "5D"); }

// ---- InstanceNorm --------------------------------------------------------------------------------------------

template <int N>
InstanceNormNd<N>::InstanceNormNd(int64_t n, const InstanceNormOptions& o)
    : num_features(n),
      eps(o.eps),
      momentum(o.momentum),
      affine(o.affine),
      track_running_stats(o.track_running_stats),
      weight(this, "weight", ones_if(o.affine, {n}, o.options)),
      bias(this, "bias", zeros_if(o.affine && o.bias, {n}, o.options)),
      running_mean(this, "running_mean", zeros_if(o.track_running_stats, {n}, o.options)),
      running_var(this, "running_var", ones_if(o.track_running_stats, {n}, o.options)),
      num_batches_tracked(this, "num_batches_tracked", counter_if(o.track_running_stats, o.options)) {}
template <int N> void InstanceNormNd<N>::reset_running_stats() {
  if (!track_running_stats) return;
  init::zeros_(running_mean);
  init::ones_(running_var);
  init::zeros_(num_batches_tracked);
}
template <int N> void InstanceNormNd<N>::reset_parameters() {
  reset_running_stats();
  reset_affine(weight, bias);
}
template <int N> Tensor InstanceNormNd<N>::forward(const Tensor& x) {
  check_rank(*this, x, N + 1, N + 2, N == 1 ? "2D or 3D" : N == 2 ? "3D or 4D" : "4D or 5D");
  const bool single = x.dim() == N + 1;
  const Tensor batch = single ? x.unsqueeze(0) : x;
  GRAFT_CHECK(!affine || batch.size(1) == num_features, ErrorCode::shape_mismatch, type_name(*this), ": expected ", num_features,
              " channels, not ", batch.size(1), ": ", x.view());
  const Tensor y = functional::instance_norm(batch, running_mean, running_var, weight, bias,
                                             {.use_input_stats = training() || !track_running_stats, .momentum = momentum, .eps = eps});
  return single ? y.squeeze(0) : y;
}
template <int N> std::string InstanceNormNd<N>::extra_repr() const {
  return concat(num_features, ", eps=", value(eps), ", momentum=", value(momentum), ", affine=", value(affine),
                ", bias=", value(bool(bias)), ", track_running_stats=", value(track_running_stats));
}
template class InstanceNormNd<1>;
template class InstanceNormNd<2>;
template class InstanceNormNd<3>;

// ---- LayerNorm, GroupNorm, RMSNorm ---------------------------------------------------------------------------

LayerNorm::LayerNorm(const Shape& shape, const LayerNormOptions& o)
    : normalized_shape(shape),
      eps(o.eps),
      elementwise_affine(o.elementwise_affine),
      weight(this, "weight", ones_if(o.elementwise_affine, shape, o.options)),
      bias(this, "bias", zeros_if(o.elementwise_affine && o.bias, shape, o.options)) {}
void LayerNorm::reset_parameters() { reset_affine(weight, bias); }
Tensor LayerNorm::forward(const Tensor& x) { return functional::layer_norm(x, normalized_shape, weight, bias, eps); }
std::string LayerNorm::extra_repr() const {
  return concat(tuple(normalized_shape), ", eps=", value(eps), ", elementwise_affine=", value(elementwise_affine),
                ", bias=", value(bool(bias)));
}

GroupNorm::GroupNorm(int64_t groups, int64_t channels, const GroupNormOptions& o)
    : num_groups(groups),
      num_channels(channels),
      eps(o.eps),
      affine(o.affine),
      weight(this, "weight", ones_if(o.affine, {channels}, o.options)),
      bias(this, "bias", zeros_if(o.affine && o.bias, {channels}, o.options)) {
  GRAFT_CHECK(groups > 0 && channels % groups == 0, "GroupNorm: num_channels ", channels, " must be divisible by num_groups ",
              groups);
}
void GroupNorm::reset_parameters() { reset_affine(weight, bias); }
Tensor GroupNorm::forward(const Tensor& x) { return functional::group_norm(x, num_groups, weight, bias, eps); }
std::string GroupNorm::extra_repr() const {
  return concat(num_groups, ", ", num_channels, ", eps=", value(eps), ", affine=", value(affine), ", bias=", value(bool(bias)));
}

RMSNorm::RMSNorm(const Shape& shape, const RMSNormOptions& o)
    : normalized_shape(shape),
      eps(o.eps),
      elementwise_affine(o.elementwise_affine),
      weight(this, "weight", ones_if(o.elementwise_affine, shape, o.options)) {}
void RMSNorm::reset_parameters() { reset_affine(weight, {}); }
Tensor RMSNorm::forward(const Tensor& x) { return functional::rms_norm(x, normalized_shape, weight, eps); }
std::string RMSNorm::extra_repr() const {
  return concat(tuple(normalized_shape), ", eps=", value(eps), ", elementwise_affine=", value(elementwise_affine));
}

// ---- by name -------------------------------------------------------------------------------------------------

template <class BN> static void add_batch_norm(Registry& r, const char* name) {
  r.add<BN>(name, [](ArgReader& a) {
    const auto n = a.get<int64_t>("num_features");
    BatchNormOptions o;
    o.eps = a.get("eps", o.eps);
    o.momentum = a.get("momentum", o.momentum);
    o.affine = a.get("affine", o.affine);
    o.track_running_stats = a.get("track_running_stats", o.track_running_stats);
    o.options = a.options();
    o.bias = a.get("bias", o.bias);
    return make<BN>(n, o);
  }, {attribute<&BN::num_features>("num_features"), attribute<&BN::eps>("eps"), attribute<&BN::momentum>("momentum"),
      attribute<&BN::affine>("affine"), attribute<&BN::track_running_stats>("track_running_stats"),
      attribute<&BN::bias>("bias")});
}
template <class IN> static void add_instance_norm(Registry& r, const char* name) {
  r.add<IN>(name, [](ArgReader& a) {
    const auto n = a.get<int64_t>("num_features");
    InstanceNormOptions o;
    o.eps = a.get("eps", o.eps);
    o.momentum = a.get("momentum", o.momentum);
    o.affine = a.get("affine", o.affine);
    o.track_running_stats = a.get("track_running_stats", o.track_running_stats);
    o.options = a.options();
    o.bias = a.get("bias", o.bias);
    return make<IN>(n, o);
  }, {attribute<&IN::num_features>("num_features"), attribute<&IN::eps>("eps"), attribute<&IN::momentum>("momentum"),
      attribute<&IN::affine>("affine"), attribute<&IN::track_running_stats>("track_running_stats"),
      attribute<&IN::bias>("bias")});
}
void register_norm(Registry& r) {
  add_batch_norm<BatchNorm1d>(r, "BatchNorm1d");
  add_batch_norm<BatchNorm2d>(r, "BatchNorm2d");
  add_batch_norm<BatchNorm3d>(r, "BatchNorm3d");
  add_instance_norm<InstanceNorm1d>(r, "InstanceNorm1d");
  add_instance_norm<InstanceNorm2d>(r, "InstanceNorm2d");
  add_instance_norm<InstanceNorm3d>(r, "InstanceNorm3d");
  r.add<LayerNorm>("LayerNorm", [](ArgReader& a) {
    const auto shape = a.get<Shape>("normalized_shape");
    LayerNormOptions o;
    o.eps = a.get("eps", o.eps);
    o.elementwise_affine = a.get("elementwise_affine", o.elementwise_affine);
    o.bias = a.get("bias", o.bias);
    o.options = a.options();
    return make<LayerNorm>(shape, o);
  }, {attribute<&LayerNorm::normalized_shape>("normalized_shape"), attribute<&LayerNorm::eps>("eps"),
      attribute<&LayerNorm::elementwise_affine>("elementwise_affine"), attribute<&LayerNorm::bias>("bias")});
  r.add<GroupNorm>("GroupNorm", [](ArgReader& a) {
    const auto groups = a.get<int64_t>("num_groups"), channels = a.get<int64_t>("num_channels");
    GroupNormOptions o;
    o.eps = a.get("eps", o.eps);
    o.affine = a.get("affine", o.affine);
    o.options = a.options();
    o.bias = a.get("bias", o.bias);
    return make<GroupNorm>(groups, channels, o);
  }, {attribute<&GroupNorm::num_groups>("num_groups"), attribute<&GroupNorm::num_channels>("num_channels"),
      attribute<&GroupNorm::eps>("eps"), attribute<&GroupNorm::affine>("affine"),
      attribute<&GroupNorm::bias>("bias")});
  r.add<RMSNorm>("RMSNorm", [](ArgReader& a) {
    const auto shape = a.get<Shape>("normalized_shape");
    RMSNormOptions o;
    o.eps = a.get("eps", o.eps);
    o.elementwise_affine = a.get("elementwise_affine", o.elementwise_affine);
    o.options = a.options();
    return make<RMSNorm>(shape, o);
  }, {attribute<&RMSNorm::normalized_shape>("normalized_shape"), attribute<&RMSNorm::eps>("eps"),
      attribute<&RMSNorm::elementwise_affine>("elementwise_affine")});
}

}  // namespace graft
