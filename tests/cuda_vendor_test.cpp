// Products by cuBLAS: that every layout reaches it as it is meant, that what it cannot do goes to graft's own kernels with a
// reason, and that the entry points declared in kernels/cuda/cublas.h are those of NVIDIA's headers. The emulated device has a
// stand-in that looks at arguments as cuBLAS does. Sums in f64, which the inputs make exact in f32, are what is expected.
#if __has_include(<cublasLt.h>) && __has_include(<cublas_v2.h>)
#define GRAFT_HAS_CUBLAS_HEADERS
#include <cublasLt.h>
#include <cublas_v2.h>
#endif

#include "cuda_exact.h"
#include "cuda_vendor.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/profile.h"
#include "graft/kernels/cuda/cublas.h"
#include "graft/kernels/table.h"

namespace graft {
namespace {

struct Ran : KernelsRun {
  Ran() : KernelsRun([](std::string_view op) { return op == "matmul" || op.starts_with("linear"); }) {}
};
Tensor digits(const Shape& shape, int64_t seed) { return graft::digits(shape, seed, 3); }
const Device kCuda(Device::cuda), kCpu;
Tensor on_cuda(const Tensor& x, DType t) { return x.to(t).to(kCuda); }
Tensor back(const Tensor& x) { return x.to(kCpu); }

constexpr char kLibrary[] = "cuBLAS";
using CudaVendor = WithVendor<testing::Test, kLibrary>;
using CudaVendorTypes = WithVendor<testing::TestWithParam<DType>, kLibrary>;

template <class Compute> Tensor observed(Ran& ran, Compute compute) {
  const Observing look(ran);
  return compute();
}

// ---- layouts -----------------------------------------------------------------------------------------------------

void expect_product(const Tensor& a, const Tensor& b, bool a_turned, bool b_turned, DType t, const char* kernel = "cublas") {
  SCOPED_TRACE(concat(a.view(), " by ", b.view(), " as ", name_of(t), a_turned ? ", a along rows" : "", b_turned ? ", b along k" : ""));
  const auto place = [t](const Tensor& x, bool turned) {
    return turned ? on_cuda(x.transpose(-1, -2).contiguous(), t).transpose(-1, -2) : on_cuda(x, t);
  };
  Ran ran;
  const Tensor c = observed(ran, [&] { return matmul(place(a, a_turned), place(b, b_turned)); });
  EXPECT_EQ(ran.kernel, kernel) << ran.reasons;
  EXPECT_TRUE(same(back(c), matmul(a, b).to(t)));
}

TEST_P(CudaVendorTypes, every_layout) {
  const DType t = GetParam();
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      expect_product(digits({5, 7}, 1), digits({7, 3}, 2), ta, tb, t);
      expect_product(digits({4, 9}, 1), digits({9, 4}, 2), ta, tb, t);
      expect_product(digits({4, 3, 9, 4}, 3), digits({4, 3, 4, 6}, 4), ta, tb, t);
      expect_product(digits({1, 6}, 5), digits({6, 1}, 6), ta, tb, t);
      expect_product(digits({6, 1}, 5), digits({1, 5}, 6), ta, tb, t);
      expect_product(digits({40, 33}, 5), digits({33, 65}, 6), ta, tb, t);
    }
}
TEST_P(CudaVendorTypes, parts_of_larger_matrices) {
  const DType t = GetParam();
  const Tensor a = digits({3, 12, 10}, 1), b = digits({3, 9, 20}, 2);
  const auto part = [](const Tensor& x, int64_t rows, int64_t columns) {
    return x.slice(1, 1, 1 + rows).slice(2, 2, 2 + columns);
  };
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const auto of_a = [&](const Tensor& x) { return ta ? part(x, 7, 5).transpose(1, 2) : part(x, 5, 7); };
      const auto of_b = [&](const Tensor& x) { return tb ? part(x, 6, 7).transpose(1, 2) : part(x, 7, 6); };
      Ran ran;
      const Tensor c = observed(ran, [&] { return matmul(of_a(on_cuda(a, t)), of_b(on_cuda(b, t))); });
      EXPECT_EQ(ran.kernel, "cublas") << ran.reasons;
      EXPECT_TRUE(same(back(c), matmul(of_a(a), of_b(b)).to(t))) << "a turned: " << ta << ", b turned: " << tb;
    }
}
TEST_P(CudaVendorTypes, a_batch_of_one_operand) {
  const DType t = GetParam();
  expect_product(digits({4, 5, 7}, 1), digits({1, 7, 3}, 2), false, false, t);
  expect_product(digits({1, 5, 7}, 1), digits({4, 7, 3}, 2), false, true, t);
}
TEST_P(CudaVendorTypes, an_output_along_columns) {
  const DType t = GetParam();
  const Tensor a = digits({5, 7}, 1), b = digits({7, 3}, 2);
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const Tensor x = ta ? on_cuda(a.t().contiguous(), t).t() : on_cuda(a, t);
      const Tensor y = tb ? on_cuda(b.t().contiguous(), t).t() : on_cuda(b, t);
      const Tensor z = zeros({3, 5}, {t, kCuda}).t();
      const View *in[] = {&x.view(), &y.view()}, *out[] = {&z.view()};
      const Candidate* first = intern("matmul").first(Device::cuda, t);
      ASSERT_STREQ(first->name, "cublas");
      EXPECT_EQ(first->run({in, out, nullptr, cuda::current_stream().handle()}), kRan);
      EXPECT_TRUE(same(back(z), matmul(a, b).to(t))) << "a turned: " << ta << ", b turned: " << tb;
    }
}
TEST_P(CudaVendorTypes, what_it_cannot_read_goes_to_graft) {
  const DType t = GetParam();
  const Tensor a = digits({5, 14}, 1), b = digits({7, 3}, 2);
  Ran ran;
  const Tensor c = observed(ran, [&] { return matmul(on_cuda(a, t).slice(1, 0, 14, 2), on_cuda(b, t)); });
  EXPECT_NE(ran.kernel, "cublas");
  EXPECT_NE(ran.reasons.find("cublas: a is neither along rows nor along columns"), std::string::npos) << ran.reasons;
  EXPECT_TRUE(same(back(c), matmul(a.slice(1, 0, 14, 2), b).to(t)));
  expect_product(zeros({4, 0}, f64), zeros({0, 3}, f64), false, false, t, "tiles");
  const Tensor row = digits({1, 7}, 3);
  const Tensor d = observed(ran, [&] { return matmul(on_cuda(row, t).expand({4, 7}), on_cuda(b, t)); });
  EXPECT_NE(ran.kernel, "cublas") << "rows that are one in memory";
  EXPECT_TRUE(same(back(d), matmul(row.expand({4, 7}), b).to(t)));
}
INSTANTIATE_TEST_SUITE_P(Types, CudaVendorTypes, testing::Values(f32, f64, f16, bf16), [](const auto& i) { return std::string(name_of(i.param)); });

