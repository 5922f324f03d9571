// Rows of text in columns, for reports.
#pragma once
#include <iosfwd>
#include <string>
#include <vector>

namespace graft::inline v1::surgery {
void print_table(std::ostream&, const std::vector<std::vector<std::string>>& rows);
}  // namespace graft
