#include "command.h"

#include <unistd.h>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include "graft/core/ops.h"
#include "graft/core/random.h"

namespace command {

using namespace graft;

surgery::ModelFile load(const std::string& path) {
  const Working line("reading " + path);
  try {
    return surgery::load_model(path);
  } catch (const Error& e) {
    throw BadFile(e.what());
  }
}

template <class T> static bool parse(std::string_view text, T& v) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  return error == std::errc() && end == text.data() + text.size();
}

static Tensor input_of(const std::string& text, Generator& g) {
  const size_t colon = text.find(':');
  DType dtype = f32;
  GRAFT_CHECK(colon == text.npos || parse_dtype(text.substr(colon + 1), dtype), "--input: no dtype is named '", text.substr(colon + 1), "'");
  Shape shape;
  std::string_view left = std::string_view(text).substr(0, colon);
  while (!left.empty()) {
    const size_t x = std::min(left.find_first_of("x,"), left.size());
    int64_t n = 0;
    GRAFT_CHECK(parse(left.substr(0, x), n) && n >= 0 && shape.rank() < kMaxRank, "--input: sizes like 1x3x32x32 were expected, not '", text, "'");
    shape.push_back(n);
    left.remove_prefix(std::min(x + 1, left.size()));
  }
  if (dtype == boolean || dtype == i64 || dtype == i32 || dtype == i16 || dtype == i8 || dtype == u8) return randint(0, 2, shape, i64, &g).to(dtype);
  return randn(shape, f32, &g).to(dtype);
}
nn::Values inputs_of(const std::vector<std::string>& shapes) {
  Generator g(0);
  nn::Values inputs;
  for (const std::string& s : shapes) inputs.emplace_back(input_of(s, g));
  return inputs;
}

static nn::Value value_of(std::string_view text) {
  int64_t i = 0;
  double d = 0;
  if (text == "true" || text == "false") return text == "true";
  if (parse(text, i)) return i;
  if (parse(text, d)) return d;
  return std::string(text);
}
nn::Args arguments_of(const std::vector<std::string>& pairs) {
  nn::Args args;
  for (const std::string& p : pairs) {
    const size_t at = p.find('=');
    GRAFT_CHECK(at != p.npos && at > 0, "'", p, "' is no argument; NAME=VALUE was expected");
    const std::string name = p.substr(0, at), text = p.substr(at + 1);
    args.emplace_back(name, name == "at" ? nn::Value(text) : value_of(text));  // a path may look like a number
  }
  return args;
}

static bool wants_color() {
  const char* no = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (!no || !*no);
}
void print_marked(const std::string& text) {
  const bool color = wants_color();
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string line = text.substr(from, end - from);
    const char* paint = !color || line.empty() ? "" : line[0] == '+' ? "\033[32m" : line[0] == '-' ? "\033[31m" : "";
    std::cout << paint << line << (*paint ? "\033[0m" : "") << '\n';
    from = end + 1;
  }
}

Working::Working(const std::string& what) : shown_(isatty(STDERR_FILENO) != 0) {
  if (shown_) std::cerr << what << " ..." << std::flush;
}
Working::~Working() {
  if (shown_) std::cerr << "\r\033[K" << std::flush;
}

}  // namespace command
