// Surgery on a model on cuda: what is put in goes where the model is, optimizers follow, and what is undone is so bit for bit.
#include <cstdio>
#include "cuda_device.h"
#include "fingerprint.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/nn.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/audit.h"
#include "graft/surgery/fuse.h"
#include "graft/surgery/lora.h"
#include "graft/surgery/model_file.h"
#include "graft/surgery/mutable.h"
#include "graft/surgery/plan.h"

namespace graft {
namespace {

using CudaSurgery = OnCuda<testing::Test>;
const Device kCpu(Device::cpu), kCuda(Device::cuda);

Tensor waves(const Shape& shape, double seed) { return sin(arange(int64_t(numel_of(shape)), f64) * 1.7 + seed).reshape(shape); }

// In f64, with statistics that are not those of a new norm.
std::shared_ptr<nn::Sequential> network() {
  manual_seed(3);
  auto net = nn::make<nn::Sequential>(nn::make<nn::Conv2d>(3, 4, 3), nn::make<nn::BatchNorm2d>(4), nn::make<nn::ReLU>(),
                                      nn::make<nn::Conv2d>(4, 6, 3, nn::Conv2dOptions{.groups = 2}), nn::make<nn::BatchNorm2d>(6),
                                      nn::make<nn::ReLU>(), nn::make<nn::Flatten>(), nn::make<nn::Linear>(6 * 4 * 4, 5));
  net->to(f64);
  for (const auto& [name, b] : net->named_buffers())
    if (name.ends_with("running_mean")) b.copy_(waves(b.shape(), 0.2));
    else if (name.ends_with("running_var")) b.copy_(waves(b.shape(), 0.4) * 0.4 + 0.9);
  return net;
}
Tensor images() { return waves({2, 3, 8, 8}, 0.1); }
Tensor on_cpu(const Tensor& t) { return t.detach().cpu().contiguous(); }
double distance(const Tensor& a, const Tensor& b) { return max(abs(on_cpu(a) - on_cpu(b))).item<double>(); }
void expect_all_on(const nn::Module& m, Device d) {
  for (const auto& [name, p] : m.named_parameters()) EXPECT_EQ(p.device(), d) << name;
  for (const auto& [name, b] : m.named_buffers()) EXPECT_EQ(b.device(), d) << name;
}
template <class Optimizer> void train(nn::Sequential& net, Optimizer& optimizer, int steps) {
  const Device where = net.parameters().front().device();
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    mean(square(net(images().to(where)))).backward();
    optimizer.step();
  }
}


using Policies = std::vector<surgery::Policy>;
Policies other_layers() {
  return {surgery::on<nn::ReLU>([](const nn::ReLU&) { return nn::make<nn::PReLU>(); }),
          surgery::on<nn::Linear>([](const nn::Linear& l) { return nn::make<nn::Linear>(l.in_features, 7); })};
}

TEST_F(CudaSurgery, what_is_put_in_goes_where_the_model_is_and_the_optimizer_follows) {
  const auto net = network();
  net->cuda();
  optim::SGD sgd(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  train(*net, sgd, 1);
  surgery::Edit edit = surgery::replace(*net, other_layers(), {.optimizers = {&sgd}});
  EXPECT_EQ(edit.changes().size(), 3U);
  expect_all_on(*net, kCuda);
  Tensors before;
  for (const auto& [name, p] : net->named_parameters()) {
    EXPECT_EQ(p.dtype(), f64) << name;
    before.push_back(on_cpu(p).clone());
  }
  EXPECT_TRUE(surgery::audit(*net, {&sgd}).empty());
  train(*net, sgd, 1);
  const Tensors after = net->parameters();
  for (size_t i = 0; i < after.size(); ++i) EXPECT_GT(distance(after[i], before[i]), 0) << "parameter " << i << " was not trained";
}
TEST_F(CudaSurgery, what_is_undone_is_as_it_was_bit_for_bit) {
  const auto net = network();
  net->cuda();
  optim::Adam adam(net->parameters(), {.lr = 0.01});
  train(*net, adam, 2);
  const std::string before = graft_test::fingerprint(*net, {&adam});
  surgery::Edit edit = surgery::replace(*net, other_layers(), {.optimizers = {&adam}, .carry_state = true});
  EXPECT_NE(graft_test::fingerprint(*net, {&adam}), before);
  edit.undo();
  EXPECT_EQ(graft_test::fingerprint(*net, {&adam}), before);
}
TEST_F(CudaSurgery, an_optimizer_that_is_alive_goes_on_where_its_model_goes) {
  const auto stays = network(), moves = network();
  optim::Adam here(stays->parameters(), {.lr = 0.01}), there(moves->parameters(), {.lr = 0.01});
  train(*stays, here, 6);
  train(*moves, there, 2);
  moves->cuda();
  train(*moves, there, 2);
  for (const Tensor& p : moves->parameters()) {
    ASSERT_NE(there.state(p), nullptr);
    EXPECT_EQ(there.state(p)->step, 4);
    EXPECT_EQ(there.state(p)->buffers[0].device(), kCuda);
  }
  moves->cpu();
  train(*moves, there, 2);
  const Tensors a = stays->parameters(), b = moves->parameters();
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(b[i].device(), kCpu);
    EXPECT_LT(distance(a[i], b[i]), 1e-9) << "parameter " << i;
  }
}
TEST_F(CudaSurgery, fusion_gives_the_answers_of_before_and_is_undone_bit_for_bit) {
  const auto net = network(), on_host = network();
  net->cuda().eval();
  on_host->eval();
  const Tensor x = images(), expected = (*net)(x.cuda());
  const std::string before = graft_test::fingerprint(*net);
  surgery::Fusion f = surgery::fuse(*net, {x.cuda()});
  ASSERT_EQ(f.fused.size(), 2U) << f;
  EXPECT_EQ(f.fused[0].what, "Conv2d + BatchNorm2d + ReLU -> ConvReLU2d");
  expect_all_on(*net, kCuda);
  EXPECT_LT(distance((*net)(x.cuda()), expected), 1e-12);
  surgery::fuse(*on_host, {x});
  EXPECT_LT(distance((*net)(x.cuda()), (*on_host)(x)), 1e-12);
  f.edit.undo();
  EXPECT_EQ(graft_test::fingerprint(*net), before);
}
TEST_F(CudaSurgery, edits_of_parameters_are_recorded_and_move_with_the_model) {
  Tensors gradients;
  for (const Device d : {kCpu, kCuda}) {
    manual_seed(1);
    const auto net = nn::make<nn::Linear>(3, 2);
    net->to(d, f64);
    surgery::make_mutable(*net);
    const Tensor scale = full({}, 2.0, {f64, d}).requires_grad_();
    net->weight *= scale;
    net->bias = waves({2}, 0.4).to(d);
    EXPECT_THROW(net->bias = waves({3}, 0.4).to(d), Error);
    sum(square((*net)(waves({4, 3}, 0.2).to(d)))).backward();
    gradients.push_back(on_cpu(net->weight.leaf().grad()));
    gradients.push_back(on_cpu(scale.grad()));
    net->to(d == kCpu ? kCuda : kCpu);
    EXPECT_LT(distance((*net)(waves({4, 3}, 0.2).to(d == kCpu ? kCuda : kCpu)),
                       matmul(waves({4, 3}, 0.2), on_cpu(*net->weight).t()) + waves({2}, 0.4)), 1e-12);
  }
  EXPECT_LT(distance(gradients[0], gradients[2]), 1e-12);
  EXPECT_LT(distance(gradients[1], gradients[3]), 1e-12);
}
TEST_F(CudaSurgery, an_edit_that_changes_the_answers_is_rolled_back) {
  const auto net = network();
  net->cuda().eval();
  const std::string before = graft_test::fingerprint(*net);
  auto plan = surgery::plan(*net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return nn::make<nn::GELU>(); })});
  try {
    plan.apply({.verify = {{images().cuda()}}});
    FAIL() << "nothing was noticed";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::plan_refused) << e.what();
    EXPECT_NE(std::string(e.what()).find("the first module that diverges is '2'"), std::string::npos) << e.what();
  }
  EXPECT_EQ(graft_test::fingerprint(*net), before);
}
TEST_F(CudaSurgery, adapters_are_merged_on_the_device) {
  const auto net = network();
  net->cuda().eval();
  surgery::replace(*net, surgery::lora({.r = 2, .alpha = 4}));
  expect_all_on(*net, kCuda);
  for (const Tensor& p : surgery::lora_parameters(*net)) {
    const NoGrad quiet;
    p.copy_(waves(p.shape(), 0.3) * 0.1);
  }
  const Tensor x = images().cuda(), expected = (*net)(x);
  surgery::merge_lora(*net);
  EXPECT_LT(distance((*net)(x), expected), 1e-12);
}
TEST_F(CudaSurgery, a_model_file_has_no_device) {
  const auto net = network();
  net->cuda().eval();
  const std::string path = testing::TempDir() + "graft_cuda_surgery.safetensors";
  surgery::save_model(path, *net);
  const auto same = surgery::load_model_as<nn::Sequential>(path);
  std::remove(path.c_str());
  expect_all_on(*same, kCpu);
  same->cuda();
  EXPECT_EQ(distance((*same)(images().cuda()), (*net)(images().cuda())), 0);
}

