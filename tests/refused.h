// EXPECT_REFUSED("part of the text", statement): the statement throws graft::Error whose text has that part.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "graft/core/error.h"

#define EXPECT_REFUSED(part, ...)                                               \
  try {                                                                         \
    __VA_ARGS__;                                                                \
    ADD_FAILURE() << "not refused: " #__VA_ARGS__;                              \
  } catch (const graft::Error& e) {                                             \
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what(); \
  }
#define EXPECT_CODE(error_code, ...)                         \
  try {                                                      \
    __VA_ARGS__;                                             \
    ADD_FAILURE() << "not refused: " #__VA_ARGS__;           \
  } catch (const graft::Error& e) {                          \
    EXPECT_EQ(e.code(), graft::ErrorCode::error_code) << e.what(); \
  }

namespace graft_test {

// The text of the error that f throws, which has this code; "" and a failure where it throws none.
inline std::string message(const std::function<void()>& f, graft::ErrorCode code) {
  try {
    f();
  } catch (const graft::Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace graft_test
