// NVIDIA's libraries, opened when a kernel first asks for one: no program needs them to start, and where they are missing, of
// another version or switched off, graft's own kernels run. They are the candidates that are asked first.
#pragma once
#include <string>
#include "graft/kernels/table.h"

namespace graft::inline v1::cuda::vendor {

void allow(bool);  // for all threads; at first they are

struct Library {
  std::string name, state;  // "cuBLAS", "13.1.0 (libcublas.so.13)" or "not loaded: ..."
  bool loaded = false;
};
Library find_cublas();  // opens it

// ---- cuBLAS ----------------------------------------------------------------------------------------------------

// out[m, n] = activation(sum over k of a[m, k] b[n, k] + bias[n]) for every number of a batch; rows of out are contiguous.
struct Matrix {
  const std::byte* data = nullptr;
  bool along_k = true;   // neighbours in memory are neighbours along k, else along the rows
  int64_t leading = 0;   // elements to the next of the other
  int64_t batch_step = 0;
};
enum class Epilogue : uint8_t { none, relu, gelu_tanh };
struct Gemm {
  DType dtype = f32;
  int64_t m = 0, n = 0, k = 0, batches = 1;
  Matrix a, b;
  std::byte* out = nullptr;
  int64_t out_leading = 0, out_batch_step = 0;
  const std::byte* bias = nullptr;
  Epilogue epilogue = Epilogue::none;
};
Decline multiply(const Gemm&, const View& out, void* stream);

// ---- cuDNN -----------------------------------------------------------------------------------------------------

// A convolution and its derivatives (kernels/conv/conv.h has the formula): forward gives y, data x, weight w.
enum class ConvResult : uint8_t { y, x, w };
struct Image { std::byte* data = nullptr; int64_t stride[5] = {}; };  // n, c, and the last `rank` of three spatial dimensions
struct Conv {
  ConvResult result = ConvResult::y;
  DType dtype = f32;
  int rank = 2;                 // 2 or 3
  int64_t n = 0, ci = 0, co = 0, groups = 1;
  int64_t in[3] = {}, out[3] = {}, k[3] = {}, pad[3] = {}, stride[3] = {}, dilation[3] = {};  // the first `rank`
  Image x, y, residual;         // residual.data: null, or y = activation(conv + bias + residual)
  std::byte* w = nullptr;       // without gaps, [co, ci / groups, k] or, channels inside, [co, k, ci / groups]
  bool channels_inside = false;
  const std::byte* bias = nullptr;
  bool relu = false;
};
Library find_cudnn();
Decline convolve(const Conv&, const View& out, void* stream);

}  // namespace graft::cuda::vendor
