// The examples in the documentation of the originals, in C++, with what they print there. The number is that of the
// file: 000 and 001 composer's module surgery, 002 torch-mutable-modules, 003 torch.ao's fuse_modules. Those of
// torch.nn.Module (004) are in module_doc_test.cpp.
#include <gtest/gtest.h>

#include "graft/core/autograd.h"
#include "graft/nn/intrinsic.h"
#include "graft/nn/loss.h"
#include "graft/nn/pooling.h"
#include "graft/nn/shape.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/mutable.h"
#include "graft/surgery/replace.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Child;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::Sequential;
using surgery::on;

// {old: new, ...}, as Python prints the dictionary.
std::string printed(const surgery::Replacements& pairs) {
  std::string text;
  for (const auto& [before, after] : pairs)
    text += (text.empty() ? "" : ", ") + nn::repr(*before) + ": " + nn::repr(*after);
  return "{" + text + "}";
}

std::string printed(const Tensor& t) {
  std::ostringstream text;
  text << t;
  return text.str();
}

void count_module_instances() {
  auto module = make<Sequential>(make<Linear>(16, 32), make<Linear>(32, 64), make<nn::ReLU>());
  EXPECT_EQ(surgery::count_module_instances<Linear>(*module), 2U);
  EXPECT_EQ((surgery::count_module_instances<Linear, nn::ReLU>(*module)), 3U);
}
TEST(Originals, doc_000_count_module_instances) { count_module_instances(); }
TEST(Originals, doc_001_count_module_instances) { count_module_instances(); }

void replace_module_classes() {
  auto module =
      make<Sequential>(make<nn::Conv2d>(1, 32, 3, 1), make<nn::ReLU>(), make<nn::MaxPool2d>(2), make<nn::Flatten>(),
                       make<Linear>(5408, 128), make<nn::ReLU>(), make<nn::LogSoftmax>(1));
  const std::vector<surgery::Policy> policies = {
      on<nn::Conv2d>([](const nn::Conv2d&) { return make<Linear>(16, 32); }),
      on<Linear>([](const Linear& x) { return x.in_features == 16 ? make<Linear>(32, 64) : nullptr; })};
  const auto replaced = surgery::replace_module_classes(*module, policies, {.recurse_on_replacements = true});
  EXPECT_EQ(printed(replaced),
            "{Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1)): Linear(in_features=16, out_features=32, bias=True), "
            "Linear(in_features=16, out_features=32, bias=True): Linear(in_features=32, out_features=64, bias=True)}");
  EXPECT_EQ(nn::repr(*(*module)[0].module()), "Linear(in_features=32, out_features=64, bias=True)");
}
TEST(Originals, doc_000_replace_module_classes) { replace_module_classes(); }
TEST(Originals, doc_001_replace_module_classes) { replace_module_classes(); }

// ---- parameters of optimizers: what the text of 000 and 001 says -------------------------------------------------

TEST(Originals, doc_000_replace_params_in_optimizer_spans_groups) {
  auto a = make<Linear>(2, 3), b = make<Linear>(2, 3);
  optim::SGD sgd({a->weight.leaf()}, {.lr = 0.1});
  sgd.add_param_group({a->bias.leaf()}, {.lr = 0.2});
  surgery::replace_params_in_optimizer(a->parameters(), b->parameters(), {&sgd});
  EXPECT_TRUE(sgd.params(0)[0].is_same(b->weight.leaf()));
  EXPECT_TRUE(sgd.params(1)[0].is_same(b->bias.leaf()));

  optim::SGD other(b->parameters());
  EXPECT_CODE(not_implemented, surgery::replace_params_in_optimizer(b->parameters(), a->parameters(), {&sgd, &other}));
  EXPECT_REFUSED("must have the same length, not 2 and 1",
                 surgery::replace_params_in_optimizer(b->parameters(), {a->weight.leaf()}, {&sgd}));
  EXPECT_REFUSED("is missing from the optimizer",
                 surgery::replace_params_in_optimizer(a->parameters(), b->parameters(), {&sgd}));
  EXPECT_REFUSED("would be in the optimizer twice",
                 surgery::replace_params_in_optimizer({b->weight.leaf()}, {b->bias.leaf()}, {&sgd}));
  EXPECT_TRUE(sgd.params(0)[0].is_same(b->weight.leaf()));
}

