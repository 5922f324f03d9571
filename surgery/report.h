// A surgery to look at: the trees before and after side by side, what changed, what it saves, what was refused and why.
//
//   const surgery::Snapshot before = surgery::snapshot(*net, {x});
//   const surgery::Fusion f = surgery::fuse(*net, {x});
//   const surgery::Report r = surgery::report(before, surgery::snapshot(*net, {x}), {.refused = surgery::refusals(f)});
//   r.write("fusion.html");
#pragma once
#include <string>
#include <vector>
#include "graft/surgery/fuse.h"
#include "graft/surgery/plan.h"
#include "graft/surgery/snapshot.h"

namespace graft::inline v1::surgery {

struct NotDone {
  std::string path, code, reason;
};
std::vector<NotDone> refusals(const Fusion&);
std::vector<NotDone> refusals(const Plan&);  // of Plan::declined()

struct ReportOptions {
  std::string title = "Surgery";
  std::vector<NotDone> refused = {};
  std::string recipe = {};  // shown as it is
};

class Report {
 public:
  // A line of the comparison: indices into the rows of the two snapshots, -1 where there is none.
  struct Line {
    enum class Sign : char { same = ' ', changed = '~', removed = '-', added = '+' };
    Sign sign = Sign::same;
    int before = -1, after = -1;
    int depth = 0;
    bool touched = false;  // it differs, or something in it does
  };

  Report(Snapshot before, Snapshot after, ReportOptions);
  const std::vector<Line>& lines() const { return lines_; }
  size_t count(Line::Sign) const;

  std::string tree() const;  // both as one, what goes with -, what comes with +
  std::string html() const;  // one page that needs no other file: collapsible, searchable, printable
  std::string svg() const;   // the two trees as a picture
  std::string text() const;  // what differs, as a table
  // The form is chosen by the ending: .html, .svg, .txt. Complete or not at all; Error where the file cannot be written.
  void write(const std::string& file) const;

 private:
  friend struct ReportPage;
  Snapshot before_, after_;
  ReportOptions options_;
  std::vector<Line> lines_;
};
inline Report report(Snapshot before, Snapshot after, ReportOptions o = {}) {
  return Report(std::move(before), std::move(after), std::move(o));
}

}  // namespace graft
