// Slots: what may be done with the members that name a module's children, and what is refused. Each test is a trap.
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/activation.h"
#include "graft/nn/child.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/nn/param.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Child;
using nn::Layer;
using nn::make;
using nn::ModuleOf;
using nn::ModulePtr;

Tensor number(double v) { return full({}, v, f64); }
const Tensor one = number(1);
double value(const Tensor& t) { return t.item<double>(); }

struct Mul : Layer {
  double k;
  explicit Mul(double k) : k(k) {}
  Tensor forward(const Tensor& x) override { return x * k; }
};
struct Add : Layer {
  double k;
  explicit Add(double k) : k(k) {}
  Tensor forward(const Tensor& x) override { return x + k; }
};
struct Sum2 : ModuleOf<Tensor(const Tensor&, const Tensor&)> {
  Tensor forward(const Tensor& a, const Tensor& b) override { return a + b; }
};
struct Block : Layer {
  Child<Mul> a{this, "a", 2.0};
  Child<Mul> b{this, "b", 3.0};
  Child<Sum2> sum{this, "sum"};
  Tensor forward(const Tensor& x) override { return sum(a(x), b(x)); }
};
struct Net : Layer {
  Child<Block> block{this, "block"};
  Child<Mul> tail{this, "tail", 10.0};
  Tensor forward(const Tensor& x) override { return tail(block(x)); }
};
struct One : Layer {
  Child<Mul> a{this, "a", 2.0};
  Tensor forward(const Tensor& x) override { return a(x); }
};
struct Wrap : Layer {
  explicit Wrap(ModulePtr m) { add_module("x", std::move(m)); }
  Tensor forward(const Tensor& x) override { return x; }
};

template <class M> double run(M& m, double x = 1) { return value(m(number(x))); }

TEST(Slots, a_call_uses_what_the_slot_holds_now) {
  auto net = make<Net>();
  EXPECT_EQ(run(*net), 50);
  auto before = nn::clone(*net);
  net->block->a = make<Add>(100.0);
  EXPECT_EQ(run(*net), 1040);
  EXPECT_EQ(run(*before), 50);
}

