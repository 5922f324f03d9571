// A model as it is at one moment, to be shown or compared later: its tree with parameters, multiply-adds, output shapes and
// the time of each module. Text and numbers; it does not keep the model alive.
#pragma once
#include <optional>
#include <string>
#include <vector>
#include "graft/nn/summary.h"

namespace graft::inline v1::surgery {

struct Snapshot {
  struct Row : nn::SummaryRow {
    std::string text;  // "Conv2d(3, 8, kernel_size=(3, 3), ...)"; of one with children its type, and what it was made with
    std::optional<double> milliseconds = {};  // in its ops, its children's included
  };
  std::vector<Row> rows;  // parents before children
  int64_t state_bytes = 0, peak_bytes = 0;  // as in Cost; 0 without an example
  std::string unknown;                      // what shapes or times are not known, and why
};

// With an example, shapes and costs come from a dry run, and times are medians of `repeats` real ones (0: none). Modules in
// training mode would change in them: then no times are taken. Errors of the model pass; the model is left as it was.
Snapshot snapshot(nn::Module& model, const nn::Values& example = {}, int repeats = 5);

}  // namespace graft