TEST_F(CudaVendor, complex_numbers) {
  for (const DType t : {c64, c128}) {
    const Tensor a = complex(digits({5, 7}, 1), digits({5, 7}, 2)), b = complex(digits({7, 3}, 3), digits({7, 3}, 4));
    Ran ran;
    const Tensor c = observed(ran, [&] { return matmul(on_cuda(a, t), on_cuda(b, t)); });
    EXPECT_EQ(ran.kernel, "cublas") << ran.reasons;
    EXPECT_TRUE(same(back(c), matmul(a, b).to(t)));
  }
}

// ---- bias and activation -----------------------------------------------------------------------------------------

TEST_P(CudaVendorTypes, a_bias_and_an_activation) {
  const DType t = GetParam();
  const Tensor x = digits({2, 3, 7}, 1), w = digits({5, 7}, 2), bias = digits({5}, 3), sum = matmul(x, w.t()) + bias;
  const auto expect = [&](const Tensor& expected, const char* kernel, double tolerance, auto compute) {
    Ran ran;
    const Tensor y = observed(ran, [&] { return compute(on_cuda(x, t), on_cuda(w, t), on_cuda(bias, t)); });
    EXPECT_EQ(ran.kernel, kernel) << ran.reasons;
    EXPECT_LE(max(abs(back(y).to(f64) - expected.to(t).to(f64))).item<double>(), tolerance);
    return ran.reasons;
  };
  const bool finishes = t != f64;
  expect(sum, finishes ? "cublas" : "tiles", 0, [](auto&&... a) { return linear(a...); });
  expect(relu(sum), finishes ? "cublas" : "tiles", 0, [](auto&&... a) { return linear_act(a..., LinearActivation::relu); });
  const double close = t == f32 ? 1e-5 : t == f64 ? 1e-12 : t == f16 ? 0.04 : 0.3;
  expect(gelu(sum, "tanh"), finishes ? "cublas" : "tiles", close, [](auto&&... a) { return linear_act(a..., LinearActivation::gelu_tanh); });
  const std::string why = expect(gelu(sum), "tiles", close, [](auto&&... a) { return linear_act(a..., LinearActivation::gelu); });
  EXPECT_NE(why.find("cublas: cuBLASLt's gelu is the one by tanh"), std::string::npos) << why;
  Ran ran;
  const Tensor y = observed(ran, [&] { return linear(on_cuda(x, t), on_cuda(w, t)); });
  EXPECT_EQ(ran.kernel, "cublas") << ran.reasons;
  EXPECT_TRUE(same(back(y), matmul(x, w.t()).to(t)));
}

