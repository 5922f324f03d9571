// Every registered layer and loss on cuda: values, gradients and statistics are the cpu's, in every floating dtype, while it
// trains and while it serves.
#include <cmath>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/nn.h"
#include "graft/surgery/register_modules.h"
#include "layer_samples.h"

namespace graft {
namespace {

Tensor waves(const Shape& shape, double seed) { return sin(arange(int64_t(numel_of(shape)), f64) * 1.7 + seed).reshape(shape); }

Value attribute(const nn::Module& m, std::string_view name) {
  for (const nn::Attribute& a : nn::attributes_of(m))
    if (a.name == name) return a.read(m);
  return {};
}
int64_t channels_of(const nn::Module& m, int64_t otherwise) {
  for (const char* name : {"in_channels", "num_features", "num_channels", "channels", "num_parameters"})
    if (const Value v = attribute(m, name); v.is<int64_t>()) return v.as<int64_t>();
  return otherwise;
}
// [2, features] for what takes vectors, else images of as many dimensions as the layer's name has.
Tensor image(const std::string& name, const nn::Module& m) {
  const bool of_parts = name.starts_with("GhostBatchNorm"), single = name.starts_with("Factorized") || name.starts_with("SqueezeExcite");
  const int64_t n = of_parts ? 32 : 2, c = channels_of(m, of_parts || single ? 1 : 4);
  const bool wide = name.starts_with("MaxPool");  // dilated windows of 10
  if (name.find("1d") != std::string::npos) return waves({n, c, 11}, 0.3);
  if (name.find("2d") != std::string::npos) return waves({n, c, wide ? 10 : 8, 11}, 0.3);
  if (name.find("3d") != std::string::npos) return wide ? waves({n, c, 10, 10, 10}, 0.3) : waves({n, c, 5, 6, 5}, 0.3);
  return waves({n, c, 6}, 0.3);
}
Tensors loss_inputs(const std::string& name) {
  const Tensor x = waves({4, 3}, 0.2), target = waves({4, 3}, 0.7);
  const Tensor share = waves({4, 3}, 0.4) * 0.4 + 0.5;  // within (0, 1)
  if (name == "CrossEntropyLoss") return {x, tensor({2, 0, 1, 2}, i64)};
  if (name == "NLLLoss") return {log_softmax(x, -1), tensor({2, 0, 1, 2}, i64)};
  if (name == "BCELoss") return {share, abs(target)};
  if (name == "BCEWithLogitsLoss") return {x, abs(target)};
  if (name == "KLDivLoss") return {log_softmax(x, -1), share};
  return {x, target};
}
Tensors inputs_of(const std::string& name, const nn::Module& m) {
  if (name.ends_with("Loss")) return loss_inputs(name);
  if (name == "Embedding") return {tensor({1, 0, 3, 1}, i64)};
  if (name == "Bilinear")
    return {waves({3, attribute(m, "in1_features").as<int64_t>()}, 0.1), waves({3, attribute(m, "in2_features").as<int64_t>()}, 0.5)};
  if (const Value v = attribute(m, "in_features"); !v.is_none()) return {waves({2, 3, v.as<int64_t>()}, 0.1)};
  if (name == "FakeQuantize") return {waves({3, 4}, 0.1)};
  if (name == "QuantAware") return {attribute(m, "layer").as<std::string>() == "Linear" ? waves({3, 4}, 0.1) : waves({2, 6, 7, 5}, 0.1)};
  if (name == "FactorizedLinear") return {waves({3, 1}, 0.1)};
  if (name == "LayerNorm" || name == "RMSNorm") return {waves({2, 3, 4}, 0.1)};
  if (name == "Unflatten") return {waves({2, 6}, 0.1)};
  if (name == "Add" || name.starts_with("ConvAddReLU")) return {waves({2, 3, 4}, 0.1), waves({2, 3, 4}, 0.6)};
  if (name.starts_with("LPPool")) return {image(name, m) + 1.2};
  return {image(name, m)};
}
// These hold others, and cannot be called.
const std::set<std::string> kHolders{"ModuleList", "ModuleDict", "ParameterList", "ParameterDict"};

// What a layer computes from its inputs on a device, everything in f64 on cpu: results, gradients, buffers.
struct Outcome {
  std::vector<std::pair<std::string, Tensor>> values;
  void add(std::string what, const Tensor& t) { values.emplace_back(std::move(what), t.detach().cpu().to(f64).contiguous()); }
};
Outcome run(const nn::ModulePtr& layer, const Tensors& inputs, bool training, DType dtype, Device device) {
  const nn::ModulePtr m = layer->clone();
  m->to(device, dtype).train(training);
  manual_seed(11);
  Outcome o;
  Values args;
  Tensors leaves;
  for (const Tensor& x : inputs) {
    if (!is_floating(x.dtype())) {
      args.emplace_back(x.to(device));
      continue;
    }
    leaves.push_back(x.to(dtype).to(device).detach().requires_grad_());
    args.emplace_back(leaves.back() * 1.0);  // no leaf: some layers write into it
  }
  Value y = m->call(std::move(args));
  Tensor sum;
  int number = 0;
  nn::for_each_tensor(y, [&](Tensor& t) {
    EXPECT_EQ(t.device(), device);
    o.add(concat("result ", number), t);
    if (t.requires_grad()) {
      const Tensor part = graft::sum(t.to(f64) * waves(t.shape(), 0.9 + number).to(device));
      sum = sum.defined() ? sum + part : part;
    }
    ++number;
  });
  if (sum.defined()) sum.backward();
  for (size_t i = 0; i < leaves.size(); ++i)
    if (leaves[i].grad().defined()) o.add(concat("gradient of input ", i), leaves[i].grad());
  for (const auto& [name, p] : m->named_parameters())
    if (p.grad().defined()) o.add("gradient of " + name, p.grad());
  for (const auto& [name, b] : m->named_buffers()) o.add(name, b);
  return o;
}

void expect_same(const Outcome& there, const Outcome& here, double tolerance) {
  ASSERT_EQ(there.values.size(), here.values.size());
  for (size_t i = 0; i < here.values.size(); ++i) {
    const auto& [what, expected] = here.values[i];
    const Tensor& got = there.values[i].second;
    ASSERT_EQ(there.values[i].first, what);
    ASSERT_EQ(got.shape(), expected.shape()) << what;
    if (expected.numel() == 0) continue;
    const double largest = max(abs(expected)).item<double>();
    ASSERT_TRUE(std::isfinite(largest)) << what;
    EXPECT_LE(max(abs(got - expected)).item<double>(), tolerance * std::max(1.0, largest)) << what << ": " << got << " and not " << expected;
  }
}

class CudaLayers : public OnCuda<testing::TestWithParam<DType>> {};

TEST_P(CudaLayers, compute_what_they_compute_on_cpu) {
  surgery::register_modules();
  const DType dtype = GetParam();
  const double tolerance = dtype == f64 ? 1e-12 : dtype == f32 ? 1e-5 : dtype == f16 ? 1e-2 : 6e-2;
  const Samples samples = layer_samples();
  int compared = 0;
  for (const std::string& name : nn::registered_types()) {
    if (kHolders.contains(name)) continue;
    const auto found = samples.find(name);
    for (const Args& args : found == samples.end() ? std::vector<Args>{{}} : found->second) {
      manual_seed(5);
      const nn::ModulePtr layer = nn::build(name, args);
      layer->apply(nn::qat::enable_observer);  // a range that nothing has set is infinite
      const Tensors inputs = inputs_of(name, *layer);
      for (const bool training : {true, false}) {
        SCOPED_TRACE(concat(nn::repr(*layer), training ? ", training" : ", serving"));
        Outcome here, there;
        ASSERT_NO_THROW(here = run(layer, inputs, training, dtype, Device(Device::cpu)));
        ASSERT_NO_THROW(there = run(layer, inputs, training, dtype, Device(Device::cuda)));
        ASSERT_FALSE(here.values.empty());
        expect_same(there, here, tolerance);
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 2 * int(nn::registered_types().size() - kHolders.size()));
}
INSTANTIATE_TEST_SUITE_P(Types, CudaLayers, testing::Values(f32, f64, f16, bf16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft
