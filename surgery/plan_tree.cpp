// A plan as the difference of two trees: what goes with -, what comes with +, as a unified diff.
#include <algorithm>
#include <sstream>
#include "graft/surgery/draft.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {
namespace {

class TreeDiff {
 public:
  explicit TreeDiff(const detail::Draft& d) : d_(d), g_(d.graph) {
    for (const Graph::SlotChange& c : g_.slot_changes()) touch(c.slot->owner);
    for (const Graph::ListChange& c : g_.list_changes()) touch(c.owner);
  }
  std::string run() {
    nn::Module& root = *d_.root.module;
    if (g_.new_root()) {
      push('+', 0, "", g_.new_root().get());
      push('-', 0, "", &root);
    } else {
      push(' ', 0, "", &root);
    }
    while (!todo_.empty()) {
      const Line line = std::move(todo_.back());
      todo_.pop_back();
      print(line);
    }
    return text_.str();
  }

 private:
  struct Line {
    char sign;
    size_t depth;
    std::string label;
    const nn::Module* module;
  };
  bool is_new(const nn::ChildEntry* e) const { return g_.is_aside(e) && g_.content(const_cast<nn::ChildEntry*>(e)); }
  void touch(const nn::Module* m) {  // it, and what it lies in
    std::vector<const nn::Module*> up{m};
    while (!up.empty()) {
      m = up.back();
      up.pop_back();
      if (!touched_.insert(m)) continue;
      for (const nn::ChildEntry* e : m->holders()) up.push_back(e->owner);
    }
  }
  void push(char sign, size_t depth, std::string label, const nn::Module* m) { todo_.push_back({sign, depth, std::move(label), m}); }

  void print(const Line& l) {
    const bool open = l.sign == ' ' ? touched_.contains(l.module) : !l.module->child_entries().empty();
    const bool again = !(l.sign == ' ' ? kept_ : l.sign == '-' ? old_ : new_).insert(l.module);
    text_ << l.sign << std::string(1 + 2 * l.depth, ' ') << (l.label.empty() ? "" : l.label + ": ")
          << (open ? nn::type_name(*l.module) : one_line(*l.module));
    text_ << (open && again ? " (shared, see above)\n" : "\n");
    if (!open || again) return;
    const size_t first = todo_.size();
    if (l.sign == '-') old_children(*l.module, l.depth + 1);
    else if (l.sign == '+') new_children(*l.module, l.depth + 1);
    else both(*l.module, l.depth + 1);
    std::reverse(todo_.begin() + std::ptrdiff_t(first), todo_.end());
  }
  void old_children(const nn::Module& m, size_t depth) {
    for (const auto& e : m.child_entries())
      if (e->module) push('-', depth, e->name, e->module.get());
  }
  void new_children(const nn::Module& m, size_t depth) {
    for (size_t i = 0; i < g_.children_of(m); ++i) {
      nn::ChildEntry* e = g_.child_of(m, i);
      if (const nn::ModulePtr& child = g_.content(e)) push('+', depth, g_.name_after(e), child.get());
    }
  }
  // Old entries in their order, new ones where they come in between.
  void both(const nn::Module& m, size_t depth) {
    size_t next = 0;
    const size_t n = g_.children_of(m);
    const auto arrived = [&] {
      for (; next < n && is_new(g_.child_of(m, next)); ++next)
        push('+', depth, g_.name_after(g_.child_of(m, next)), g_.content(g_.child_of(m, next)).get());
    };
    for (const auto& e : m.child_entries()) {
      if (g_.is_aside(e.get())) {
        push('-', depth, e->name, e->module.get());
        continue;
      }
      arrived();
      ++next;
      const std::string& name = g_.name_after(e.get());
      const nn::ModulePtr& now = g_.content(e.get());
      if (now == e->module) {
        if (now) push(' ', depth, e->name == name ? name : e->name + " -> " + name, now.get());
        continue;
      }
      if (e->module) push('-', depth, e->name, e->module.get());
      if (now) push('+', depth, name, now.get());
    }
    arrived();
  }

  const detail::Draft& d_;
  const Graph& g_;
  PointerSet touched_, kept_, old_, new_;
  std::vector<Line> todo_;
  std::ostringstream text_;
};

}  // namespace

std::string Plan::tree() const { return TreeDiff(*draft_).run(); }

}  // namespace graft