TEST(Originals, doc_000_update_params_in_optimizer_needs_one_group) {
  auto a = make<Linear>(2, 3), b = make<Linear>(2, 3), c = make<Linear>(3, 3);
  optim::SGD sgd(a->parameters(), {.lr = 0.1});
  surgery::update_params_in_optimizer(a->parameters(), c->parameters(), {&sgd});
  ASSERT_EQ(sgd.params().size(), 2U);
  EXPECT_TRUE(sgd.params()[1].is_same(c->bias.leaf()));
  sgd.add_param_group(b->parameters(), {});
  surgery::update_params_in_optimizer({b->bias.leaf()}, {a->bias.leaf()}, {&sgd});  // the group is that of what leaves
  EXPECT_TRUE(sgd.params(1)[1].is_same(a->bias.leaf()));

  optim::SGD other(c->parameters());
  const Tensors both{c->weight.leaf(), b->weight.leaf()}, fresh{a->weight.leaf()};
  EXPECT_CODE(not_implemented, surgery::update_params_in_optimizer(both, fresh, {&sgd, &other}));
  EXPECT_REFUSED("not all removed parameters are in the same parameter group",
                 surgery::update_params_in_optimizer(both, fresh, {&sgd}));
  EXPECT_REFUSED("is missing from the optimizer", surgery::update_params_in_optimizer({b->bias.leaf()}, fresh, {&sgd}));
  EXPECT_REFUSED("no parameters were removed", surgery::update_params_in_optimizer({}, fresh, {&sgd}));
  EXPECT_EQ(sgd.params().size(), 4U);
  surgery::update_params_in_optimizer(both, {}, {&sgd});
  EXPECT_EQ(sgd.params().size(), 2U);
}

// ---- mutable modules ---------------------------------------------------------------------------------------------

TEST(Originals, doc_002_a_plain_module_does_not_record) {
  auto linear_layer = make<Linear>(1, 1);
  linear_layer->weight->detach().add_(scalar_tensor(69.0, f32));
  EXPECT_EQ(linear_layer->weight->grad_fn(), "");  // no grad_fn=<AddBackward0>
  EXPECT_REFUSED("a leaf Variable that requires grad is being used in an in-place operation",
                 linear_layer->weight += 420);
}

TEST(Originals, doc_002_a_network_predicts_the_parameters_of_another) {
  auto net_1 = make<Linear>(1, 2);
  optim::SGD optimizer(net_1->parameters(), {.lr = 0.01});
  const Tensor input_0 = ones({1, 1}), input_1 = full({4, 1}, 2.0), label = full({4, 1}, 3.0);
  double before = 0;
  for (int step = 0; step < 5; ++step) {
    optimizer.zero_grad();
    const Tensor p_weight_and_bias = (*net_1)(input_0).unsqueeze(2);
    const Tensor p_weight = p_weight_and_bias.index({Slice(), 0}), p_bias = p_weight_and_bias.index({Slice(), 1});
    auto net_2 = surgery::to_mutable_module(make<Linear>(1, 1));
    net_2->weight = p_weight;
    EXPECT_CODE(shape_mismatch, net_2->bias = p_bias);  // [1, 1] in the place of [1] is accepted there
    net_2->bias = p_bias.squeeze(0);
    const Tensor output = (*net_2)(input_1);
    const Tensor loss = nn::functional::mse_loss(output, label);
    loss.backward();
    EXPECT_NE(net_1->weight->grad().at({0, 0}), 0);
    EXPECT_FALSE(net_2->weight.leaf().grad().defined());
    EXPECT_TRUE(step == 0 || loss.item<float>() < before);
    before = loss.item<float>();
    optimizer.step();
  }
}

TEST(Originals, doc_002_usage) {
  const std::shared_ptr<Linear> converted_module = surgery::to_mutable_module(make<Linear>(1, 1));  // still a Linear
  converted_module->weight *= 0;
  converted_module->weight += 69;
  EXPECT_EQ(printed(converted_module->weight.value()), "tensor([[69.]], grad_fn=<AddBackward0>)");
}

TEST(Originals, doc_002_children_are_mutable_too) {
  struct MyModule : nn::Layer {
    Child<Linear> linear{this, "linear", 1, 1};
    Tensor forward(const Tensor& x) override { return linear(x); }
  };
  auto my_module = surgery::to_mutable_module(make<MyModule>());
  my_module->linear->weight *= 0;
  my_module->linear->weight += 69;
  EXPECT_EQ(printed(my_module->linear->weight.value()), "tensor([[69.]], grad_fn=<AddBackward0>)");
}

TEST(Originals, doc_002_other_devices_by_hot_swapping) {
  auto converted_module = surgery::to_mutable_module(make<Linear>(1, 1));
  EXPECT_CODE(device_unavailable, converted_module->cuda());
  converted_module->weight = converted_module->weight->to(Device::cpu);
  converted_module->bias = converted_module->bias->to(Device("cpu"));
  EXPECT_EQ((*converted_module)(ones({1, 1})).shape(), Shape({1, 1}));
}

// ---- fusion ------------------------------------------------------------------------------------------------------

struct ConvRelu : nn::Layer {
  Child<nn::Conv2d> conv{this, "conv", 3, 2, 1};
  Child<nn::ReLU> relu{this, "relu"};
  Tensor forward(const Tensor& x) override { return relu(conv(x)); }
};
struct M : nn::Layer {
  Child<nn::Conv2d> conv1{this, "conv1", 1, 3, 3};
  Child<nn::BatchNorm2d> bn1{this, "bn1", 3};
  Child<nn::ReLU> relu1{this, "relu1"};
  Child<ConvRelu> submodule{this, "submodule"};
  Tensor forward(const Tensor& x) override { return submodule(relu1(bn1(conv1(x)))); }
};
const Tensor image() { return cos(arange(32, f32)).reshape({2, 1, 4, 4}); }
double difference(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item<float>(); }

