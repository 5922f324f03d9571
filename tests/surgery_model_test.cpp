// Random operations on a model and its optimizer, each of them also done to a twin of plain lists and numbers, whose rules
// take a few lines. After every operation the two are alike: modules by identity, numbers, members of groups, and now and
// then what the model computes. Numbers are multiples of a power of two, so that both are exact.
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include "alloc_failure.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/plan.h"

namespace {

using namespace graft;
using nn::ModulePtr;
using surgery::select;

struct Leaf : nn::Layer {
  int id;
  explicit Leaf(int i) : id(i) {}
};
struct Gain : Leaf {
  nn::Param weight;
  Gain(int i, double w) : Leaf(i), weight(this, "weight", full({1}, w)) {}
  Tensor forward(const Tensor& x) override { return x * weight; }
};
struct Flip : Leaf {
  using Leaf::Leaf;
  Tensor forward(const Tensor& x) override { return -x; }
};

struct Twin {
  ModulePtr real;
  int id = 0;
  bool list = false, weighted = false;
  double weight = 0;
  size_t group = 0;  // where the optimizer has the weight while it is in the model
  std::vector<Twin*> children = {};
};
using Lists = std::map<Twin*, std::vector<Twin*>>;

struct Applied {
  surgery::Edit edit;
  Lists before;  // the children of every list
  struct Put { Twin* list; size_t at; Twin *old, *now; };
  std::optional<std::vector<Put>> replaced;  // where nothing but leaves in their places were replaced
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kOperations = 400;  // of each seed; instrumented code is slow
#else
constexpr int kOperations = 5000;
#endif

class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    root_ = list();
    net_ = std::dynamic_pointer_cast<nn::Sequential>(root_->real);
    Tensors first, second;
    Twin* inner = list();
    Twin* shared = gain(0);
    for (int i = 0; i < 8; ++i) add(i % 2 ? root_ : inner, i % 3 ? gain(size_t(i % 2)) : flip());
    add(root_, inner);
    add(root_, shared);
    add(inner, shared);
    for (Twin* t : live())
      if (t->weighted) (t->group ? second : first).push_back(parameter(t));
    sgd_.emplace(first, optim::SGDOptions{.lr = 0.5});
    sgd_->add_param_group(second, {.lr = 0.25});
  }

  void run(int operations) {
    compare("at the start");
    for (step_ = 0; step_ < operations && !testing::Test::HasFatalFailure(); ++step_) one();
  }
  std::map<std::string, int> done;  // operations that took place, by name

 private:
  using Operation = void (World::*)();

  int pick(int n) { return int(random_() % unsigned(n)); }
  Twin* keep(Twin t) { return &(twins_.emplace_back(std::move(t)), twins_.back()); }
  Twin* list() { return keep({.real = nn::make<nn::Sequential>(), .list = true}); }
  Twin* gain(size_t group) {
    const int id = ++ids_;
    const double w = (pick(31) - 15) / 8.0;
    return keep({.real = nn::make<Gain>(id, w), .id = id, .weighted = true, .weight = w, .group = group});
  }
  Twin* flip() {
    const int id = ++ids_;
    return keep({.real = nn::make<Flip>(id), .id = id});
  }
  Twin* any_leaf() { return pick(2) ? gain(0) : flip(); }
  static void add(Twin* to, Twin* t) {
    to->children.push_back(t);
    dynamic_cast<nn::Sequential&>(*to->real).append(t->real);
  }
  static Tensor parameter(const Twin* t) { return dynamic_cast<const Gain&>(*t->real).weight.leaf(); }

