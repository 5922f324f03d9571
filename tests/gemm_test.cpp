// f32 matrix products against sums in f64: every transposition, odd sizes, epilogues, all instruction sets.
#include "graft/kernels/gemm/gemm.h"

#include <algorithm>
#include <cmath>
#include <vector>
#include "graft/kernels/isa.h"
#include "graft/kernels/parallel.h"
#include "gtest/gtest.h"

namespace graft::test {
namespace {

using gemm::Clamp;
using gemm::Epilogue;
using gemm::Matrix;

struct Operand {  // with a guard on either side
  Operand(int64_t rows, int64_t cols, bool transposed, int64_t gap, int seed)
      : row(transposed ? 1 : cols + gap), col(transposed ? rows + gap : 1), memory(size_t((rows + gap) * (cols + gap) + 64), 77.F) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) at(i, j) = float(std::sin(double(i) * 1.3 + double(j) * 2.1 + seed));
  }
  float& at(int64_t i, int64_t j) { return memory[size_t(32 + i * row + j * col)]; }
  Matrix matrix() { return {&at(0, 0), row, col}; }
  int64_t row, col;
  std::vector<float> memory;
};

struct EachIsa {  // runs the body under every instruction set of this machine
  template <class F> explicit EachIsa(F body) {
    const cpu::Isa before = cpu::isa();
    for (int i = 0; i <= int(cpu::best_isa()); ++i) {
      cpu::set_isa(cpu::Isa(i));
      SCOPED_TRACE(cpu::name_of(cpu::isa()));
      body();
    }
    cpu::set_isa(before);
  }
};

struct Shape { int64_t m, n, k; };
const Shape kShapes[] = {{1, 1, 1}, {1, 8, 8}, {2, 7, 9}, {7, 1, 5}, {8, 8, 8}, {9, 33, 17}, {14, 32, 1}, {15, 31, 64},
                         {1, 70, 513}, {64, 1, 300}, {3, 100, 70}, {29, 65, 129}, {100, 48, 600}, {30, 150, 1030},
                         {5, 6, 0}, {0, 6, 5}, {6, 0, 5}, {130, 90, 80}};

// The product in f64, and every transposition of every operand against it.
void check(const Shape& s, bool everything) {
  std::vector<double> expected(size_t(s.m * s.n));
  std::vector<float> columns(size_t(s.n)), rows(size_t(s.m));
  for (size_t j = 0; j < columns.size(); ++j) columns[j] = 0.1F * float(j % 7);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = 0.2F * float(i % 5);
  Operand a(s.m, s.k, false, 0, 1), b(s.k, s.n, false, 0, 2), c(s.m, s.n, false, 0, 3), r(s.m, s.n, false, 0, 4);
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < s.k; ++k) sum += double(a.at(i, k)) * b.at(k, j);
      if (everything) sum = std::clamp(sum + columns[size_t(j)] + rows[size_t(i)] + c.at(i, j) + r.at(i, j), 0.0, 6.0);
      expected[size_t(i * s.n + j)] = sum;
    }
  const double bound = 3e-7 * (2 + std::sqrt(double(s.k)) * 2);
  EachIsa([&] {
    for (int t = 0; t < 8; ++t) {
      SCOPED_TRACE(testing::Message() << s.m << "x" << s.n << "x" << s.k << " transposed " << t);
      const int64_t gap = t % 3 * 5;
      Operand at(s.m, s.k, t & 1, gap, 1), bt(s.k, s.n, t & 2, gap, 2), ct(s.m, s.n, t & 4, gap, 3);
      Operand rt(s.m, s.n, t & 4, gap, 4);
      Operand old = ct;
      Epilogue e;
      if (everything) e = {columns.data(), rows.data(), rt.matrix().data, Clamp::relu6, true};
      gemm::multiply(s.m, s.n, s.k, at.matrix(), bt.matrix(), {&ct.at(0, 0), ct.row, ct.col}, e);
      double worst = 0;
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.n; ++j) {
          worst = std::max(worst, std::abs(expected[size_t(i * s.n + j)] - ct.at(i, j)));
          ct.at(i, j) = old.at(i, j);
        }
      EXPECT_LT(worst, bound);
      EXPECT_EQ(ct.memory, old.memory) << "wrote beside the result";
    }
  });
}

