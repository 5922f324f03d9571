// Rules N1 to N20 that surgery rests on, what the contract says about module trees (KM), and editable parameters.
#include <gtest/gtest.h>

#include <thread>

#include "graft/core/autograd.h"
#include "graft/core/memory.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
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
using nn::ModulePtr;
using nn::Sequential;
using nn::Value;
using nn::Values;

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
const nn::LinearOptions kDouble{.options = f64};

// w, steps; a: Linear(3, 4); b: Linear(4, 4), Identity, Linear(4, 2).
struct Net : nn::Layer {
  nn::Param w{this, "w", zeros({2, 3})};
  nn::Buffer steps{this, "steps", zeros({4})};
  Child<Linear> a{this, "a", 3, 4};
  Child<Sequential> b{this, "b", make<Linear>(4, 4), make<Identity>(), make<Linear>(4, 2)};
  Tensor forward(const Tensor& x) override { return b(a(x)); }
};
struct Times : nn::Layer {
  double k;
  explicit Times(double k) : k(k) {}
  Tensor forward(const Tensor& x) override { return x * k; }
};
struct Hold : nn::Layer {
  Child<Times> a{this, "a", 2.0};
  Tensor forward(const Tensor& x) override { return a(x); }
};

TEST(ModuleRules, N1_overwriting_keeps_the_position_removing_and_adding_moves_to_the_end) {
  auto m = make<Module>();
  for (const char* n : {"x", "y", "z"}) m->register_parameter(n, nn::parameter(ones({1})));
  m->register_parameter("x", nn::parameter(ones({5})));
  EXPECT_EQ(names(m->named_parameters()), "x y z");
  EXPECT_EQ(m->get_parameter("x").numel(), 5);
  m->remove("x");
  m->register_parameter("x", nn::parameter(ones({1})));
  EXPECT_EQ(names(m->named_parameters()), "y z x");
  EXPECT_EQ(names(make<Net>()->named_parameters()), "w a.weight a.bias b.0.weight b.0.bias b.2.weight b.2.bias");
}
TEST(ModuleRules, N2_named_modules_is_pre_order_first_path_wins) {
  auto l = make<Times>(1.);
  auto root = make<Sequential>(make<Sequential>(l), l, make<Sequential>(l, l));
  EXPECT_EQ(names(root->named_modules()), "'' 0 0.0 2");
  EXPECT_EQ(names(root->named_modules(nullptr, "", false)), "'' 0 0.0 1 2 2.0 2.1");
  EXPECT_EQ(names(static_cast<Module&>(*(*root)[2].module()).named_children()), "0");
}
TEST(ModuleRules, N3_tensors_are_listed_once_state_dict_lists_every_path) {
  auto a = make<Linear>(2, 2, kDouble), b = make<Linear>(2, 2, kDouble);
  b->weight = a->weight;
  auto root = make<Sequential>(a, b);
  EXPECT_EQ(names(root->named_parameters("m")), "m.0.weight m.0.bias m.1.bias");
  EXPECT_EQ(joined(root->state_dict().keys()), "0.weight 0.bias 1.weight 1.bias");
}
TEST(ModuleRules, N4_empty_entries_keep_their_place_and_are_skipped) {
  auto m = make<Module>();
  m->register_parameter("p", nullptr);
  m->register_parameter("q", nn::parameter(ones({1})));
  m->register_module("c", nullptr);
  EXPECT_EQ(names(m->named_parameters()), "q");
  EXPECT_TRUE(m->children().empty());
  EXPECT_EQ(joined(m->state_dict().keys()), "q");
  m->register_parameter("p", nn::parameter(ones({1})));
  EXPECT_EQ(names(m->named_parameters()), "p q");
  EXPECT_REFUSED("Unexpected key(s) in state_dict: \"c.x\"",
                 m->load_state_dict({{"p", ones({1})}, {"q", ones({1})}, {"c.x", ones({1})}}));
}
TEST(ModuleRules, N5_the_gradient_of_a_tied_parameter_is_the_sum_and_clones_keep_the_tie) {
  auto a = make<Linear>(2, 2, kDouble), b = make<Linear>(2, 2, kDouble);
  b->weight = a->weight;
  auto net = make<Sequential>(a, b);
  const Tensor x = ones({1, 2}, f64);
  sum((*net)(x)).backward();
  const Tensor both = a->weight->grad().clone();
  const auto alone = nn::clone(*net);
  auto& b2 = *(*alone)[1].as<Linear>();
  EXPECT_TRUE(b2.weight->is_same((*alone)[0].as<Linear>()->weight.value()));
  EXPECT_FALSE(b2.weight->is_same(b->weight.value()));
  b2.weight = nn::parameter(a->weight->clone());  // untied: two gradients whose sum it was
  sum((*alone)(x)).backward();
  const Tensor parts = (*alone)[0].as<Linear>()->weight->grad() + b2.weight->grad();
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 2; ++j) EXPECT_NEAR(both.at({i, j}), parts.at({i, j}), 1e-12);
}
TEST(ModuleRules, N6_names_and_values_are_checked_at_registration) {
  auto m = make<Net>();
  EXPECT_REFUSED("parameter name can't contain \".\", got: a.b", m->register_parameter("a.b", nn::parameter(ones({1}))));
  EXPECT_REFUSED("module name can't be empty string", m->register_module("", make<Times>(1.)));
  EXPECT_REFUSED("attribute 'steps' already exists", m->register_parameter("steps", nn::parameter(ones({1}))));
  EXPECT_REFUSED("attribute 'w' already exists", m->register_module("w", make<Times>(1.)));
  EXPECT_REFUSED("attribute 'a' already exists", m->register_buffer("a", ones({1})));
  EXPECT_CODE(key_error, m->register_buffer("a", ones({1})));
  EXPECT_CODE(type_error, m->register_parameter("q", ones({1})));
  EXPECT_REFUSED("Cannot assign non-leaf Tensor to parameter 'q'",
                 m->register_parameter("q", nn::parameter(ones({1})) * 2.0));
}
TEST(ModuleRules, N7_registering_a_parameter_again_may_change_its_shape) {
  auto m = make<Net>();
  m->register_parameter("w", nn::parameter(ones({7})));
  EXPECT_EQ(m->w->numel(), 7);  // the member sees it
}
TEST(ModuleRules, N8_assignment_takes_parameters_and_none_not_plain_tensors) {
  auto m = make<Net>();
  m->w = nn::parameter(ones({2, 3}));
  EXPECT_EQ(m->w->at({1, 2}), 1);
  EXPECT_REFUSED("(nn::parameter(tensor) or None expected)", m->w = zeros({2, 3}));
  EXPECT_REFUSED("non-leaf Tensor", m->w = m->w.value() * 2.0);
  EXPECT_CODE(shape_mismatch, m->w = nn::parameter(zeros({3})));
  EXPECT_CODE(dtype_mismatch, m->w = nn::parameter(zeros({2, 3}, f64)));
  m->w.assign(nn::parameter(zeros({3})), nn::Check::none);
  EXPECT_EQ(m->w->numel(), 3);
  m->w = nullptr;
  EXPECT_FALSE(m->w);
  EXPECT_EQ(m->param_entries().size(), 1U);  // the slot stays
  m->steps = ones({9});
  EXPECT_EQ(m->get_buffer("steps").numel(), 9);
}
TEST(ModuleRules, N9_state_dict_keys_follow_the_tree) {
  auto m = make<Net>();
  EXPECT_EQ(joined(m->state_dict().keys()), "w steps a.weight a.bias b.0.weight b.0.bias b.2.weight b.2.bias");
  const ModulePtr inner = (*m->b)[0].module();
  (*m->b)[0] = make<Sequential>(std::vector<ModulePtr>{inner});
  EXPECT_EQ(joined(m->state_dict().keys()), "w steps a.weight a.bias b.0.0.weight b.0.0.bias b.2.weight b.2.bias");
}
// The texts are PyTorch 2's, recorded.
TEST(ModuleRules, N10_load_state_dict_reports_everything) {
  auto m = make<Net>();
  nn::StateDict d = m->state_dict();
  d.erase("w");
  d.erase("b.2.bias");
  d["a.weight"] = zeros({4, 4});
  d["a.bias"] = full({4}, 77.0);
  for (const char* key : {"zz", "b.7.q", "a.scale", "a.x.y"}) d[key] = zeros({1});
  const std::string mismatch =
      "\n\tsize mismatch for a.weight: copying a param with shape torch.Size([4, 4]) from checkpoint, the shape in current "
      "model is torch.Size([4, 3]).";
  try {
    m->load_state_dict(d);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"w\", \"b.2.bias\". "
                        "\n\tUnexpected key(s) in state_dict: \"zz\", \"a.scale\", \"a.x.y\", \"b.7.q\". " + mismatch);
    EXPECT_EQ(e.code(), ErrorCode::state_dict);
  }
  try {
    m->load_state_dict(d, {.strict = false});
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "Error(s) in loading state_dict for Net:" + mismatch);
  }
  EXPECT_NE(m->a->bias->at({0}), 77);  // graft: nothing was copied
}
TEST(ModuleRules, N10_loading_converts_dtypes_and_copies_in_place) {
  auto m = make<Linear>(2, 2);
  const Tensor leaf = m->weight.leaf();
  m->load_state_dict({{"weight", full({2, 2}, 0.5, f64)}, {"bias", full({2}, 3, i64)}});
  EXPECT_TRUE(m->weight.leaf().is_same(leaf));
  EXPECT_EQ(leaf.dtype(), f32);
  EXPECT_EQ(leaf.at({1, 1}), 0.5);
  EXPECT_EQ(m->bias->at({1}), 3);
}
TEST(ModuleRules, N10_a_model_may_load_its_own_tensors_in_other_places) {
  auto m = make<Module>();
  m->register_parameter("p", nn::parameter(full({2}, 1.0)));
  m->register_parameter("q", nn::parameter(full({2}, 2.0)));
  const nn::StateDict own = m->state_dict();
  m->load_state_dict({{"p", own.at("q")}, {"q", own.at("p")}});
  EXPECT_EQ(m->get_parameter("p").at({0}), 2);
  EXPECT_EQ(m->get_parameter("q").at({1}), 1);
}
TEST(ModuleRules, N10_assign_takes_the_tensors_over_and_meta_needs_it) {
  auto m = make<Linear>(2, 2, nn::LinearOptions{.options = Device("meta")});
  auto from = make<Linear>(2, 2);
  EXPECT_REFUSED("it has no memory (meta)", m->load_state_dict(from->state_dict()));
  m->load_state_dict(from->state_dict(), {.assign = true});
  EXPECT_EQ(m->weight->view().data, from->weight->view().data);
  EXPECT_TRUE(m->weight->is_leaf() && m->weight->requires_grad());
}
struct Versioned : Module {
  nn::Buffer batches{this, "num_batches_tracked", zeros({}, i64)};
  int64_t state_version() const override { return 2; }
  void prepare_load(nn::StateDict& d, const std::string& prefix, std::optional<int64_t> version) const override {
    if (version.value_or(0) < 2 && !d.contains(prefix + "num_batches_tracked")) d[prefix + "num_batches_tracked"] = *batches;
  }
};
TEST(ModuleRules, N11_a_layer_may_complete_what_an_older_version_saved) {
  auto m = make<Versioned>();
  m->load_state_dict({});
  nn::StateDict now = m->state_dict();
  now.erase("num_batches_tracked");
  EXPECT_REFUSED("Missing key(s)", m->load_state_dict(now));
}
TEST(ModuleRules, N12_pre_hooks_forward_hooks_in_order_with_replacement) {
  auto m = make<Times>(2.);
  std::string log;
  m->register_forward_pre_hook([&](Module&, Values&) { log += "p1 "; });
  m->register_forward_pre_hook([&](Module&, const Values& v) -> Tensor { return log += "p2 ", v[0].tensor() + 1; });
  auto h = m->register_forward_pre_hook([&](Module&, Values&) { log += "p0 "; }, {.prepend = true});
  m->register_forward_hook([&](Module&, const Values& in, const Value& out) -> Value {
    log += "f1 ";
    EXPECT_EQ(in[0].tensor().item<double>(), 4);
    return out.tensor() * 10.0;
  });
  EXPECT_EQ((*m)(full({}, 3.0)).item<double>(), 80);
  EXPECT_EQ(log, "p0 p1 p2 f1 ");
  h.remove();
  log.clear();
  (*m)(full({}, 3.0));
  EXPECT_EQ(log, "p1 p2 f1 ");
}
TEST(ModuleRules, N13_full_backward_hooks_run_against_the_order_of_forward_and_may_replace_the_gradient) {
  auto net = make<Sequential>(make<Times>(2.), make<Times>(3.));
  std::string log;
  for (int i = 0; i < 2; ++i)
    (*net)[i].module()->register_full_backward_hook([&log, i](Module&, const Tensors& in, const Tensors& out) -> std::optional<Tensors> {
      log += std::to_string(i) + ":" + std::to_string(int(in[0].at({}))) + "," + std::to_string(int(out[0].at({}))) + " ";
      if (i == 1) return Tensors{in[0] * 100.0};
      return std::nullopt;
    });
  const Tensor x = full({}, 1.0, f64).requires_grad_();
  (*net)(x).backward();
  EXPECT_EQ(log, "1:3,1 0:600,300 ");
  EXPECT_EQ(x.grad().item<double>(), 600);
}
TEST(ModuleRules, N14_setting_a_submodule_does_not_affect_its_parent) {
  auto m = make<Net>();
  m->b->eval();
  EXPECT_TRUE(m->training() && m->a->training());
  EXPECT_FALSE((*m->b)[0].module()->training());
}
TEST(ModuleRules, N15_zeroed_gradients_have_no_history) {
  auto m = make<Linear>(2, 2, kDouble);
  const Tensor x = ones({1, 2}, f64);
  sum((*m)(x) * (*m)(x)).backward({}, false, true);
  EXPECT_TRUE(m->weight->grad().requires_grad());
  m->zero_grad(false);
  EXPECT_FALSE(m->weight->grad().requires_grad());
  EXPECT_EQ(m->weight->grad().at({1, 1}), 0);
  m->zero_grad();
  EXPECT_FALSE(m->weight->grad().defined());
}
TEST(ModuleRules, N16_casts_keep_parameters_and_make_new_buffers_and_a_graph_that_saved_them_notices) {
  auto m = make<Net>();
  const Tensor w = m->a->weight.leaf(), steps = m->steps.value();
  const Tensor loss = sum((*m)(ones({1, 3}).requires_grad_()));
  m->to(f64);
  EXPECT_TRUE(m->a->weight.leaf().is_same(w));
  EXPECT_FALSE(m->steps->is_same(steps));
  EXPECT_REFUSED("", loss.backward());
}
TEST(ModuleRules, N17_clones_copy_tensors_children_and_hooks) {
  auto m = make<Net>();
  int calls = 0;
  auto handle = m->register_forward_hook([&](Module&, const Values&, Value&) { ++calls; });
  m->a->requires_grad_(false);
  m->eval();
  auto c = nn::clone(*m);
  EXPECT_FALSE(c->a->weight->requires_grad());
  EXPECT_TRUE(c->w->requires_grad() && c->w->is_leaf());
  EXPECT_FALSE(c->training());
  EXPECT_NE(c->a->weight->view().data, m->a->weight->view().data);
  handle.remove();  // only from the original
  (*m)(ones({1, 3}));
  EXPECT_EQ(calls, 0);
  (*c)(ones({1, 3}));
  EXPECT_EQ(calls, 1);
}
TEST(ModuleRules, N18_set_submodule_replaces_or_creates) {
  auto m = make<Net>();
  m->set_submodule("b.0", make<Identity>());
  EXPECT_TRUE((*m->b)[0].as<Identity>());
  m->set_submodule("b.more", make<Identity>());
  EXPECT_EQ(m->b->size(), 4U);
  EXPECT_REFUSED("Sequential has no attribute `other`", m->set_submodule("b.other", make<Identity>(), true));
  EXPECT_REFUSED("without a target name", m->set_submodule("", make<Identity>()));
  EXPECT_REFUSED("`w` of Net is not an nn::Module", m->set_submodule("w", make<Identity>()));
}
// The text is PyTorch 2's, recorded.
TEST(ModuleRules, N20_repr) {
  struct R : nn::Linear {
    Child<Linear> sub;
    R(int64_t in, int64_t out) : Linear(in, out), sub(this, "sub", in, out - 1) {}
  };
  struct E : Module {
    Child<R> r{this, "r", 2, 3};
    Child<nn::ModuleList> l{this, "l"};
    Child<Identity> n{this, "n", nullptr};
    Child<nn::ModuleDict> d{this, "d"};
    Child<nn::ModuleList> e{this, "e"};
    E() {
      for (int i = 0; i < 3; ++i) l->append(make<Sequential>(make<Linear>(1, 2), make<Identity>()));
      l->append(make<Identity>());
      d->set("q", make<Identity>());
    }
    std::string extra_repr() const override { return "x=1\ny=2"; }
  };
  EXPECT_EQ(nn::repr(*make<E>()), R"(E(
  x=1
  y=2
  (r): R(
    in_features=2, out_features=3, bias=True
    (sub): Linear(in_features=2, out_features=2, bias=True)
  )
  (l): ModuleList(
    (0-2): 3 x Sequential(
      (0): Linear(in_features=1, out_features=2, bias=True)
      (1): Identity()
    )
    (3): Identity()
  )
  (n): None
  (d): ModuleDict(
    (q): Identity()
  )
  (e): ModuleList()
))");
  EXPECT_EQ(nn::repr(*make<Module>()), "Module()");
}

