#include "graft/kernels/table.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {
namespace {

struct Table {
  std::mutex mutex;
  std::deque<OpEntry> entries;  // stable addresses
  std::deque<Candidate> candidates;
};
Table& table() {
  static auto* t = new Table;  // never destroyed: tensors may outlive static destruction
  return *t;
}

OpEntry& entry_locked(Table& t, std::string_view op) {
  for (OpEntry& e : t.entries)
    if (e.name == op) return e;
  OpEntry& e = t.entries.emplace_back();
  e.name = op;
  return e;
}

void register_all() {
  register_pointwise_cpu();
  register_move_cpu();
  register_reduce_cpu();
  register_gemm_cpu();
  register_matmul_cpu();
  register_softmax_cpu();
  register_attention_cpu();
  register_conv_cpu();
  register_pool_cpu();
  register_batch_norm_cpu();
  register_row_norm_cpu();
  register_label_cpu();
  register_random_cpu();
  register_optimizer_cpu();
  register_index_cpu();
  register_rearrange_cpu();
  register_sort_cpu();
  register_resample_cpu();
  register_cuda_kernels();
}

}  // namespace

const OpEntry& intern(std::string_view op) {
  static const bool registered = (register_all(), true);
  (void)registered;
  const std::lock_guard lock(table().mutex);
  return entry_locked(table(), op);
}

void add_kernel(std::string_view op, Device::Type d, DType t, const char* name, Kernel run) {
  const std::lock_guard lock(table().mutex);
  OpEntry& entry = entry_locked(table(), op);
  Candidate& added = table().candidates.emplace_back();
  added.run = run;
  added.name = name;
  std::atomic<const Candidate*>* place = &entry.kernels[int(d)][int(t)];
  while (const Candidate* c = place->load()) place = const_cast<std::atomic<const Candidate*>*>(&c->next);
  place->store(&added, std::memory_order_release);
}

std::vector<std::string> kernel_ops() {
  intern("");  // registers
  const std::lock_guard lock(table().mutex);
  std::vector<std::string> names;
  for (const OpEntry& e : table().entries)
    if (available_kernels(e) != "none") names.push_back(e.name);
  return names;
}

std::string available_kernels(const OpEntry& e) {
  std::string text;
  for (int d = 0; d < kDevices; ++d) {
    std::string types;
    for (int t = 0; t < kDTypes; ++t)
      if (e.first(Device::Type(d), DType(t))) types += (types.empty() ? "" : ",") + std::string(name_of(DType(t)));
    if (!types.empty()) text += (text.empty() ? "" : " ") + std::string(name_of(Device::Type(d))) + "{" + types + "}";
  }
  return text.empty() ? "none" : text;
}

std::vector<KernelInfo> list_kernels() {
  std::vector<KernelInfo> all;
  std::vector<std::string> ops = kernel_ops();
  std::ranges::sort(ops);
  for (const std::string& op : ops)
    for (int d = 0; d < kDevices; ++d)
      for (int t = 0; t < kDTypes; ++t) {
        KernelInfo info{op, Device::Type(d), DType(t), {}};
        for (const Candidate* c = intern(op).first(info.device, info.dtype); c; c = c->next.load()) info.kernels.emplace_back(c->name);
        if (!info.kernels.empty()) all.push_back(std::move(info));
      }
  return all;
}

}  // namespace graft
