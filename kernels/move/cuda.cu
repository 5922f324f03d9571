// Kernels on cuda that only move elements: copies between dtypes, layouts and devices, fill, concatenate, write a region.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/bits.h"
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/move/copy.h"
#include "graft/kernels/move/cuda.h"
#include "graft/kernels/scalar.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

template <class E> __global__ __launch_bounds__(kThreads) void move_bits(Strided<2> s) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[2];
  s.offsets(i, at);
  *reinterpret_cast<E*>(s.data[0] + at[0]) = *reinterpret_cast<const E*>(s.data[1] + at[1]);
}
// Where memory is read along one dimension and written along another: rows are neighbours of what is read, columns of what is
// written. A block turns 32 x 32 elements in shared memory.
struct Turn {
  Strided<2> rest;  // the other dimensions
  unsigned rows, columns;
  int64_t to_row, from_column;  // steps in bytes
  Divider down, across;         // tiles
};
template <class E> __global__ __launch_bounds__(kThreads) void turn_tiles(const __grid_constant__ Turn t) {
  constexpr unsigned tile = 32, at_once = kThreads / tile;
  GRAFT_SHARED(E, kept, [tile][tile + 1]);  // without bank conflicts
  const unsigned strip = t.across.divide(blockIdx.x), image = t.down.divide(strip), lane = threadIdx.x % tile, line = threadIdx.x / tile;
  const unsigned column = (blockIdx.x - strip * t.across.divisor) * tile, row = (strip - image * t.down.divisor) * tile;
  int64_t at[2];
  t.rest.offsets(image, at);
  const std::byte* from = t.rest.data[1] + at[1];
  for (unsigned j = line; j < tile; j += at_once)
    if (row + lane < t.rows && column + j < t.columns)
      kept[j][lane] = *reinterpret_cast<const E*>(from + (column + j) * t.from_column + size_t(row + lane) * sizeof(E));
  __syncthreads();
  std::byte* to = t.rest.data[0] + at[0];
  for (unsigned j = line; j < tile; j += at_once)
    if (row + j < t.rows && column + lane < t.columns)
      *reinterpret_cast<E*>(to + (row + j) * t.to_row + size_t(column + lane) * sizeof(E)) = kept[lane][j];
}
template <class C> __global__ __launch_bounds__(kThreads) void convert_elements(Strided<2> s) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[2];
  s.offsets(i, at);
  store(s.data[0] + at[0], s.dtype[0], load<C>(s.data[1] + at[1], s.dtype[1]));
}
// As many as 16 bytes hold of the wider type; the last ones one at a time.
template <class To, class From> __global__ __launch_bounds__(kThreads) void convert_packs(To* to, const From* from, int64_t count) {
  constexpr int n = std::min(kPerPack<To>, kPerPack<From>);
  const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x, packs = count / n;
  if (thread >= packs) {
    const int64_t i = packs * n + (thread - packs);
    if (i < count) to[i] = convert_element<To>(from[i]);
    return;
  }
  const Pack<From, n> in = reinterpret_cast<const Pack<From, n>*>(from)[thread];
  Pack<To, n> out;
#pragma unroll
  for (int e = 0; e < n; ++e) out.of[e] = convert_element<To>(in.of[e]);
  reinterpret_cast<Pack<To, n>*>(to)[thread] = out;
}
template <class T, class A> __global__ __launch_bounds__(kThreads) void add_elements(Strided<2> s) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[2];
  s.offsets(i, at);
  atomicAdd(reinterpret_cast<A*>(s.data[0] + at[0]), *reinterpret_cast<const A*>(s.data[1] + at[1]));
}