  void walk(Twin* t, std::vector<Twin*>& all, std::set<Twin*>& seen) const {
    if (!seen.insert(t).second) return;
    all.push_back(t);
    for (Twin* c : t->children) walk(c, all, seen);
  }
  std::vector<Twin*> live() const {  // each once
    std::vector<Twin*> all;
    std::set<Twin*> seen;
    walk(root_, all, seen);
    return all;
  }
  struct Place { Twin* list; size_t at; };
  std::vector<Place> places(const Twin* of) const {
    std::vector<Place> found;
    for (Twin* t : live())
      for (size_t i = 0; i < t->children.size(); ++i)
        if (t->children[i] == of) found.push_back({t, i});
    return found;
  }
  // A leaf in one place only, whose list does not end with it; null: there is none.
  Twin* some_leaf() {
    std::vector<Twin*> leaves;
    for (Twin* t : live())
      if (!t->list && places(t).size() == 1 && places(t)[0].list->children.size() > 1) leaves.push_back(t);
    return leaves.empty() ? nullptr : leaves[size_t(pick(int(leaves.size())))];
  }
  surgery::Selection at(const Twin* t) const {
    return select(*net_).where<Leaf>([id = t->id](const Leaf& l) { return l.id == id; });
  }
  surgery::Options options() { return {.optimizers = {&*sgd_}, .group = 0}; }
  Lists lists() const {
    Lists all;
    for (Twin* t : live())
      if (t->list) all[t] = t->children;
    return all;
  }
  void remember(surgery::Edit edit, Lists before, std::optional<std::vector<Applied::Put>> replaced = {}) {
    edits_.push_back({std::move(edit), std::move(before), std::move(replaced)});
    if (edits_.size() > 8) edits_.erase(edits_.begin());
  }

  // ---- operations --------------------------------------------------------------------------------------------------

