// A pretrained network as its owner writes it: is a line of text upright or upside down? MobileNetV3 at 0.35 of its width,
// from PaddleOCR; see data/README.md.
#pragma once
#include "graft/core/ops.h"
#include "graft/nn/nn.h"

namespace text_direction {

using namespace graft;
using nn::Child;
using nn::ModulePtr;

inline ModulePtr activation(bool hard) { return hard ? ModulePtr(nn::make<nn::Hardswish>()) : ModulePtr(nn::make<nn::ReLU>()); }

struct ConvNorm : nn::Layer {
  Child<nn::Conv2d> conv;
  Child<nn::BatchNorm2d> norm;
  ConvNorm(int64_t in, int64_t out, int64_t kernel, std::array<int64_t, 2> stride = {1, 1}, int64_t groups = 1)
      : conv(this, "conv", in, out, kernel,
             nn::Conv2dOptions{.stride = stride, .padding = kernel / 2, .groups = groups, .bias = false}),
        norm(this, "norm", out) {}
  Tensor forward(const Tensor& x) override { return norm(conv(x)); }
};

// Channels weighed by what they hold on average.
struct Attention : nn::Layer {
  Child<nn::AdaptiveAvgPool2d> pool{this, "pool", 1};
  Child<nn::Conv2d> squeeze, excite;
  Child<nn::ReLU> relu{this, "relu"};
  explicit Attention(int64_t channels)
      : squeeze(this, "squeeze", channels, channels / 4, 1), excite(this, "excite", channels / 4, channels, 1) {}
  Tensor forward(const Tensor& x) override { return x * clamp(excite(relu(squeeze(pool(x)))) * 0.2 + 0.5, 0, 1); }
};

struct Block : nn::Layer {
  Child<ConvNorm> expand, depthwise, project;
  Child<nn::Layer> act1, act2, attention;
  bool residual;
  Block(int64_t in, int64_t kernel, int64_t inner, int64_t out, bool attends, bool hard, int64_t stride)
      : expand(this, "expand", in, inner, 1),
        depthwise(this, "depthwise", inner, inner, kernel, std::array<int64_t, 2>{stride, 1}, inner),
        project(this, "project", inner, out, 1), act1(this, "act1", activation(hard)), act2(this, "act2", activation(hard)),
        attention(this, "attention", attends ? ModulePtr(nn::make<Attention>(inner)) : ModulePtr(nn::make<nn::Identity>())),
        residual(in == out && stride == 1) {}
  Tensor forward(const Tensor& x) override {
    const Tensor y = project(attention(act2(depthwise(act1(expand(x))))));
    return residual ? x + y : y;
  }
};

struct TextDirection : nn::Layer {  // [n, 3, h, w] -> [n, 2], the probabilities of 0 and 180 degrees
  Child<ConvNorm> stem{this, "stem", 3, 8, 3, std::array<int64_t, 2>{2, 2}};
  Child<nn::Sequential> blocks{this, "blocks"};
  Child<ConvNorm> last{this, "last", 32, 200, 1};
  Child<nn::Hardswish> act{this, "act"};
  Child<nn::MaxPool2d> pool{this, "pool", 2};
  Child<nn::Linear> classify{this, "classify", 200, 2};

  TextDirection() {
    struct Row { int64_t in, kernel, inner, out; bool attends, hard; int64_t stride; };
    constexpr Row rows[] = {{8, 3, 8, 8, true, false, 2},      {8, 3, 24, 8, false, false, 2},    {8, 3, 32, 8, false, false, 1},
                            {8, 5, 32, 16, true, true, 2},     {16, 5, 88, 16, true, true, 1},    {16, 5, 88, 16, true, true, 1},
                            {16, 5, 40, 16, true, true, 1},    {16, 5, 48, 16, true, true, 1},    {16, 5, 104, 32, true, true, 2},
                            {32, 5, 200, 32, true, true, 1},   {32, 5, 200, 32, true, true, 1}};
    for (const Row& r : rows) blocks->append(nn::make<Block>(r.in, r.kernel, r.inner, r.out, r.attends, r.hard, r.stride));
  }
  Tensor forward(const Tensor& x) override {
    const Tensor y = pool(act(last(blocks(act(stem(x))))));
    return softmax(classify(mean(y, {2, 3})), 1);
  }
};

// The images that the recorded answers belong to.
inline Tensor images() {
  const Tensor n = arange(4, i64).reshape({4, 1, 1, 1}), c = arange(3, i64).reshape({3, 1, 1}), i = arange(48, i64).reshape({48, 1}),
               j = arange(192, i64);
  const Tensor steps = i * (n + 7) + j * 13 + c * 29 + n * 31 + floor_divide(i * j, 16);
  return remainder(steps, 65).to(f32) / 32 - 1;
}

}  // namespace text_direction
