#include "graft/nn/child_list.h"

#include <algorithm>
#include <atomic>

namespace graft::inline v1::nn {

static uint32_t next_state() {
  static std::atomic<uint32_t> last{0};
  return ++last;
}

ChildList::ChildList(Module& owner, const std::vector<Item>& items)
    : owner_(&owner), keep_(owner.weak_from_this().lock()), state_here_(owner.list_state_), state_other_(next_state()) {
  std::unordered_set<std::string_view> taken;
  std::unordered_set<const ChildEntry*> stay;
  for (const auto& e : owner.children_) here_.push_back(e.get());
  for (const Item& item : items) {
    GRAFT_CHECK(taken.insert(item.name).second, ErrorCode::key_error, type_name(owner), ": attribute '", item.name,
                "' already exists");
    if (ChildEntry* e = item.entry) {
      stay.insert(e);
      other_.push_back(e);
      if (e->name != item.name) names_.emplace_back(e, item.name);
      continue;
    }
    auto e = std::make_unique<ChildEntry>();
    e->name = item.name;
    e->owner = &owner;
    e->cast = owner.child_cast();
    e->may_be_empty = true;
    moves_.push_back({e.get(), item.module, e->check(item.module), item.module.get()});
    e->removed = true;
    other_.push_back(e.get());
    made_.push_back(std::move(e));
  }
  for (ChildEntry* e : here_)
    if (!stay.contains(e)) moves_.push_back({e, nullptr, nullptr, e->module.get()});
  prepare();
}

void ChildList::prepare() {
  owner_->retired_children_.reserve(owner_->retired_children_.size() + owner_->children_.size() + made_.size());
  owner_->children_.reserve(std::max(here_.size(), other_.size()));
}

bool ChildList::in_place() const {
  return owner_->list_state_ == state_here_ &&
         std::ranges::equal(owner_->children_, here_, {}, [](const auto& e) { return e.get(); }) &&
         std::ranges::all_of(moves_, [](const Move& m) { return m.entry->removed || m.entry->module.get() == m.content; });
}

void ChildList::retire_all() noexcept {
  auto& retired = owner_->retired_children_;
  for (auto* list : {&owner_->children_, &made_}) {
    for (auto& e : *list) retired.push_back(std::move(e));
    list->clear();
  }
  for (size_t i = 0; i < retired.size(); ++i) {
    retired[i]->index = i;
    retired[i]->removed = true;
  }
}

// The index only makes finding quicker: without memory for it there is none.
void ChildList::index_entries() noexcept {
  owner_->index_.clear();
  try {
    if (!owner_->children_.empty()) owner_->remember(*owner_->children_.back());
  } catch (...) {
    owner_->index_.clear();
  }
}

void ChildList::exchange() noexcept {
  retire_all();
  auto& retired = owner_->retired_children_;
  auto& children = owner_->children_;
  for (ChildEntry* e : other_) {
    children.push_back(std::move(retired[e->index]));
    e->index = children.size() - 1;
    e->removed = false;
  }
  std::erase(retired, nullptr);
  for (Move& m : moves_) {
    void* typed = m.entry->typed;
    m.entry->commit(m.module, m.typed);
    m.typed = typed;
  }
  for (auto& [e, name] : names_) std::swap(e->name, name);
  here_.swap(other_);
  std::swap(state_here_, state_other_);
  owner_->list_state_ = state_here_;
  index_entries();
}

}  // namespace graft