TEST(Originals, doc_003_fuse_modules_of_lists_and_of_a_single_list) {
  auto m = make<M>();
  m->eval();
  const Tensor input = image(), expected = (*m)(input);
  auto fused_m = surgery::fuse_modules(m, {{"conv1", "bn1", "relu1"}, {"submodule.conv", "submodule.relu"}});
  EXPECT_LT(difference((*fused_m)(input), expected), 1e-5);
  EXPECT_EQ(nn::repr(*fused_m),
            "M(\n  (conv1): ConvReLU2d(\n    (0): Conv2d(1, 3, kernel_size=(3, 3), stride=(1, 1))\n    (1): ReLU()\n  "
            ")\n  (bn1): Identity()\n"
            "  (relu1): Identity()\n  (submodule): ConvRelu(\n    (conv): ConvReLU2d(\n      (0): Conv2d(3, 2, "
            "kernel_size=(1, 1), stride=(1, 1))\n"
            "      (1): ReLU()\n    )\n    (relu): Identity()\n  )\n)");
  EXPECT_TRUE(m->bn1.as<nn::BatchNorm2d>());  // a copy was fused

  fused_m = surgery::fuse_modules(m, {"conv1", "bn1", "relu1"});
  EXPECT_LT(difference((*fused_m)(input), expected), 1e-5);
  EXPECT_TRUE(fused_m->submodule->conv.as<nn::Conv2d>());
}

TEST(Originals, doc_003_fuse_custom_config) {
  auto m = make<M>();
  m->eval();
  int calls = 0;
  const surgery::FuserMethods mapping{
      {surgery::types<nn::Conv2d, nn::BatchNorm2d>(), [&](bool is_qat, const surgery::ModuleGroup& g) {
         ++calls;
         return surgery::fuse_conv_bn(is_qat, g[0], g[1]);
       }}};
  const Tensor expected = (*m)(image());
  auto fused_m = surgery::fuse_modules(m, {"conv1", "bn1"}, {.additional_fuser_method_mapping = mapping});
  EXPECT_EQ(calls, 1);
  EXPECT_LT(difference((*fused_m)(image()), expected), 1e-5);
  fused_m = surgery::fuse_modules(m, {"conv1", "bn1"},
                                  {.inplace = true, .fuser_func = [&](const auto& g, bool is_qat, const auto& methods) {
                                     return ++calls, surgery::fuse_known_modules(g, is_qat, methods);
                                   }});
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(fused_m, m);
}

TEST(Originals, doc_003_fuse_known_modules_and_the_sequences_it_names) {
  auto conv = make<nn::Conv2d>(1, 1, 1);
  auto bn = make<nn::BatchNorm2d>(1);
  auto linear = make<Linear>(2, 2);
  auto bn1d = make<nn::BatchNorm1d>(2);
  for (ModulePtr m : {ModulePtr(conv), ModulePtr(bn), ModulePtr(linear), ModulePtr(bn1d)}) m->eval();
  const auto types_of = [](const surgery::ModuleGroup& g) {
    std::string text;
    for (const ModulePtr& m : surgery::fuse_known_modules(g)) text += (text.empty() ? "" : " ") + nn::type_name(*m);
    return text;
  };
  EXPECT_EQ(types_of({conv, bn}), "Conv2d Identity");
  EXPECT_EQ(types_of({conv, bn, make<nn::ReLU>()}), "ConvReLU2d Identity Identity");
  EXPECT_EQ(types_of({conv, make<nn::ReLU>()}), "ConvReLU2d Identity");
  EXPECT_EQ(types_of({linear, bn1d}), "Linear Identity");
  EXPECT_EQ(types_of({linear, make<nn::ReLU>()}), "LinearReLU Identity");
  EXPECT_EQ(types_of({bn, make<nn::ReLU>()}), "BNReLU2d Identity");
  EXPECT_REFUSED("did not find fuser method for: (BatchNorm2d, Linear)", surgery::fuse_known_modules({bn, linear}));
}

TEST(Originals, doc_003_fuse_modules_qat_keeps_training_the_norm) {
  auto m = make<M>();
  auto fused_m = surgery::fuse_modules_qat(m, {"conv1", "bn1", "relu1"});
  EXPECT_EQ(nn::type_name(*fused_m->conv1.module()), "ConvBnReLU2d");
  const Tensor mean = fused_m->get_buffer("conv1.1.running_mean").clone();
  (*fused_m)(image());
  EXPECT_GT(difference(fused_m->get_buffer("conv1.1.running_mean"), mean), 0);
}

}  // namespace
