// Strided arrays for tests that call kernels directly: memory in any layout, filled by a formula, with guard elements
// around it that must survive.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>
#include "graft/kernels/isa.h"
#include "graft/kernels/table.h"
#include "gtest/gtest.h"

namespace graft::test {

enum class Layout { contiguous, channels_last, gaps };
inline constexpr Layout kLayouts[] = {Layout::contiguous, Layout::channels_last, Layout::gaps};

template <class T> class Array {
 public:
  Array(std::vector<int64_t> size, Layout layout) {
    view.rank = uint8_t(size.size());
    view.dtype = dtype_v<T>;
    view.numel = std::accumulate(size.begin(), size.end(), int64_t{1}, std::multiplies<>());
    std::vector<int> order(size.size());  // from the outermost in memory to the innermost
    std::iota(order.begin(), order.end(), 0);
    if (layout == Layout::channels_last && size.size() > 2) std::rotate(order.begin() + 1, order.begin() + 2, order.end());
    if (layout == Layout::gaps) std::reverse(order.begin(), order.end());
    int64_t step = layout == Layout::gaps ? 2 : 1;
    for (size_t i = size.size(); i-- > 0;) {
      view.size[order[i]] = size[size_t(order[i])];
      view.stride[order[i]] = step;
      step = step * std::max<int64_t>(1, size[size_t(order[i])]) + (layout == Layout::gaps ? 3 : 0);
    }
    view.contiguous = layout == Layout::contiguous;
    memory.assign(size_t(step) + 2 * kGuard, T(kGuardValue));
    view.data = reinterpret_cast<std::byte*>(memory.data() + kGuard);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  int64_t offset(int64_t i) const {  // of the i-th element in row-major order
    int64_t at = 0;
    for (int d = view.rank - 1; d >= 0; --d) {
      at += i % view.size[d] * view.stride[d];
      i /= view.size[d];
    }
    return at;
  }
  T& operator[](int64_t i) { return memory[size_t(kGuard + offset(i))]; }
  double value(int64_t i) const { return double(memory[size_t(kGuard + offset(i))]); }
  void fill(int seed) {  // in (-1, 1), no two alike near each other
    for (int64_t i = 0; i < view.numel; ++i) (*this)[i] = T(float(std::sin(double(i) * 1.7 + seed * 0.9 + 0.1)));
  }
  bool guards_intact() const {
    std::vector<char> used(memory.size(), 0);
    for (int64_t i = 0; i < view.numel; ++i) used[size_t(kGuard + offset(i))] = 1;
    for (size_t i = 0; i < memory.size(); ++i)
      if (!used[i] && double(memory[i]) != double(T(kGuardValue))) return false;
    return true;
  }

  View view;
  std::vector<T> memory;

 private:
  static constexpr int64_t kGuard = 40;
  static constexpr int kGuardValue = 77;
};

// Runs `check` after each candidate of the op, under each instruction set of this machine, that accepts the launch.
template <class Check> void for_each_kernel(const char* op, DType dtype, const Launch& launch, Check check) {
  int ran = 0;
  for (int i = 0; i <= int(cpu::best_isa()); ++i) {
    const cpu::Isa before = cpu::set_isa(cpu::Isa(i));
    for (const Candidate* c = intern(op).first(Device::cpu, dtype); c; c = c->next) {
      SCOPED_TRACE(std::string(op) + " " + c->name + " " + std::string(cpu::name_of(cpu::Isa(i))));
      if (i > 0 && std::string_view(c->name) == "reference") continue;  // the same code under all
      if (c->run(launch) != kRan) continue;
      ++ran;
      check();
    }
    cpu::set_isa(before);
  }
  EXPECT_GT(ran, 0) << op << ": no candidate ran";
}

// Largest difference, relative to the largest magnitude or one.
template <class T> double difference(const Array<T>& got, const std::vector<double>& expected) {
  double worst = 0, scale = 1;
  for (double e : expected) scale = std::max(scale, std::abs(e));
  for (int64_t i = 0; i < got.view.numel; ++i) {
    const double d = std::abs(got.value(i) - expected[size_t(i)]);
    worst = d <= worst ? worst : d;  // NaN is the worst
  }
  return worst / scale;
}
template <class T> constexpr double tolerance() {
  return dtype_v<T> == f64 ? 1e-12 : dtype_v<T> == f32 ? 2e-5 : dtype_v<T> == f16 ? 2e-3 : 1.6e-2;
}

}  // namespace graft::test
