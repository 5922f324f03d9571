// Times two contestants in turn and prints median and middle half.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Returns the median of b's times divided by that of a's.
template <class A, class B>
double race(const char* name_a, A&& a, const char* name_b, B&& b, size_t rounds = 41) {
  std::vector<double> times_a, times_b;
  for (size_t i = 0; i < rounds; ++i) {
    double start = seconds();
    a();
    times_a.push_back(1e6 * (seconds() - start));
    start = seconds();
    b();
    times_b.push_back(1e6 * (seconds() - start));
  }
  for (auto* t : {&times_a, &times_b}) {
    std::sort(t->begin(), t->end());
    std::printf("%-16s %8.1f us, middle half %.1f to %.1f\n", t == &times_a ? name_a : name_b, (*t)[rounds / 2],
                (*t)[rounds / 4], (*t)[3 * rounds / 4]);
  }
  std::fflush(stdout);
  return times_b[rounds / 2] / times_a[rounds / 2];
}
