// Every row of torch.nn.Module's documentation, one test each, named after it. Rows whose name is a keyword of C++ carry
// graft's name: float32 for float, float64 for double.
#include <gtest/gtest.h>

#include "graft/core/autograd.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Child;
using nn::Identity;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::Sequential;
using nn::Value;
using nn::Values;

// Own parameter and buffers, a child, and a container with a layer that is used twice.
struct Net : nn::Layer {
  nn::Param scale{this, "scale", ones({2}, f64)};
  nn::Buffer mean{this, "mean", full({2}, 3.0, f64)};
  nn::Buffer cache{this, "cache", zeros({1}, f64), false};
  nn::Buffer steps{this, "steps", zeros({}, i64)};
  Child<Linear> fc{this, "fc", 2, 2, nn::LinearOptions{.options = f64}};
  Child<Sequential> body{this, "body"};
  Net() {
    const auto shared = make<Linear>(2, 2, nn::LinearOptions{.options = f64});
    body->append(shared).append(shared);
  }
  Tensor forward(const Tensor& x) override { return body(fc(x)) * scale + mean; }
};
struct Double : nn::Layer {
  Tensor forward(const Tensor& x) override { return x * 2.0; }
};

template <class T> std::string names(const nn::NamedList<T>& list) {
  std::string all;
  for (const auto& [name, item] : list) all += (all.empty() ? "" : " ") + (name.empty() ? "''" : name);
  return all;
}
std::string joined(const std::vector<std::string>& list) {
  std::string all;
  for (const std::string& s : list) all += (all.empty() ? "" : " ") + s;
  return all;
}

