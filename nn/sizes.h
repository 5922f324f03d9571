// Arguments that layers and functions share: one number per spatial dimension, padding, padding mode, reduction.
#pragma once
#include <array>
#include <concepts>
#include <initializer_list>
#include <ostream>
#include <string>
#include <string_view>
#include "graft/core/error.h"

namespace graft::inline v1::nn {

// One number per spatial dimension: Sizes<2>(3), Sizes<2>{3, 5}.
template <int N> class Sizes {
 public:
  Sizes() { all_.fill(0); }
  Sizes(int64_t all) { all_.fill(all); }  // NOLINT(google-explicit-constructor)
  Sizes(std::initializer_list<int64_t> each) {
    GRAFT_CHECK(each.size() == N || each.size() == 1, ErrorCode::shape_mismatch, "needs ", N, " sizes or one, not ",
                each.size());
    for (int i = 0; i < N; ++i) all_[size_t(i)] = each.begin()[each.size() == 1 ? 0 : i];
  }
  Sizes(const std::array<int64_t, N>& each) : all_(each) {}  // NOLINT(google-explicit-constructor)
  int64_t operator[](int i) const { return all_[size_t(i)]; }
  int64_t& operator[](int i) { return all_[size_t(i)]; }
  const int64_t* begin() const { return all_.data(); }
  const int64_t* end() const { return all_.data() + N; }
  friend bool operator==(const Sizes&, const Sizes&) = default;
  friend std::ostream& operator<<(std::ostream& o, const Sizes& s) {  // as Python prints a tuple: (3,), (3, 5)
    o << '(';
    for (int i = 0; i < N; ++i) o << (i ? ", " : "") << s[i];
    return o << (N == 1 ? ",)" : ")");
  }

 private:
  std::array<int64_t, N> all_;
};

// Zeros on both sides of each dimension, or "same" (the output has the input's size; stride 1) or "valid" (none).
template <int N> struct Padding {
  enum Kind : uint8_t { sizes, same, valid };
  Padding() : amount(0) {}
  template <std::integral I> Padding(I all) : amount(int64_t(all)) {}  // NOLINT: so that 0 is no null pointer
  Padding(std::initializer_list<int64_t> each) : amount(each) {}
  Padding(const Sizes<N>& each) : amount(each) {}  // NOLINT(google-explicit-constructor)
  Padding(std::string_view name) : amount(0), kind(name == "same" ? same : valid) {  // NOLINT
    GRAFT_CHECK(name == "same" || name == "valid", "Invalid padding string '", name, "', should be one of 'same', 'valid'");
  }
  Padding(const char* name) : Padding(std::string_view(name)) {}  // NOLINT(google-explicit-constructor)
  friend bool operator==(const Padding&, const Padding&) = default;
  friend std::ostream& operator<<(std::ostream& o, const Padding& p) {
    return p.kind == sizes ? o << p.amount : o << (p.kind == same ? "same" : "valid");
  }

  Sizes<N> amount;
  Kind kind = sizes;
};

// What is beyond the border: PaddingMode::reflect or "reflect".
class PaddingMode {
 public:
  enum Mode : uint8_t { zeros, reflect, replicate, circular };
  constexpr PaddingMode(Mode m = zeros) : mode_(m) {}  // NOLINT(google-explicit-constructor)
  PaddingMode(std::string_view name);                  // NOLINT(google-explicit-constructor)
  PaddingMode(const char* name) : PaddingMode(std::string_view(name)) {}  // NOLINT(google-explicit-constructor)
  std::string_view name() const;
  constexpr operator Mode() const { return mode_; }  // NOLINT(google-explicit-constructor)

 private:
  Mode mode_;
};

// How a loss is summarised: Reduction::sum or "sum". batchmean (of kl_div): the sum over the size of the batch.
class Reduction {
 public:
  enum Mode : uint8_t { none, mean, sum, batchmean };
  constexpr Reduction(Mode m = mean) : mode_(m) {}  // NOLINT(google-explicit-constructor)
  Reduction(std::string_view name);                 // NOLINT(google-explicit-constructor)
  Reduction(const char* name) : Reduction(std::string_view(name)) {}  // NOLINT(google-explicit-constructor)
  std::string_view name() const;
  constexpr operator Mode() const { return mode_; }  // NOLINT(google-explicit-constructor)

 private:
  Mode mode_;
};

}  // namespace graft::nn
