// Every mistake of a user is graft::Error. Its text answers: which op, which shapes, which dtypes, what was expected.
#pragma once
#include <sstream>
#include <stdexcept>

namespace graft::inline v1 {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... A> [[noreturn, gnu::cold, gnu::noinline]] void fail(const A&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(text.str());
}

}  // namespace graft

// The arguments after the condition are evaluated only on failure.
#define GRAFT_CHECK(cond, ...)                        \
  do {                                                \
    if (!(cond)) [[unlikely]] ::graft::fail(__VA_ARGS__); \
  } while (0)