TEST(Gemm, equals_sums_in_f64_for_every_transposition) {
  for (const Shape& s : kShapes) check(s, false);
}
TEST(Gemm, epilogue_adds_biases_result_and_residual_and_clamps) {
  for (const Shape& s : kShapes) check(s, true);
}
TEST(Gemm, strides_that_are_not_one_anywhere) {
  EachIsa([] {
    std::vector<float> a(4 * 5 * 6), b(5 * 7 * 6), c(4 * 7 * 6, 9);
    for (size_t i = 0; i < a.size(); ++i) a[i] = float(i % 11) - 5;
    for (size_t i = 0; i < b.size(); ++i) b[i] = float(i % 13) - 6;
    gemm::multiply(4, 7, 5, {a.data(), 30, 2}, {b.data(), 3, 30}, {c.data(), 42, 6}, {});
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 7; ++j) {
        float sum = 0;  // of small integers: exact
        for (int k = 0; k < 5; ++k) sum += a[size_t(i * 30 + k * 2)] * b[size_t(k * 3 + j * 30)];
        EXPECT_EQ(c[size_t(i * 42 + j * 6)], sum);
      }
  });
}
TEST(Gemm, packed_once_serves_many_products) {
  EachIsa([] {
    for (const Shape& s : {Shape{1, 8, 8}, Shape{33, 100, 70}, Shape{40, 17, 700}}) {
      Operand b(s.k, s.n, true, 0, 2);
      std::vector<float> packed(size_t(gemm::packed_size(s.k, s.n)));
      gemm::pack(s.k, s.n, b.matrix(), packed.data());
      for (int seed : {1, 5}) {
        Operand a(s.m, s.k, false, 0, seed);
        std::vector<float> c(size_t(s.m * s.n)), expected(c);
        gemm::multiply_packed(s.m, s.n, s.k, a.matrix(), packed.data(), {c.data(), s.n, 1});
        for (int64_t i = 0; i < s.m; ++i)
          for (int64_t j = 0; j < s.n; ++j) {
            double sum = 0;
            for (int64_t k = 0; k < s.k; ++k) sum += double(a.at(i, k)) * b.at(k, j);
            EXPECT_NEAR(c[size_t(i * s.n + j)], sum, 3e-5);
          }
      }
    }
  });
}
TEST(Gemm, thread_counts_and_repetition_give_the_same_bits) {
  Operand a(150, 700, false, 0, 1), b(700, 90, false, 0, 2);
  std::vector<float> one(size_t(150 * 90)), other(one);
  const int threads = num_threads();
  set_num_threads(1);
  gemm::multiply(150, 90, 700, a.matrix(), b.matrix(), {one.data(), 90, 1});
  for (int n : {2, 3}) {
    set_num_threads(n);
    std::fill(other.begin(), other.end(), 0.F);
    gemm::multiply(150, 90, 700, a.matrix(), b.matrix(), {other.data(), 90, 1});
    EXPECT_EQ(one, other) << n;
  }
  set_num_threads(threads);
}
TEST(Gemm, relu_lets_nan_pass) {
  EachIsa([] {
    const float nan = std::nanf("");
    std::vector<float> a(8 * 8, 1), b(8 * 40, 1), c(8 * 40);
    a[0] = nan;
    Epilogue e;
    e.clamp = Clamp::relu6;
    gemm::multiply(8, 40, 8, {a.data(), 8, 1}, {b.data(), 40, 1}, {c.data(), 40, 1}, e);
    EXPECT_TRUE(std::isnan(c[0]));
    EXPECT_TRUE(std::isnan(c[39]));
    EXPECT_EQ(c[40], 6);
  });
}

}  // namespace
}  // namespace graft::test