TEST(Slots, t01_assigning_slot_to_slot_shares_the_module_and_keeps_the_handles_bound) {
  auto n = make<Net>();
  n->block->a = n->block->b;
  EXPECT_EQ(n->block->a.as<Mul>(), n->block->b.as<Mul>());
  n->child_entry("block.a").put(make<Mul>(7.0));
  EXPECT_EQ(n->block->a->k, 7);
  EXPECT_EQ(n->block->b->k, 3);
}
TEST(Slots, t02_copying_a_handle_or_a_module_outside_clone_is_refused) {
  auto n = make<Net>();
  EXPECT_REFUSED("copied only with its module", auto h = n->tail; (void)h);
  EXPECT_REFUSED("copied by clone()", Net plain = *n);
  EXPECT_REFUSED("copied only with its module", auto h = n->tail; (void)h);  // the failed copy left no state behind
}
TEST(Slots, t03_a_moved_module_is_refused) {
  auto n = make<Net>();
  EXPECT_REFUSED("copied by clone()", Net moved = std::move(*n));
}
TEST(Slots, t04_clone_makes_the_dynamic_type_and_slicing_is_refused) {
  struct Derived : One {
    std::vector<double> big{1, 2, 3};
    Child<Mul> b{this, "b", 5.0};
    Tensor forward(const Tensor& x) override { return b(a(x)); }
  };
  auto d = make<Derived>();
  EXPECT_REFUSED("copied by clone()", One sliced = *d);
  EXPECT_EQ(run(*nn::clone(*d)), 10);
  const ModulePtr as_base = d, copy = as_base->clone();
  EXPECT_TRUE(dynamic_cast<Derived*>(copy.get()));
}
TEST(Slots, t05_two_slots_of_one_name_a_failing_constructor_and_a_module_by_value_are_refused) {
  struct Dup : One { Child<Mul> again{this, "a", 2.0}; };
  struct Fails : One { Fails() { fail("ctor"); } };
  struct ByValue : One { Mul helper{2}; };
  EXPECT_REFUSED("attribute 'a' already exists", make<Dup>());
  EXPECT_REFUSED("ctor", make<Fails>());
  EXPECT_REFUSED("must be a Child", make<ByValue>()->clone());
}
TEST(Slots, t06_arrays_and_vectors_of_slots_are_cloned) {
  struct InArray : Layer {
    std::array<Child<Mul>, 2> ls{Child<Mul>{this, "0", 2.0}, Child<Mul>{this, "1", 3.0}};
    Tensor forward(const Tensor& x) override { return ls[1](ls[0](x)); }
  };
  struct InVector : Layer {
    std::vector<Child<Mul>> ls;
    InVector() { for (int i = 0; i < 5; i++) ls.emplace_back(this, std::to_string(i), i + 1.0); }
    Tensor forward(const Tensor& x) override {
      Tensor y = x;
      for (auto& l : ls) y = l(y);
      return y;
    }
  };
  EXPECT_EQ(run(*nn::clone(*make<InArray>())), 6);
  auto v = make<InVector>();
  auto w = nn::clone(*v);
  v->ls[0] = make<Mul>(0.0);
  EXPECT_EQ(run(*w), 120);
  EXPECT_EQ(run(*v), 0);
}
struct Bomb {
  bool armed = false;
  Bomb() = default;
  Bomb(const Bomb& o) : armed(o.armed) { if (armed) fail("boom"); }
  Bomb& operator=(const Bomb&) = default;
};
TEST(Slots, t07_a_copy_constructor_that_throws_leaves_nothing_behind) {
  struct WithBomb : One { Bomb x; };
  auto q = make<WithBomb>();
  q->x.armed = true;
  EXPECT_REFUSED("boom", q->clone());
  EXPECT_REFUSED("copied only with its module", auto h = q->a; (void)h);
  q->x.armed = false;
  EXPECT_EQ(run(*nn::clone(*q)), 2);
}
struct Calls : Layer {
  std::vector<double> w = std::vector<double>(1000, 2);
  std::function<void()> during;
  Tensor forward(const Tensor& x) override {
    if (during) during();
    return x * w[5];
  }
};
struct HoldsCalls : Layer {
  Child<Calls> a{this, "a"};
  Tensor forward(const Tensor& x) override { return a(x); }
};
TEST(Slots, t08_a_module_replaced_during_a_call_lives_until_the_call_returns) {
  auto p = make<HoldsCalls>();
  std::weak_ptr<nn::Module> old = p->a.module();
  p->a->during = [&] {
    p->a = make<Mul>(3.0);
    p->a = make<Mul>(4.0);
    EXPECT_FALSE(old.expired());
  };
  EXPECT_EQ(run(*p), 2);
  EXPECT_TRUE(old.expired());
  EXPECT_EQ(run(*p), 4);
}
TEST(Slots, t09_hooks_may_add_hooks_while_they_run) {
  auto m = make<Net>();
  int late = 0;
  for (int k = 0; k < 2; k++)
    m->tail->register_forward_hook([&](nn::Module& mm, const nn::Values&, nn::Value&) {
      for (int i = 0; i < 4; i++) mm.register_forward_hook([&](nn::Module&, const nn::Values&, nn::Value&) { ++late; });
    });
  EXPECT_EQ(run(*m), 50);
  EXPECT_EQ(late, 0);
  EXPECT_EQ(run(*m), 50);
  EXPECT_EQ(late, 8);
}
TEST(Slots, t10_hierarchies_of_100000_levels_are_cloned_walked_and_freed_without_recursion) {
  ModulePtr m = make<Mul>(1.0);
  for (int i = 0; i < 100'000; i++) m = make<Wrap>(m);
  const ModulePtr copy = m->clone();
  m.reset();
  EXPECT_EQ(copy->modules().size(), 100'001U);
  copy->eval();
  int leaves = 0;
  copy->apply([&](nn::Module& x) { leaves += x.children().empty(); });
  EXPECT_EQ(leaves, 1);
}
TEST(Slots, t11_a_removed_slot_is_empty_and_the_others_keep_working) {
  struct Three : Layer {
    Child<Mul> a{this, "a", 2.0}, b{this, "b", 3.0}, c{this, "c", 5.0};
    Tensor forward(const Tensor& x) override { return c(b(x)); }
  };
  auto t = make<Three>();
  t->remove("a");
  EXPECT_EQ(run(*t), 15);
  EXPECT_REFUSED("slot 'a' of Three was removed", t->a(one));
  EXPECT_REFUSED("was removed", t->a = make<Mul>(1.0));
  t->b = make<Mul>(1.0);
  EXPECT_EQ(run(*t), 5);
}
TEST(Slots, t12_a_module_inside_itself_is_refused) {
  auto p = make<HoldsCalls>();
  auto around = make<Wrap>(p);
  EXPECT_REFUSED("a module cannot be inside itself", p->a = around);
  EXPECT_REFUSED("a module cannot be inside itself", p->a = p);
  EXPECT_TRUE(p->a.as<Calls>());
}

struct Scale : ModuleOf<Tensor(const Tensor&, double)> {
  Tensor forward(const Tensor& a, double k) override { return a * k; }
};
struct Attn : ModuleOf<Tensor(const Tensor&, std::optional<Tensor>)> {
  Tensor forward(const Tensor& a, std::optional<Tensor> m) override { return m ? a + *m : a + 100; }
};
struct Rnn : ModuleOf<std::tuple<Tensor, Tensor>(const Tensor&)> {
  std::tuple<Tensor, Tensor> forward(const Tensor& a) override { return {a, a * 2}; }
};
struct Both : ModuleOf<Tensor(const Tensor&), Tensor(const Tensor&, const Tensor&)> {
  Tensor forward(const Tensor& a) override { return a; }
  Tensor forward(const Tensor& a, const Tensor& b) override { return a * b; }
};
struct Uses : Layer {
  Child<Scale> s{this, "s"};
  Child<Attn> at{this, "at"};
  Child<Rnn> r{this, "r"};
  Child<Sum2> two{this, "two"};
  Child<Layer> down{this, "down", nullptr};
  Child<Layer> act{this, "act", make<Mul>(1.0)};
  Tensor forward(const Tensor& x) override {
    auto [y, h] = r(x);
    Tensor z = s(h, 2);
    z = at(z);
    z = two(z, z);
    if (down) z = down(z);
    return act(z);
  }
};
TEST(Slots, t13_t14_t15_t17_scalars_tuples_optionals_and_empty_slots_cross_the_erased_call) {
  auto u = make<Uses>();
  EXPECT_EQ(run(*u), 208);
  int seen = 0;
  for (nn::Module* m : u->children())
    m->register_forward_hook([&](nn::Module&, const nn::Values&, nn::Value&) { ++seen; });
  EXPECT_EQ(run(*u), 208);
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(run(*nn::clone(*u)), 208);
  u->down = make<Mul>(2.0);
  EXPECT_EQ(run(*u), 416);
  u->down = nullptr;
  EXPECT_EQ(run(*u), 208);
}
TEST(Slots, t16_t19_a_slot_takes_any_module_with_its_signature_and_no_other) {
  auto u = make<Uses>();
  u->two = make<Both>();
  EXPECT_EQ(run(*u), 104 * 104);
  u->act = make<Both>();
  EXPECT_EQ(run(*u), 104 * 104);
  EXPECT_REFUSED("slot 'two' of Uses cannot hold Mul (was Both): other call signature", u->two = make<Mul>(1.0));
  EXPECT_REFUSED("was declared for another type and now holds Both", (void)&*u->two);
}
TEST(Slots, t18_a_module_of_known_type_needs_no_make_an_unknown_one_does) {
  auto m = make<Net>();
  m->tail = std::make_shared<Mul>(3);
  EXPECT_EQ(run(*nn::clone(*m)), 15);
  ModulePtr erased = std::make_shared<Mul>(3);
  EXPECT_REFUSED("make modules by nn::make<Mul>()", m->tail = erased);
}
TEST(Slots, t20_calling_the_root_runs_its_hooks_forward_does_not) {
  auto m = make<Net>();
  int seen = 0;
  m->register_forward_hook([&](nn::Module&, const nn::Values&, nn::Value&) { seen++; });
  (*m)(one);
  m->forward(one);
  EXPECT_EQ(seen, 1);
}
TEST(Slots, errors_of_nested_calls_arrive_with_their_path) {
  struct Thrower : Layer {
    Tensor forward(const Tensor&) override { fail("matmul: inner sizes differ"); }
  };
  auto m = make<Net>();
  m->block->a = make<Thrower>();
  try {
    (*m)(one);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "block.a (Thrower): matmul: inner sizes differ");
    EXPECT_EQ(e.path(), "block.a");
  }
  EXPECT_FALSE(nn::in_call());
}
TEST(Slots, the_path_of_running_calls_is_known_inside_them) {
  auto m = make<Net>();
  std::string seen;
  m->block->b->register_forward_hook([&](nn::Module&, const nn::Values&, nn::Value&) { seen = nn::current_path(); });
  (*m)(one);
  EXPECT_EQ(seen, "block.b");
  EXPECT_EQ(nn::current_path(), "");
}

TEST(Slots, a_slot_takes_a_handle_of_what_fits_it_and_makes_a_module_of_anything_else) {
  struct Net : nn::Layer {
    explicit Net(const std::shared_ptr<nn::Sequential>& given) : body(this, "body", given), made(this, "made", nn::make<nn::ReLU>()) {}
    Tensor forward(const Tensor& x) override { return made(body(x)); }
    nn::Child<nn::Sequential> body, made;
  };
  const auto given = nn::make<nn::Sequential>(nn::make<nn::Linear>(2, 3), nn::make<nn::ReLU>());
  auto net = nn::make<Net>(given);
  EXPECT_EQ(net->body.module(), given);  // not a Sequential around it
  EXPECT_EQ(nn::type_name(net->get_submodule("made.0")), "ReLU");
  EXPECT_EQ(nn::make<Net>(nn::make<nn::Sequential>())->body->child_entries().size(), 0u);
}

}  // namespace
