// Rows of text in columns, for reports.
#pragma once
#include <iosfwd>
#include <string>
#include <vector>
#include "graft/nn/module.h"

namespace graft::inline v1::surgery {
void print_table(std::ostream&, const std::vector<std::vector<std::string>>& rows);
std::string one_line(const nn::Module&);  // as it prints, or "Block(...)" where that takes several lines
}  // namespace graft