TEST_P(CudaVendorTypes, a_bias_where_rows_lie_apart) {
  const DType t = GetParam();
  if (t == f64) GTEST_SKIP() << "has no epilogue";
  const Tensor x = digits({6, 12}, 1).slice(1, 3, 10), w = digits({5, 11}, 2).slice(1, 1, 8), bias = digits({5}, 3);
  const Tensor there = on_cuda(digits({6, 12}, 1), t).slice(1, 3, 10), weight = on_cuda(digits({5, 11}, 2), t).slice(1, 1, 8);
  Ran ran;
  const Tensor y = observed(ran, [&] { return linear(there, weight, on_cuda(bias, t)); });
  EXPECT_EQ(ran.kernel, "cublas") << ran.reasons;
  EXPECT_TRUE(same(back(y), (matmul(x, w.t()) + bias).to(t)));
  const Tensor turned = on_cuda(x.t().contiguous(), t).t(), turned_weight = on_cuda(w.t().contiguous(), t).t();
  const Tensor z = observed(ran, [&] { return linear(turned, turned_weight, on_cuda(bias, t)); });
  EXPECT_EQ(ran.kernel, "cublas") << ran.reasons;
  EXPECT_TRUE(same(back(z), (matmul(x, w.t()) + bias).to(t)));
}

// ---- streams, devices, what is told ------------------------------------------------------------------------------

