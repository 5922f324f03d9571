// Tensors [n, channels, spatial...] in kernels of convolution and pooling: always three spatial dimensions, those that are
// missing come first and have size 1.
#pragma once
#include "graft/kernels/cuda/strided.h"

namespace graft::inline v1::cuda {

struct ImagePlace {
  unsigned image, channel;
  int at[3];
};
struct Image {
  std::byte* data = nullptr;
  DType dtype = f32;
  unsigned bytes = 4;
  int64_t n = 0, channel = 0, step[3] = {0, 0, 0};  // in elements

  Image() = default;
  explicit Image(const View& v) : data(v.data), dtype(v.dtype), bytes(unsigned(size_of(v.dtype))), n(v.stride[0]), channel(v.stride[1]) {
    for (int i = 2; i < v.rank; ++i) step[3 - v.rank + i] = v.stride[i];
  }
  __device__ std::byte* plane(unsigned image, unsigned c) const { return data + (image * n + c * channel) * bytes; }
  __device__ std::byte* element(const ImagePlace& p) const { return plane(p.image, p.channel) + at(p.at[0], p.at[1], p.at[2]); }
  __device__ int64_t at(int a, int b, int c) const { return (a * step[0] + b * step[1] + c * step[2]) * bytes; }
};

// The elements of an image in the order in which they lie in memory.
struct Places {
  unsigned count = 0;  // of a part of the images
  bool channels_inside = false;
  Divider channels, size[3];

  Places() = default;
  explicit Places(const View& v) : channels_inside(v.stride[1] == 1 && v.size[1] > 1), channels(unsigned(v.size[1])) {
    for (int i = 2; i < v.rank; ++i) size[3 - v.rank + i] = Divider(unsigned(v.size[i]));
  }
  __device__ ImagePlace place(unsigned i) const {
    ImagePlace p;
    if (channels_inside) {
      const unsigned rest = channels.divide(i);
      p.channel = i - rest * channels.divisor;
      i = rest;
    }
    for (int d = 2; d >= 0; --d) {
      const unsigned rest = size[d].divide(i);
      p.at[d] = int(i - rest * size[d].divisor);
      i = rest;
    }
    p.image = i;
    if (!channels_inside) {
      p.image = channels.divide(i);
      p.channel = i - p.image * channels.divisor;
    }
    return p;
  }
};

// Calls run(first image, elements) for all images of v, or parts of at most 2^31 - 1 elements; false: an image has more.
template <class Run> bool for_each_image_part(const View& v, Run run) {
  if (v.numel == 0) return true;
  const int64_t each = v.numel / v.size[0];
  if (each > INT32_MAX) return false;
  for (int64_t first = 0, at_once = INT32_MAX / each; first < v.size[0]; first += at_once)
    run(first, unsigned(std::min(at_once, v.size[0] - first) * each));
  return true;
}

}  // namespace graft::cuda
