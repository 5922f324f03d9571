// Warnings: what a user should hear but what is not wrong. They go to a handler of the user's; there is none at first, and
// the library prints nothing.
#pragma once
#include <functional>
#include <string>
#include "graft/core/error.h"

namespace graft::inline v1 {

using WarningHandler = std::function<void(const std::string& text)>;
WarningHandler set_warning_handler(WarningHandler);  // for all threads; returns the one before. May be called by several at once.
bool warnings_are_heard();                           // to spare making up a text
void emit_warning(const std::string& text);

template <class... A> void warn(const A&... parts) {
  if (warnings_are_heard()) emit_warning(concat(parts...));
}

}  // namespace graft
