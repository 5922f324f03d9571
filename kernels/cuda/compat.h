// The one header that kernel files (.cu) include first: the same source is compiled by nvcc for GPUs and by g++ for the
// emulated device. It replaces the two notations that a C++ compiler cannot read: __shared__ and <<<>>>.
#pragma once
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// GRAFT_SHARED(float, tile, [32][33]);   an array in shared memory
#define GRAFT_SHARED(T, name, ...) __shared__ T name __VA_ARGS__
// GRAFT_DYN_SHARED(float, buffer);       the shared memory that the launch asks for, 16-byte aligned
#define GRAFT_DYN_SHARED(T, name)                                         \
  extern __shared__ __align__(16) unsigned char graft_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(graft_dynamic_shared)
#else
#include "graft/kernels/cuda/emulation/device.h"

#define GRAFT_SHARED(T, name, ...)   \
  struct name##_tag_;                \
  using name##_type_ = T __VA_ARGS__; \
  auto& name = graft::cuda::emulation::shared<name##_type_, name##_tag_>()
#define GRAFT_DYN_SHARED(T, name) T* name = static_cast<T*>(graft::cuda::emulation::dynamic_shared())
#endif
#include "graft/kernels/host_device.h"

namespace graft::inline v1::cuda {

// Whoever runs the launcher looks for errors afterwards (core/op.cpp), and names the op and its inputs.
template <class... K>
void launch(void (*kernel)(K...), dim3 grid, dim3 block, size_t shared_bytes, void* stream, std::type_identity_t<K>... args) {
#ifdef __CUDACC__
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  (void)cudaLaunchKernelEx(&config, kernel, args...);
#else
  struct Bound {
    void (*kernel)(K...);
    std::tuple<K...> args;
  };
  const auto bound = std::make_shared<Bound>(Bound{kernel, {args...}});
  const auto run = [](void* p) {
    auto* b = static_cast<Bound*>(p);
    std::apply(b->kernel, b->args);
  };
  emulation::launch({grid, block, shared_bytes, stream, reinterpret_cast<const void*>(kernel), run, bound, sizeof(Bound)});
#endif
}

}  // namespace graft::cuda
