#include "graft/core/error.h"

#include <array>

namespace graft::inline v1 {

std::string_view name_of(ErrorCode c) {
  constexpr std::array<std::string_view, 24> names{
      "invalid_argument", "shape_mismatch",  "dtype_mismatch",          "device_mismatch",     "index_out_of_range",
      "not_implemented",  "autograd",        "data_dependent",          "key_error",           "type_error",
      "state_dict",       "concurrent_modification", "stale_parameter", "overflow",            "too_small",
      "too_large",        "malformed",       "mismatch",                "unsupported",         "io",
      "plan_refused",     "device_out_of_memory",    "device_unavailable", "device_error"};
  static_assert(names.size() == size_t(ErrorCode::device_error) + 1);
  return names[size_t(c)];
}

std::string concat_parts(std::initializer_list<TextPart> parts) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  for (const TextPart& p : parts) p.write(text);
  return std::move(text).str();
}
void fail_parts(ErrorCode code, std::initializer_list<TextPart> parts) { throw Error(concat_parts(parts), code); }

Error::Error(std::string text, ErrorCode code, std::string hint)
    : text_(std::move(text)), hint_(std::move(hint)), code_(code) {
  compose();
}

void Error::within(std::string_view slot, std::string_view type) {
  if (path_.empty()) {
    path_ = slot;
    type_ = type;
  } else if (!slot.empty()) {
    path_ = std::string(slot) + "." + path_;
  }
  compose();
}

void Error::compose() {
  what_ = path_;
  if (!type_.empty()) what_ += (path_.empty() ? "(" : " (") + type_ + ")";
  if (!what_.empty()) what_ += ": ";
  what_ += text_;
  if (!hint_.empty()) what_ += "; " + hint_;
}

}  // namespace graft
