// What became of each case, and the table of it.
#pragma once
#include <iosfwd>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>
#include "case_file.h"

namespace conformance {

enum class Status { passed, failed, unsupported };
std::string_view name_of(Status);

struct Result {
  std::string id;
  std::vector<std::string> groups;  // layer, op, optimizer; or several rules
  Status status = Status::passed;
  std::string text;    // why it did not pass, or what was decided
  bool decided = false;  // passed, where graft does otherwise than the original in all cases alike
  bool apart = false;  // counted apart: the original is defective here
};

// Thrown while a case runs.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Runs `body` and turns whatever it throws into a status and a text.
Result run_case(std::string id, std::vector<std::string> groups, const std::function<void()>& body);

struct Counts {
  int passed = 0, failed = 0, unsupported = 0;
  void add(Status s) { ++(s == Status::passed ? passed : s == Status::failed ? failed : unsupported); }
};

// Sorted by group, the total last; before it, lines for the cases that count apart, and for the total without those that
// passed as graft decides.
void print_table(std::ostream&, const std::vector<Result>&);
Json to_json(std::string_view kind, const std::vector<Result>&);

// Holds results against {"passed": n, "failed": [ids]} of `kind` in a file. Returns what got worse, a line each.
std::vector<std::string> compare_with_floor(const Json& floor, std::string_view kind, const std::vector<Result>&);

}  // namespace conformance
