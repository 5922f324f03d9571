// The sums of a matrix's columns on cpu: the gradient of a bias.
#pragma once
#include <algorithm>
#include "graft/kernels/parallel.h"
#include "graft/kernels/view.h"

namespace graft::inline v1 {

// to[j] = sum over i of m[i][j]. Rows are read once, a few hundred columns of them at a time; 256 rows are summed on their
// own before they join the rest, so that an error does not grow with the number of rows.
template <class T> void sum_columns(const View& m, T* to) {
  using C = compute_t<T>;
  constexpr int64_t kColumns = 256, kRows = 256;
  const int64_t rows = m.size[0], columns = m.size[1], row_step = m.stride[0], step = m.stride[1];
  const auto block = [&](int64_t first, int64_t count) {
    const T* x = m.as<T>() + first * step;
    C total[kColumns], part[kColumns];
    std::fill_n(total, count, C(0));
    for (int64_t top = 0; top < rows; top += kRows) {
      std::fill_n(part, count, C(0));
      for (int64_t i = top; i < std::min(top + kRows, rows); ++i) {
        const T* row = x + i * row_step;
        if (step == 1)
          for (int64_t j = 0; j < count; ++j) part[j] += C(row[j]);
        else
          for (int64_t j = 0; j < count; ++j) part[j] += C(row[j * step]);
      }
      for (int64_t j = 0; j < count; ++j) total[j] += part[j];
    }
    for (int64_t j = 0; j < count; ++j) to[first + j] = T(total[j]);
  };
  if (columns <= kColumns) return block(0, columns);
  parallel_for(0, (columns + kColumns - 1) / kColumns, std::max<int64_t>(1, (1 << 16) / (rows * kColumns + 1)),
               [&](int64_t first, int64_t last) {
                 for (int64_t b = first; b < last; ++b) block(b * kColumns, std::min(kColumns, columns - b * kColumns));
               });
}

}  // namespace graft
