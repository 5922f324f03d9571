// matmul and linear by cuBLAS, where it is installed: which of their layouts it can read.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/vendor.h"
#include "graft/kernels/gemm/cuda_matmul.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

// As a matrix whose neighbours along one direction are neighbours in memory, and whose lines do not overlap.
bool describe(const gemm::Matrix& x, int64_t rows, int64_t k, vendor::Matrix& to) {
  to.data = x.data;
  const auto lines = [&](int64_t step, int64_t line_step, int64_t size, int64_t count) {
    to.leading = count == 1 ? std::max<int64_t>(1, size) : line_step;
    return (step == 1 || size == 1) && to.leading >= size && to.leading <= INT32_MAX;
  };
  to.along_k = true;
  if (lines(x.k_step, x.row_step, k, rows)) return true;
  to.along_k = false;
  return lines(x.row_step, x.k_step, rows, k);
}
// The batch as one dimension with one step for each operand.
bool flatten(const gemm::Batches& b, int64_t (&step)[3]) {
  int64_t inner = 1;  // products counted so far
  for (int i = 0; i < 3; ++i) step[i] = 0;
  for (int d = b.rank - 1; d >= 0; --d) {
    if (b.size[d].divisor == 1) continue;
    for (int i = 0; i < 3; ++i) {
      if (inner == 1) step[i] = b.step[d][i];
      else if (b.step[d][i] != step[i] * inner) return false;
    }
    inner *= b.size[d].divisor;
  }
  return step[0] >= 0 && step[1] >= 0;
}

Decline cublas(const gemm::MatmulProduct& it, const View& out, void* stream) {
  const gemm::Product<gemm::Matrix>& p = it.product;
  if (p.k == 0) return "there is nothing to sum";
  if (p.activation == gemm::Activation::gelu) return "cuBLASLt's gelu is the one by tanh";
  if (p.bias && p.bias_step != 1) return "the bias is strided";
  vendor::Matrix c;
  vendor::Gemm g;
  g.dtype = out.dtype, g.m = p.m, g.n = p.n, g.k = p.k, g.batches = it.batches;
  if (!describe(p.a, p.m, p.k, g.a)) return "a is neither along rows nor along columns";
  if (!describe(p.b, p.n, p.k, g.b)) return "b is neither along rows nor along columns";
  if (!describe(p.out, p.m, p.n, c)) return "the output is neither along rows nor along columns";
  int64_t step[3];
  if (!flatten(p.batches, step)) return "the batch has no single step";
  g.a.batch_step = step[0], g.b.batch_step = step[1];
  g.out = const_cast<std::byte*>(c.data), g.out_leading = c.leading, g.out_batch_step = step[2];
  if (!c.along_k) {  // the transposed product
    if (p.bias) return "the bias lies across the output's rows";
    std::swap(g.a, g.b);
    std::swap(g.m, g.n);
  }
  g.bias = p.bias;
  g.epilogue = p.activation == gemm::Activation::relu        ? vendor::Epilogue::relu
               : p.activation == gemm::Activation::gelu_tanh ? vendor::Epilogue::gelu_tanh
                                                             : vendor::Epilogue::none;
  return vendor::multiply(g, out, stream);
}

}  // namespace

void register_gemm_cublas_cuda() {
  for (const DType t : {f32, f64, f16, bf16, c64, c128}) {
    add_kernel("matmul", Device::cuda, t, "cublas", [](const Launch& l) { return gemm::matmul(l, cublas); });
    add_kernel("linear", Device::cuda, t, "cublas", [](const Launch& l) { return gemm::linear(l, cublas); });
    if (is_floating(t)) add_kernel("linear_grad", Device::cuda, t, "cublas", [](const Launch& l) { return gemm::linear_grad(l, cublas); });
    if (is_floating(t)) add_kernel("linear_act", Device::cuda, t, "cublas", [](const Launch& l) { return gemm::linear_act(l, cublas); });
  }
}

}  // namespace graft