TEST_F(CudaVendor, products_of_two_streams) {
  const Tensor a = digits({20, 30}, 1), b = digits({30, 10}, 2), c = digits({10, 20}, 3);
  const Tensor first = matmul(on_cuda(a, f32), on_cuda(b, f32));
  {
    const cuda::UseStream scope((cuda::Stream()));
    const Tensor second = matmul(on_cuda(b, f32), on_cuda(c, f32));
    EXPECT_TRUE(same(back(second), matmul(b, c).to(f32)));
  }
  EXPECT_TRUE(same(back(first), matmul(a, b).to(f32)));
}
TEST_F(CudaVendor, products_of_two_devices) {
  if (cuda::device_count() < 2) GTEST_SKIP() << "one device";
  const Tensor a = digits({20, 30}, 1).to(f32), b = digits({30, 10}, 2).to(f32);
  const Tensor first = matmul(a.cuda(0), b.cuda(0)), second = matmul(a.cuda(1), b.cuda(1));
  EXPECT_TRUE(same(back(first), matmul(a, b)));
  EXPECT_TRUE(same(back(second), matmul(a, b)));
}
TEST_F(CudaVendor, a_trace_shows_what_ran_and_why) {
  const Tensor a = on_cuda(digits({4, 6}, 1), f32), b = on_cuda(digits({6, 4}, 2), f32);
  Profile p;
  {
    const Observing scope(p);
    matmul(a, b);
    matmul(a.slice(1, 0, 6, 2), b.slice(0, 0, 3));
  }
  const auto event = [&](size_t n) {
    for (const Profile::Event& e : p.events())
      if (e.op == "matmul" && n-- == 0) return e;
    return Profile::Event{};
  };
  EXPECT_EQ(event(0).kernel, "cublas");
  EXPECT_EQ(event(0).declined, "");
  EXPECT_EQ(event(1).kernel, "tiles");
  EXPECT_EQ(event(1).declined, "cublas: a is neither along rows nor along columns");
}
TEST_F(CudaVendor, KD13_without_the_library_own_kernels_run_and_say_so) {
  const Tensor a = digits({4, 6}, 1), b = digits({6, 4}, 2);
  const auto ran_by = [&] {
    const Tensor x = on_cuda(a, f32), y = on_cuda(b, f32);
    Ran ran;
    const Tensor c = observed(ran, [&] { return matmul(x, y); });
    EXPECT_TRUE(same(back(c), matmul(a, b).to(f32)));
    return ran.kernel + "; " + ran.reasons;
  };
  cuda::use_vendor_libraries(false);
  EXPECT_EQ(ran_by(), "tiles; cublas: vendor libraries are switched off; ");
  cuda::use_vendor_libraries(true);
#ifdef GRAFT_CUDA_EMULATED
  EXPECT_EQ(cuda::vendor_libraries()[0].state, "13.0.0 (libcublas.so.13, emulated)");
  cuda::emulation::settings().vendor_libraries = false;
  EXPECT_EQ(ran_by(), "tiles; cublas: the emulated device has a stand-in that tests switch on; ");
  EXPECT_FALSE(cuda::vendor_libraries()[0].loaded);
  EXPECT_NE(cuda::vendor_libraries()[0].state.find("not loaded: "), std::string::npos);
#endif
}
#ifdef GRAFT_CUDA_EMULATED
TEST_F(CudaVendor, the_stand_in_looks_at_memory) {
  const Tensor never_written = empty({4, 4}, kCuda);
  matmul(never_written, ones({4, 4}, kCuda));
  EXPECT_THROW(cuda::synchronize(), Error);
  EXPECT_NE(cuda::emulation::fault().find("uninitialised"), std::string::npos) << cuda::emulation::fault();
  cuda::emulation::reset();
}
#endif

// ---- the binary interface ----------------------------------------------------------------------------------------

#ifdef GRAFT_HAS_CUBLAS_HEADERS
using F = cuda::cublas::Functions;
namespace cb = cuda::cublas;
static_assert(kSameAbi<decltype(F::get_property), decltype(&::cublasGetProperty)>);
static_assert(kSameAbi<decltype(F::create), decltype(&::cublasCreate_v2)>);
static_assert(kSameAbi<decltype(F::set_stream), decltype(&::cublasSetStream_v2)>);
static_assert(kSameAbi<decltype(F::set_workspace), decltype(&::cublasSetWorkspace_v2)>);
static_assert(kSameAbi<decltype(F::set_math_mode), decltype(&::cublasSetMathMode)>);
static_assert(kSameAbi<decltype(F::multiply), cublasStatus_t (*)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                                                              const void*, cudaDataType, int, long long, const void*, cudaDataType, int, long long,
                                                              const void*, void*, cudaDataType, int, long long, int, cublasComputeType_t,
                                                              cublasGemmAlgo_t)>);
// The header has a second one of that name for C++, without compute type.
static_assert(requires(cublasStatus_t (*f)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*, const void*,
                                           cudaDataType, int, long long, const void*, cudaDataType, int, long long, const void*, void*, cudaDataType,
                                           int, long long, int, cublasComputeType_t, cublasGemmAlgo_t)) { f = &::cublasGemmStridedBatchedEx; });