// ---- the contract ------------------------------------------------------------------------------------------------

TEST(Contract, KM1_a_module_inside_itself_is_refused_at_registration_and_assignment) {
  auto inner = make<Sequential>();
  auto middle = make<Sequential>(inner);
  auto outer = make<Sequential>(middle);
  EXPECT_REFUSED("a module cannot be inside itself", inner->append(outer));
  EXPECT_REFUSED("a module cannot be inside itself", inner->append(inner));
  EXPECT_REFUSED("a module cannot be inside itself", middle->add_module("0", outer));
  EXPECT_EQ(inner->size(), 0U);
  EXPECT_EQ((*middle)[0].module(), inner);
}
TEST(Contract, KM2_a_shared_module_is_visited_and_counted_once) {
  auto l = make<Linear>(2, 2);
  auto net = make<Sequential>(l, l, make<Sequential>(l));
  EXPECT_EQ(net->modules().size(), 3U);
  EXPECT_EQ(net->parameters().size(), 2U);
  EXPECT_EQ(l->holders().size(), 3U);
  int visits = 0;
  net->apply([&](Module& m) { visits += &m == l.get(); });
  EXPECT_EQ(visits, 1);
}
TEST(Contract, KM3_duplicate_empty_and_dotted_names_are_refused) {
  struct Twice : Hold { Child<Times> again{this, "a", 2.0}; };
  struct Both : Hold { nn::Param p{this, "a", ones({1})}; };
  EXPECT_REFUSED("attribute 'a' already exists", make<Twice>());
  EXPECT_REFUSED("attribute 'a' already exists", make<Both>());
  EXPECT_REFUSED("can't be empty", make<Module>()->add_module("", nullptr));
  EXPECT_REFUSED("can't contain", make<Module>()->add_module("a.b", nullptr));
}
TEST(Contract, KM4_a_slot_that_was_not_declared_so_cannot_be_emptied) {
  auto m = make<Hold>();
  EXPECT_REFUSED("slot 'a' of Hold cannot be empty", m->a = nullptr);
  EXPECT_TRUE(m->a);
}
TEST(Contract, KM5_putting_a_module_of_another_model_shares_it_explicitly) {
  auto a = make<Hold>(), b = make<Hold>();
  b->a = a->a;
  EXPECT_EQ(b->a.module()->holders().size(), 2U);
  a.reset();
  EXPECT_EQ((*b)(full({}, 1.0)).item<double>(), 2);
}
TEST(Contract, KM13_a_removed_module_stays_alive_works_and_says_that_it_is_detached) {
  auto m = make<Sequential>(make<Hold>());
  const ModulePtr held = (*m)[0].module();
  const ModulePtr inner = static_cast<Hold&>(*held).a.module();
  EXPECT_EQ(inner->path(), "0.a");
  (*m)[0] = make<Times>(1.);
  EXPECT_TRUE(held->detached());
  EXPECT_EQ(held->path(), "(detached)");
  EXPECT_EQ(inner->path(), "(detached).a");
  EXPECT_EQ(static_cast<Hold&>(*held)(full({}, 1.0)).item<double>(), 2);
  EXPECT_FALSE(m->detached());
  EXPECT_EQ(m->path(), "");
}
TEST(Contract, KM14_a_handle_captured_in_a_lambda_keeps_its_module_alive) {
  auto m = make<Hold>();
  const std::function<double()> later = [held = m->a.module()] {
    return static_cast<Times&>(*held)(full({}, 1.0)).item<double>();
  };
  m->a = make<Times>(5.);
  m.reset();
  EXPECT_EQ(later(), 2);
}
TEST(Contract, KM16_100000_levels_are_walked_printed_cloned_and_freed_without_recursion) {
  ModulePtr m = make<Times>(1.);
  for (int i = 0; i < 100'000; ++i) {
    auto outer = make<Module>();
    outer->add_module("x", std::move(m));
    m = outer;
  }
  EXPECT_EQ(m->modules().size(), 100'001U);
  EXPECT_TRUE(m->parameters().empty());
  m->eval().train();
  const ModulePtr copy = m->clone();
  m.reset();
  EXPECT_FALSE(copy->modules().back()->path().empty());
}
TEST(Contract, KM16_1000_levels_are_named_saved_and_printed) {
  ModulePtr m = make<Linear>(1, 1);
  for (int i = 0; i < 1000; ++i) {
    auto outer = make<Module>();
    outer->add_module("x", std::move(m));
    m = outer;
  }
  EXPECT_EQ(m->named_modules().back().first.size(), 1999U);
  EXPECT_EQ(m->state_dict().size(), 2U);
  m->load_state_dict(m->state_dict());
  EXPECT_NE(nn::repr(*m).find("Linear"), std::string::npos);
}
TEST(Contract, KM20_surgery_during_a_call_is_refused_a_slot_may_be_assigned) {
  auto m = make<Hold>();
  m->a->register_forward_hook([&](Module&, const Values&, Value&) {
    EXPECT_TRUE(nn::in_call());
    EXPECT_CODE(concurrent_modification, nn::refuse_during_call("surgery"));
    EXPECT_REFUSED("surgery: the model is being called (at 'a')", nn::refuse_during_call("surgery"));
  });
  (*m)(full({}, 1.0));
  EXPECT_NO_THROW(nn::refuse_during_call("surgery"));
}
TEST(Contract, KM20_backward_after_a_replacement_uses_the_tensors_of_the_forward) {
  auto m = make<Sequential>(make<Linear>(2, 2, kDouble));
  const Tensor w = (*m)[0].as<Linear>()->weight.leaf();
  const Tensor loss = sum((*m)(ones({1, 2}, f64)));
  (*m)[0] = make<Linear>(2, 2, kDouble);
  loss.backward();
  EXPECT_EQ(w.grad().at({1, 0}), 1);
  EXPECT_FALSE((*m)[0].as<Linear>()->weight->grad().defined());
}
TEST(Contract, KM21_clones_keep_the_sharing_of_modules) {
  auto l = make<Linear>(2, 2);
  auto net = make<Sequential>(l, make<Sequential>(l), l);
  const auto c = nn::clone(*net);
  EXPECT_EQ((*c)[0].module(), (*c)[2].module());
  EXPECT_EQ((*c)[0].module().get(), &c->get_submodule("1.0"));
  EXPECT_NE((*c)[0].module(), (*net)[0].module());
}
TEST(Contract, KM22_a_failed_allocation_in_clone_or_load_changes_nothing) {
  auto net = make<Net>();
  const nn::StateDict other = make<Net>()->state_dict();
  const nn::StateDict before = nn::clone(*net)->state_dict();
  const auto in_use = memory::stats().in_use;
  int left = 0, failed = 0;
  for (const bool loads : {false, true}) {
    for (int n = 0;; ++n) {
      left = n;
      memory::set_hook([](size_t, void* k) { if (--*static_cast<int*>(k) < 0) throw std::bad_alloc(); }, &left);
      bool done = true;
      try {
        if (loads) net->load_state_dict(other);
        else net->clone();
      } catch (const std::bad_alloc&) {
        done = false;
      }
      memory::set_hook(nullptr);
      if (done) break;
      ++failed;
      for (const auto& [key, t] : net->state_dict()) {
        const Tensor a = t.to(f64).contiguous(), b = before.at(key).to(f64).contiguous();
        for (int64_t i = 0; i < a.numel(); ++i) ASSERT_EQ(a.data<double>()[i], b.data<double>()[i]) << key;
      }
    }
  }
  EXPECT_GT(failed, 10);
  EXPECT_EQ(memory::stats().in_use, in_use);
  EXPECT_EQ(net->a->bias->at({0}), other.at("a.bias").at({0}));
}

// ---- editable parameters -------------------------------------------------------------------------------------------

TEST(EditableParam, a_plain_module_refuses_in_place_edits_and_values_with_history) {
  auto m = make<Linear>(2, 2, kDouble);
  EXPECT_REFUSED("a leaf Variable that requires grad is being used in an in-place operation", m->weight *= 2.0);
  const double before = m->weight->at({0, 0});
  {
    const NoGrad quiet;
    m->weight *= 2.0;
  }
  EXPECT_EQ(m->weight->at({0, 0}), 2 * before);
  EXPECT_TRUE(m->weight->is_leaf());
}
TEST(EditableParam, gradients_reach_the_leaf_through_the_edits) {
  auto m = make<Linear>(2, 2, kDouble);
  m->weight.entry().make_editable();
  const Tensor leaf = m->weight.leaf();
  const double w0 = leaf.at({0, 0});
  m->weight *= 3.0;
  m->weight += 1.0;
  m->weight.edit([](Tensor& w) { w.narrow(0, 1, 1).mul_(scalar_tensor(10.0, f64)); });
  EXPECT_NEAR(m->weight->at({0, 0}), 3 * w0 + 1, 1e-12);
  EXPECT_EQ(leaf.at({0, 0}), w0);
  sum((*m)(ones({1, 2}, f64))).backward();
  EXPECT_NEAR(leaf.grad().at({0, 0}), 3, 1e-12);
  EXPECT_NEAR(leaf.grad().at({1, 0}), 30, 1e-12);
  EXPECT_TRUE(m->parameters()[0].is_same(leaf));
  EXPECT_NEAR(m->state_dict().at("weight").at({0, 0}), 3 * w0 + 1, 1e-12);
}
TEST(EditableParam, in_place_methods_and_assignment_by_index_are_recorded) {
  auto m = make<Linear>(2, 2, kDouble);
  m->weight.entry().make_editable();
  const Tensor leaf = m->weight.leaf(), v = full({2}, 4.0, f64).requires_grad_();
  const double w10 = leaf.at({1, 0});
  m->weight.index_put_({0}, v).mul_(2.0).index_put_({Slice(), 1}, 7.0);
  EXPECT_EQ(m->weight->at({0, 0}), 8);
  EXPECT_EQ(m->weight->at({0, 1}), 7);
  EXPECT_EQ(m->weight->at({1, 0}), 2 * w10);
  sum((*m)(ones({1, 2}, f64))).backward();
  EXPECT_EQ(v.grad().at({0}), 2);
  EXPECT_EQ(v.grad().at({1}), 0);  // overwritten
  EXPECT_EQ(leaf.grad().at({0, 0}), 0);
  EXPECT_EQ(leaf.grad().at({1, 0}), 2);
  m->weight.fill_(3);
  EXPECT_EQ(m->weight->at({1, 1}), 3);
  EXPECT_TRUE(m->weight->requires_grad());  // with a gradient of zeros for what was before
}
TEST(EditableParam, a_predicted_tensor_may_be_assigned_and_its_shape_is_checked) {
  auto m = make<Linear>(2, 2, kDouble);
  m->weight.entry().make_editable();
  m->bias.entry().make_editable();
  const Tensor z = full({2, 2}, 2.0, f64).requires_grad_();
  m->weight = z * 5.0;
  m->bias = nullptr;
  sum((*m)(ones({1, 2}, f64))).backward();
  EXPECT_EQ(z.grad().at({1, 1}), 5);
  EXPECT_FALSE(m->weight.leaf().grad().defined());
  EXPECT_CODE(shape_mismatch, m->weight = zeros({3}, f64));
  EXPECT_CODE(dtype_mismatch, m->weight = zeros({2, 2}, f32));
  m->weight.assign(zeros({3, 2}, f64), nn::Check::none);
}
TEST(EditableParam, conversion_clone_load_and_materialize_use_the_value) {
  auto m = make<Linear>(1, 1, kDouble);
  m->weight.entry().make_editable();
  const Tensor leaf = m->weight.leaf();
  m->weight.edit([](Tensor& w) { w.mul_(scalar_tensor(0.0, f64)).add_(scalar_tensor(6.0, f64)); });
  auto c = nn::clone(*m);
  EXPECT_EQ(c->weight->at({0, 0}), 6);
  EXPECT_TRUE(c->weight.leaf().is_same(c->weight.value()) && c->weight->requires_grad());
  c->weight *= 2.0;  // still editable
  EXPECT_EQ(m->weight->at({0, 0}), 6);
  m->to(f32);
  EXPECT_EQ(m->weight->dtype(), f32);
  EXPECT_EQ(m->weight->at({0, 0}), 6);
  m->weight.materialize();
  EXPECT_FALSE(m->weight.leaf().is_same(leaf));
  EXPECT_EQ(m->parameters()[0].at({0, 0}), 6);
  c->load_state_dict({{"weight", full({1, 1}, 9.0)}, {"bias", zeros({1})}});
  EXPECT_EQ(c->weight->at({0, 0}), 9);
  EXPECT_TRUE(c->weight.leaf().is_same(c->weight.value()));
}
TEST(EditableParam, tied_slots_share_the_leaf) {
  auto a = make<Linear>(1, 1, kDouble), b = make<Linear>(1, 1, kDouble);
  b->weight = a->weight;
  a->weight.entry().make_editable();
  a->weight *= 3.0;
  const Tensor x = ones({1, 1}, f64);
  sum((*a)(x) + (*b)(x)).backward();
  EXPECT_NEAR(b->weight.leaf().grad().at({0, 0}), 4, 1e-12);
  EXPECT_TRUE(a->weight.leaf().is_same(b->weight.leaf()));
}

}  // namespace
