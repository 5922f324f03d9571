// Undo in any order in which no edit takes away what a later one stands on; otherwise the conflict is listed and nothing
// happens.
#include <gtest/gtest.h>

#include <random>
#include <sstream>

#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/nn.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/plan.h"
#include "refused.h"

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::ModulePtr;
using nn::ReLU;
using nn::Sequential;
using surgery::select;

std::shared_ptr<Sequential> row(int64_t n) {
  auto s = make<Sequential>();
  for (int64_t i = 0; i < n; ++i) s->append(make<Linear>(2, 2));
  return s;
}
surgery::Policy fresh(const Module& m, const std::string& path) {
  return surgery::on<Linear>(select(m).at(path), [](const Linear&) { return make<Linear>(2, 2); });
}
void train_step(nn::Layer& net, optim::Optimizer& o) {
  o.zero_grad();
  sum(net(ones({2, 2}))).backward();
  o.step();
}

TEST(Undo, independent_edits_are_undone_in_any_order_with_the_order_of_parameters) {
  std::vector<int> order{0, 1, 2};
  do {
    auto net = row(5);
    optim::Adam adam(net->parameters());
    train_step(*net, adam);
    const std::string before = fingerprint(*net, {&adam});
    std::vector<surgery::Edit> edits;
    edits.push_back(surgery::replace(*net, {fresh(*net, "1")}, {.optimizers = {&adam}}));
    edits.push_back(surgery::replace(*net, {fresh(*net, "3")}, {.optimizers = {&adam}}));
    edits.push_back(surgery::replace(*net, {surgery::remove(select(*net).at("2"), surgery::Removal::identity)}, {.optimizers = {&adam}}));
    for (const int i : order) edits[size_t(i)].undo();
    EXPECT_EQ(fingerprint(*net, {&adam}), before) << order[0] << order[1] << order[2];
  } while (std::ranges::next_permutation(order).found);
}

TEST(Contract, KM19_an_edit_on_which_a_later_one_stands_is_not_undone_first) {
  auto net = row(2);
  optim::SGD sgd(net->parameters());
  const std::string start = fingerprint(*net, {&sgd});
  auto first = surgery::replace(*net, {surgery::on<Linear>(select(*net).at("0"), [](const Linear&) { return row(1); })}, {.optimizers = {&sgd}});
  auto second = surgery::replace(*net, {fresh(*net, "0.0")}, {.optimizers = {&sgd}});
  const std::string now = fingerprint(*net, {&sgd});
  EXPECT_REFUSED("later edits have changed '0.0'; undo those first", first.undo());
  EXPECT_EQ(fingerprint(*net, {&sgd}), now);
  EXPECT_TRUE(first.applied());
  second.undo();
  first.undo();
  EXPECT_EQ(fingerprint(*net, {&sgd}), start);
}

TEST(Contract, KM19_a_tied_parameter_that_a_later_edit_has_taken_out_is_a_conflict) {
  auto net = row(3);
  (*net)[2].as<Linear>()->weight = (*net)[0].as<Linear>()->weight;
  optim::SGD sgd(net->parameters());
  const std::string start = fingerprint(*net, {&sgd});
  auto first = surgery::replace(*net, {fresh(*net, "0")}, {.optimizers = {&sgd}});
  auto second = surgery::replace(*net, {fresh(*net, "2")}, {.optimizers = {&sgd}});
  const std::string now = fingerprint(*net, {&sgd});
  EXPECT_REFUSED("later edits have changed '0.weight' (taken out since)", first.undo());
  EXPECT_EQ(fingerprint(*net, {&sgd}), now);
  second.undo();
  first.undo();
  EXPECT_EQ(fingerprint(*net, {&sgd}), start);
}

TEST(Undo, a_new_parameter_that_was_tied_elsewhere_since_stays_in_the_optimizer) {
  auto net = row(2);
  optim::SGD sgd(net->parameters(), {.lr = 0.1});
  auto edit = surgery::replace(*net, {fresh(*net, "0")}, {.optimizers = {&sgd}});
  const Tensor shared = net->get_parameter("0.weight");
  (*net)[1].as<Linear>()->weight = (*net)[0].as<Linear>()->weight;
  edit.undo();
  EXPECT_TRUE(net->get_parameter("1.weight").is_same(shared));
  EXPECT_NE(sgd.state(shared), nullptr);
  EXPECT_FALSE(optim::is_stale(shared));
}