static_assert(kSameAbi<decltype(F::make_desc), decltype(&::cublasLtMatmulDescCreate)>);
static_assert(kSameAbi<decltype(F::set_desc), decltype(&::cublasLtMatmulDescSetAttribute)>);
static_assert(kSameAbi<decltype(F::destroy_desc), decltype(&::cublasLtMatmulDescDestroy)>);
static_assert(kSameAbi<decltype(F::make_layout), decltype(&::cublasLtMatrixLayoutCreate)>);
static_assert(kSameAbi<decltype(F::destroy_layout), decltype(&::cublasLtMatrixLayoutDestroy)>);
static_assert(kSameAbi<decltype(F::make_preference), decltype(&::cublasLtMatmulPreferenceCreate)>);
static_assert(kSameAbi<decltype(F::set_preference), decltype(&::cublasLtMatmulPreferenceSetAttribute)>);
static_assert(kSameAbi<decltype(F::destroy_preference), decltype(&::cublasLtMatmulPreferenceDestroy)>);
static_assert(kSameAbi<decltype(F::find_algorithm), decltype(&::cublasLtMatmulAlgoGetHeuristic)>);
static_assert(kSameAbi<decltype(F::multiply_lt), decltype(&::cublasLtMatmul)>);
static_assert(sizeof(cb::Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t) && sizeof(cb::Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(offsetof(cb::Heuristic, workspace) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(int(cb::success) == CUBLAS_STATUS_SUCCESS && int(cb::not_supported) == CUBLAS_STATUS_NOT_SUPPORTED &&
              int(cb::alloc_failed) == CUBLAS_STATUS_ALLOC_FAILED && int(cb::invalid_value) == CUBLAS_STATUS_INVALID_VALUE &&
              int(cb::arch_mismatch) == CUBLAS_STATUS_ARCH_MISMATCH && int(cb::execution_failed) == CUBLAS_STATUS_EXECUTION_FAILED &&
              int(cb::not_initialized) == CUBLAS_STATUS_NOT_INITIALIZED);
static_assert(int(cb::as_is) == CUBLAS_OP_N && int(cb::transposed) == CUBLAS_OP_T);
static_assert(int(cb::r_32f) == CUDA_R_32F && int(cb::r_64f) == CUDA_R_64F && int(cb::r_16f) == CUDA_R_16F && int(cb::r_16bf) == CUDA_R_16BF &&
              int(cb::c_32f) == CUDA_C_32F && int(cb::c_64f) == CUDA_C_64F);
static_assert(int(cb::in_32f) == CUBLAS_COMPUTE_32F && int(cb::in_64f) == CUBLAS_COMPUTE_64F);
static_assert(cb::kExactReductions == (CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
static_assert(cb::kDefaultAlgorithm == CUBLAS_GEMM_DEFAULT);
static_assert(int(cb::desc_turn_a) == CUBLASLT_MATMUL_DESC_TRANSA && int(cb::desc_turn_b) == CUBLASLT_MATMUL_DESC_TRANSB &&
              int(cb::desc_epilogue) == CUBLASLT_MATMUL_DESC_EPILOGUE && int(cb::desc_bias) == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(int(cb::relu) == CUBLASLT_EPILOGUE_RELU && int(cb::bias) == CUBLASLT_EPILOGUE_BIAS && int(cb::gelu_tanh) == CUBLASLT_EPILOGUE_GELU &&
              CUBLASLT_EPILOGUE_GELU_BIAS == CUBLASLT_EPILOGUE_GELU + CUBLASLT_EPILOGUE_BIAS);
static_assert(int(cb::most_workspace) == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && int(cb::alignment_a) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
              int(cb::alignment_b) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES && int(cb::alignment_c) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES &&
              int(cb::alignment_d) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
#endif

}  // namespace
}  // namespace graft