TEST(ModuleDoc, add_module) {
  auto net = make<Net>();
  net->add_module("extra", make<Double>());
  EXPECT_EQ(names(net->named_children()), "fc body extra");
  EXPECT_TRUE(dynamic_cast<Double*>(&net->get_submodule("extra")));
}
TEST(ModuleDoc, apply) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  std::string order;
  Module& self = net->apply([&](Module& m) {
    order += nn::type_name(m) + " ";
    if (auto* l = dynamic_cast<Linear*>(&m)) {
      const NoGrad quiet;
      l->weight->copy_(ones({2, 2}));
    }
  });
  EXPECT_EQ(&self, net.get());
  EXPECT_EQ(order, "Linear Linear Sequential ");
  EXPECT_EQ(net->get_parameter("0.weight").at({1, 0}), 1);
  EXPECT_EQ(net->get_parameter("1.weight").at({0, 1}), 1);
}
TEST(ModuleDoc, bfloat16) {
  auto net = make<Net>();
  net->bfloat16();
  EXPECT_EQ(net->scale->dtype(), bf16);
  EXPECT_EQ(net->mean->dtype(), bf16);
  EXPECT_EQ(net->steps->dtype(), i64);
}
TEST(ModuleDoc, buffers) {
  auto net = make<Net>();
  net->body->register_buffer("inner", zeros({7}));
  EXPECT_EQ(net->buffers().size(), 4U);
  EXPECT_EQ(net->buffers(false).size(), 3U);
  EXPECT_EQ(net->buffers().back().numel(), 7);
}
TEST(ModuleDoc, children) {
  auto shared = make<Double>();
  Sequential s(shared, make<Identity>(), shared);
  EXPECT_EQ(s.children().size(), 2U);  // each once
  EXPECT_EQ(s.children()[0], shared.get());
}
TEST(ModuleDoc, cpu) {
  auto net = make<Net>();
  EXPECT_EQ(&net->cpu(), net.get());
  EXPECT_EQ(net->scale->device(), Device(Device::cpu));
}
TEST(ModuleDoc, cuda) {
  auto net = make<Net>();
  EXPECT_CODE(device_unavailable, net->cuda());
  EXPECT_REFUSED("no CUDA backend", net->cuda());
  EXPECT_EQ(net->scale->device(), Device(Device::cpu));
}
TEST(ModuleDoc, float64) {
  auto net = make<Sequential>(make<Linear>(2, 2));
  net->float64();
  EXPECT_EQ(net->parameters()[0].dtype(), f64);
}
TEST(ModuleDoc, eval) {
  auto net = make<Net>();
  EXPECT_TRUE(net->training());
  EXPECT_EQ(&net->eval(), net.get());
  for (const Module* m : net->modules()) EXPECT_FALSE(m->training());
}
TEST(ModuleDoc, extra_repr) {
  struct Two : Module {
    std::string extra_repr() const override { return "x=1\ny=2"; }
  };
  EXPECT_EQ(nn::repr(*make<Two>()), "Two(\n  x=1\n  y=2\n)");
  EXPECT_EQ(nn::repr(*make<Linear>(2, 3, false)), "Linear(in_features=2, out_features=3, bias=False)");
}
TEST(ModuleDoc, float32) {
  auto net = make<Net>();
  net->float32();
  EXPECT_EQ(net->scale->dtype(), f32);
  EXPECT_EQ(net->steps->dtype(), i64);
}
TEST(ModuleDoc, forward) {
  auto m = make<Double>();
  int hooks = 0;
  m->register_forward_hook([&](Module&, const Values&, Value&) { ++hooks; });
  EXPECT_EQ(m->forward(full({}, 2.0)).item<double>(), 4);
  EXPECT_EQ(hooks, 0);
  EXPECT_EQ((*m)(full({}, 2.0)).item<double>(), 4);
  EXPECT_EQ(hooks, 1);
  EXPECT_REFUSED("missing the required \"forward\" function", make<Module>()->call({}));
}
TEST(ModuleDoc, get_buffer) {
  auto net = make<Net>();
  EXPECT_EQ(net->get_buffer("mean").at({1}), 3);
  EXPECT_REFUSED("`scale` of Net is not a buffer", net->get_buffer("scale"));
  EXPECT_REFUSED("Net has no attribute `men`", net->get_buffer("men"));
}
struct Counter : Module {
  int64_t count = 0;
  Tensor get_extra_state() const override { return full({}, count, i64); }
  void set_extra_state(const Tensor& t) override { count = t.item<int64_t>(); }
};
TEST(ModuleDoc, get_extra_state) {
  auto holder = make<Module>();
  auto c = make<Counter>();
  c->count = 5;
  holder->add_module("c", c);
  EXPECT_EQ(joined(holder->state_dict().keys()), "c._extra_state");
  EXPECT_EQ(holder->state_dict().at("c._extra_state").item<int64_t>(), 5);
}
TEST(ModuleDoc, get_parameter) {
  auto net = make<Net>();
  EXPECT_TRUE(net->get_parameter("fc.weight").is_same(net->fc->weight.leaf()));
  EXPECT_REFUSED("`mean` of Net is not an nn::Parameter", net->get_parameter("mean"));
  EXPECT_REFUSED("Linear has no attribute `wait`", net->get_parameter("fc.wait"));
}
TEST(ModuleDoc, get_submodule) {
  auto net = make<Net>();
  EXPECT_EQ(&net->get_submodule("body.1"), &net->get_submodule("body.0"));
  EXPECT_EQ(&net->get_submodule(""), net.get());
  EXPECT_REFUSED("Sequential has no attribute `2`", net->get_submodule("body.2"));
  EXPECT_REFUSED("`mean` of Net is not an nn::Module", net->get_submodule("mean.x"));
}
TEST(ModuleDoc, half) {
  auto net = make<Net>();
  net->half();
  EXPECT_EQ(net->scale->dtype(), f16);
  EXPECT_EQ(net->scale->at({0}), 1);
}
TEST(ModuleDoc, ipu) { EXPECT_REFUSED("ipu: not supported", make<Net>()->ipu()); }
TEST(ModuleDoc, load_state_dict) {
  auto a = make<Net>(), b = make<Net>();
  const nn::IncompatibleKeys keys = a->load_state_dict(b->state_dict());
  EXPECT_TRUE(keys.missing_keys.empty() && keys.unexpected_keys.empty());
  const Tensor x = ones({1, 2}, f64);
  EXPECT_EQ((*a)(x).at({0, 1}), (*b)(x).at({0, 1}));
  const auto partial = a->load_state_dict({{"scale", full({2}, 9.0)}, {"scales", ones({1})}}, {.strict = false});
  EXPECT_EQ(joined(partial.unexpected_keys), "scales");
  EXPECT_EQ(partial.missing_keys.size(), 8U);
  EXPECT_EQ(a->scale->at({1}), 9);
}
TEST(ModuleDoc, modules) {
  auto l = make<Linear>(2, 2);
  Sequential net(l, l);
  EXPECT_EQ(net.modules(), (std::vector<Module*>{&net, l.get()}));
}
TEST(ModuleDoc, named_buffers) {
  auto net = make<Net>();
  net->body->register_buffer("again", net->mean.value());
  EXPECT_EQ(names(net->named_buffers()), "mean cache steps");
  EXPECT_EQ(names(net->named_buffers("p", true, false)), "p.mean p.cache p.steps p.body.again");
  EXPECT_EQ(names(net->body->named_buffers("", false)), "again");
}
TEST(ModuleDoc, named_children) { EXPECT_EQ(names(make<Net>()->named_children()), "fc body"); }
TEST(ModuleDoc, named_modules) {
  auto net = make<Net>();
  EXPECT_EQ(names(net->named_modules()), "'' fc body body.0");
  EXPECT_EQ(names(net->named_modules(nullptr, "p", false)), "p p.fc p.body p.body.0 p.body.1");
  nn::ModuleSet memo{net->fc.module().get()};
  EXPECT_EQ(names(net->named_modules(&memo)), "'' body body.0");
  EXPECT_EQ(memo.size(), 4U);
}
TEST(ModuleDoc, named_parameters) {
  auto net = make<Net>();
  EXPECT_EQ(names(net->named_parameters()), "scale fc.weight fc.bias body.0.weight body.0.bias");
  EXPECT_EQ(names(net->named_parameters("p", false)), "p.scale");
  EXPECT_EQ(net->named_parameters("", true, false).size(), 7U);
}
TEST(ModuleDoc, parameters) {
  auto net = make<Net>();
  EXPECT_EQ(net->parameters().size(), 5U);
  ASSERT_EQ(net->parameters(false).size(), 1U);
  EXPECT_TRUE(net->parameters(false)[0].is_same(net->scale.leaf()));
}
TEST(ModuleDoc, register_backward_hook) {
  auto m = make<Double>();
  double seen = 0;
  m->register_backward_hook([&](Module&, const Tensors& in, const Tensors&) { seen = in[0].at({}); });
  (*m)(full({}, 1.0, f64).requires_grad_()).backward();
  EXPECT_EQ(seen, 2);
}
TEST(ModuleDoc, register_buffer) {
  auto m = make<Module>();
  m->register_buffer("running_mean", zeros({3}));
  m->register_buffer("scratch", zeros({3}), false);
  m->register_buffer("nothing", Tensor());
  EXPECT_EQ(joined(m->state_dict().keys()), "running_mean");
  EXPECT_EQ(names(m->named_buffers()), "running_mean scratch");
  EXPECT_REFUSED("buffer name can't contain", m->register_buffer("a.b", zeros({1})));
}
TEST(ModuleDoc, register_forward_hook) {
  auto m = make<Double>();
  std::string log;
  auto first = m->register_forward_hook([&](Module&, const Values& in, const Value& out) -> Tensor {
    log += "a";
    EXPECT_EQ(in[0].tensor().item<double>(), 1);
    return out.tensor() + 1;
  });
  m->register_forward_hook([&](Module&, const Values&, Value& out) { log += "b", out = out.tensor() * 10.0; });
  m->register_forward_hook([&](Module&, const Values&, Value&) { log += "c"; }, {.prepend = true});
  EXPECT_EQ((*m)(full({}, 1.0)).item<double>(), 30);
  EXPECT_EQ(log, "cab");
  first.remove();
  first.remove();
  EXPECT_EQ((*m)(full({}, 1.0)).item<double>(), 20);
}
TEST(ModuleDoc, register_forward_hook_always_call) {
  struct Fails : nn::Layer {
    Tensor forward(const Tensor&) override { fail("no"); }
  };
  auto m = make<Fails>();
  int always = 0, otherwise = 0;
  m->register_forward_hook([&](Module&, const Values&, Value& out) { always += out.is_none(); }, {.always_call = true});
  m->register_forward_hook([&](Module&, const Values&, Value&) { ++otherwise; });
  EXPECT_REFUSED("no", (*m)(full({}, 1.0)));
  EXPECT_EQ(always, 1);
  EXPECT_EQ(otherwise, 0);
}
TEST(ModuleDoc, register_forward_pre_hook) {
  auto m = make<Double>();
  m->register_forward_pre_hook([](Module&, const Values& args) -> Tensor { return args[0].tensor() + 1; });
  m->register_forward_pre_hook([](Module&, const Values& args) -> Values { return {args[0].tensor() * 10.0}; });
  m->register_forward_pre_hook([](Module&, const Values& args) { EXPECT_EQ(args[0].tensor().item<double>(), 20); });
  EXPECT_EQ((*m)(full({}, 1.0)).item<double>(), 40);
}
TEST(ModuleDoc, register_full_backward_hook) {
  auto m = make<Linear>(3, 2, nn::LinearOptions{.options = f64});
  std::string log;
  m->register_full_backward_pre_hook([&](Module&, const Tensors& out) { log += "pre" + std::to_string(out[0].numel()) + " "; });
  auto handle = m->register_full_backward_hook([&](Module&, const Tensors& in, const Tensors& out) -> Tensors {
    log += "post" + std::to_string(in[0].numel()) + "," + std::to_string(out[0].numel());
    return {in[0] * 10.0};
  });
  const Tensor x = ones({1, 3}, f64).requires_grad_();
  sum((*m)(x)).backward();
  EXPECT_EQ(log, "pre2 post3,2");
  EXPECT_NEAR(x.grad().at({0, 1}), 10 * (m->weight->at({0, 1}) + m->weight->at({1, 1})), 1e-12);
  EXPECT_EQ(m->weight->grad().at({1, 2}), 1);  // the module's own gradients are not affected
  handle.remove();
  log.clear();
  sum((*m)(x)).backward();
  EXPECT_EQ(log, "pre2 ");
}
TEST(ModuleDoc, register_full_backward_hook_without_a_gradient_for_the_input) {
  auto m = make<Linear>(3, 2);
  int calls = 0;
  m->register_full_backward_hook([&](Module&, const Tensors& in, const Tensors& out) {
    calls += in.size() == 1 && !in[0].defined() && out[0].numel() == 2;
  });
  sum((*m)(ones({1, 3}))).backward();
  EXPECT_EQ(calls, 1);
}
TEST(ModuleDoc, register_load_state_dict_post_hook) {
  auto net = make<Net>();
  auto handle = net->register_load_state_dict_post_hook([](Module&, nn::IncompatibleKeys& k) { k.missing_keys.clear(); });
  net->load_state_dict({{"scale", full({2}, 4.0)}});
  EXPECT_EQ(net->scale->at({0}), 4);
  net->register_load_state_dict_post_hook([](Module&, nn::IncompatibleKeys& k) { k.missing_keys.push_back("more"); });
  EXPECT_REFUSED("Missing key(s) in state_dict: \"more\"", net->load_state_dict({{"scale", full({2}, 5.0)}}));
  EXPECT_EQ(net->scale->at({0}), 4);  // nothing was loaded
  handle.remove();
}
TEST(ModuleDoc, register_module) {
  auto m = make<Module>();
  m->register_module("a", make<Double>());
  m->register_module("none", nullptr);
  EXPECT_EQ(names(m->named_children()), "a");
  EXPECT_EQ(nn::repr(*m), "Module(\n  (a): Double()\n  (none): None\n)");
}
TEST(ModuleDoc, register_parameter) {
  auto m = make<Module>();
  m->register_parameter("w", nn::parameter(zeros({2})));
  m->register_parameter("none", nullptr);
  EXPECT_EQ(names(m->named_parameters()), "w");
  EXPECT_EQ(joined(m->state_dict().keys()), "w");
  EXPECT_CODE(type_error, m->register_parameter("plain", zeros({2})));
}
TEST(ModuleDoc, requires_grad_) {
  auto net = make<Net>();
  net->fc->requires_grad_(false);
  EXPECT_FALSE(net->fc->weight->requires_grad());
  EXPECT_TRUE(net->scale->requires_grad());
  EXPECT_EQ(&net->requires_grad_(), net.get());
  EXPECT_TRUE(net->fc->weight->requires_grad());
}
TEST(ModuleDoc, set_extra_state) {
  auto a = make<Counter>(), b = make<Counter>();
  a->count = 7;
  b->load_state_dict(a->state_dict());
  EXPECT_EQ(b->count, 7);
  struct Bytes : Module {
    std::string text = "abc";
    Tensor get_extra_state() const override { return nn::bytes_tensor(text); }
    void set_extra_state(const Tensor& t) override { text = nn::tensor_bytes(t); }
  };
  auto from = make<Bytes>(), to = make<Bytes>();
  from->text = "later";
  to->load_state_dict(from->state_dict());
  EXPECT_EQ(to->text, "later");
  EXPECT_REFUSED("Missing key(s) in state_dict: \"_extra_state\"", to->load_state_dict({}));
}
TEST(ModuleDoc, state_dict) {
  auto net = make<Net>();
  EXPECT_EQ(joined(net->state_dict().keys()),
            "scale mean steps fc.weight fc.bias body.0.weight body.0.bias body.1.weight body.1.bias");
  EXPECT_FALSE(net->state_dict().at("scale").requires_grad());
  EXPECT_TRUE(net->state_dict("", true).at("scale").is_same(net->scale.leaf()));
  nn::StateDict into{{"first", ones({1})}};
  net->fc->state_dict(into, "p.");
  EXPECT_EQ(joined(into.keys()), "first p.weight p.bias");
}
TEST(ModuleDoc, state_dict_hooks) {
  auto net = make<Sequential>(make<Double>());
  std::string log;
  auto pre = (*net)[0]->register_state_dict_pre_hook([&](Module&, const std::string& p, bool keep) { log += "pre " + p + (keep ? "1" : "0"); });
  (*net)[0]->register_state_dict_post_hook([](Module&, nn::StateDict& d, const std::string& p) { d[p + "added"] = ones({1}); });
  EXPECT_EQ(joined(net->state_dict().keys()), "0.added");
  EXPECT_EQ(log, "pre 0.0");
  (*net)[0]->register_load_state_dict_pre_hook([](Module&, nn::StateDict& d, const std::string& p) { d.erase(p + "added"); });
  net->load_state_dict({{"0.added", ones({1})}});
  pre.remove();
  net->state_dict();
  EXPECT_EQ(log, "pre 0.0");
}
TEST(ModuleDoc, to_dtype) {
  auto net = make<Net>();
  const Tensor before = net->scale.leaf();
  sum((*net)(ones({1, 2}, f64))).backward();
  net->to(f32);
  EXPECT_TRUE(net->scale.leaf().is_same(before));
  EXPECT_EQ(before.dtype(), f32);
  EXPECT_EQ(before.grad().dtype(), f32);
  EXPECT_TRUE(before.requires_grad());
  EXPECT_EQ(net->steps->dtype(), i64);
  EXPECT_REFUSED("only accepts floating point or complex dtypes, but got desired dtype=i64", net->to(i64));
  EXPECT_EQ(net->fc->in_features, 2);
}
TEST(ModuleDoc, to_device) {
  auto net = make<Net>();
  net->to("meta", f16, true);
  EXPECT_EQ(net->scale->device(), Device("meta"));
  EXPECT_EQ(net->scale->dtype(), f16);
  EXPECT_REFUSED("no CUDA backend", make<Net>()->to("cuda:1"));
}
TEST(ModuleDoc, to_tensor) {
  auto net = make<Net>();
  net->to(zeros({1}, f16));
  EXPECT_EQ(net->fc->bias->dtype(), f16);
}
TEST(ModuleDoc, to_memory_format) {
  auto m = make<Module>();
  const Tensor t = rand({2, 3, 4, 5}, f64);
  m->register_parameter("w", nn::parameter(t.clone()));
  m->register_parameter("b", nn::parameter(ones({3})));
  const Tensor leaf = m->get_parameter("w");
  m->to(MemoryFormat::channels_last);
  EXPECT_TRUE(leaf.is_contiguous(MemoryFormat::channels_last) && !leaf.is_contiguous());
  EXPECT_EQ(leaf.at({1, 2, 3, 4}), t.at({1, 2, 3, 4}));
  EXPECT_TRUE(m->get_parameter("b").is_contiguous());
}
TEST(ModuleDoc, to_cdouble_example) {
  auto linear = make<Linear>(2, 2, false);
  linear->to(c128);
  const Tensor y = (*linear)(ones({3, 2}, c128));
  EXPECT_EQ(y.dtype(), c128);
  EXPECT_EQ(y.shape(), Shape({3, 2}));
}
TEST(ModuleDoc, to_empty) {
  auto net = make<Net>();
  net->to("meta");
  const Tensor leaf = net->scale.leaf();
  net->to_empty(Device::cpu);
  EXPECT_TRUE(net->scale.leaf().is_same(leaf));
  EXPECT_EQ(leaf.device(), Device(Device::cpu));
  EXPECT_EQ(leaf.dtype(), f64);
  EXPECT_EQ(net->steps->dtype(), i64);
}
TEST(ModuleDoc, train) {
  auto net = make<Net>();
  net->eval();
  EXPECT_EQ(&net->train(), net.get());
  for (const Module* m : net->modules()) EXPECT_TRUE(m->training());
  net->train(false);
  EXPECT_FALSE(net->fc->training());
}
TEST(ModuleDoc, type) {
  auto net = make<Net>();
  net->type(f32);
  EXPECT_EQ(net->scale->dtype(), f32);
  EXPECT_EQ(net->steps->dtype(), f32);  // all of them
  EXPECT_REFUSED("cannot become i64", net->type(i64));
}
TEST(ModuleDoc, xpu) { EXPECT_REFUSED("xpu: not supported", make<Net>()->xpu()); }
TEST(ModuleDoc, zero_grad) {
  auto net = make<Net>();
  sum((*net)(ones({1, 2}, f64))).backward();
  EXPECT_TRUE(net->scale->grad().defined());
  net->zero_grad(false);
  EXPECT_EQ(net->scale->grad().at({0}), 0);
  net->zero_grad();
  EXPECT_FALSE(net->scale->grad().defined());
}

}  // namespace