// Whether s turns a dimension of neighbours into another: no fewer than fill a sector, in both.
bool turns(Strided<2> s, int64_t bytes, Turn& t) {
  unsigned outermost = s.count;  // its size is not in `size`
  for (int d = 1; d < s.rank; ++d) outermost /= s.size[d].divisor;
  s.size[0] = Divider(outermost);
  int column = -1, row = -1;
  for (int d = 0; d < s.rank; ++d) {
    if (s.step[d][0] == bytes) column = d;
    if (s.step[d][1] == bytes) row = d;
  }
  if (column < 0 || row < 0 || column == row || s.size[column].divisor * bytes < 32 || s.size[row].divisor * bytes < 32) return false;
  t.rows = s.size[row].divisor, t.columns = s.size[column].divisor;
  t.to_row = s.step[row][0], t.from_column = s.step[column][1];
  t.down = Divider((t.rows + 31) / 32), t.across = Divider((t.columns + 31) / 32);
  t.rest = s;
  t.rest.rank = 0;
  t.rest.count = 1;
  for (int d = 0; d < s.rank; ++d) {
    if (d == column || d == row) continue;
    t.rest.size[t.rest.rank] = s.size[d];
    t.rest.count *= s.size[d].divisor;
    for (int k = 0; k < 2; ++k) t.rest.step[t.rest.rank][k] = s.step[d][k];
    ++t.rest.rank;
  }
  if (t.rest.rank > 0) return true;
  t.rest.rank = 1;
  t.rest.size[0] = Divider(1);
  t.rest.step[0][0] = t.rest.step[0][1] = 0;
  return true;
}
template <class E> void move_elements(const Strided<2>& s, void* stream) {
  Turn t{};
  if (turns(s, sizeof(E), t)) launch(turn_tiles<E>, t.rest.count * t.down.divisor * t.across.divisor, kThreads, 0, stream, t);
  else launch(move_bits<E>, blocks_for(s.count), kThreads, 0, stream, s);
}
void move_any(const Strided<2>& s, int64_t bytes, void* stream) {
  switch (bytes) {
    case 1: return move_elements<uint8_t>(s, stream);
    case 2: return move_elements<uint16_t>(s, stream);
    case 4: return move_elements<uint32_t>(s, stream);
    case 8: return move_elements<uint64_t>(s, stream);
    default: return move_elements<Bits16>(s, stream);
  }
}

// Between floating dtypes, where both lie in memory alike; false: they do not.
bool convert_as_one_row(const Launch& l, void* stream) {
  const View &to = *l.out[0], &from = *l.in[0];
  if (!is_floating(to.dtype) || !is_floating(from.dtype) || !is_aligned(to.data, 16) || !is_aligned(from.data, 16) || !one_row_covers(l))
    return false;
  for_each_type(FloatTypes{}, [&](auto to_tag) {
    using To = typename decltype(to_tag)::type;
    for_each_type(FloatTypes{}, [&](auto from_tag) {
      using From = typename decltype(from_tag)::type;
      if constexpr (!std::is_same_v<To, From>) {
        if (to.dtype != dtype_v<To> || from.dtype != dtype_v<From>) return;
        constexpr int64_t n = std::min(kPerPack<To>, kPerPack<From>);
        launch(convert_packs<To, From>, blocks_for(to.numel / n + to.numel % n), kThreads, 0, stream, to.as<To>(), from.as<From>(), to.numel);
      }
    });
  });
  return true;
}

template <class T> struct real_part { using type = T; };
template <class T> struct real_part<std::complex<T>> { using type = T; };
// Complex numbers as pairs: one more dimension, of reals.
View as_reals(const View& x) {
  View v = x;
  v.dtype = x.dtype == c64 ? f32 : f64;
  v.numel *= 2;
  for (int d = 0; d < x.rank; ++d) v.stride[d] *= 2;
  v.size[v.rank] = 2;
  v.stride[v.rank++] = 1;
  return v;
}

}  // namespace

Decline cuda::copy_into(const View& to, const View& from, void* stream) {
  if (to.numel == 0) return kRan;
  const View *in[] = {&from}, *out[] = {&to};
  const Launch l{in, out};
  const bool same = to.dtype == from.dtype;
  if (same && one_row_covers(l)) {
    (void)runtime::copy(to.data, from.data, size_t(to.numel * size_of(to.dtype)), stream);  // the choke point looks for errors
    return kRan;
  }
  if (convert_as_one_row(l, stream)) return kRan;
  const bool whole = !is_floating(from.dtype) && !is_complex(from.dtype), pairs = is_complex(from.dtype) && is_complex(to.dtype);
  const auto convert = pairs ? convert_elements<Complex<double>> : whole ? convert_elements<int64_t> : convert_elements<double>;
  for_each_part<2>(l, [&](const Strided<2>& s) {
    if (same) move_any(s, size_of(to.dtype), stream);
    else launch(convert, blocks_for(s.count), kThreads, 0, stream, s);
  });
  return kRan;
}

