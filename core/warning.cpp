#include "graft/core/warning.h"

#include <atomic>
#include <memory>
#include <mutex>

namespace graft::inline v1 {

namespace {
struct State {
  std::mutex mutex;
  std::shared_ptr<const WarningHandler> handler;
  std::atomic<bool> heard{false};
};
State& state() {
  static auto* s = new State;  // never destroyed: there may be warnings during exit
  return *s;
}
}  // namespace

WarningHandler set_warning_handler(WarningHandler handler) {
  auto next = handler ? std::make_shared<const WarningHandler>(std::move(handler)) : nullptr;
  const std::lock_guard lock(state().mutex);
  state().handler.swap(next);
  state().heard = state().handler != nullptr;
  return next ? *next : WarningHandler();
}
bool warnings_are_heard() { return state().heard.load(std::memory_order_relaxed); }
void emit_warning(const std::string& text) {
  std::shared_ptr<const WarningHandler> handler;
  {
    const std::lock_guard lock(state().mutex);
    handler = state().handler;
  }
  if (handler) (*handler)(text);  // outside of the lock: it may warn or replace itself
}

}  // namespace graft
