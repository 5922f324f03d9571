// A stand-in for cuBLAS and cuBLASLt: it looks at every argument as they do, then computes column-major products in f64, in the
// order of the stream and through the checker's marks. What they would refuse is an error of the host, which tests report.
#include "graft/kernels/cuda/cublas.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <string_view>
#include "graft/kernels/cuda/emulation/vendor_memory.h"

namespace graft::inline v1::cuda::emulation {
namespace {

using cublas::Descriptor, cublas::Status, cublas::Turn, cublas::Type;
using Number = std::complex<double>;

struct Context {
  int device = 0, math_mode = 0;
  void* stream = nullptr;
  void* workspace = nullptr;
  size_t bytes = 0;
};
Context* context(cublas::Handle h) { return static_cast<Context*>(h); }

Status refuse(const std::string& why) {
  host_error("cuBLAS: " + why);
  return cublas::invalid_value;
}

// ---- elements --------------------------------------------------------------------------------------------------

int64_t bytes_of(Type t) {
  switch (t) {
    case cublas::r_16f:
    case cublas::r_16bf: return 2;
    case cublas::r_32f: return 4;
    case cublas::r_64f:
    case cublas::c_32f: return 8;
    case cublas::c_64f: return 16;
  }
  return 0;
}
template <class T> T read(const void* p) {
  T x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
DType real_dtype(Type t) { return t == cublas::r_16f ? f16 : t == cublas::r_16bf ? bf16 : t == cublas::r_32f ? f32 : f64; }
Number load(const char* p, Type t) {
  if (t == cublas::c_32f) return read<std::complex<float>>(p);
  return t == cublas::c_64f ? read<Number>(p) : Number(load_real(p, real_dtype(t)));
}
void store(char* p, Type t, Number x) {
  const std::complex<float> narrow(x);
  if (t == cublas::c_32f) std::memcpy(p, &narrow, sizeof narrow);
  else if (t == cublas::c_64f) std::memcpy(p, &x, sizeof x);
  else store_real(p, real_dtype(t), x.real());
}

// ---- products --------------------------------------------------------------------------------------------------

struct Operand {
  char* data;
  Type type;
  int64_t rows, columns, leading, step = 0;  // as they lie in memory
  char* at(int64_t i, int64_t j, int64_t batch) const { return data + (batch * step + i + j * leading) * bytes_of(type); }
};
struct Product {
  Operand a, b, c;
  bool turn_a = false, turn_b = false;
  int64_t k = 0, batches = 1;
  Number alpha, beta;
  uint32_t epilogue = 1;
  char* bias = nullptr;
  Context context;  // where and with which workspace
};

std::string why_not(const char* name, const Operand& x) {
  if (x.rows < 0 || x.columns < 0) return std::string(name) + " has a negative size";
  if (x.leading < std::max<int64_t>(1, x.rows)) return std::string("the leading dimension of ") + name + " is below its rows";
  if (uintptr_t(x.data) % size_t(bytes_of(x.type) > 8 ? 8 : bytes_of(x.type))) return std::string(name) + " is misaligned";
  return {};
}
Status look(const Product& p) {
  for (const auto& [name, x] : {std::pair{"A", p.a}, std::pair{"B", p.b}, std::pair{"C", p.c}})
    if (const std::string why = why_not(name, x); !why.empty()) return refuse(why);
  if (p.a.type != p.b.type || p.a.type != p.c.type || bytes_of(p.a.type) == 0) return cublas::not_supported;
  if (p.batches > 1 && p.c.step < p.c.leading * (p.c.columns - 1) + p.c.rows) return refuse("matrices of C overlap");
  const auto* s = find_stream(p.context.stream);
  if (!s || device_of(s) != p.context.device) return refuse("the stream is not one of the handle's device");
  return cublas::success;
}

bool can_touch_all(const char* name, const Operand& x, int64_t batches, int device, bool read) {
  for (int64_t z = 0; z < batches; ++z)
    for (int64_t j = 0; j < x.columns; ++j)
      if (!can_touch("cuBLAS", name, x.at(0, j, z), x.rows * bytes_of(x.type), device, read)) return false;
  return true;
}

Number finished(const Product& p, Number sum, int64_t row) {
  if (p.epilogue & cublas::bias) sum += load(p.bias + row * bytes_of(p.c.type), p.c.type);
  const double x = sum.real();
  if (p.epilogue & cublas::relu) return x < 0 ? 0 : x;
  if (p.epilogue & cublas::gelu_tanh) return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  return sum;
}
void compute(const Product& p) {
  if (fault_code() != cudaSuccess || p.c.rows == 0 || p.c.columns == 0) return;
  const int device = p.context.device;
  if (!can_touch_all("A", p.a, p.batches, device, true) || !can_touch_all("B", p.b, p.batches, device, true) ||
      !can_touch_all("C", p.c, p.batches, device, p.beta != 0.0))
    return;
  if (p.bias && !can_touch("cuBLAS", "bias", p.bias, p.c.rows * bytes_of(p.c.type), device, true)) return;
  if (p.context.bytes) {
    if (!can_touch("cuBLAS", "workspace", static_cast<char*>(p.context.workspace), int64_t(p.context.bytes), device, false)) return;
    std::memset(p.context.workspace, 0xa5, p.context.bytes);
  }
  std::vector<Number> results(size_t(p.c.rows * p.c.columns));
  for (int64_t z = 0; z < p.batches; ++z) {
    for (int64_t j = 0; j < p.c.columns; ++j)
      for (int64_t i = 0; i < p.c.rows; ++i) {
        Number sum = 0;
        for (int64_t l = 0; l < p.k; ++l)
          sum += load(p.turn_a ? p.a.at(l, i, z) : p.a.at(i, l, z), p.a.type) * load(p.turn_b ? p.b.at(j, l, z) : p.b.at(l, j, z), p.b.type);
        sum *= p.alpha;
        if (p.beta != 0.0) sum += p.beta * load(p.c.at(i, j, z), p.c.type);
        results[size_t(j * p.c.rows + i)] = finished(p, sum, i);
      }
    for (int64_t j = 0; j < p.c.columns; ++j) {
      for (int64_t i = 0; i < p.c.rows; ++i) store(p.c.at(i, j, z), p.c.type, results[size_t(j * p.c.rows + i)]);
      mark_global(p.c.at(0, j, z), size_t(p.c.rows * bytes_of(p.c.type)), true);
    }
  }
}
Status run(const Product& p) {
  if (const Status s = look(p); s != cublas::success) return s;
  enqueue(p.context.stream, [p] { compute(p); });
  return cublas::success;
}
Number scalar(const void* x, Type t) {
  switch (t) {
    case cublas::r_64f: return read<double>(x);
    case cublas::c_32f: return read<std::complex<float>>(x);
    case cublas::c_64f: return read<Number>(x);
    default: return double(read<float>(x));
  }
}

// ---- cuBLAS ------------------------------------------------------------------------------------------------------

Status get_property(int which, int* value) {
  static constexpr int version[] = {13, 0, 0};
  if (which < 0 || which > 2) return cublas::invalid_value;
  return *value = version[which], cublas::success;
}
Status create(cublas::Handle* h) {
  *h = new Context{.device = current_device()};
  return cublas::success;
}
Status set_stream(cublas::Handle h, void* stream) {
  context(h)->stream = stream;
  context(h)->workspace = nullptr;
  context(h)->bytes = 0;
  return cublas::success;
}
Status set_workspace(cublas::Handle h, void* p, size_t bytes) {
  if (uintptr_t(p) % 256) return refuse("the workspace is not aligned to 256 bytes");
  context(h)->workspace = p;
  context(h)->bytes = bytes;
  return cublas::success;
}
Status set_math_mode(cublas::Handle h, int mode) {
  context(h)->math_mode = mode;
  return cublas::success;
}
Status multiply(cublas::Handle h, Turn ta, Turn tb, int m, int n, int k, const void* alpha, const void* a, Type type_a, int lda,
                long long step_a, const void* b, Type type_b, int ldb, long long step_b, const void* beta, void* c, Type type_c, int ldc,
                long long step_c, int batches, cublas::Compute compute, int algorithm) {
  if (!h) return cublas::not_initialized;
  if (k < 0 || batches < 0) return refuse("a size is negative");
  const bool wide = type_c == cublas::r_64f || type_c == cublas::c_64f;
  if (compute != (wide ? cublas::in_64f : cublas::in_32f) || algorithm != cublas::kDefaultAlgorithm) return cublas::not_supported;
  if (bytes_of(type_c) == 2 && !(context(h)->math_mode & cublas::kExactReductions)) return refuse("sums in 16 bits are allowed");
  const Type scale = bytes_of(type_c) == 2 ? cublas::r_32f : type_c;
  const auto place = [](const void* p) { return static_cast<char*>(const_cast<void*>(p)); };
  Product p{.a = {place(a), type_a, ta ? k : m, ta ? m : k, lda, step_a}, .b = {place(b), type_b, tb ? n : k, tb ? k : n, ldb, step_b},
            .c = {place(c), type_c, m, n, ldc, step_c}, .turn_a = ta != cublas::as_is, .turn_b = tb != cublas::as_is, .k = k,
            .batches = batches, .alpha = scalar(alpha, scale), .beta = scalar(beta, scale), .context = *context(h)};
  return run(p);
}

// ---- cuBLASLt ----------------------------------------------------------------------------------------------------

struct Desc {
  cublas::Compute compute;
  Type scale;
  int turn_a = 0, turn_b = 0;
  uint32_t epilogue = 1;
  char* bias = nullptr;
};
struct Layout {
  Type type;
  uint64_t rows, columns;
  int64_t leading;
};
struct Preference {
  size_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};
template <class T> Status take(T& to, const void* from, size_t bytes) {
  if (!from || bytes != sizeof(T)) return refuse("an attribute has another size");
  return std::memcpy(&to, from, bytes), cublas::success;
}
template <class T> Status destroy(Descriptor d) {
  delete static_cast<T*>(d);
  return cublas::success;
}

Status make_desc(Descriptor* d, cublas::Compute compute, Type scale) {
  *d = new Desc{.compute = compute, .scale = scale};
  return cublas::success;
}
Status set_desc(Descriptor d, cublas::DescAttribute what, const void* value, size_t bytes) {
  auto& desc = *static_cast<Desc*>(d);
  switch (what) {
    case cublas::desc_turn_a: return take(desc.turn_a, value, bytes);
    case cublas::desc_turn_b: return take(desc.turn_b, value, bytes);
    case cublas::desc_epilogue: return take(desc.epilogue, value, bytes);
    case cublas::desc_bias: return take(desc.bias, value, bytes);
  }
  return refuse("an attribute of the product is not known");
}
Status make_layout(Descriptor* d, Type t, uint64_t rows, uint64_t columns, int64_t leading) {
  *d = new Layout{t, rows, columns, leading};
  return cublas::success;
}
Status make_preference(Descriptor* d) {
  *d = new Preference;
  return cublas::success;
}
Status set_preference(Descriptor d, cublas::PreferenceAttribute what, const void* value, size_t bytes) {
  auto& p = *static_cast<Preference*>(d);
  if (what == cublas::most_workspace) return take(p.workspace, value, bytes);
  if (what >= cublas::alignment_a && what <= cublas::alignment_d) return take(p.alignment[what - cublas::alignment_a], value, bytes);
  return refuse("an attribute of the preference is not known");
}

struct Chosen { uint32_t alignment[4]; };  // what an algorithm counts on
Status find_algorithm(cublas::Handle h, Descriptor d, Descriptor a, Descriptor b, Descriptor c, Descriptor out, Descriptor preference,
                      int wanted, cublas::Heuristic* results, int* found) {
  if (!h || !d || !a || !b || !c || !out || !preference || wanted < 1) return refuse("a descriptor is missing");
  const auto& p = *static_cast<const Preference*>(preference);
  *results = {.algorithm = {}, .workspace = p.workspace, .state = cublas::success, .waves = 1, .reserved = {}};
  Chosen chosen{};
  std::ranges::copy(p.alignment, chosen.alignment);
  static_assert(sizeof chosen <= sizeof results->algorithm);
  std::memcpy(&results->algorithm, &chosen, sizeof chosen);
  return *found = 1, cublas::success;
}
Status multiply_lt(cublas::Handle h, Descriptor d, const void* alpha, const void* a, Descriptor layout_a, const void* b, Descriptor layout_b,
                   const void* beta, const void* c, Descriptor layout_c, void* out, Descriptor layout_out, const cublas::Algorithm* algorithm,
                   void* workspace, size_t bytes, void* stream) {
  const auto& desc = *static_cast<const Desc*>(d);
  if (c != out || layout_c != layout_out) return cublas::not_supported;
  if (desc.compute != cublas::in_32f || desc.scale != cublas::r_32f) return cublas::not_supported;
  Chosen chosen{};
  std::memcpy(&chosen, algorithm, sizeof chosen);
  const void* pointers[] = {a, b, c, out};
  for (int i = 0; i < 4; ++i)
    if (uintptr_t(pointers[i]) % chosen.alignment[i]) return refuse("the algorithm was chosen for another alignment");
  if ((desc.epilogue & cublas::bias) && !desc.bias) return refuse("an epilogue with a bias, and no bias");
  const auto operand = [](const void* p, Descriptor layout) {
    const auto& l = *static_cast<const Layout*>(layout);
    return Operand{static_cast<char*>(const_cast<void*>(p)), l.type, int64_t(l.rows), int64_t(l.columns), l.leading};
  };
  Product p{.a = operand(a, layout_a), .b = operand(b, layout_b), .c = operand(out, layout_out), .turn_a = desc.turn_a != 0,
            .turn_b = desc.turn_b != 0, .alpha = scalar(alpha, desc.scale), .beta = scalar(beta, desc.scale), .epilogue = desc.epilogue,
            .bias = desc.epilogue & cublas::bias ? desc.bias : nullptr,
            .context = {.device = context(h)->device, .stream = stream, .workspace = workspace, .bytes = bytes}};
  p.k = p.turn_a ? p.a.rows : p.a.columns;
  if (p.c.rows != (p.turn_a ? p.a.columns : p.a.rows) || p.c.columns != (p.turn_b ? p.b.rows : p.b.columns) ||
      p.k != (p.turn_b ? p.b.columns : p.b.rows))
    return refuse("the sizes of A, B and D do not go together");
  return run(p);
}

}  // namespace

void* cublas_function(std::string_view name) {
  static const cublas::Functions all{get_property, create, set_stream, set_workspace, set_math_mode, multiply, make_desc, set_desc, destroy<Desc>,
                                     make_layout, destroy<Layout>, make_preference, set_preference, destroy<Preference>, find_algorithm, multiply_lt};
  return find_by_name(all, cublas::kNames, name);
}

}  // namespace graft::cuda::emulation
