#include "graft/nn/hooks.h"

#include <algorithm>
#include <atomic>

namespace graft::inline v1::nn {

static uint64_t next_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

void RemovableHandle::remove() {
  const std::shared_ptr<HookRecord> record = record_.lock();
  if (!record) return;
  if (const std::shared_ptr<HookTable> home = record->home.lock()) home->remove(*record);
}

constinit std::atomic<HookTable*> HookTable::of_all_{nullptr};

HookTable& HookTable::make_of_all() {
  static const std::shared_ptr<HookTable>& table = *new std::shared_ptr<HookTable>(std::make_shared<HookTable>());  // calls may outlive main()
  of_all_.store(table.get(), std::memory_order_release);
  return *table;
}

RemovableHandle HookTable::add(HookKind kind, HookFn fn, HookOptions options) {
  const auto record = std::make_shared<HookRecord>(HookRecord{next_id(), kind, options, std::move(fn), weak_from_this()});
  auto& now = lists_[size_t(kind)];
  auto next = now ? std::make_shared<List>(*now) : std::make_shared<List>();
  next->insert(options.prepend ? next->begin() : next->end(), record);
  now = std::move(next);
  return RemovableHandle(record);
}

void HookTable::remove(const HookRecord& r) {
  auto& now = lists_[size_t(r.kind)];
  if (!now) return;
  auto next = std::make_shared<List>(*now);
  std::erase_if(*next, [&r](const auto& other) { return other.get() == &r; });
  now = next->empty() ? nullptr : std::move(next);
}

void HookTable::take(HookTable& from, HookKind kind) {
  if (&from == this || !from.has(kind)) return;
  auto& now = lists_[size_t(kind)];
  auto next = now ? std::make_shared<List>(*now) : std::make_shared<List>();
  next->insert(next->end(), from.list(kind)->begin(), from.list(kind)->end());
  for (const auto& record : *next) record->home = weak_from_this();
  now = std::move(next);
  from.lists_[size_t(kind)] = nullptr;
}

void HookTable::exchange(HookKind kind, std::shared_ptr<const List>& list) noexcept {
  lists_[size_t(kind)].swap(list);
  if (lists_[size_t(kind)])
    for (const auto& record : *lists_[size_t(kind)]) record->home = weak_from_this();
}

std::shared_ptr<HookTable> HookTable::clone() const {
  auto copy = std::make_shared<HookTable>();
  for (size_t k = 0; k < kHookKinds; ++k) {
    if (!lists_[k]) continue;
    auto list = std::make_shared<List>();
    for (const auto& record : *lists_[k]) {
      list->push_back(std::make_shared<HookRecord>(*record));
      list->back()->home = copy;
    }
    copy->lists_[k] = std::move(list);
  }
  return copy;
}

}  // namespace graft::nn
