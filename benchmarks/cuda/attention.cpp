// Attention in one kernel, and as two products with a softmax between them.
#include <cmath>
#include "contest.h"
#include "graft/core/ops.h"

using namespace graft;

namespace contest {
namespace {

struct Size { int64_t batch, heads, length, width; };

Case heads(DType t, Size size, bool causal) {
  const std::string name = concat(causal ? "attention, causal " : "attention ", name_of(t), " ", size.batch, "x", size.heads, "x", size.length, "x",
                                  size.width);
  return {name, {"fused", "unfused", "cublas, unfused"}, [=](bool tiny) {
            const Size s = tiny ? Size{1, 2, 40, 32} : size;
            const Shape shape{s.batch, s.heads, s.length, s.width};
            const Tensor q = values(shape, t, 1), k = values(shape, t, 2), v = values(shape, t, 3);
            const double scale = 1 / std::sqrt(double(s.width));
            const Tensor later = triu(full({s.length, s.length}, -1e4, Options(t, q.device())), 1);
            const auto unfused = [=] {
              Tensor scores = matmul(q, k.transpose(2, 3)) * scale;
              if (causal) scores = scores + later;
              return Tensors{matmul(softmax(scores, 3), v)};
            };
            const double rows = double(s.batch * s.heads * s.length);
            return Made{{t, 4 * rows * double(s.width) * bytes(t), 4 * rows * double(s.length * s.width) * (causal ? 0.5 : 1)},
                        {{"fused", [=] { return Tensors{scaled_dot_product_attention(q, k, v, {}, causal)}; }},
                         {"unfused", unfused},
                         {"cublas, unfused", unfused}},
                        tolerance(t)};
          }};
}

}  // namespace

Cases attention() {
  Cases all;
  for (const DType t : {f32, bf16})
    for (const bool causal : {false, true}) all.push_back(heads(t, {8, 16, 2048, 64}, causal));
  all.push_back(heads(bf16, {8, 8, 2048, 128}, true));
  return all;
}

}  // namespace contest
