// Every recorded surgery case with a field `graft` (what graft does instead of the original) has a test of its name,
// SurgeryCase.R_08 for R-08, in one of the files surgery_cases_*_test.cpp.
#include "surgery_case.h"

#include <filesystem>
#include <regex>
#include <set>

namespace {

using graft_test::Json;
using graft_test::recorded_cases;

// Of which there is no test yet: none.
const std::set<std::string> kMissing{};

std::multiset<std::string> tested() {
  static const std::regex test(R"(^TEST\(SurgeryCase, ([A-Z])_(\d+)\))");
  std::multiset<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(GRAFT_TESTS_DIR)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("surgery_cases_") || !name.ends_with("_test.cpp")) continue;
    std::ifstream file(entry.path());
    std::smatch found;
    for (std::string line; std::getline(file, line);)
      if (std::regex_search(line, found, test)) names.insert(found[1].str() + "-" + found[2].str());
  }
  return names;
}

TEST(SurgeryCases, each_case_with_a_graft_field_has_one_test_of_its_name_or_is_listed_as_missing) {
  const auto names = tested();
  std::set<std::string> with_field;
  for (const Json& c : recorded_cases())
    if (c.contains("graft")) with_field.insert(c.at("id"));
  EXPECT_EQ(with_field.size(), 56U);
  for (const std::string& id : with_field) EXPECT_EQ(names.count(id), kMissing.contains(id) ? 0U : 1U) << id;
  for (const std::string& id : names) EXPECT_TRUE(with_field.contains(id)) << id << " is no case with a graft field";
  for (const std::string& id : kMissing) EXPECT_TRUE(with_field.contains(id)) << id;
}

}  // namespace
