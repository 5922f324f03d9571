// Matrix products, and linear with bias and activation.
#include "contest.h"
#include "graft/core/ops.h"

using namespace graft;

namespace contest {
namespace {

struct Size { int64_t batch, m, n, k; };

Case product(DType t, Size size, Size tiny) {
  const std::string name = concat("matmul ", name_of(t), " ", size.batch, "x", size.m, "x", size.n, "x", size.k);
  return {name, {"graft", "cublas"}, [=](bool small) {
            const Size s = small ? tiny : size;
            const Tensor a = values({s.batch, s.m, s.k}, t, 1), b = values({s.batch, s.k, s.n}, t, 2);
            const auto run = [=] { return Tensors{matmul(a, b)}; };
            const double numbers = double(s.batch) * double(s.m * s.k + s.k * s.n + s.m * s.n);
            return Made{{t, numbers * bytes(t), 2.0 * double(s.batch * s.m) * double(s.n * s.k)},
                        {{"graft", run}, {"cublas", run}},
                        tolerance(t)};
          }};
}
Case linear_gelu(DType t, Size size, Size tiny) {
  const std::string name = concat("linear_gelu_tanh ", name_of(t), " ", size.m, "x", size.n, "x", size.k);
  return {name, {"fused", "unfused", "cublaslt", "cublas, unfused"}, [=](bool small) {
            const Size s = small ? tiny : size;
            const Tensor x = values({s.m, s.k}, t, 1), w = values({s.n, s.k}, t, 2) * 0.1, bias = values({s.n}, t, 3);
            const auto fused = [=] { return Tensors{linear_act(x, w, bias, LinearActivation::gelu_tanh)}; };
            const auto unfused = [=] { return Tensors{gelu(matmul(x, w.t()) + bias, "tanh")}; };
            const double numbers = double(s.m * s.k + s.k * s.n + s.m * s.n + s.n);
            return Made{{t, numbers * bytes(t), 2.0 * double(s.m) * double(s.n * s.k)},
                        {{"fused", fused}, {"unfused", unfused}, {"cublaslt", fused}, {"cublas, unfused", unfused}},
                        tolerance(t) * 3};
          }};
}

}  // namespace

Cases products() {
  Cases all;
  for (const DType t : {f32, bf16}) {
    all.push_back(product(t, {1, 4096, 4096, 4096}, {1, 40, 24, 48}));
    all.push_back(product(t, {256, 512, 512, 64}, {3, 33, 24, 16}));
    all.push_back(product(t, {1, 64, 64, 65536}, {1, 8, 8, 1024}));  // along k in parts
    all.push_back(linear_gelu(t, {1, 8192, 4096, 1024}, {1, 40, 24, 48}));
  }
  return all;
}

}  // namespace contest
