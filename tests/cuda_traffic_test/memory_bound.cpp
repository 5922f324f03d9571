// Launches that wait for memory, with the traffic that they should cause.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/kernels/pool/attrs.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "measured.h"

namespace graft::traffic_test {
namespace {

Tensor there(const Shape& shape, DType t) { return ones(shape, {t, Device(Device::cuda)}); }

template <class Optimizer, class Options> auto second_step(const Options& options) {
  return [options](const Shape& shape) -> std::function<void()> {
    const Tensor p = there(shape, f32).requires_grad_();
    sum(p).backward();
    const auto optimizer = std::make_shared<Optimizer>(Tensors{p}, options);
    optimizer->step();  // the first one writes what the others read
    return [=] { optimizer->step(); };
  };
}
template <class Run> auto unary(DType t, Run run) {
  return [=](const Shape& shape) -> std::function<void()> {
    return [=, x = there(shape, t)] {
      const NoGrad quiet;
      run(x);
    };
  };
}
template <class Run> auto binary(DType t, Run run) {
  return [=](const Shape& shape) -> std::function<void()> {
    return [=, x = there(shape, t), y = there(shape, t)] {
      const NoGrad quiet;
      run(x, y);
    };
  };
}

// The derivative of f(x), of which only the backward pass is measured.
template <class Run> auto derivative(DType t, Run run) {
  return [=](const Shape& shape) -> std::function<void()> {
    const Tensor x = there(shape, t).requires_grad_(), y = run(x), g = ones_like(y);
    return [=] { grad({y}, {x}, {.grad_outputs = {g}}); };
  };
}

}  // namespace

const std::vector<MemoryBound>& memory_bound() {
  static const auto add = [](const Tensor& x, const Tensor& y) { x + y; };
  static const auto rows = [](const Tensor& x) { softmax(x, -1); };
  static const auto log_rows = [](const Tensor& x) { log_softmax(x, -1); };
  static const auto loss = [](const Shape& s) -> std::function<void()> {
    return [x = there(s, f32), label = zeros({s[0]}, {i64, Device(Device::cuda)})] {
      const NoGrad quiet;
      cross_entropy(x, label);
    };
  };
  static const auto loss_of = [](const Tensor& x) { return cross_entropy(x, zeros({x.size(0)}, {i64, x.device()})).loss; };
  static const auto embedded = [](const Shape& s) -> std::function<void()> {
    return [x = there(s, f32), rows = remainder(arange(s[0], i64) * 7, s[0]).to(Device(Device::cuda))] {
      const NoGrad quiet;
      embedding(x, rows);
    };
  };
  // Windows of 2 x 2, side by side, of channels last: numbers are of an element of the input.
  static const auto halves = PoolAttrs{.kernel = {2, 2, 1}, .stride = {2, 2, 1}};
  static const auto image = [](const Shape& s) { return there({1, 32, s[0], s[1] / 32}, f32).to(MemoryFormat::channels_last); };
  static const auto pooled = [](auto pool) {
    return [pool](const Shape& s) -> std::function<void()> {
      return [pool, x = image(s)] {
        const NoGrad quiet;
        pool(x);
      };
    };
  };
  static const auto norm = [](const Tensor& x) { layer_norm(x, {x.size(-1)}); };
  static const auto added_norm = [](const Tensor& x, const Tensor& y) { add_layer_norm(x, y, {x.size(-1)}); };
  static const auto total = [](const Tensor& x) { sum(x, {-1}); };
  static const auto drop = [](const Tensor& x, const Tensor& y) { dropout(x, 0.1, y); };
  static const std::vector<MemoryBound> all = {
      {"copy of a region", f32, 4, 4,
       [](const Shape& s) -> std::function<void()> {
         return [x = there({s[0], s[1] + 32}, f32), s] { x.narrow(1, 0, s[1]).contiguous(); };
       }},
      {"full", f32, 0, 4, [](const Shape& s) -> std::function<void()> { return [s] { there(s, f32); }; }},
      {"cast to bf16", f32, 4, 2, unary(f32, [](const Tensor& x) { x.to(bf16); })},
      {"cast to f32", bf16, 2, 4, unary(bf16, [](const Tensor& x) { x.to(f32); })},
      {"relu", f32, 4, 4, unary(f32, [](const Tensor& x) { relu(x); })},
      {"gelu", bf16, 2, 2, unary(bf16, [](const Tensor& x) { gelu(x); })},
      {"add", f32, 8, 4, binary(f32, add)},
      {"add", bf16, 4, 2, binary(bf16, add)},
      {"dropout with a residual", f32, 8, 4, binary(f32, drop)},
      {"dropout with a residual", bf16, 4, 2, binary(bf16, drop)},
      {"sum of rows", f32, 4, 0, unary(f32, total)},
      {"sum of rows", bf16, 2, 0, unary(bf16, total)},
      {"variance of rows", f32, 4, 0, unary(f32, [](const Tensor& x) { var(x, {-1}); })},
      {"maximum of rows", f32, 4, 0, unary(f32, [](const Tensor& x) { amax(x, {-1}); })},
      {"cumsum of rows", f32, 4, 4, unary(f32, [](const Tensor& x) { cumsum(x, -1); })},
      {"transposed copy", f32, 4, 4, unary(f32, [](const Tensor& x) { x.t().contiguous(); })},
      {"uniform numbers", f32, 0, 4, [](const Shape& s) -> std::function<void()> { return [s] { rand(s, {f32, Device(Device::cuda)}); }; }},
      {"embedding", f32, 4, 4, embedded},
      {"softmax", f32, 4, 4, unary(f32, rows)},
      {"softmax", bf16, 2, 2, unary(bf16, rows)},
      {"softmax, derivative", f32, 8, 4, derivative(f32, [](const Tensor& x) { return softmax(x, -1); })},
      {"softmax, derivative", bf16, 4, 2, derivative(bf16, [](const Tensor& x) { return softmax(x, -1); })},
      {"log_softmax", f32, 4, 4, unary(f32, log_rows)},
      {"log_softmax, derivative", f32, 8, 4, derivative(f32, [](const Tensor& x) { return log_softmax(x, -1); })},
      {"logsumexp", f32, 4, 0, unary(f32, [](const Tensor& x) { logsumexp(x, -1); })},
      {"cross entropy", f32, 4, 0, loss},
      {"cross entropy, derivative", f32, 4, 4, derivative(f32, loss_of)},
      {"max pool", f32, 4, 3, pooled([](const Tensor& x) { max_pool(x, halves); })},
      {"average pool", f32, 4, 1, pooled([](const Tensor& x) { avg_pool(x, halves); })},
      {"rms_norm", f32, 4, 4, unary(f32, [](const Tensor& x) { rms_norm(x, {x.size(-1)}); })},
      {"layer_norm, derivative", f32, 8, 4, derivative(f32, [](const Tensor& x) { return layer_norm(x, {x.size(-1)}); })},
      {"layer_norm", f32, 4, 4, unary(f32, norm)},
      {"layer_norm", bf16, 2, 2, unary(bf16, norm)},
      {"layer_norm of a sum", f32, 8, 8, binary(f32, added_norm)},
      {"layer_norm of a sum", bf16, 4, 4, binary(bf16, added_norm)},
      {"SGD with momentum", f32, 12, 8, second_step<optim::SGD>(optim::SGDOptions{.momentum = 0.9})},
      {"Adam", f32, 16, 12, second_step<optim::Adam>(optim::AdamOptions{})},
  };
  return all;
}

}  // namespace graft::traffic_test
