// ResNet-18 and ResNet-152 for 224x224 (He et al. 2015) and ResNet-20 for CIFAR's 32x32, written with slots.
#pragma once
#include <memory>
#include <vector>
#include "graft/core/ops.h"
#include "graft/core/profile.h"
#include "graft/nn/activation.h"
#include "graft/nn/add.h"
#include "graft/nn/containers.h"
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"
#include "graft/nn/pooling.h"
#include "graft/nn/shape.h"

namespace resnet {

namespace nn = graft::nn;
using graft::Tensor;

inline std::shared_ptr<nn::Conv2d> conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return nn::make<nn::Conv2d>(in, out, kernel, nn::Conv2dOptions{.stride = stride, .padding = kernel / 2, .bias = false});
}

// What a block adds its input through: nothing where that has the shape of the output.
inline std::shared_ptr<nn::Sequential> projection(int64_t in, int64_t out, int64_t stride) {
  if (stride == 1 && in == out) return nn::make<nn::Sequential>();
  return nn::make<nn::Sequential>(conv(in, out, 1, stride), nn::make<nn::BatchNorm2d>(out));
}

struct Block : nn::Layer {
  Block(int64_t in, int64_t out, int64_t stride)
      : conv1(this, "conv1", conv(in, out, 3, stride)),
        bn1(this, "bn1", out),
        relu1(this, "relu1"),
        conv2(this, "conv2", conv(out, out, 3, 1)),
        bn2(this, "bn2", out),
        shortcut(this, "shortcut", projection(in, out, stride)),
        add(this, "add"),
        relu2(this, "relu2") {}
  Tensor forward(const Tensor& x) override {
    const Tensor y = bn2(conv2(relu1(bn1(conv1(x)))));
    return relu2(add(y, shortcut(x)));
  }

  nn::Child<nn::Conv2d> conv1;
  nn::Child<nn::BatchNorm2d> bn1;
  nn::Child<nn::ReLU> relu1;
  nn::Child<nn::Conv2d> conv2;
  nn::Child<nn::BatchNorm2d> bn2;
  nn::Child<nn::Sequential> shortcut;
  nn::Child<nn::Add> add;
  nn::Child<nn::ReLU> relu2;
};

// A stage per width, of `blocks` blocks; every stage but the first halves the map.
inline void append_stages(nn::Sequential& net, const std::vector<int64_t>& widths, int blocks) {
  int64_t in = widths[0];
  for (const int64_t width : widths) {
    for (int b = 0; b < blocks; ++b) {
      net.append(nn::make<Block>(in, width, b == 0 && width != widths[0] ? 2 : 1));
      in = width;
    }
  }
}
inline void append_head(nn::Sequential& net, int64_t width, int64_t classes) {
  net.append(nn::make<nn::AdaptiveAvgPool2d>(1));
  net.append(nn::make<nn::Flatten>());
  net.append(nn::make<nn::Linear>(width, classes));
}

inline std::shared_ptr<nn::Sequential> resnet20(int64_t classes = 10) {
  auto net = nn::make<nn::Sequential>(conv(3, 16, 3, 1), nn::make<nn::BatchNorm2d>(16), nn::make<nn::ReLU>());
  append_stages(*net, {16, 32, 64}, 3);
  append_head(*net, 64, classes);
  return net;
}
inline std::shared_ptr<nn::Sequential> resnet18(int64_t classes = 1000) {
  auto net = nn::make<nn::Sequential>(conv(3, 64, 7, 2), nn::make<nn::BatchNorm2d>(64), nn::make<nn::ReLU>(),
                                      nn::make<nn::MaxPool2d>(3, 2, 1));
  append_stages(*net, {64, 128, 256, 512}, 2);
  append_head(*net, 512, classes);
  return net;
}

struct Bottleneck : nn::Layer {
  Bottleneck(int64_t in, int64_t width, int64_t stride)
      : conv1(this, "conv1", conv(in, width, 1, 1)),
        bn1(this, "bn1", width),
        relu1(this, "relu1"),
        conv2(this, "conv2", conv(width, width, 3, stride)),
        bn2(this, "bn2", width),
        relu2(this, "relu2"),
        conv3(this, "conv3", conv(width, 4 * width, 1, 1)),
        bn3(this, "bn3", 4 * width),
        shortcut(this, "shortcut", projection(in, 4 * width, stride)),
        add(this, "add"),
        relu3(this, "relu3") {}
  Tensor forward(const Tensor& x) override {
    const Tensor y = bn3(conv3(relu2(bn2(conv2(relu1(bn1(conv1(x))))))));
    return relu3(add(y, shortcut(x)));
  }

  nn::Child<nn::Conv2d> conv1;
  nn::Child<nn::BatchNorm2d> bn1;
  nn::Child<nn::ReLU> relu1;
  nn::Child<nn::Conv2d> conv2;
  nn::Child<nn::BatchNorm2d> bn2;
  nn::Child<nn::ReLU> relu2;
  nn::Child<nn::Conv2d> conv3;
  nn::Child<nn::BatchNorm2d> bn3;
  nn::Child<nn::Sequential> shortcut;
  nn::Child<nn::Add> add;
  nn::Child<nn::ReLU> relu3;
};
inline std::shared_ptr<nn::Sequential> resnet152(int64_t classes = 1000) {
  auto net = nn::make<nn::Sequential>(conv(3, 64, 7, 2), nn::make<nn::BatchNorm2d>(64), nn::make<nn::ReLU>(),
                                      nn::make<nn::MaxPool2d>(3, 2, 1));
  int64_t in = 64;
  for (const auto& [width, blocks] : {std::pair<int64_t, int>(64, 3), {128, 8}, {256, 36}, {512, 3}})
    for (int b = 0; b < blocks; ++b) {
      net->append(nn::make<Bottleneck>(in, width, b == 0 && width > 64 ? 2 : 1));
      in = 4 * width;
    }
  append_head(*net, in, classes);
  return net;
}

// Floating-point operations of one forward pass.
template <class Net> double flops(Net& net, const Tensor& x) {
  graft::CostCounter counter;
  const graft::NoGrad guard;
  {
    const graft::Observing scope(counter);
    net(x);
  }
  return 2.0 * double(counter.total().macs);
}

}  // namespace resnet