// What an error says, without the name of the device.
template <class F> std::string text_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    std::string text = e.what();
    for (size_t at; (at = text.find("cuda:0")) != std::string::npos;) text.replace(at, 6, "cpu");
    return text;
  }
  return "no error";
}
TEST_F(CudaSurgery, errors_are_those_of_the_cpu) {
  std::vector<std::string> texts[2];
  for (const Device d : {kCpu, kCuda}) {
    const auto net = network();
    net->to(d);
    std::vector<std::string>& said = texts[d == kCuda];
    said.push_back(text_of([&] {  // seen in a dry run, before anything is changed
      surgery::plan(*net, {surgery::on<nn::Linear>([](const nn::Linear&) { return nn::make<nn::Linear>(9, 7); })},
                    {.example = {images().to(d)}});
    }));
    said.push_back(text_of([&] { surgery::fuse(*net, {images().to(d)}, {.refusals_are_errors = true}); }));
    said.push_back(text_of([&] {
      optim::SGD sgd(net->parameters(), {.lr = 0.1});
      surgery::replace(*net, other_layers());
      sgd.step();
    }));
  }
  EXPECT_EQ(texts[1], texts[0]);
  for (const std::string& text : texts[0]) EXPECT_NE(text, "no error");
}
TEST_F(CudaSurgery, an_audit_names_what_lies_elsewhere) {
  const auto net = network();
  net->cuda();
  const auto replaced = surgery::replace(*net, other_layers(), {.inherit_device = false});
  const surgery::Audit found = surgery::audit(*net);
  EXPECT_EQ(found.count(surgery::Finding::Kind::mixed_device), 4U) << found;  // two slopes, weight and bias
}

}  // namespace
}  // namespace graft
