// What works on rows and waits for memory: layer norm of a sum, dropout with a residual, softmax cross entropy.
#include <memory>
#include <optional>
#include "contest.h"
#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

using namespace graft;

namespace contest {
namespace {

Case add_layer_norm(DType t, int64_t rows, int64_t width) {
  return {concat("add_layer_norm ", name_of(t), " ", rows, "x", width), {"fused", "unfused"}, [=](bool tiny) {
            const int64_t n = tiny ? 5 : rows, w = tiny ? 24 : width;
            const Tensor x = values({n, w}, t, 1), r = values({n, w}, t, 2), weight = values({w}, t, 3), bias = values({w}, t, 4);
            return Made{{t, 4.0 * double(n * w) * bytes(t), 8.0 * double(n * w)},
                        {{"fused", [=] {
                            const AddNormResult y = graft::add_layer_norm(x, r, {w}, weight, bias);
                            return Tensors{y.values, y.sum};
                          }},
                         {"unfused", [=] {
                            const Tensor sum = x + r;
                            return Tensors{layer_norm(sum, {w}, weight, bias), sum};
                          }}},
                        tolerance(t)};
          }};
}
Case dropout_add(DType t, int64_t count) {
  return {concat("dropout_add ", name_of(t), " ", count), {"fused", "unfused"}, [=](bool tiny) {
            const int64_t n = tiny ? 1000 : count;
            const Tensor x = values({n}, t, 1), r = values({n}, t, 2);
            // Each of the two draws the same numbers.
            const auto a = std::make_shared<Generator>(7), b = std::make_shared<Generator>(7);
            return Made{{t, 3.0 * double(n) * bytes(t), 2.0 * double(n)},
                        {{"fused", [=] { return Tensors{dropout(x, 0.1, r, a.get())}; }},
                         {"unfused", [=] { return Tensors{dropout(x, 0.1, {}, b.get()) + r}; }}},
                        tolerance(t)};
          }};
}
// With its derivative: x is read twice, and dx written. As graphs, which do not wait for the labels to be looked at.
Case cross_entropy(DType t, int64_t rows, int64_t classes) {
  return {concat("cross_entropy ", name_of(t), " ", rows, "x", classes), {"fused", "unfused"}, [=](bool tiny) {
            const int64_t n = tiny ? 6 : rows, c = tiny ? 16 : classes;
            const Tensor x = (values({n, c}, t, 1) * 4.0).detach().requires_grad_(), label = remainder(arange(n, i64) * 7, c).cuda();
            const auto run = [=](auto loss_of) {
              struct Step { std::optional<cuda::Graph> graph; Tensors made; };
              return [=, own = std::make_shared<Step>()] {
                if (!own->graph)
                  own->graph = cuda::Graph::capture([&] {
                    const EnableGrad on;
                    const Tensor loss = mean(loss_of(x));
                    own->made = {loss.detach(), grad({loss}, {x})[0]};
                  });
                own->graph->replay();
                return own->made;
              };
            };
            return Made{{t, 3.0 * double(n * c) * bytes(t), 8.0 * double(n * c)},
                        {{"fused", run([=](const Tensor& x) { return graft::cross_entropy(x, label).loss; })},
                         {"unfused", run([=](const Tensor& x) { return nll(log_softmax(x, 1), label).loss; })}},
                        tolerance(t)};
          }};
}

}  // namespace

Cases rows() {
  Cases all;
  for (const DType t : {f32, bf16}) {
    all.push_back(add_layer_norm(t, 16384, 4096));
    all.push_back(dropout_add(t, int64_t{1} << 26));
    all.push_back(cross_entropy(t, 16384, 8192));
  }
  return all;
}

}  // namespace contest
