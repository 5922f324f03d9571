// What a page of the documentation prints, held against what the page says it prints: the ```text block behind a ```cpp
// block. Included by the programs that docs.awk makes.
#pragma once
#include <iostream>
#include <streambuf>
#include <string>
#include <string_view>
#include <vector>

namespace docs {

// Everything that goes to a stream, kept as well.
class Tee : public std::streambuf {
 public:
  explicit Tee(std::ostream& o) : stream_(o), to_(o.rdbuf(this)) {}
  ~Tee() override { stream_.rdbuf(to_); }
  Tee(const Tee&) = delete;
  Tee& operator=(const Tee&) = delete;
  std::string text;

 protected:
  int_type overflow(int_type c) override {
    text += char(c);
    return to_->sputc(char(c));
  }
  std::streamsize xsputn(const char* s, std::streamsize n) override {
    text.append(s, size_t(n));
    return to_->sputn(s, n);
  }
  int sync() override { return to_->pubsync(); }

 private:
  std::ostream& stream_;
  std::streambuf* to_;
};

// Without blanks at the ends of lines, and without empty lines at the end.
inline std::string trimmed(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\n') result.erase(result.find_last_not_of(' ') + 1);
    result += c;
  }
  result.erase(result.find_last_not_of(" \n") + 1);
  return result;
}

// "..." in what the page says stands for anything.
inline bool matches(std::string_view says, std::string_view printed) {
  size_t at = 0;
  for (bool first = true;; first = false) {
    const size_t gap = says.find("...");
    const std::string_view part = says.substr(0, gap);
    if (gap == std::string_view::npos && !first)
      return printed.size() >= at + part.size() && printed.ends_with(part);
    const size_t found = first ? (printed.starts_with(part) ? 0 : std::string_view::npos) : printed.find(part, at);
    if (found == std::string_view::npos) return false;
    if (gap == std::string_view::npos) return printed.size() == part.size();
    at = found + part.size();
    says.remove_prefix(gap + 3);
  }
}

class Page {
 public:
  void block() { out_.text.clear(); }
  // `says` begins with a line break. Goes on where they differ, so that one run shows all that does.
  void expect(std::string_view says, const char* file, int line) {
    says.remove_prefix(1);
    if (matches(trimmed(says), trimmed(out_.text))) return;
    differ_ = true;
    std::cout.flush();
    std::cerr << file << ':' << line << ": the page says\n" << trimmed(says) << "\nbut the block before it printed\n"
              << trimmed(out_.text) << '\n';
  }
  bool differs() const { return differ_; }

 private:
  Tee out_{std::cout};
  bool differ_ = false;
};

}  // namespace docs
