#include "graft/surgery/hook_moves.h"

#include <algorithm>

namespace graft::inline v1::surgery {
namespace {
using Records = nn::HookTable::List;
std::shared_ptr<const Records> list_of(Records r) {
  return r.empty() ? nullptr : std::make_shared<const Records>(std::move(r));
}
Records copy_of(const std::shared_ptr<const Records>& l) { return l ? *l : Records(); }
bool contains(const Records& l, const std::shared_ptr<nn::HookRecord>& r) { return std::ranges::find(l, r) != l.end(); }
}  // namespace

void drop_call_hooks(nn::Module& m) {
  if (!m.hooked()) return;
  const auto dropped = std::make_shared<nn::HookTable>();
  for (const auto kind :
       {nn::HookKind::forward_pre, nn::HookKind::forward, nn::HookKind::full_backward_pre, nn::HookKind::full_backward})
    dropped->take(m.hook_table(), kind);
}

HookMoves::Side& HookMoves::side(const nn::ModulePtr& m, nn::HookKind kind) {
  for (Side& s : sides_)
    if (s.module == m && s.kind == kind) return s;
  Side s{m, m->hook_table().shared_from_this(), kind, {}, {}, {}};
  s.before = s.after = s.table->list(kind);
  sides_.push_back(std::move(s));
  return sides_.back();
}

HookMoves::HookMoves(const std::vector<HookMove>& moves) {
  for (const HookMove& m : moves) {
    if (m.from == m.to) continue;
    const List moved = side(m.from, m.kind).after;
    if (!moved) continue;
    side(m.from, m.kind).after = nullptr;
    Side& to = side(m.to, m.kind);
    Records all = copy_of(to.after);
    all.insert(all.end(), moved->begin(), moved->end());
    to.after = list_of(std::move(all));
  }
  for (Side& s : sides_) s.other = s.after;
}

HookMoves HookMoves::back() const {
  HookMoves result;
  Records alive;  // of all sides, wherever they are now
  for (const Side& s : sides_)
    for (const auto& r : copy_of(s.table->list(s.kind))) alive.push_back(r);
  for (const Side& s : sides_) {
    Records here;
    for (const auto& r : copy_of(s.before))
      if (contains(alive, r)) here.push_back(r);
    for (const auto& r : copy_of(s.table->list(s.kind)))
      if (!contains(copy_of(s.after), r) && !contains(here, r)) here.push_back(r);
    Side b{s.module, s.table, s.kind, s.table->list(s.kind), list_of(std::move(here)), {}};
    b.other = b.after;
    result.sides_.push_back(std::move(b));
  }
  return result;
}

void HookMoves::exchange() noexcept {
  for (Side& s : sides_) s.table->exchange(s.kind, s.other);
}

}  // namespace graft