  // Every leaf whose id leaves a remainder gets a new one; a weight takes the group of the weight before it.
  std::vector<surgery::Policy> replacing(std::map<Twin*, Twin*>& made, int throw_at = -1) {
    const int by = 2 + pick(4), rest = pick(by), kind = pick(3);
    auto asked = std::make_shared<int>(0);
    const auto answer = [this, &made, by, rest, kind, throw_at, asked](const Leaf& l) -> ModulePtr {
      if ((*asked)++ == throw_at) throw std::runtime_error("a policy gives up");
      if (l.id % by != rest) return nullptr;
      Twin* old = nullptr;
      for (Twin* t : live())
        if (t->real.get() == &l) old = t;
      Twin* now = kind == 0 || (kind == 1 && old->weighted) ? gain(old->weighted ? old->group : 0) : flip();
      made[old] = now;
      return now->real;
    };
    for (Twin* t : live())  // what is to be asked, by this file's own rule
      if (!t->list && t->id % by == rest) expected_.insert(t);
    return {surgery::on<Leaf>(answer)};
  }
  void replace() {
    const Lists before = lists();
    std::map<Twin*, Twin*> made;
    expected_.clear();
    surgery::Edit edit = surgery::replace(*net_, replacing(made), options());
    std::vector<Applied::Put> put;
    ASSERT_EQ(made.size(), expected_.size());
    for (const auto& [old, now] : made) {
      ASSERT_TRUE(expected_.contains(old));
      for (const Place& p : places(old)) put.push_back({p.list, p.at, old, now});
    }
    for (const auto& p : put) p.list->children[p.at] = p.now;
    remember(std::move(edit), before, put);
    ++done["replace"];
  }
  void insert() {
    Twin* t = some_leaf();
    if (!t || live().size() > 40) return;
    const bool behind = pick(2);
    Twin* fresh = any_leaf();
    const Lists before = lists();
    const auto make = [fresh] { return fresh->real; };
    surgery::Edit edit = surgery::replace(*net_, {behind ? surgery::insert_after(at(t), make) : surgery::insert_before(at(t), make)}, options());
    const Place p = places(t)[0];
    p.list->children.insert(p.list->children.begin() + std::ptrdiff_t(p.at + behind), fresh);
    remember(std::move(edit), before);
    ++done["insert"];
  }
  void remove() {
    Twin* t = some_leaf();
    if (!t || live().size() < 8) return;
    const Lists before = lists();
    surgery::Edit edit = surgery::replace(*net_, {surgery::remove(at(t))}, options());
    const Place p = places(t)[0];
    p.list->children.erase(p.list->children.begin() + std::ptrdiff_t(p.at));
    remember(std::move(edit), before);
    ++done["remove"];
  }
  void swap() {
    Twin *a = some_leaf(), *b = some_leaf();
    if (!a || a == b) return;
    const Lists before = lists();
    surgery::Edit edit = surgery::replace(*net_, {surgery::swap(at(a), at(b))}, options());
    const Place p = places(a)[0], q = places(b)[0];
    std::swap(p.list->children[p.at], q.list->children[q.at]);
    remember(std::move(edit), before);
    ++done["swap"];
  }
  void wrap() {
    Twin* t = some_leaf();
    if (!t || live().size() > 40) return;
    Twin* around = list();
    const Lists before = lists();
    surgery::Edit edit = surgery::replace(*net_, {surgery::wrap(at(t), [around](const ModulePtr& m) -> ModulePtr {
                                            dynamic_cast<nn::Sequential&>(*around->real).append(m);
                                            return around->real;
                                          })},
                                          options());
    const Place p = places(t)[0];
    p.list->children[p.at] = around;
    around->children = {t};
    remember(std::move(edit), before);
    ++done["wrap"];
  }
  // The last edit can always be undone. An earlier one can be where all since have replaced leaves, none of them its own.
  void undo() {
    if (edits_.empty()) return;
    size_t which = edits_.size() - 1;
    size_t plain = edits_.size();
    while (plain > 0 && edits_[plain - 1].replaced) --plain;
    if (plain < edits_.size() && pick(2)) which = plain + size_t(pick(int(edits_.size() - plain)));
    Applied& e = edits_[which];
    if (which + 1 == edits_.size()) {
      e.edit.undo();
      for (auto& [t, children] : e.before) t->children = children;
      ++done["undo"];
    } else {
      const auto stands = [](const Applied::Put& p) { return p.at < p.list->children.size() && p.list->children[p.at] == p.now; };
      if (std::ranges::all_of(*e.replaced, stands)) {
        e.edit.undo();
        for (const auto& p : *e.replaced) p.list->children[p.at] = p.old;
        for (size_t i = which + 1; i < edits_.size(); ++i)  // to undo those now leads to a model without this edit
          for (const auto& p : *e.replaced) edits_[i].before[p.list][p.at] = p.old;
        ++done["undo out of order"];
      } else {
        EXPECT_THROW(e.edit.undo(), Error);
        ++done["undo refused"];
        return;
      }
    }
    edits_.erase(edits_.begin() + std::ptrdiff_t(which));
  }
  void fail_in_policy() {
    std::map<Twin*, Twin*> made;
    size_t leaves = 0;
    for (Twin* t : live()) leaves += !t->list;
    const int at = pick(int(leaves));
    EXPECT_THROW(surgery::replace(*net_, replacing(made, at), options()), std::runtime_error);
    ++done["a policy throws"];
  }
  void fail_in_memory() {
    std::map<Twin*, Twin*> made;
    const auto policies = replacing(made);
    surgery::Plan plan = surgery::plan(*net_, policies, options());
    std::optional<surgery::Edit> edit;
    if (fails([&] { edit = plan.apply(); })) return;
    for (auto& [old, now] : made)
      for (const Place& p : places(old)) p.list->children[p.at] = now;
    if (fails([&] { edit->undo(); })) {
      compare("an undo without memory");
      edit->undo();
    }
    for (auto& [old, now] : made)
      for (const Place& p : places(now)) p.list->children[p.at] = old;
  }
  // Runs f with one of its first allocations failing; true if that made it fail.
  template <class F> bool fails(F f) {
    try {
      const alloc_failure::FailAt scope(pick(8));
      f();
      return false;
    } catch (const std::bad_alloc&) {
      ++done["no memory"];
      return true;
    }
  }
  void fail_late() {
    std::map<Twin*, Twin*> made;
    surgery::Plan plan = surgery::plan(*net_, replacing(made), options());
    const size_t edits = edits_.size();
    replace();
    if (made.empty() || edits_.size() == edits || edits_.back().replaced->empty()) return;
    EXPECT_THROW(plan.apply(), Error);
    ++done["a plan for another model"];
  }
  void train() {
    for (Twin* t : live()) {
      if (!t->weighted) continue;
      const double g = (pick(17) - 8) / 4.0;
      parameter(t).set_grad(full({1}, g));
      t->weight -= (t->group ? 0.25 : 0.5) * g;
    }
    sgd_->step();
    sgd_->zero_grad();
    ++done["train"];
  }
  void save() {
    saved_.emplace();
    for (const auto& [name, t] : net_->state_dict()) saved_->set(name, t.clone());
    ++done["save"];
  }
  void name_weights(Twin* t, const std::string& path, std::map<std::string, Twin*>& names) const {
    if (t->weighted) names[path + "weight"] = t;
    for (size_t i = 0; i < t->children.size(); ++i) name_weights(t->children[i], path + std::to_string(i) + ".", names);
  }
  void load() {
    if (!saved_) return;
    std::map<std::string, Twin*> names;
    name_weights(root_, "", names);
    std::set<std::string> ours, theirs;
    for (const auto& [name, t] : names) ours.insert(name);
    for (const auto& [name, t] : *saved_) theirs.insert(name);
    if (ours != theirs) {
      EXPECT_THROW(net_->load_state_dict(*saved_), Error);
      ++done["load refused"];
      return;
    }
    net_->load_state_dict(*saved_);
    for (const auto& [name, t] : *saved_) names[name]->weight = t.item<double>();  // of a shared one the last counts
    ++done["load"];
  }

