// Kernels on cpu that only move elements: copy and convert, fill, concatenate, write a region.
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/move/copy.h"

#include <array>
#include <cstring>
#include "graft/kernels/convert.h"
#include "graft/kernels/rows.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
void copy_into(const View& to, const View& from) {
  const View* in[] = {&from};
  const View* out[] = {&to};
  const Launch l{in, out};
  if (to.dtype == from.dtype && one_row_covers(l))
    return void(to.numel && std::memcpy(to.data, from.data, size_t(to.numel * size_of(to.dtype))));
  for_each_row_parallel(l, convert_row(to.dtype, from.dtype));
}

namespace {

Decline copy_last_input(const Launch& l) {  // clone(x), to(x), copy(dst, src)
  copy_into(*l.out[0], *l.in.back());
  return kRan;
}

Decline to_cpu(const Launch& l) {
  if (l.out[0]->device.type != Device::cpu) return "to another device";
  return copy_last_input(l);
}

template <class T> Decline fill(const Launch& l) {
  const T value = l.attrs_as<FillAttrs>().value.to<T>();
  T* y = l.out[0]->as<T>();
  for (int64_t i = 0; i < l.out[0]->numel; ++i) y[i] = value;
  return kRan;
}

Decline cat(const Launch& l) {
  each_part_of_cat(l, copy_into);
  return kRan;
}

View region_view(const View& x, const View& into, const Region& r) {
  View v = x;
  v.data = into.data + r.offset * size_of(x.dtype);
  v.contiguous = false;
  for (int i = 0; i < x.rank; ++i) v.stride[i] = r.stride[i];
  return v;
}

template <class T> void add_to(T& sum, T x) { sum = T(compute_t<T>(sum) + compute_t<T>(x)); }

// out = 0, then out[region] += x: elements that the region repeats are summed.
template <class T> void add_row(const Operand* o, int64_t n, const void* /*attrs*/) {
  for (int64_t i = 0; i < n; ++i)
    add_to(reinterpret_cast<T*>(o[0].data)[i * o[0].step], reinterpret_cast<const T*>(o[1].data)[i * o[1].step]);
}
template <class T> Decline embed(const Launch& l) {
  const View& out = *l.out[0];
  if (out.numel) std::memset(out.data, 0, size_t(out.numel) * sizeof(T));
  const View region = region_view(*l.in[0], out, l.attrs_as<EmbedAttrs>().region);
  const View* region_ptr = &region;
  for_each_row({l.in, {&region_ptr, 1}}, add_row<T>);
  return kRan;
}
Decline overwrite(const Launch& l) {
  copy_into(*l.out[0], *l.in[0]);
  copy_into(region_view(*l.in[1], *l.out[0], l.attrs_as<Region>()), *l.in[1]);
  return kRan;
}

template <class T> void add_typed() {
  constexpr DType t = dtype_of<T>::value;
  for (const char* op : {"clone", "to", "copy"}) add_kernel(op, Device::cpu, t, "rows", copy_last_input);
  add_kernel("to_device", Device::cpu, t, "to cpu", to_cpu);
  add_kernel("full", Device::cpu, t, "reference", fill<T>);
  add_kernel("cat", Device::cpu, t, "rows", cat);
  add_kernel("overwrite", Device::cpu, t, "rows", overwrite);
}
template <class T> void add_numeric() {
  constexpr DType t = dtype_of<T>::value;
  add_kernel("embed", Device::cpu, t, "rows", embed<T>);
}

}  // namespace

void register_move_cpu() {
  for_each_type(AllTypes{}, [](auto tag) { add_typed<typename decltype(tag)::type>(); });
  for_each_type(FloatTypes{}, [](auto tag) { add_numeric<typename decltype(tag)::type>(); });
  for_each_type(IntTypes{}, [](auto tag) { add_numeric<typename decltype(tag)::type>(); });
  for_each_type(ComplexTypes{}, [](auto tag) { add_numeric<typename decltype(tag)::type>(); });
}

}  // namespace graft
