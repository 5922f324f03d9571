// Runs one surgery program step by step and holds what each step observes against the recording.
#include <cmath>
#include "arguments.h"
#include "kinds.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using graft::concat;

// Recorded texts that only inform, and what the harness of the originals noted for itself.
bool only_informs(const std::string& key) {
  return key == "message" || key == "type" || key == "note" || key == "calls_first" || key == "skipped";
}

bool is_number(const Json& j) { return j.is_number() || (j.is_object() && j.contains("float")); }

std::string brief(const Json& j) {
  const std::string text = j.dump();
  return text.size() <= 300 ? text : text.substr(0, 300) + "...";
}

void compare(const Json& want, const Json& got, const std::string& where);

void compare_numbers(double want, double got, const std::string& where) {
  if (std::isnan(want) && std::isnan(got)) return;
  if (want != got && !(std::abs(want - got) <= 1e-9 + 1e-8 * std::abs(want)))
    throw Mismatch(concat(where, ": ", got, " instead of ", want));
}

// Members of a group in any order.
Json sorted(const Json& list) {
  std::vector<Json> items(list.begin(), list.end());
  std::sort(items.begin(), items.end(), [](const Json& a, const Json& b) { return a.dump() < b.dump(); });
  return items;
}

void compare_objects(const Json& want, const Json& got, const std::string& where) {
  for (const auto& [key, value] : want.items()) {
    if (only_informs(key)) continue;
    const std::string here = where + "." + key;
    if (!got.is_object() || !got.contains(key)) throw Mismatch(here + " is missing");
    if (key == "params")
      compare(sorted(value), sorted(got[key]), here);
    else
      compare(value, got[key], here);
  }
}

void compare(const Json& want, const Json& got, const std::string& where) {
  if (is_number(want) && is_number(got)) return compare_numbers(to_number(want), to_number(got), where);
  if (want.is_object()) return compare_objects(want, got, where);
  if (want.is_array()) {
    if (!got.is_array() || got.size() != want.size())
      throw Mismatch(where + ": " + brief(got) + " instead of " + brief(want));
    for (size_t i = 0; i < want.size(); ++i) compare(want[i], got[i], concat(where, '[', i, ']'));
    return;
  }
  if (want != got) throw Mismatch(where + ": " + brief(got) + " instead of " + brief(want));
}

// The names of parameters, modules and the like are keys here, so that all of them count.
void compare_same_keys(const Json& want, const Json& got, const std::string& where) {
  for (const char* field : {"grads", "training", "state", "param_values", "buffer_values", "dtypes", "has_grad"})
    if (want.contains(field) && got.contains(field))
      for (const auto& [key, value] : got[field].items())
        if (!want[field].contains(key))
          throw Mismatch(concat(where, '.', field, " has ", key, ", which is not recorded"));
}

const Step* find_step(const std::string& op) {
  for (const auto table : {module_steps(), tensor_steps(), optimizer_steps(), mutable_steps(), surgery_steps(),
                           fusion_steps(), algorithm_steps()})
    for (const Step& s : table)
      if (s.op == op) return &s;
  return nullptr;
}

// A failing step gives {"error": text}.
Json run_step(World& world, const Json& step, bool may_fail) {
  const Step* s = find_step(step.at("op"));
  if (!s) throw Unsupported("step " + step.at("op").get<std::string>());
  try {
    return s->run(world, step);
  } catch (const MissingVariable& e) {
    return {{"skipped", e.what()}};
  } catch (const graft::Error& e) {
    const bool unsupported = e.code() == graft::ErrorCode::not_implemented || e.code() == graft::ErrorCode::unsupported;
    if (unsupported && !may_fail) throw;
    return {{"error", e.what()}};
  }
}

void check_step(World& world, const Json& step, const std::string& where, std::vector<std::string>& decisions) {
  Json expect = step.value("expect", Json::object());
  try {
    for (const std::string& d : decide(world, step, expect)) decisions.push_back(where + ": " + d);
  } catch (const MissingVariable&) {  // of which the step itself will tell
  } catch (const graft::Error&) {
  }
  const bool fails = expect.contains("error") || expect.contains("diverges");
  const Json got = run_step(world, step, fails);
  const bool failed = got.contains("error");
  if (failed && !fails) throw Mismatch(where + ": " + got["error"].get<std::string>());
  if (!failed && fails) throw Mismatch(where + " should fail, with " + brief(expect));
  if (got.contains("skipped") != expect.contains("skipped"))
    throw Mismatch(where + (got.contains("skipped") ? " needs an absent variable" : " should have been skipped"));
  if (failed || got.contains("skipped")) return;
  compare(expect, got, where);
  compare_same_keys(expect, got, where);
}

std::vector<std::string> run_program(const Json& c) {
  World world;
  world.program = &c.at("program");
  std::vector<std::string> decisions;
  size_t i = 0;
  for (const Json& step : c.at("program")) {
    const std::string where = concat("step ", i++, " (", step.value("op", "?"), ")");
    try {
      check_step(world, step, where, decisions);
    } catch (const graft::Error& e) {
      throw Unsupported(where + ": " + e.what());
    } catch (const Unsupported& e) {
      throw Unsupported(where + ": " + e.what());
    } catch (const Json::exception& e) {
      throw Mismatch(where + ": " + e.what());
    }
  }
  return decisions;
}

}  // namespace

Result run_surgery(const CaseFile&, const Json& c) {
  const std::vector<std::string> rules = c.value("covers", std::vector<std::string>{"?"});
  std::vector<std::string> decisions;
  Result r = run_case(c.value("id", "?"), rules, [&] { decisions = run_program(c); });
  for (const std::string& d : decisions) r.text += (r.text.empty() ? "" : "; ") + d;
  r.decided = !decisions.empty();
  r.apart = c.contains("graft");
  return r;
}

}  // namespace conformance
