// Checkpoints: what was put in comes out, and a file is never half of one state and half of another.
#include "graft/io/checkpoint.h"
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <thread>
#include "graft/core/error.h"
#include "graft/core/ops.h"

using namespace graft;
namespace fs = std::filesystem;

namespace {

class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "graft-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

void expect_error(const std::function<void()>& f, ErrorCode code) {
  try {
    f();
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
  }
}

// A state of which every tensor and value says which one it is.
io::Checkpoint state_of(int64_t k) {
  io::NamedTensors model, optimizer;
  for (int i = 0; i < 8; ++i) {
    model.emplace_back("layer" + std::to_string(i) + ".weight", full({32, 64}, double(k), f32));
    optimizer.emplace_back("state." + std::to_string(i) + ".exp_avg", full({32, 64}, double(k), f64));
  }
  io::Checkpoint c;
  c.add("model", model);
  c.add("optimizer", optimizer);
  c.set("step", k);
  return c;
}
// The number of the state that the whole file agrees on.
int64_t number_of(const std::string& path) {
  const auto c = io::load_checkpoint(path);
  const int64_t k = c.integer("step");
  for (const auto& section : c.sections())
    for (const auto& [name, t] : c.section(section))
      for (const int64_t row : {0, 31}) EXPECT_EQ(t.at({row, 63}), double(k)) << name;
  EXPECT_EQ(c.section("model").size() + c.section("optimizer").size(), 16u);
  return k;
}

}  // namespace

TEST(Checkpoint, what_was_put_in_comes_out_in_order) {
  const Directory dir;
  io::Checkpoint c;
  c.add("model", {{"z.weight", tensor({1., 2.}, f64)}, {"a.bias", tensor({3.}, f32)}, {"", scalar_tensor(7, i64)}});
  c.add("optimizer", std::map<std::string, Tensor>{{"1:2.x", tensor({true, false})}});
  c.add("scheduler", {});
  c.set("recipe", "é\n\"");
  c.set("epoch", int64_t{1} << 62);
  c.set("lr", 0.1);
  c.set("worst", std::numeric_limits<double>::infinity());
  c.set("done", true);
  io::save_checkpoint(dir / "c", c);
  const auto back = io::load_checkpoint(dir / "c");
  EXPECT_EQ(back.sections().size(), 3u);
  ASSERT_EQ(back.section("model").size(), 3u);
  EXPECT_EQ(back.section("model")[0].first, "z.weight");
  EXPECT_EQ(back.section("model")[0].second.at({1}), 2);
  EXPECT_EQ(back.section("model")[2].first, "");
  EXPECT_EQ(back.section("model")[2].second.item<int64_t>(), 7);
  EXPECT_EQ(back.section("optimizer")[0].first, "1:2.x");
  EXPECT_TRUE(back.section("scheduler").empty());
  EXPECT_FALSE(back.has("generator"));
  EXPECT_EQ(back.text("recipe"), "é\n\"");
  EXPECT_EQ(back.integer("epoch"), int64_t{1} << 62);
  EXPECT_EQ(back.number("lr"), 0.1);
  EXPECT_TRUE(std::isinf(back.number("worst")));
  EXPECT_EQ(back.integer("done"), 1);
}

TEST(Checkpoint, mistakes_are_named) {
  const Directory dir;
  io::Checkpoint c = state_of(1);
  expect_error([&] { c.add("model", {}); }, ErrorCode::key_error);
  expect_error([&] { c.add("a.b", {}); }, ErrorCode::key_error);
  expect_error([&] { c.add("", {}); }, ErrorCode::key_error);
  expect_error([&] { c.section("none"); }, ErrorCode::key_error);
  expect_error([&] { c.text("none"); }, ErrorCode::key_error);
  c.set("name", "text");
  expect_error([&] { c.integer("name"); }, ErrorCode::type_error);
  io::save_safetensors(dir / "plain", {{"a", zeros({1})}});
  expect_error([&] { io::load_checkpoint(dir / "plain"); }, ErrorCode::malformed);
  io::save_safetensors(dir / "next", {}, {{"graft.checkpoint", "2"}});
  expect_error([&] { io::load_checkpoint(dir / "next"); }, ErrorCode::unsupported);
  for (const std::string names : {"1:a", "9:a", "x", "1", "18446744073709551615:a", "1:b"}) {
    io::save_safetensors(dir / "bad", {{"model.b", zeros({1})}, {"model.c", zeros({1})}},
                         {{"graft.checkpoint", "1"}, {"section.model", names}});
    expect_error([&] { io::load_checkpoint(dir / "bad"); }, ErrorCode::malformed);
  }
}

TEST(Contract, KP7_a_save_that_is_killed_leaves_the_old_or_the_new_file) {
  const Directory dir;
  const std::string path = dir / "run.ckpt";
  io::save_checkpoint(path, state_of(0));
  std::mt19937 random(3);
  int64_t last = 0;
  int advanced = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int64_t k = last + 1;; ++k) io::save_checkpoint(path, state_of(k));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500 + random() % 20'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself";
    const int64_t now = number_of(path);
    EXPECT_GE(now, last) << "an older state came back";
    advanced += now > last;
    last = now;
  }
  EXPECT_GT(advanced, 0) << "no save ever finished: the test saw nothing";
}
