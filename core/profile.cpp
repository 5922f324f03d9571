#include "graft/core/profile.h"

#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include "graft/core/path.h"

namespace graft::inline v1 {

static int64_t bytes_of(const Call& call, std::span<const Tensor> out) {
  int64_t bytes = 0;
  for (const TensorImpl* t : call.in) bytes += t->view.numel * size_of(t->view.dtype);
  for (const Tensor& t : out) bytes += t.nbytes();
  return bytes;
}
static int64_t macs_of(const Call& call, std::span<const Tensor> out) { return call.op.macs ? call.op.macs(call, out) : 0; }

// ---- Profile -------------------------------------------------------------------------------------------------

void Profile::before(const Call&) {
  declined_.clear();
  started_ = now();
}
void Profile::declined(const Call&, const Candidate& candidate, const char* reason) {
  declined_ += concat(declined_.empty() ? "" : "; ", candidate.name, ": ", reason);
}
void Profile::after(const Call& call, std::span<const Tensor> out, const Candidate* ran) {
  const int64_t end = now();
  Event e{.op = std::string(call.op.name), .path = current_path(), .kernel = ran ? ran->name : call.op.view ? "view" : "shape",
          .inputs = {}, .outputs = {}, .declined = std::exchange(declined_, {})};
  e.start_ns = started_;
  e.duration_ns = end - started_;
  for (const TensorImpl* t : call.in) e.inputs += concat(e.inputs.empty() ? "" : ", ", t->view);
  for (const Tensor& t : out) e.outputs += concat(e.outputs.empty() ? "" : ", ", t.view());
  if (!call.op.view) e.bytes = bytes_of(call, out);
  e.macs = macs_of(call, out);
  events_.push_back(std::move(e));
}

std::vector<Profile::Total> Profile::totals() const {
  std::map<std::string, Total> by_op;
  for (const Event& e : events_) {
    Total& t = by_op[e.op];
    t.op = e.op;
    ++t.calls, t.duration_ns += e.duration_ns, t.bytes += e.bytes, t.macs += e.macs;
  }
  std::vector<Total> all;
  for (auto& [op, t] : by_op) all.push_back(std::move(t));
  std::ranges::stable_sort(all, std::greater(), &Total::duration_ns);
  return all;
}

std::string Profile::table() const {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << std::left << std::setw(24) << "op" << std::right << std::setw(8) << "calls" << std::setw(12) << "ms" << std::setw(12)
       << "MB" << std::setw(12) << "GMAC" << '\n' << std::fixed << std::setprecision(3);
  for (const Total& t : totals())
    text << std::left << std::setw(24) << t.op << std::right << std::setw(8) << t.calls << std::setw(12)
         << double(t.duration_ns) / 1e6 << std::setw(12) << double(t.bytes) / 1e6 << std::setw(12) << double(t.macs) / 1e9 << '\n';
  return std::move(text).str();
}

// The Trace Event Format: complete events ("X"), times in microseconds.
std::string Profile::chrome_trace() const {
  nlohmann::json events = nlohmann::json::array();
  for (const Event& e : events_) {
    nlohmann::json args{{"kernel", e.kernel}, {"inputs", e.inputs}, {"outputs", e.outputs}, {"bytes", e.bytes}};
    if (!e.path.empty()) args["path"] = e.path;
    if (!e.declined.empty()) args["declined"] = e.declined;
    if (e.macs) args["macs"] = e.macs;
    events.push_back({{"name", e.op}, {"cat", e.path.empty() ? "op" : e.path}, {"ph", "X"}, {"ts", double(e.start_ns) / 1e3},
                      {"dur", double(e.duration_ns) / 1e3}, {"pid", 0}, {"tid", 0}, {"args", std::move(args)}});
  }
  return nlohmann::json{{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}}.dump();
}
void Profile::write_chrome_trace(const std::string& file) const {
  std::ofstream out(file, std::ios::binary);
  out << chrome_trace();
  out.close();
  GRAFT_CHECK(!out.fail(), ErrorCode::io, "write_chrome_trace: cannot write ", file);
}

// ---- CostCounter ---------------------------------------------------------------------------------------------

void CostCounter::after(const Call& call, std::span<const Tensor> out, const Candidate*) {
  by_path_[current_path()] += {1, macs_of(call, out), call.op.view ? 0 : bytes_of(call, out)};
}
CostCounter::Cost CostCounter::total() const {
  Cost sum;
  for (const auto& [path, cost] : by_path_) sum += cost;
  return sum;
}

}  // namespace graft
