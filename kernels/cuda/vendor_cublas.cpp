// Products by cuBLAS, and by cuBLASLt those that a bias or an activation follows.
#include <algorithm>
#include <bit>
#include "graft/kernels/cuda/cublas.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/vendor_library.h"
#include "graft/kernels/cuda/workspace.h"

namespace graft::inline v1::cuda::vendor {
namespace {

// ---- opening ---------------------------------------------------------------------------------------------------

struct Cublas {
  cublas::Functions call{};
  std::string version, why_not;  // one of them is empty
};
Cublas open_cublas() {
  Cublas c;
  std::vector<std::string> names;
  for (const int major : {runtime::version() / 1000, 13, 12}) names.push_back("libcublas.so." + std::to_string(major));
  Opened o = open_first(names);  // cuBLAS depends on cuBLASLt: what is looked up in the one is found in the other
  if (o.library) c.call = find_functions<cublas::Functions>(o, cublas::kNames);
  c.why_not = o.why_not;
  if (!c.why_not.empty()) return c;
  int part[3] = {};
  for (int i = 0; i < 3; ++i)
    if (c.call.get_property(i, &part[i]) != cublas::success) c.why_not = o.name + " does not tell its version";
  const std::string version = std::to_string(part[0]) + "." + std::to_string(part[1]) + "." + std::to_string(part[2]);
  if (c.why_not.empty() && (part[0] < 12 || part[0] > 13)) c.why_not = o.name + " is version " + version + ", and not 12 or 13";
  if (c.why_not.empty()) c.version = version + " (" + o.name + ")";
  return c;
}
const Cublas& library() {
  static const auto* c = new Cublas(open_cublas());
  return *c;
}
Decline why_not() {
  if (const Decline why = switched_off()) return why;
  static const auto* reason = new std::string("cuBLAS is not loaded: " + library().why_not);
  return library().why_not.empty() ? kRan : reason->c_str();
}
HandlePool& handles() {
  static auto* pool = new HandlePool;
  return *pool;
}
void* make_handle() {
  cublas::Handle h = nullptr;
  if (library().call.create(&h) != cublas::success) return nullptr;
  library().call.set_math_mode(h, cublas::kExactReductions);
  return h;
}
// What NVIDIA recommends: 32 MiB from Hopper on, 4 before.
size_t workspace_bytes(int device) { return workspace_limit(device, size_t{runtime::capability(device) >= 90 ? 32U : 4U} << 20); }

Decline describe(cublas::Status s) {
  switch (s) {
    case cublas::success: return kRan;
    case cublas::not_initialized: return "cuBLAS: CUBLAS_STATUS_NOT_INITIALIZED";
    case cublas::alloc_failed: return "cuBLAS: CUBLAS_STATUS_ALLOC_FAILED";
    case cublas::invalid_value: return "cuBLAS: CUBLAS_STATUS_INVALID_VALUE";
    case cublas::arch_mismatch: return "cuBLAS: CUBLAS_STATUS_ARCH_MISMATCH";
    case cublas::execution_failed: return "cuBLAS: CUBLAS_STATUS_EXECUTION_FAILED";
    case cublas::not_supported: return "cuBLAS: CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "cuBLAS: another status";
}

// ---- the product -----------------------------------------------------------------------------------------------

struct Types {
  cublas::Type elements, scale;
  cublas::Compute compute;
};
bool types_of(DType t, Types& to) {
  switch (t) {
    case f32: return to = {cublas::r_32f, cublas::r_32f, cublas::in_32f}, true;
    case f64: return to = {cublas::r_64f, cublas::r_64f, cublas::in_64f}, true;
    case f16: return to = {cublas::r_16f, cublas::r_32f, cublas::in_32f}, true;
    case bf16: return to = {cublas::r_16bf, cublas::r_32f, cublas::in_32f}, true;
    case c64: return to = {cublas::c_32f, cublas::c_32f, cublas::in_32f}, true;
    case c128: return to = {cublas::c_64f, cublas::c_64f, cublas::in_64f}, true;
    default: return false;
  }
}
// One and zero, as alpha and beta of every dtype: the imaginary part follows the real one.
const void* scale(cublas::Type t, bool one) {
  static constexpr float narrow[2][2] = {{0, 0}, {1, 0}};
  static constexpr double wide[2][2] = {{0, 0}, {1, 0}};
  return t == cublas::r_64f || t == cublas::c_64f ? static_cast<const void*>(wide[one]) : narrow[one];
}

// Row-major out[m, n] is column-major [n, m]: cuBLAS's first operand is b, [n, k], its second a, [k, m]. What is contiguous
// along k is [k, rows] to it.
cublas::Turn turn_first(const Matrix& b) { return b.along_k ? cublas::transposed : cublas::as_is; }
cublas::Turn turn_second(const Matrix& a) { return a.along_k ? cublas::as_is : cublas::transposed; }

Decline plain(const Cublas& c, const Gemm& g, const Types& t, cublas::Handle h) {
  return describe(c.call.multiply(h, turn_first(g.b), turn_second(g.a), int(g.n), int(g.m), int(g.k), scale(t.scale, true), g.b.data, t.elements,
                                  int(g.b.leading), g.b.batch_step, g.a.data, t.elements, int(g.a.leading), g.a.batch_step, scale(t.scale, false),
                                  g.out, t.elements, int(g.out_leading), g.out_batch_step, int(g.batches), t.compute, cublas::kDefaultAlgorithm));
}

uint32_t alignment(const void* p) { return uint32_t(1) << std::min(8, std::countr_zero(reinterpret_cast<uintptr_t>(p))); }

Decline with_epilogue(const Cublas& c, const Gemm& g, const Types& t, cublas::Handle h, void* workspace, size_t bytes, void* stream) {
  using Described = vendor::Described<cublas::Status>;
  Described desc(c.call.destroy_desc), a(c.call.destroy_layout), b(c.call.destroy_layout), out(c.call.destroy_layout),
      preference(c.call.destroy_preference);
  const auto layout = [&](Described& d, bool rows_first, int64_t rows, int64_t k, int64_t leading) {
    return c.call.make_layout(&d.it, t.elements, uint64_t(rows_first ? rows : k), uint64_t(rows_first ? k : rows), leading);
  };
  const auto set = [&](cublas::DescAttribute what, const auto& value) { return c.call.set_desc(desc.it, what, &value, sizeof value); };
  const auto prefer = [&](cublas::PreferenceAttribute what, const auto& value) {
    return c.call.set_preference(preference.it, what, &value, sizeof value);
  };
  const uint32_t epilogue = (g.bias ? uint32_t{cublas::bias} : 0) | (g.epilogue == Epilogue::relu        ? uint32_t{cublas::relu}
                                                                   : g.epilogue == Epilogue::gelu_tanh ? uint32_t{cublas::gelu_tanh}
                                                                                                       : 0);
  const void* const bias = g.bias;
  cublas::Heuristic best{};
  int found = 0;
  cublas::Status s = c.call.make_desc(&desc.it, t.compute, t.scale);
  const auto then = [&](auto next) {
    if (s == cublas::success) s = next();
  };
  then([&] { return set(cublas::desc_turn_a, turn_first(g.b)); });
  then([&] { return set(cublas::desc_turn_b, turn_second(g.a)); });
  then([&] { return set(cublas::desc_epilogue, epilogue); });
  if (bias) then([&] { return set(cublas::desc_bias, bias); });
  then([&] { return layout(b, !g.b.along_k, g.n, g.k, g.b.leading); });
  then([&] { return layout(a, !g.a.along_k, g.m, g.k, g.a.leading); });
  then([&] { return layout(out, true, g.n, g.m, g.out_leading); });
  then([&] { return c.call.make_preference(&preference.it); });
  then([&] { return prefer(cublas::most_workspace, bytes); });
  then([&] { return prefer(cublas::alignment_a, alignment(g.b.data)); });
  then([&] { return prefer(cublas::alignment_b, alignment(g.a.data)); });
  then([&] { return prefer(cublas::alignment_c, alignment(g.out)); });
  then([&] { return prefer(cublas::alignment_d, alignment(g.out)); });
  then([&] { return c.call.find_algorithm(h, desc.it, b.it, a.it, out.it, out.it, preference.it, 1, &best, &found); });
  if (s == cublas::success && found == 0) return "cuBLASLt has no algorithm for it";
  then([&] {
    return c.call.multiply_lt(h, desc.it, scale(t.scale, true), g.b.data, b.it, g.a.data, a.it, scale(t.scale, false), g.out, out.it, g.out,
                              out.it, &best.algorithm, workspace, bytes, stream);
  });
  return describe(s);
}

}  // namespace

Library find_cublas() { return state_of("cuBLAS", &library); }

Decline multiply(const Gemm& g, const View& out, void* stream) {
  if (const Decline why = why_not()) return why;
  Types t{};
  if (std::max({g.m, g.n, g.k, g.batches}) > INT32_MAX) return "cuBLAS counts rows and columns in 32 bits";
  if (!types_of(g.dtype, t)) return "cuBLAS has no products of this dtype";
  const bool finished = g.bias || g.epilogue != Epilogue::none;
  if (finished && g.dtype != f32 && g.dtype != f16 && g.dtype != bf16) return "cuBLASLt finishes products of f32, f16 and bf16 only";
  if (finished && g.batches > 1) return "cuBLASLt is asked for one product at a time";
  const Cublas& c = library();
  const size_t bytes = workspace_bytes(out.device.index);
  const Workspace workspace(out, bytes);
  if (!workspace.get()) return "no memory is left for cuBLAS's workspace";
  const Handle h(handles(), out.device.index, make_handle);
  if (!h.get()) return "cuBLAS makes no handle";
  if (finished) return with_epilogue(c, g, t, h.get(), workspace.get(), bytes, stream);
  if (const Decline why = describe(c.call.set_stream(h.get(), stream))) return why;
  if (const Decline why = describe(c.call.set_workspace(h.get(), workspace.get(), bytes))) return why;
  return plain(c, g, t, h.get());
}

}  // namespace graft::cuda::vendor
