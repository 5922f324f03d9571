// What the verbs of the command share: a model file, inputs for it, an output, and how they end.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>
#include "graft/core/json.h"
#include "graft/surgery/model_file.h"

namespace command {

enum Exit : int { kOk = 0, kDiffers = 1, kUsage = 2, kBadFile = 3 };

// Thrown by a verb: the exit code is kBadFile, not kUsage.
struct BadFile : std::exception {
  explicit BadFile(std::string t) : text(std::move(t)) {}
  const char* what() const noexcept override { return text.c_str(); }
  std::string text;
};

// The verb that was called, to be run when all arguments are known to be right.
using Run = std::function<int()>;
struct Commands {
  CLI::App& app;
  Run run;
};

graft::surgery::ModelFile load(const std::string& path);
std::string file_argument(CLI::App& verb);
// "1x3x32x32", "2x7:i64": random numbers of a fixed seed; integers are 0 and 1.
graft::nn::Values inputs_of(const std::vector<std::string>& shapes);
// "r=4", "at=layer*": the arguments of a surgery.
graft::nn::Args arguments_of(const std::vector<std::string>& pairs);

// On a terminal that wants it, what + and - mark is coloured.
void print_marked(const std::string& text);
// A line on stderr while something takes long; only on a terminal.
class Working {
 public:
  explicit Working(const std::string& what);
  ~Working();
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;

 private:
  bool shown_;
};

// Each adds its verbs.
void add_inspection(Commands&);   // summary, count, diff
void add_operations(Commands&);   // plan, apply, fuse, undo
void add_measurements(Commands&);  // verify, bench
void add_information(Commands&);  // info

}  // namespace command
