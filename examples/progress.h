// A progress bar on stderr, silent where that is no terminal.
#pragma once
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

class Progress {
 public:
  Progress(std::string what, int64_t total)
      : what_(std::move(what)), total_(total), shown_(isatty(STDERR_FILENO) != 0) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_) std::fprintf(stderr, "\r\033[K");
  }
  void step(const std::string& note) {
    ++done_;
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || (done_ < total_ && now - last_ < std::chrono::milliseconds(50))) return;
    last_ = now;
    const int filled = int(30 * done_ / std::max<int64_t>(total_, 1));
    std::fprintf(stderr, "\r\033[K%s [%s%s] %3d %%  %s", what_.c_str(), std::string(size_t(filled), '#').c_str(),
                 std::string(size_t(30 - filled), ' ').c_str(), int(100 * done_ / std::max<int64_t>(total_, 1)),
                 note.c_str());
  }

 private:
  std::string what_;
  int64_t total_, done_ = 0;
  bool shown_;
  std::chrono::steady_clock::time_point last_{};
};
