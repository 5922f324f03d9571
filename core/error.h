// Every mistake of a user is graft::Error. Its text answers: where (module path), what, which shapes and dtypes,
// and what would have been accepted.
#pragma once
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>

namespace graft::inline v1 {

// What kind of mistake it was, for programs; the text is for people.
enum class ErrorCode : uint8_t {
  invalid_argument,         // a value outside of what is accepted
  shape_mismatch,           // sizes or ranks do not fit together
  dtype_mismatch,           // element types do not fit together
  device_mismatch,
  index_out_of_range,
  not_implemented,          // no kernel, no derivative, not supported here
  autograd,                 // the graph cannot give a right gradient
  data_dependent,           // a shape depends on values that a dry run does not have
  key_error,                // no such name, or a name taken
  type_error,               // a value of another kind than declared
  state_dict,               // load_state_dict: missing, unexpected or misfitting entries
  concurrent_modification,  // surgery while the model is in use
  stale_parameter,          // an optimizer holds a parameter that its model has lost
  overflow,                 // a size does not fit into 64 bits
  too_small,                // a file ends before it should
  too_large,                // a file, or a number in it, exceeds a limit
  malformed,                // a file breaks its format
  mismatch,                 // a file contradicts itself
  unsupported,              // well-formed, but not something that graft handles
  io,                       // the system refused to read or write
  plan_refused,             // surgery would not be right; the model is unchanged
  device_out_of_memory,
  device_unavailable,
  device_error,             // a kernel or a copy failed there
};
std::string_view name_of(ErrorCode);  // "shape_mismatch"

class Error : public std::exception {
 public:
  explicit Error(std::string text, ErrorCode code = ErrorCode::invalid_argument, std::string hint = {});

  const char* what() const noexcept override { return what_.c_str(); }  // "<path> (<type>): <text>; <hint>"
  ErrorCode code() const noexcept { return code_; }
  const std::string& text() const noexcept { return text_; }
  const std::string& path() const noexcept { return path_; }  // dotted slots from the module that was called
  const std::string& hint() const noexcept { return hint_; }

  // Prepends the slot of a module that the error passes through. The innermost call also names the module's type.
  void within(std::string_view slot, std::string_view type);

 private:
  void compose();
  std::string text_, hint_, path_, type_, what_;
  ErrorCode code_;
};

// How a part of a message is written. A type that prints at length has an overload of its own.
template <class T> void write_part(std::ostream& o, const T& part) { o << part; }

// A reference to a part of a message and how to write it. Messages are built from lists of these, so that a check costs a
// few stores at its place and no function of its own.
class TextPart {
 public:
  template <class T>
  TextPart(const T& part)  // NOLINT(google-explicit-constructor)
      : part_(&part), write_([](std::ostream& o, const void* p) { write_part(o, *static_cast<const T*>(p)); }) {}
  TextPart(const char* text)  // NOLINT(google-explicit-constructor)
      : part_(text), write_([](std::ostream& o, const void* p) { o << static_cast<const char*>(p); }) {}
  using Manipulator = std::ios_base& (*)(std::ios_base&);
  TextPart(Manipulator m)  // NOLINT(google-explicit-constructor): std::hexfloat
      : part_(reinterpret_cast<const void*>(m)),
        write_([](std::ostream& o, const void* p) { o << reinterpret_cast<Manipulator>(const_cast<void*>(p)); }) {}
  void write(std::ostream& o) const { write_(o, part_); }

 private:
  const void* part_;
  void (*write_)(std::ostream&, const void*);
};

std::string concat_parts(std::initializer_list<TextPart>);  // in the classic locale
[[noreturn, gnu::cold]] void fail_parts(ErrorCode, std::initializer_list<TextPart>);

template <class... A> [[gnu::always_inline]] inline std::string concat(const A&... parts) {
  return concat_parts({TextPart(parts)...});
}
template <class... A> [[noreturn, gnu::always_inline]] inline void fail(ErrorCode code, const A&... parts) {
  fail_parts(code, {TextPart(parts)...});
}
template <class... A> [[noreturn, gnu::always_inline]] inline void fail(const A&... parts) {
  fail_parts(ErrorCode::invalid_argument, {TextPart(parts)...});
}

}  // namespace graft

// The arguments after the condition are evaluated only on failure. The first may be an ErrorCode.
#define GRAFT_CHECK(cond, ...)                            \
  do {                                                    \
    if (!(cond)) [[unlikely]] ::graft::fail(__VA_ARGS__); \
  } while (0)
