// The entry points of cuBLAS and cuBLASLt that vendor.cpp calls, and the numbers it hands them: what NVIDIA documents of their
// binary interface. No header of theirs is needed; tests/cuda_vendor_test.cpp holds this against them where there is a toolkit.
#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace graft::inline v1::cuda::cublas {

enum Status : int { success = 0, not_initialized = 1, alloc_failed = 3, invalid_value = 7, arch_mismatch = 8, execution_failed = 13, not_supported = 15 };
enum Turn : int { as_is = 0, transposed = 1 };                                      // cublasOperation_t
enum Type : int { r_32f = 0, r_64f = 1, r_16f = 2, c_32f = 4, c_64f = 5, r_16bf = 14 };  // cudaDataType
enum Compute : int { in_32f = 68, in_64f = 70 };  // in_32f: tensor cores for 16-bit operands; f32 is not rounded to tf32
inline constexpr int kExactReductions = 16;       // CUBLAS_DEFAULT_MATH, without sums in 16 bits
inline constexpr int kDefaultAlgorithm = -1;

enum DescAttribute : int { desc_turn_a = 3, desc_turn_b = 4, desc_epilogue = 7, desc_bias = 8 };
enum Epilogue : uint32_t { relu = 2, bias = 4, gelu_tanh = 32 };  // sums of them; 1: nothing
enum PreferenceAttribute : int { most_workspace = 1, alignment_a = 5, alignment_b = 6, alignment_c = 7, alignment_d = 8 };
struct Algorithm { uint64_t data[8]; };
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};

using Handle = void*;      // either library's; one of cuBLAS serves cuBLASLt as well
using Descriptor = void*;  // of a product, a matrix, a preference

// Matrices are column-major: element (i, j) lies at i + j * leading dimension.
struct Functions {
  Status (*get_property)(int which, int* value);  // 0, 1, 2: major, minor, patch level
  Status (*create)(Handle*);
  Status (*set_stream)(Handle, void* stream);     // takes the workspace away
  Status (*set_workspace)(Handle, void*, size_t);
  Status (*set_math_mode)(Handle, int);
  Status (*multiply)(Handle, Turn, Turn, int m, int n, int k, const void* alpha, const void* a, Type, int lda, long long step_a, const void* b,
                     Type, int ldb, long long step_b, const void* beta, void* c, Type, int ldc, long long step_c, int batches, Compute,
                     int algorithm);
  Status (*make_desc)(Descriptor*, Compute, Type scale);
  Status (*set_desc)(Descriptor, DescAttribute, const void*, size_t);
  Status (*destroy_desc)(Descriptor);
  Status (*make_layout)(Descriptor*, Type, uint64_t rows, uint64_t columns, int64_t ld);
  Status (*destroy_layout)(Descriptor);
  Status (*make_preference)(Descriptor*);
  Status (*set_preference)(Descriptor, PreferenceAttribute, const void*, size_t);
  Status (*destroy_preference)(Descriptor);
  Status (*find_algorithm)(Handle, Descriptor, Descriptor a, Descriptor b, Descriptor c, Descriptor d, Descriptor preference, int wanted,
                           Heuristic*, int* found);
  Status (*multiply_lt)(Handle, Descriptor, const void* alpha, const void* a, Descriptor, const void* b, Descriptor, const void* beta,
                        const void* c, Descriptor, void* d, Descriptor, const Algorithm*, void* workspace, size_t, void* stream);
};
inline constexpr const char* kNames[] = {
    "cublasGetProperty",        "cublasCreate_v2",
    "cublasSetStream_v2",       "cublasSetWorkspace_v2",
    "cublasSetMathMode",        "cublasGemmStridedBatchedEx",
    "cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulDescDestroy", "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutDestroy", "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceSetAttribute", "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"};  // in the order of Functions
static_assert(sizeof(Functions) == sizeof(void*) * std::size(kNames));

}  // namespace graft::cuda::cublas
