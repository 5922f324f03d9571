// The command as a user runs it: every verb, every exit code; and the tour of the README, as it is written there.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "graft/core/json.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/version.h"
#include "graft/nn/nn.h"
#include "graft/surgery/model_file.h"

namespace {

using namespace graft;
namespace fs = std::filesystem;

struct Result {
  int code = -1;
  std::string out;  // stdout and stderr
};
Result shell(const std::string& command) {
  Result r;
  FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
  if (!pipe) throw std::runtime_error("popen");
  std::array<char, 4096> part{};
  for (size_t n; (n = ::fread(part.data(), 1, part.size(), pipe)) > 0;) r.out.append(part.data(), n);
  const int status = ::pclose(pipe);
  r.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return r;
}

// A directory with models in it.
class Command : public testing::Test {
 protected:
  Command() {
    std::string name = (fs::temp_directory_path() / "graft-command-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    dir_ = name;
    auto net = nn::make<nn::Sequential>(nn::make<nn::Conv2d>(3, 8, 3), nn::make<nn::BatchNorm2d>(8), nn::make<nn::ReLU>(),
                                        nn::make<nn::Flatten>(), nn::make<nn::Linear>(8 * 6 * 6, 4));
    const NoGrad quiet;
    for (const Tensor& b : net->buffers())
      if (b.dtype() == f32) b.uniform_(0.5, 1.5);
    net->eval();
    surgery::save_model((dir_ / "net.st").string(), *net);
    std::ofstream(dir_ / "bad.st") << "these are no tensors";
  }
  ~Command() override { fs::remove_all(dir_); }
  Result run(const std::string& arguments) const { return shell("cd " + dir_.string() + " && " GRAFT_COMMAND " " + arguments); }
  void expect(const std::string& arguments, int code, const std::string& part) const {
    const Result r = run(arguments);
    EXPECT_EQ(r.code, code) << arguments << '\n' << r.out;
    EXPECT_NE(r.out.find(part), std::string::npos) << arguments << '\n' << r.out;
  }
  Json json(const std::string& arguments) const {
    const Result r = run(arguments + " --json");
    EXPECT_EQ(r.code, 0) << arguments << '\n' << r.out;
    return Json::parse(r.out, arguments);
  }
  bool exists(const char* name) const { return fs::exists(dir_ / name); }
  fs::path dir_;
};

TEST_F(Command, summary_and_count_say_what_a_model_is) {
  expect("summary net.st", 0, "(0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))");
  expect("summary net.st --input 2x3x8x8", 0, "Linear");
  EXPECT_EQ(json("summary net.st --input 2x3x8x8").find("macs")->integer(), 2 * (8 * 27 * 36 + 288 * 4) );
  EXPECT_EQ(json("summary net.st").find("parameters")->integer(), 3 * 8 * 9 + 8 + 16 + 288 * 4 + 4);
  expect("count net.st", 0, "BatchNorm2d  1");
  EXPECT_EQ(json("count net.st Conv2d Conv3d").dump(), R"({"Conv2d":1,"Conv3d":0})");
  expect("count net.st Conv2", 2, "did you mean Conv2d");
}
TEST_F(Command, plan_shows_and_writes_nothing) {
  expect("plan net.st replace from=ReLU to=GELU", 0, "ReLU()  ->  GELU(approximate='none')");
  expect("plan net.st replace from=ReLU to=GELU --tree", 0, "+   2: GELU(approximate='none')");
  EXPECT_EQ(json("plan net.st num_classes at=4 n=2 --input 1x3x8x8").find("changes")->items().size(), 1U);
  expect("plan net.st num_classes at=9 n=2", 2, "the nearest: 0, 1, 2");
  expect("plan net.st lroa", 2, "did you mean lora");
  expect("plan net.st lora rank=2", 2, "unexpected argument 'rank'");
  expect("plan net.st lora r", 2, "NAME=VALUE was expected");
}
TEST_F(Command, apply_writes_a_model_that_differs_and_undo_one_that_does_not) {
  expect("apply net.st num_classes at=4 n=2 -o two.st", 0, "replace  4");
  expect("diff net.st two.st", 1, "+   (4): Linear(in_features=288, out_features=2, bias=True)");
  expect("diff net.st net.st", 0, "no difference");
  expect("summary two.st", 0, "recipe: 1 step");
  expect("undo two.st -o back.st", 0, "");
  expect("diff net.st back.st", 0, "no difference");
  expect("undo back.st -o again.st", 3, "keeps no earlier version");
  expect("apply net.st num_classes at=4 n=2 -o two.st --forget", 0, "");
  expect("undo two.st -o back.st", 3, "keeps no earlier version");
  expect("apply net.st replace from=ReLU to=Tanh -o tanh.st --input 1x3x8x8 --verify", 1, "nothing was written");
  EXPECT_FALSE(exists("tanh.st"));
  expect("apply net.st remove_dropout -o same.st", 2, "nothing in the model to change");
  expect("apply net.st -o same.st", 2, "name a surgery, or a recipe");
}
TEST_F(Command, recipes_are_printed_and_applied_to_another_model) {
  const Result r = run("apply net.st lora r=2 -o lora.st --json > recipe.json");
  EXPECT_EQ(r.code, 0) << r.out;
  expect("apply net.st --recipe recipe.json -o same.st", 0, "recipe: 1 step");
  expect("diff --structure lora.st same.st", 0, "no difference");
  expect("apply lora.st --recipe recipe.json -o no.st", 2, "it was made for a model of structure");
  expect("apply lora.st --recipe bad.st -o no.st", 3, "bad.st: no JSON at byte");
  expect("apply net.st --recipe absent.json -o no.st", 3, "cannot open");
  EXPECT_FALSE(exists("no.st"));
  expect("apply lora.st remove_lora -o off.st", 0, "recipe: 1 step");
  expect("verify net.st off.st --input 1x3x8x8", 0, "the answers are equal");
  expect("undo off.st -o lora2.st", 0, "");
  expect("undo lora2.st -o net2.st", 0, "");
  expect("diff net.st net2.st", 0, "no difference");
}
TEST_F(Command, fuse_folds_norms_and_verify_says_whether_answers_stay) {
  expect("fuse net.st --input 1x3x8x8 --verify -o fused.st", 0, "Conv2d + BatchNorm2d + ReLU -> ConvReLU2d");
  expect("verify net.st fused.st --input 2x3x8x8", 0, "the answers");
  expect("fuse net.st --names 0,1 -o named.st", 0, "fuse_modules");
  expect("verify named.st fused.st --input 2x3x8x8", 0, "the answers");
  expect("fuse net.st -o no.st", 2, "--input says what the model reads");
  expect("fuse net.st --input 1x4x8x8 -o no.st", 2, "channels");
  expect("apply net.st replace from=ReLU to=Tanh -o tanh.st", 0, "");
  expect("verify net.st tanh.st --input 1x3x8x8", 1, "the answers differ: at output");
  EXPECT_FALSE(json("verify net.st fused.st --input 1x3x8x8").find("ulps")->is_null());
}
TEST_F(Command, bench_and_info_measure_and_tell) {
  expect("bench net.st --input 1x3x8x8 --runs 3 --threads 1", 0, "3 runs, 1 threads");
  EXPECT_GT(json("bench net.st --input 1x3x8x8 --runs 3").find("median_ms")->number(), 0);
  expect("info", 0, "graft " + std::string(kVersion));
  expect("info --kernels", 0, "| ops | device | f32 |");
  expect("info --ops", 0, "| add | cpu | x |");
  EXPECT_GT(json("info").find("kernels")->items().size(), 500U);
}
TEST_F(Command, diff_writes_a_page_as_well) {
  expect("apply net.st num_classes at=4 n=2 -o two.st", 0, "");
  expect("diff net.st two.st --report page.html", 1, "-   (4): Linear(in_features=288, out_features=4, bias=True)");
  EXPECT_TRUE(exists("page.html"));
  expect("diff net.st two.st --report page.pdf", 2, "ends in none of .html, .svg, .txt");
}
TEST_F(Command, the_table_of_kernels_in_the_readme_is_what_info_prints) {
  std::ifstream file(fs::path(GRAFT_TESTS_DIR).parent_path() / "README.md");
  const std::string readme(std::istreambuf_iterator<char>(file), {});
  std::istringstream table(run("info --kernels").out);
  int rows = 0;
  for (std::string line; std::getline(table, line);)
    if (line.find("| cpu |") != line.npos) {
      EXPECT_NE(readme.find("\n" + line + "\n"), readme.npos) << line;
      ++rows;
    }
  EXPECT_GT(rows, 8);
}
TEST_F(Command, usage_and_files_that_are_not_right_have_codes_of_their_own) {
  for (const char* verb : {"summary", "count", "plan", "apply", "fuse", "verify", "diff", "undo", "bench", "info"}) {
    expect(std::string(verb) + " --help", 0, std::string("Example: graft ") + verb);
    expect(std::string(verb) + " --no-such-option", 2, "");
  }
  expect("", 2, "subcommand is required");
  expect("--help", 0, "Exit codes");
  expect("--version", 0, std::string("graft ") + kVersion);
  expect("sumary net.st", 2, "");
  for (const char* arguments : {"summary bad.st", "count bad.st", "plan bad.st lora", "apply bad.st lora -o o.st", "fuse bad.st --input 1 -o o.st",
                                "verify net.st bad.st --input 1", "diff bad.st net.st", "undo bad.st -o o.st", "bench bad.st --input 1"})
    expect(arguments, 3, "bad.st: ");
  expect("summary absent.st", 3, "absent.st: cannot open");
  expect("summary net.st --input 1xax3", 2, "sizes like 1x3x32x32");
  expect("summary net.st --input 1x3:f33", 2, "no dtype is named 'f33'");
  expect("apply net.st lora -o /no/such/place/o.st", 2, "cannot create");
}
TEST_F(Command, no_colour_and_no_progress_outside_of_a_terminal_and_a_reader_that_leaves_is_no_error) {
  EXPECT_EQ(run("plan net.st replace from=ReLU to=GELU --tree").out.find('\033'), std::string::npos);
  const Result r = shell("cd " + dir_.string() + " && " GRAFT_COMMAND " info --ops | head -1");
  EXPECT_NE(r.out.find("| op | device |"), std::string::npos) << r.out;
  EXPECT_EQ(shell(GRAFT_COMMAND " info --ops >&-").code & ~1, 0);
  if (::access("/usr/bin/script", X_OK) != 0) GTEST_SKIP() << "script(1) plays the terminal";
  const auto on_terminal = [&](const std::string& variables) {
    return shell("cd " + dir_.string() + " && " + variables + " script -qec '" GRAFT_COMMAND " plan net.st replace from=ReLU to=GELU --tree' /dev/null").out;
  };
  EXPECT_NE(on_terminal("").find("\033[32m+   2: GELU"), std::string::npos);
  EXPECT_EQ(on_terminal("NO_COLOR=1").find("\033[32m"), std::string::npos);
}

// Lines that begin with "$ " are run, and print what follows them; "..." stands for any lines.
TEST_F(Command, the_tour_of_the_readme_prints_what_it_says) {
  const fs::path readme = fs::path(GRAFT_TESTS_DIR).parent_path() / "README.md";
  ASSERT_EQ(shell("cd " + dir_.string() + " && " GRAFT_README_PROGRAM " > /dev/null").code, 0);
  std::ifstream in(readme);
  std::vector<std::pair<std::string, std::vector<std::string>>> steps;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) inside = line == "```console";
    else if (inside && line.starts_with("$ ")) steps.push_back({line.substr(2), {}});
    else if (inside && !steps.empty()) steps.back().second.push_back(line);
  }
  ASSERT_GE(steps.size(), 4U);
  const std::string path = "PATH=" + fs::path(GRAFT_COMMAND).parent_path().string() + ":$PATH";
  for (const auto& [command, expected] : steps) {
    const Result r = shell("cd " + dir_.string() + " && " + path + " && " + command);
    EXPECT_EQ(r.code, 0) << command << '\n' << r.out;
    std::istringstream lines(r.out);
    std::vector<std::string> printed;
    for (std::string line; std::getline(lines, line);) printed.push_back(line);
    size_t at = 0;
    bool any = false;
    for (const std::string& line : expected) {
      if (line == "...") {
        any = true;
        continue;
      }
      while (any && at < printed.size() && printed[at] != line) ++at;
      ASSERT_LT(at, printed.size()) << command << ": \"" << line << "\" is not in\n" << r.out;
      ASSERT_EQ(printed[at], line) << command << '\n' << r.out;
      ++at;
      any = false;
    }
    EXPECT_TRUE(any || at == printed.size()) << command << '\n' << r.out;
  }
}

}  // namespace
