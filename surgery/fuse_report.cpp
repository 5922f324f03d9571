// How the result of a fusion prints, and the names of its reasons.
#include <algorithm>
#include <ostream>
#include "graft/surgery/fuse.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {

std::string_view name_of(Reason r) {
  switch (r) {
    case Reason::several_consumers: return "several_consumers";
    case Reason::layer_called_again: return "layer_called_again";
    case Reason::norm_called_again: return "norm_called_again";
    case Reason::activation_between: return "activation_between";
    case Reason::training_mode: return "training_mode";
    case Reason::no_running_statistics: return "no_running_statistics";
    case Reason::wrong_rank: return "wrong_rank";
    case Reason::not_finite: return "not_finite";
    case Reason::overflow: return "overflow";
    case Reason::hooked: return "hooked";
    case Reason::optimized: return "optimized";
    case Reason::tied: return "tied";
    case Reason::edited: return "edited";
    case Reason::zero_padding: return "zero_padding";
    case Reason::subclass: return "subclass";
    case Reason::no_layer: return "no_layer";
    case Reason::relu_called_again: return "relu_called_again";
    case Reason::relu_is_a_function: return "relu_is_a_function";
    case Reason::relu_hooked: return "relu_hooked";
  }
  return "";
}

std::string joined(const std::vector<std::string>& paths) {
  std::string text;
  for (const std::string& path : paths) text += (text.empty() ? "" : ", ") + path;
  return text;
}

std::ostream& operator<<(std::ostream& o, const Fusion& f) {
  o << "fused: " << f.fused.size() << "; refused: " << f.refused.size() << '\n';
  std::vector<std::vector<std::string>> rows;
  for (const Fused& x : f.fused) {
    rows.push_back({x.path, joined(x.chain), x.what});
    for (const std::string& hook : x.dropped_hooks) rows.push_back({"", hook, "dropped"});
  }
  if (!rows.empty()) rows.insert(rows.begin(), {"path", "chain", "fused"});
  print_table(o, rows);
  rows.clear();
  for (const Refused& x : f.refused) rows.push_back({x.path, std::string(name_of(x.code)), x.reason});
  if (!rows.empty()) rows.insert(rows.begin(), {"path", "refused", "reason"});
  print_table(o, rows);
  return o;
}

}  // namespace graft