namespace {

Decline copy_last_input(const Launch& l) { return copy_into(*l.out[0], *l.in.back(), l.stream); }  // clone, to, copy

// Between devices: both lie in memory alike, without gaps.
Decline copy_bytes(const Launch& l) {
  const View &to = *l.out[0], &from = *l.in[0];
  if (to.device.type == Device::cpu && from.device.type == Device::cpu) return "to cpu";
  const bool pinned = to.device.type == Device::cpu ? runtime::is_pinned(to.data) : from.device.type == Device::cpu && runtime::is_pinned(from.data);
  (void)runtime::copy(to.data, from.data, size_t(to.numel * size_of(to.dtype)), l.stream);
  // What is not pinned was read before copy() returned; results for the host must have arrived.
  const bool wait = to.device.type == Device::cpu || pinned;
  if (wait && !(pinned && l.attrs_as<ToDeviceAttrs>().non_blocking)) (void)runtime::synchronize(l.stream);
  return kRan;
}

template <class T> __global__ __launch_bounds__(kThreads) void fill_packs(T* y, int64_t count, T value) {
  constexpr int n = kPerPack<T>;
  const int64_t first = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * n;
  if (first + n <= count) {
    Pack<T, n> all;
#pragma unroll
    for (int k = 0; k < n; ++k) all.of[k] = value;
    *reinterpret_cast<Pack<T, n>*>(y + first) = all;
    return;
  }
  for (int64_t i = first; i < count; ++i) y[i] = value;
}
template <class T> Decline fill(const Launch& l) {  // a new tensor: contiguous and aligned
  using E = Bits<sizeof(T)>;
  const View& y = *l.out[0];
  if (y.numel == 0) return kRan;
  const T value = l.attrs_as<FillAttrs>().value.to<T>();
  E bits;
  std::memcpy(&bits, &value, sizeof(E));
  launch(fill_packs<E>, blocks_for(y.numel, kThreads * kPerPack<E>), kThreads, 0, l.stream, y.as<E>(), y.numel, bits);
  return kRan;
}

Decline cat(const Launch& l) {
  each_part_of_cat(l, [&](const View& to, const View& from) { copy_into(to, from, l.stream); });
  return kRan;
}

View region_view(const View& x, const View& into, const Region& r) {
  View v = x;
  v.data = into.data + r.offset * size_of(x.dtype);
  v.contiguous = false;
  for (int i = 0; i < x.rank; ++i) v.stride[i] = r.stride[i];
  return v;
}
// out = 0, then out[region] += x: elements that the region repeats are summed, in any order.
template <class T> Decline embed(const Launch& l) {
  const View& out = *l.out[0];
  View x = *l.in[0], region = region_view(x, out, l.attrs_as<EmbedAttrs>().region);
  const bool repeats = may_overlap(region);
  using R = typename real_part<T>::type;
  using A = std::conditional_t<std::is_same_v<R, Half>, __half, std::conditional_t<std::is_same_v<R, BFloat16>, __nv_bfloat16,
            std::conditional_t<std::is_same_v<R, int64_t>, unsigned long long, R>>>;
  constexpr bool atomic = is_floating_v<R> || sizeof(R) >= 4;
  if (repeats && !atomic) return "elements of this type cannot be summed where a region repeats them";
  if (repeats && is_complex_v<T> && x.rank == kMaxRank) return "complex numbers of rank 8 cannot be summed where a region repeats them";
  (void)runtime::set_bytes(out.data, 0, size_t(out.numel) * sizeof(T), l.stream);
  if (!repeats) return copy_into(region, x, l.stream);
  if constexpr (atomic) {
    if (is_complex_v<T>) x = as_reals(x), region = as_reals(region);
    const View *from = &x, *to = &region;
    for_each_part<2>({{&from, 1}, {&to, 1}}, [&](const Strided<2>& s) {
      launch(add_elements<R, A>, blocks_for(s.count), kThreads, 0, l.stream, s);
    });
  }
  return kRan;
}
Decline overwrite(const Launch& l) {
  copy_into(*l.out[0], *l.in[0], l.stream);
  return copy_into(region_view(*l.in[1], *l.out[0], l.attrs_as<Region>()), *l.in[1], l.stream);
}

}  // namespace

void register_move_cuda() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    for (const char* op : {"clone", "to", "copy"}) add_kernel(op, Device::cuda, t, "strided", copy_last_input);
    add_kernel("to_device", Device::cpu, t, "to cuda", copy_bytes);
    add_kernel("to_device", Device::cuda, t, "bytes", copy_bytes);
    add_kernel("full", Device::cuda, t, "vectors", fill<T>);
    add_kernel("cat", Device::cuda, t, "strided", cat);
    add_kernel("overwrite", Device::cuda, t, "strided", overwrite);
    if constexpr (!std::is_same_v<T, bool>) add_kernel("embed", Device::cuda, t, "strided", embed<T>);
  });
}

}  // namespace graft
