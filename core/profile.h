// What a stretch of program did: time, bytes, multiply-adds and the kernel of every op, per module path.
#pragma once
#include <chrono>
#include <map>
#include <string>
#include <vector>
#include "graft/core/op.h"

namespace graft::inline v1 {

// Records one thread: Profile p; { const Observing scope(p); net(x); } p.write_chrome_trace("trace.json");
class Profile final : public Observer {
 public:
  struct Event {
    std::string op, path;     // path: the modules whose forward ran; empty in backward and outside of modules
    std::string kernel;       // "view", "shape" (meta or dry run), or the candidate that ran
    std::string inputs;       // "f32[8,3]@cpu, f32[3]@cpu"
    std::string outputs;
    std::string declined;     // "contiguous: operands are strided or broadcast"
    int64_t start_ns = 0;     // since the profile was made
    int64_t duration_ns = 0;
    int64_t bytes = 0;        // of all inputs and outputs
    int64_t macs = 0;
  };
  struct Total {
    std::string op;
    int64_t calls = 0, duration_ns = 0, bytes = 0, macs = 0;
  };

  const std::vector<Event>& events() const { return events_; }
  std::vector<Total> totals() const;  // per op, the longest first
  std::string table() const;          // the totals, for reading
  std::string chrome_trace() const;   // JSON for chrome://tracing and Perfetto
  void write_chrome_trace(const std::string& file) const;
  void clear() { events_.clear(); }

  void before(const Call&) override;
  void declined(const Call&, const Candidate&, const char* reason) override;
  void after(const Call&, std::span<const Tensor> out, const Candidate*) override;

 private:
  using Clock = std::chrono::steady_clock;
  int64_t now() const { return std::chrono::nanoseconds(Clock::now() - origin_).count(); }
  const Clock::time_point origin_ = Clock::now();
  std::vector<Event> events_;
  std::string declined_;
  int64_t started_ = 0;
};

// Multiply-adds and bytes per module path; runs on meta tensors and in a dry run as well.
class CostCounter final : public Observer {
 public:
  struct Cost {
    int64_t calls = 0, macs = 0, bytes = 0;
    Cost& operator+=(const Cost& o) { return calls += o.calls, macs += o.macs, bytes += o.bytes, *this; }
  };
  Cost total() const;
  // Of the modules at these paths themselves, without their children: "" is what the root does.
  const std::map<std::string, Cost>& by_path() const { return by_path_; }
  void after(const Call&, std::span<const Tensor> out, const Candidate*) override;

 private:
  std::map<std::string, Cost> by_path_;
};

}  // namespace graft
