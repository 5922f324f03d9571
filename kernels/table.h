// (op, device, dtype) -> ordered candidates. Filled by the functions that register.cpp lists; no static initialisers.
#pragma once
#include <array>
#include <atomic>
#include <string>
#include <string_view>
#include <vector>
#include "graft/kernels/view.h"

namespace graft::inline v1 {

// Runs, or returns why it does not apply to this launch, before it has written anything.
using Decline = const char*;
inline constexpr Decline kRan = nullptr;
using Kernel = Decline (*)(const Launch&);

struct Candidate {
  Kernel run = nullptr;
  const char* name = "";  // what distinguishes it: "contiguous_avx512"
  std::atomic<const Candidate*> next{nullptr};
};

// One op name, interned: an op holds the address of its entry, so that dispatch is two loads and a call.
struct OpEntry {
  std::string name;
  std::array<std::array<std::atomic<const Candidate*>, kDTypes>, kDevices> kernels{};

  const Candidate* first(Device::Type d, DType t) const { return kernels[int(d)][int(t)].load(std::memory_order_acquire); }
};

const OpEntry& intern(std::string_view op);
// Later registrations are tried after earlier ones. Safe while other threads launch.
void add_kernel(std::string_view op, Device::Type, DType, const char* name, Kernel);
std::string available_kernels(const OpEntry&);  // "cpu{f32,f64} cuda{f32}"
std::vector<std::string> kernel_ops();          // the names that have a kernel

// One line of the support matrix: in which order the kernels of an op are tried for a device and dtype.
struct KernelInfo {
  std::string op;
  Device::Type device{};
  DType dtype{};
  std::vector<std::string> kernels;
};
std::vector<KernelInfo> list_kernels();  // by op, device, dtype

// Called once, by the first look-up. Each lives at the end of its kernel file.
void register_pointwise_cpu();
void register_move_cpu();
void register_reduce_cpu();
void register_gemm_cpu();
void register_matmul_cpu();
void register_softmax_cpu();
void register_attention_cpu();
void register_conv_cpu();
void register_pool_cpu();
void register_batch_norm_cpu();
void register_row_norm_cpu();
void register_label_cpu();
void register_random_cpu();
void register_optimizer_cpu();
void register_index_cpu();
void register_rearrange_cpu();
void register_sort_cpu();
void register_resample_cpu();

}  // namespace graft
