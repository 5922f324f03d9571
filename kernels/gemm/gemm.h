// Matrix products of f32 at the speed of the machine: c = a b with every stride, an epilogue, weights packed once.
// Other types are in kernels/matmul.
#pragma once
#include <cstdint>
#include "graft/kernels/gemm/tiles.h"

namespace graft::inline v1::gemm {

// Element (i, j) is data[i * row + j * col].
struct Matrix {
  const float* data = nullptr;
  int64_t row = 0, col = 0;
  Matrix transposed() const { return {data, col, row}; }
};
struct Result {
  float* data = nullptr;
  int64_t row = 0, col = 1;
};

// c = clamp(a b + column_bias[j] + row_bias[i] + c if `accumulate` + residual); residual has c's strides.
struct Epilogue {
  const float* column_bias = nullptr;
  const float* row_bias = nullptr;
  const float* residual = nullptr;
  Clamp clamp = Clamp::none;
  bool accumulate = false;
};

// c[m,n] = a[m,k] b[k,n].
void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, const Result& c, const Epilogue& = {});

// The same with b prepared by pack(); worth it where b serves several products. What pack() writes is good for the
// instruction set that was in use; a cache of it must have cpu::isa() in its key. Column stride of c is 1.
int64_t packed_size(int64_t k, int64_t n);  // floats
void pack(int64_t k, int64_t n, Matrix b, float* to);
void multiply_packed(int64_t m, int64_t n, int64_t k, const Matrix& a, const float* packed, const Result& c, const Epilogue& = {});

// Panels of tiles().panel columns, one after the other, each [k][panel]; the last is one vector wide if that suffices.
inline int64_t panel_width(const Tiles& t, int64_t columns_left) {
  return columns_left <= t.width ? t.width : t.panel;
}

}  // namespace graft::gemm
