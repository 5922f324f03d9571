// Products on cuda: which kernel runs, and sizes, layouts and splits that the small op cases do not reach. Held against sums in
// f64, which the inputs make exact in f32 (small integers), so that every order of summation gives the same number.
#include "cuda_exact.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/kernels/table.h"

namespace graft {
namespace {

struct Ran : KernelsRun {
  Ran() : KernelsRun([](std::string_view op) { return op == "matmul" || op == "linear"; }) {}
};
Tensor digits(const Shape& shape, int64_t seed) { return graft::digits(shape, seed, 3); }
Tensor on_cuda(const Tensor& x, DType t) { return x.to(t).to(Device(Device::cuda)); }
Tensor exact(const Tensor& a, const Tensor& b) { return matmul(a, b); }  // f64 on cpu: the reference kernel

class CudaGemm : public OnCuda<testing::TestWithParam<DType>> {};

void expect_product(const Tensor& a, const Tensor& b, bool a_turned, bool b_turned, DType t, const std::string& kernel) {
  SCOPED_TRACE(concat(a.view(), " by ", b.view(), " as ", name_of(t), a_turned ? ", a along rows" : "", b_turned ? ", b along k" : ""));
  const auto place = [t](const Tensor& x, bool turned) {
    return turned ? on_cuda(x.transpose(-1, -2).contiguous(), t).transpose(-1, -2) : on_cuda(x, t);
  };
  Ran ran;
  Tensor c;
  {
    const Observing look(ran);
    c = matmul(place(a, a_turned), place(b, b_turned));
  }
  EXPECT_EQ(ran.kernel, kernel) << ran.reasons;
  const Tensor expected = exact(a, b).to(t);
  EXPECT_TRUE(same(c.to(Device(Device::cpu)), expected)) << "largest difference "
                                                          << max(abs(c.to(Device(Device::cpu)).to(f64) - expected.to(f64))).item<double>();
}

TEST_P(CudaGemm, every_layout_edges_included) {
  const DType t = GetParam();
  const std::string packed = size_of(t) == 2 ? "tensor_cores" : "tiles";
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      expect_product(digits({136, 72}, 1), digits({72, 200}, 2), ta, tb, t, packed);
      expect_product(digits({3, 40, 48}, 3), digits({48, 56}, 4), ta, tb, t, packed);
      expect_product(digits({67, 33}, 5), digits({33, 65}, 6), ta, tb, t, "tiles");
    }
}

TEST_P(CudaGemm, a_long_sum_of_few_results_is_cut_in_parts) {
  const DType t = GetParam();
  expect_product(digits({32, 2048}, 1), digits({2048, 32}, 2), false, true, t, size_of(t) == 2 ? "tensor_cores" : "tiles");
  expect_product(digits({5, 1030}, 1), digits({1030, 3}, 2), false, false, t, "tiles");
  expect_product(digits({3, 5, 1030}, 1), digits({3, 1030, 3}, 2), false, false, t, "tiles");
}

TEST_P(CudaGemm, many_tiles_and_a_bias) {
  const DType t = GetParam();
  const Tensor x = digits({1, 1024 + 8, 40}, 1), w = digits({256, 40}, 2), bias = digits({256}, 3);
  const Tensor y = linear(on_cuda(x, t), on_cuda(w, t), on_cuda(bias, t));
  EXPECT_TRUE(same(y.to(Device(Device::cpu)), (matmul(x, w.t()) + bias).to(t)));
}

TEST_P(CudaGemm, large_tiles_where_there_are_enough_of_them) {
  const DType t = GetParam();
  expect_product(digits({66, 130, 20}, 1), digits({66, 20, 5}, 2), false, false, t, "tiles");
}

TEST_P(CudaGemm, rows_that_no_pack_divides) {  // parts of wider matrices: sizes in packs, strides not
  const DType t = GetParam();
  const Tensor a = digits({64, 73}, 1), b = digits({72, 65}, 2);
  const Tensor c = matmul(on_cuda(a, t).narrow(1, 0, 72), on_cuda(b, t).narrow(1, 0, 64));
  EXPECT_TRUE(same(c.to(Device(Device::cpu)), exact(a.narrow(1, 0, 72), b.narrow(1, 0, 64)).to(t)));
}

TEST_P(CudaGemm, no_products_and_no_results) {
  const DType t = GetParam();
  expect_product(zeros({4, 0}, f64), zeros({0, 3}, f64), false, false, t, "tiles");
  EXPECT_EQ(matmul(on_cuda(zeros({0, 4}, f64), t), on_cuda(zeros({4, 3}, f64), t)).shape(), Shape({0, 3}));
}

INSTANTIATE_TEST_SUITE_P(Types, CudaGemm, testing::Values(f32, f64, f16, bf16), [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft
