// Registers every pointwise op on cpu, for every dtype that its functor computes in.
#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include "graft/kernels/isa.h"
#include "graft/kernels/pointwise/rows.h"

namespace graft::inline v1 {
namespace {

using namespace pointwise;

Op g_ops[kMaxOps];

template <size_t i> Decline kernel(const Launch& l) { return run(l, g_ops[i]); }
template <size_t... i> constexpr std::array<Kernel, kMaxOps> kernels(std::index_sequence<i...>) { return {kernel<i>...}; }
constexpr auto kKernels = kernels(std::make_index_sequence<kMaxOps>());

void add_types(const Op& op, size_t i, Compute c, std::initializer_list<DType> types) {
  if (!op.rows[0][c]) return;
  const std::string name = op_name(op.functor, op.form);
  for (const DType t : types)
    if (t != boolean || takes_bool(op.functor)) add_kernel(name, Device::cpu, t, "rows", kKernels[i]);
}

}  // namespace

std::string pointwise::op_name(std::string_view functor, Form form) {
  const std::string name(functor);
  return form == Form::tensors ? name : form == Form::scalar_first ? "scalar_" + name : name + "_scalar";
}
// A functor named here is an error for bool in PyTorch as well.
bool pointwise::takes_bool(std::string_view functor) {
  for (const char* no : {"neg", "sub", "abs", "relu", "relu_grad", "div_trunc", "bitwise_not", "square"})
    if (functor == no) return false;
  return true;
}

void register_pointwise_cpu() {
  const int n = rows_baseline(g_ops);
  rows_integer(g_ops);
  rows_complex(g_ops);
  for (Op& op : g_ops)
    for (int isa = 1; isa < kIsas; ++isa) std::copy_n(op.rows[0], kComputes, op.rows[isa]);
#if defined(__x86_64__)
  if (cpu::best_isa() >= cpu::Isa::avx2) rows_avx2(g_ops);
  if (cpu::best_isa() >= cpu::Isa::avx512) rows_avx512(g_ops);
#endif
  for (int i = 0; i < n; ++i) {
    Op& op = g_ops[i];
    for (const char* divides : {"div_trunc", "floor_divide", "fmod", "remainder"})
      op.divides = op.divides || std::string_view(op.functor) == divides;
    add_types(op, size_t(i), in_f32, {f32, f16, bf16});
    add_types(op, size_t(i), in_f64, {f64});
    add_types(op, size_t(i), in_i64, {i64, i32, i16, i8, u8, boolean});
    add_types(op, size_t(i), in_c64, {c64});
    add_types(op, size_t(i), in_c128, {c128});
  }
}

}  // namespace graft