TEST(Contract, KM19_lists_and_inserted_entries_that_have_changed_since_are_conflicts) {
  auto net = row(2);
  const std::string start = fingerprint(*net);
  auto first = surgery::replace(*net, {surgery::insert_after(select(*net).first(), [] { return make<ReLU>(); })});
  auto second = surgery::replace(*net, {surgery::on<ReLU>([](const ReLU&) { return make<nn::GELU>(); })});
  EXPECT_REFUSED("the list of the model", first.undo());  // what it has inserted is another module now
  second.undo();
  auto third = surgery::replace(*net, {surgery::remove(select(*net).last())});
  EXPECT_REFUSED("the list of the model", first.undo());
  third.undo();
  first.undo();
  EXPECT_EQ(fingerprint(*net), start);
}

TEST(Contract, KM19_a_root_that_was_replaced_since_is_a_conflict) {
  ModulePtr net = make<Linear>(2, 2);
  const auto by = [](const ModulePtr& m) { return surgery::on<Module>([m](const Module&) { return m; }); };
  auto plan = surgery::plan(net, {by(make<ReLU>())}, {.include_root = true});
  auto first = surgery::replace(net, {by(make<ReLU>())}, {.include_root = true});
  EXPECT_REFUSED("another state of the model", plan.apply());
  auto second = surgery::replace(net, {by(make<nn::GELU>())}, {.include_root = true});
  EXPECT_REFUSED("later edits have changed the model itself", first.undo());
  second.undo();
  first.undo();
  EXPECT_EQ(nn::type_name(*net), "Linear");
}

// The lines of a fingerprint without regard to the order of parameters in optimizers.
std::vector<std::string> sorted_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::ranges::sort(lines);
  return lines;
}

// A stack of random edits, undone in random order: what is refused changes nothing, and in the end all is as it was. The
// last in, first out, to the bit; else the order of parameters within a group may differ, where all neighbours that a
// parameter had when it left have been replaced and undone since.
TEST(Undo, random_edits_in_random_order) {
  int refused = 0, undone = 0, reordered = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](size_t n) { return size_t(random() % n); };
    auto net = make<Sequential>(row(3), make<ReLU>(), row(2), make<Linear>(2, 2), make<ReLU>());
    optim::Adam adam(net->parameters());
    train_step(*net, adam);
    const std::string start = fingerprint(*net, {&adam});
    std::vector<surgery::Edit> edits;
    for (int k = 0; k < 6; ++k) {
      const auto all = select(*net);
      const auto one = all.nth(int64_t(pick(all.count()))), other = all.nth(int64_t(pick(all.count())));
      std::vector<surgery::Policy> policies;
      switch (pick(6)) {
        case 0: policies = {surgery::on(one, [](const Module&) { return make<Linear>(2, 2); })}; break;
        case 1: policies = {surgery::insert_after(one, [] { return make<Linear>(2, 2); })}; break;
        case 2: policies = {surgery::insert_before(one, [] { return make<ReLU>(); })}; break;
        case 3: policies = {surgery::remove(one, pick(2) ? surgery::Removal::entry : surgery::Removal::identity)}; break;
        case 4: policies = {surgery::wrap(one, [](const ModulePtr& m) { return make<Sequential>(m, make<Linear>(2, 2)); })}; break;
        default: policies = {surgery::swap(one, other)};
      }
      const std::string now = fingerprint(*net, {&adam});
      try {
        edits.push_back(surgery::replace(*net, policies, {.optimizers = {&adam}}));
      } catch (const Error&) {
        ASSERT_EQ(fingerprint(*net, {&adam}), now) << seed;
      }
      if (surgery::count<Module>(*net) == 0) break;
      const auto live = net->parameters();  // the optimizer has exactly these, and none is stale
      ASSERT_EQ(adam.params().size(), live.size()) << seed;
      for (const Tensor& t : live) ASSERT_TRUE(adam.state(t) && !optim::is_stale(t)) << seed;
    }
    const bool stack = seed % 3 == 0;
    while (!edits.empty()) {
      const size_t i = stack || pick(3) == 0 ? edits.size() - 1 : pick(edits.size());
      const std::string now = fingerprint(*net, {&adam});
      try {
        edits[i].undo();
        edits.erase(edits.begin() + std::ptrdiff_t(i));
        ++undone;
      } catch (const Error& e) {
        ASSERT_EQ(fingerprint(*net, {&adam}), now) << seed;
        ASSERT_NE(i, edits.size() - 1) << "the last edit can always be undone; seed " << seed << ": " << e.what();
        ++refused;
      }
    }
    const std::string end = fingerprint(*net, {&adam});
    reordered += end != start;
    if (stack) ASSERT_EQ(end, start) << seed;
    else ASSERT_EQ(sorted_lines(end), sorted_lines(start)) << seed;
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(undone, 1000);
  EXPECT_LT(reordered, 15);
}

}  // namespace
