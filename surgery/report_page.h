// What the forms of a report share. Not for users.
#pragma once
#include <string>
#include <vector>
#include "graft/surgery/snapshot.h"

namespace graft::inline v1::surgery {
// Parameters, multiply-adds, memory and time: name, before, after, difference.
std::vector<std::vector<std::string>> report_totals(const Snapshot& before, const Snapshot& after);
}  // namespace graft
