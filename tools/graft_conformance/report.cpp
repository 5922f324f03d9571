#include "report.h"

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <set>
#include "graft/core/error.h"

namespace conformance {
namespace {

Counts count(const std::vector<Result>& results, bool apart) {
  Counts total;
  for (const Result& r : results)
    if (r.apart == apart) total.add(r.status);
  return total;
}

void print_line(std::ostream& out, size_t width, const std::string& name, const Counts& c) {
  out << std::left << std::setw(int(width)) << name << std::right << std::setw(9) << c.passed << std::setw(9)
      << c.failed << std::setw(13) << c.unsupported << '\n';
}

Json json_of(const Counts& c) { return {{"passed", c.passed}, {"failed", c.failed}, {"unsupported", c.unsupported}}; }

std::map<std::string, Counts> by_group(const std::vector<Result>& results) {
  std::map<std::string, Counts> groups;
  for (const Result& r : results)
    for (const std::string& g : r.groups) groups[g].add(r.status);
  return groups;
}

}  // namespace

std::string_view name_of(Status s) {
  return s == Status::passed ? "passed" : s == Status::failed ? "failed" : "unsupported";
}

Result run_case(std::string id, std::vector<std::string> groups, const std::function<void()>& body) {
  Result r{std::move(id), std::move(groups), Status::passed, {}};
  const auto end = [&](Status s, const char* text) {
    r.status = s;
    r.text = text;
  };
  try {
    body();
  } catch (const Unsupported& e) {
    end(Status::unsupported, e.what());
  } catch (const graft::Error& e) {
    const bool known = e.code() == graft::ErrorCode::not_implemented || e.code() == graft::ErrorCode::unsupported;
    end(known ? Status::unsupported : Status::failed, e.what());
  } catch (const std::exception& e) {
    end(Status::failed, e.what());
  }
  return r;
}

void print_table(std::ostream& out, const std::vector<Result>& results) {
  const auto groups = by_group(results);
  const std::string apart_name = "apart: defects of originals", decided_name = "strictly as recorded";
  Counts decided;
  size_t width = 8;
  for (const auto& [name, counts] : groups) width = std::max(width, name.size() + 2);
  for (const Result& r : results)
    if (r.decided && !r.apart) decided.add(r.status);
  if (decided.passed) width = std::max(width, decided_name.size() + 2);
  const bool apart = std::any_of(results.begin(), results.end(), [](const Result& r) { return r.apart; });
  if (apart) width = std::max(width, apart_name.size() + 2);
  out << std::string(width, ' ') << "   passed   failed  unsupported\n";
  for (const auto& [name, counts] : groups) print_line(out, width, name, counts);
  if (apart) print_line(out, width, apart_name, count(results, true));
  Counts total = count(results, false);
  if (decided.passed) {
    total.passed -= decided.passed;
    total.failed += decided.passed;
    print_line(out, width, decided_name, total);
  }
  print_line(out, width, "total", count(results, false));
}

Json to_json(std::string_view kind, const std::vector<Result>& results) {
  Json out{{"kind", kind}, {"total", json_of(count(results, false))}, {"apart", json_of(count(results, true))}};
  Json& groups = out["groups"] = Json::object();
  for (const auto& [name, counts] : by_group(results)) groups[name] = json_of(counts);
  Json& cases = out["cases"] = Json::array();
  for (const Result& r : results)
    cases.push_back(
        {{"id", r.id}, {"groups", r.groups}, {"status", name_of(r.status)}, {"apart", r.apart}, {"decided", r.decided},
         {"text", r.text}});
  return out;
}

std::vector<std::string> compare_with_floor(const Json& floor, std::string_view kind,
                                            const std::vector<Result>& results) {
  const Json& own = floor.at(std::string(kind));
  const std::set<std::string> known = own.at("failed");
  std::vector<std::string> worse;
  int passed = 0;
  for (const Result& r : results) {
    passed += r.status == Status::passed;
    if (r.status == Status::failed && !known.contains(r.id)) worse.push_back("failed: " + r.id + ": " + r.text);
  }
  if (const int least = own.at("passed"); passed < least)
    worse.push_back(std::to_string(passed) + " cases passed; the floor is " + std::to_string(least));
  return worse;
}

}  // namespace conformance
