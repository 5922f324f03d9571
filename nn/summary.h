// What a model consists of: a table of its modules with output shapes, parameters and multiply-adds.
#pragma once
#include <array>
#include <iosfwd>
#include <string>
#include <vector>
#include "graft/nn/module.h"

namespace graft::inline v1::nn {

struct SummaryRow {
  std::string path;       // dotted; "" is the model itself
  std::string name;       // the last part of it
  std::string type;
  std::string made_of;    // of a fused module: the paths of what it was made of
  std::string shared;     // of a module that was listed before: the path under which it was
  std::string output;     // "[8, 10]": what its last call returned; "-" where it was not called, or ran no op
  int depth = 0;
  int64_t parameters = 0;  // its own and its children's, each once; 0 where shared
  int64_t trainable = 0;
  int64_t macs = 0;        // multiply-adds of all its calls, its children's included
};

struct Summary {
  std::vector<SummaryRow> rows;  // pre-order
  int64_t parameters() const { return rows.at(0).parameters; }
  int64_t trainable() const { return rows.at(0).trainable; }
  int64_t macs() const { return rows.at(0).macs; }
};
// Runs the model on shapes alone: nothing is computed, written or drawn.
Summary summary(const Module& model, const Values& example);
Summary summary(const Module& model);  // without running it: no outputs, no multiply-adds
std::string grouped(int64_t);          // 12,345
std::ostream& operator<<(std::ostream&, const Summary&);

}  // namespace graft
