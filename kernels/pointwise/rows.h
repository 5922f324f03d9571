// How a pointwise kernel runs. The product (functor x compute type x instruction set) exists only as rows: loops over
// contiguous memory. Everything else (dtypes, strides, broadcasting, threads) is done around them in run.cpp.
#pragma once
#include "graft/kernels/table.h"

namespace graft::inline v1::pointwise {

// y[i] = f(x[0][i], x[1][i], ...) for i in [0, n); y may be one of x.
using Row = void (*)(void* y, const void* const* x, int64_t n, const void* attrs);

// The types in which functors compute.
enum Compute : uint8_t { in_f32, in_f64, in_i64, in_c64, in_c128 };
inline constexpr int kComputes = 5;
inline constexpr int kIsas = 3;
inline constexpr int kMaxInputs = 3;

enum class Form : uint8_t { tensors, scalar_second, scalar_first };

struct Op {
  const char* functor = nullptr;
  Form form = Form::tensors;
  uint8_t inputs = 0;
  bool divides = false;            // by its last tensor or the number
  Row rows[kIsas][kComputes] = {};
  DType result[kComputes] = {};    // of the row
};

// Writes the rows of all functors in the order of kernels/pointwise/functors.h: unary, binary, ternary, scalar second,
// scalar first. One per instruction set; a set without a file of its own leaves what it was given.
inline constexpr int kMaxOps = 256;
int rows_baseline(Op*);  // describes the ops as well; returns their number
void rows_integer(Op*);
void rows_complex(Op*);
void rows_avx2(Op*);
void rows_avx512(Op*);

Decline run(const Launch&, const Op&);
std::string op_name(std::string_view functor, Form);  // "add", "add_scalar", "scalar_sub"
bool takes_bool(std::string_view functor);

}  // namespace graft::pointwise