  void one() {
    constexpr std::pair<Operation, int> kinds[] = {{&World::replace, 5}, {&World::insert, 4}, {&World::remove, 4}, {&World::swap, 3},
                                                   {&World::wrap, 1},    {&World::undo, 8},   {&World::train, 6},  {&World::save, 1},
                                                   {&World::load, 2},    {&World::fail_in_policy, 2}, {&World::fail_in_memory, 2},
                                                   {&World::fail_late, 1}};
    int total = 0;
    for (const auto& [op, share] : kinds) total += share;
    int at = pick(total);
    for (const auto& [op, share] : kinds)
      if ((at -= share) < 0) {
        const auto before = done;
        (this->*op)();
        for (const auto& [name, n] : done)
          if (const auto it = before.find(name); it == before.end() || it->second != n) last_ = name;
        break;
      }
    compare(last_.c_str());
  }

  // ---- comparison --------------------------------------------------------------------------------------------------

  void compare_module(const Twin* t) const {
    const auto& children = t->real->child_entries();
    ASSERT_EQ(children.size(), t->children.size());
    for (size_t i = 0; i < children.size(); ++i) {
      ASSERT_EQ(children[i]->module.get(), t->children[i]->real.get());
      ASSERT_EQ(children[i]->name, std::to_string(i));
    }
    if (t->weighted) { ASSERT_EQ(parameter(t).item<double>(), t->weight); }
  }
  double compute(const Twin* t, double x) const {
    if (t->weighted) return float(x) * float(t->weight);
    if (!t->list) return -x;
    for (const Twin* c : t->children) x = compute(c, x);
    return x;
  }
  void compare(const char* when) const {
    SCOPED_TRACE(testing::Message() << "operation " << step_ << ": " << when);
    std::set<const TensorImpl*> members[2];
    for (Twin* t : live()) {
      compare_module(t);
      if (testing::Test::HasFatalFailure()) return;
      if (t->weighted) members[t->group].insert(parameter(t).impl());
    }
    for (size_t g = 0; g < 2; ++g) {
      std::set<const TensorImpl*> real;
      for (const optim::Slot& s : sgd_->slots(g)) real.insert(s.param.impl());
      ASSERT_EQ(real, members[g]) << "group " << g;
      ASSERT_EQ(real.size(), sgd_->slots(g).size()) << "group " << g;
    }
    if (step_ % 50) return;
    const NoGrad quiet;
    ASSERT_EQ((*net_)(full({1}, 1)).item<double>(), float(compute(root_, 1)));
  }

  std::mt19937 random_;
  std::deque<Twin> twins_;
  int ids_ = 0, step_ = 0;
  std::string last_;
  Twin* root_ = nullptr;
  std::shared_ptr<nn::Sequential> net_;
  std::optional<optim::SGD> sgd_;
  std::vector<Applied> edits_;
  std::optional<nn::StateDict> saved_;
  std::set<Twin*> expected_;
};

TEST(SurgeryModel, a_hundred_thousand_random_operations_do_what_their_rules_say) {
  std::map<std::string, int> done;
  for (unsigned seed = 1; seed <= 20 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World w(seed);
    w.run(kOperations);
    for (const auto& [name, n] : w.done) done[name] += n;
  }
  for (const char* name : {"replace", "insert", "remove", "swap", "wrap", "undo", "undo out of order", "undo refused", "a policy throws",
                           "no memory", "a plan for another model", "train", "save", "load", "load refused"}) {
    EXPECT_GE(done[name], kOperations / 40) << name << " has hardly been tried";
    RecordProperty(name, done[name]);
  }
}

}  // namespace
