// A stand-in for cuDNN's convolutions: it looks at every descriptor as cuDNN does, then computes direct sums in f64, in the order of
// the stream and through the checker's marks. What cuDNN would refuse is an error of the host, which tests report.
#include "graft/kernels/cuda/cudnn.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string_view>
#include "graft/kernels/cuda/emulation/vendor_memory.h"

namespace graft::inline v1::cuda::emulation {
namespace {

using cudnn::Choice, cudnn::Descriptor, cudnn::Handle, cudnn::Status, cudnn::Type;

struct CudnnContext {
  int device = 0;
  void* stream = nullptr;
};
Status refuse_conv(const std::string& why) {
  host_error("cuDNN: " + why);
  return cudnn::bad_param;
}
DType dtype_of(Type t) { return t == cudnn::in_f32 ? f32 : t == cudnn::in_f64 ? f64 : t == cudnn::in_f16 ? f16 : bf16; }

// ---- descriptors -----------------------------------------------------------------------------------------------

// Of a tensor or a filter; three spatial dimensions, those that are missing come first and have size 1.
struct Shaped {
  Type type = cudnn::in_f32;
  int rank = 0;
  int64_t size[5] = {1, 1, 1, 1, 1}, stride[5] = {};
  int64_t extent() const {  // elements from the first to behind the last
    int64_t last = 0;
    for (int i = 0; i < 5; ++i) last += (size[i] - 1) * stride[i];
    return last + 1;
  }
};
struct Convolution {
  int rank = 0, groups = 1;
  int64_t pad[3] = {}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1};
  Type compute = cudnn::in_f32;
  int math = 0;
};
struct ActivationOf { int mode = 0; };

int place(int i, int rank) { return i < 2 ? i : 5 - rank + i; }
template <class T> Status make(Descriptor* d) { return *d = new T, cudnn::success; }
template <class T> Status destroy_descriptor(Descriptor d) {
  delete static_cast<T*>(d);
  return cudnn::success;
}
template <class T> const T& at(Descriptor d) { return *static_cast<const T*>(d); }

Status set_tensor(Descriptor d, Type t, int rank, const int* size, const int* stride) {
  if (rank < 4 || rank > 5) return refuse_conv("a tensor of " + std::to_string(rank) + " dimensions");
  Shaped s{.type = t, .rank = rank};
  for (int i = 0; i < rank; ++i) {
    if (size[i] < 1 || stride[i] < 1) return refuse_conv("a size or a stride below 1");
    s.size[place(i, rank)] = size[i], s.stride[place(i, rank)] = stride[i];
  }
  *static_cast<Shaped*>(d) = s;
  return cudnn::success;
}
Status set_filter(Descriptor d, Type t, cudnn::Format f, int rank, const int* size) {
  if (rank < 4 || rank > 5) return refuse_conv("a filter of " + std::to_string(rank) + " dimensions");
  Shaped s{.type = t, .rank = rank};
  for (int i = 0; i < rank; ++i) {
    if (size[i] < 1) return refuse_conv("a size of a filter below 1");
    s.size[place(i, rank)] = size[i];
  }
  int64_t step = 1;
  if (f == cudnn::nhwc) s.stride[1] = std::exchange(step, s.size[1]);
  for (int i = 4; i >= 2; --i) s.stride[i] = std::exchange(step, step * s.size[i]);
  if (f == cudnn::nchw) s.stride[1] = std::exchange(step, step * s.size[1]);
  s.stride[0] = step;
  *static_cast<Shaped*>(d) = s;
  return cudnn::success;
}
Status set_convolution(Descriptor d, int rank, const int* pad, const int* stride, const int* dilation, cudnn::Mode mode, Type compute) {
  if (rank < 2 || rank > 3 || mode != cudnn::cross_correlation) return refuse_conv("a convolution of another rank or mode");
  auto& c = *static_cast<Convolution*>(d);
  c.rank = rank, c.compute = compute;
  for (int i = 0; i < rank; ++i) {
    if (pad[i] < 0 || stride[i] < 1 || dilation[i] < 1) return refuse_conv("padding, stride or dilation out of range");
    const int at = 3 - rank + i;
    c.pad[at] = pad[i], c.stride[at] = stride[i], c.dilation[at] = dilation[i];
  }
  return cudnn::success;
}
Status set_groups(Descriptor d, int groups) { return static_cast<Convolution*>(d)->groups = groups, cudnn::success; }
Status set_math(Descriptor d, cudnn::Math m) { return static_cast<Convolution*>(d)->math = m, cudnn::success; }
Status set_activation(Descriptor d, cudnn::ActivationMode mode, int nan, double) {
  if (nan != cudnn::kPropagateNan) return refuse_conv("an activation that loses NaN");
  return static_cast<ActivationOf*>(d)->mode = mode, cudnn::success;
}

// ---- sums ------------------------------------------------------------------------------------------------------

struct Sums {
  Shaped x, w, y;
  Convolution c;
  char *px = nullptr, *pw = nullptr, *py = nullptr;
  int result = 0;  // 0: y, 1: x, 2: w
  double alpha = 1, beta = 0;
  Shaped z{};
  char *pz = nullptr, *bias = nullptr;
  bool relu = false;
  CudnnContext context{};
  char* workspace = nullptr;
  size_t bytes = 0;
};

std::string why_not(const Sums& s) {
  const auto& [x, w, y] = std::tie(s.x, s.w, s.y);
  if (x.rank != y.rank || x.rank != w.rank || x.rank != s.c.rank + 2) return "ranks differ";
  if (x.type != y.type || x.type != w.type || s.c.compute != (x.type == cudnn::in_f64 ? cudnn::in_f64 : cudnn::in_f32)) return "dtypes differ";
  if (x.type == cudnn::in_f32 && s.c.math != cudnn::only_fma) return "f32 may be rounded to tf32";
  if (x.size[1] != w.size[1] * s.c.groups) return "the channels of x are not those of the filter";
  if (w.size[0] % s.c.groups || y.size[1] != w.size[0] || y.size[0] != x.size[0]) return "channels or images of y do not fit";
  for (int i = 0; i < 3; ++i)
    if (y.size[2 + i] != 1 + (x.size[2 + i] + 2 * s.c.pad[i] - (w.size[2 + i] - 1) * s.c.dilation[i] - 1) / s.c.stride[i])
      return "a size of y does not follow from x, filter, padding and stride";
  return {};
}

// Every (y, x, w) that meet, as offsets in elements.
template <class F> void visit(const Sums& s, F f) {
  const auto& [x, w, y] = std::tie(s.x, s.w, s.y);
  const int64_t out_channels = w.size[0] / s.c.groups;
  int64_t p[3], k[3];
  for (int64_t n = 0; n < y.size[0]; ++n)
    for (int64_t o = 0; o < y.size[1]; ++o)
      for (p[0] = 0; p[0] < y.size[2]; ++p[0])
        for (p[1] = 0; p[1] < y.size[3]; ++p[1])
          for (p[2] = 0; p[2] < y.size[4]; ++p[2])
            for (int64_t c = 0; c < w.size[1]; ++c)
              for (k[0] = 0; k[0] < w.size[2]; ++k[0])
                for (k[1] = 0; k[1] < w.size[3]; ++k[1])
                  for (k[2] = 0; k[2] < w.size[4]; ++k[2]) {
                    int64_t at_x = n * x.stride[0] + (o / out_channels * w.size[1] + c) * x.stride[1];
                    int64_t at_y = n * y.stride[0] + o * y.stride[1], at_w = o * w.stride[0] + c * w.stride[1];
                    bool inside = true;
                    for (int i = 0; i < 3; ++i) {
                      const int64_t u = p[i] * s.c.stride[i] - s.c.pad[i] + k[i] * s.c.dilation[i];
                      inside = inside && u >= 0 && u < x.size[2 + i];
                      at_x += u * x.stride[2 + i], at_y += p[i] * y.stride[2 + i], at_w += k[i] * w.stride[2 + i];
                    }
                    if (inside) f(at_y, at_x, at_w);
                  }
}
template <class F> void each(const Shaped& s, F f) {  // f(offset, indices)
  int64_t i[5];
  for (i[0] = 0; i[0] < s.size[0]; ++i[0])
    for (i[1] = 0; i[1] < s.size[1]; ++i[1])
      for (i[2] = 0; i[2] < s.size[2]; ++i[2])
        for (i[3] = 0; i[3] < s.size[3]; ++i[3])
          for (i[4] = 0; i[4] < s.size[4]; ++i[4]) {
            int64_t at = 0;
            for (int d = 0; d < 5; ++d) at += i[d] * s.stride[d];
            f(at, i);
          }
}
bool can_touch_all(const char* name, const Shaped& s, const char* p, const Sums& sums, bool read) {
  bool can = true;
  const int64_t bytes = size_of(dtype_of(s.type));
  each(s, [&](int64_t at, const auto&) { can = can && can_touch("cuDNN", name, p + at * bytes, bytes, sums.context.device, read); });
  return can;
}
void compute(const Sums& s) {
  if (fault_code() != cudaSuccess) return;
  const Shaped& to = s.result == 0 ? s.y : s.result == 1 ? s.x : s.w;
  char* const out = s.result == 0 ? s.py : s.result == 1 ? s.px : s.pw;
  if (!can_touch_all("x", s.x, s.px, s, s.result != 1) || !can_touch_all("w", s.w, s.pw, s, s.result != 2) ||
      !can_touch_all("y", s.y, s.py, s, s.result != 0))
    return;
  const DType t = dtype_of(to.type);
  const int64_t bytes = size_of(t);
  if (s.bias && !can_touch("cuDNN", "bias", s.bias, s.y.size[1] * bytes, s.context.device, true)) return;
  if (s.pz && s.beta != 0 && !can_touch_all("z", s.z, s.pz, s, true)) return;
  if (s.bytes) {
    if (!can_touch("cuDNN", "workspace", s.workspace, int64_t(s.bytes), s.context.device, false)) return;
    std::memset(s.workspace, 0xa5, s.bytes);
  }
  std::vector<double> sums(size_t(to.extent()));
  visit(s, [&](int64_t y, int64_t x, int64_t w) {
    if (s.result == 0) sums[size_t(y)] += load_real(s.px + x * bytes, t) * load_real(s.pw + w * bytes, t);
    else if (s.result == 1) sums[size_t(x)] += load_real(s.py + y * bytes, t) * load_real(s.pw + w * bytes, t);
    else sums[size_t(w)] += load_real(s.px + x * bytes, t) * load_real(s.py + y * bytes, t);
  });
  each(to, [&](int64_t at, const auto& index) {
    double v = s.alpha * sums[size_t(at)];
    if (s.beta != 0) {
      int64_t from = 0;
      for (int d = 0; d < 5; ++d) from += index[d] * s.z.stride[d];
      v += s.beta * load_real(s.pz + from * bytes, t);
    }
    if (s.bias) v += load_real(s.bias + index[1] * bytes, t);
    store_real(out + at * bytes, t, s.relu && v < 0 ? 0 : v);
    mark_global(out + at * bytes, size_t(bytes), true);
  });
}
Status run_conv(Handle h, Sums s, const void* alpha, const void* beta) {
  s.context = *static_cast<const CudnnContext*>(h);
  if (const std::string why = why_not(s); !why.empty()) return refuse_conv(why);
  if (s.bytes < kWorkspace) return refuse_conv("the workspace is smaller than the algorithm asked for");
  const Type t = s.x.type;
  const auto scalar = [t](const void* p) {
    float narrow = 0;
    double wide = 0;
    if (t == cudnn::in_f64) return std::memcpy(&wide, p, sizeof wide), wide;
    return std::memcpy(&narrow, p, sizeof narrow), double(narrow);
  };
  s.alpha = scalar(alpha), s.beta = scalar(beta);
  if (s.beta != 0 && !s.pz) return refuse_conv("a beta that is not zero");
  const auto* stream = find_stream(s.context.stream);
  if (!stream || device_of(stream) != s.context.device) return refuse_conv("the stream is not one of the handle's device");
  enqueue(s.context.stream, [s] { compute(s); });
  return cudnn::success;
}
char* writable(const void* p) { return static_cast<char*>(const_cast<void*>(p)); }

// ---- entry points ------------------------------------------------------------------------------------------------

size_t version() { return 90100; }
Status create_cudnn(Handle* h) { return *h = new CudnnContext{.device = current_device()}, cudnn::success; }
Status set_cudnn_stream(Handle h, void* stream) { return static_cast<CudnnContext*>(h)->stream = stream, cudnn::success; }

// Algorithm 0 would be the fastest and is not deterministic, 2 is not supported; 3 is to be taken, and 1 before an identity.
bool is_offered(int algorithm) { return algorithm == 1 || algorithm == 3; }
Status choices(int wanted, int* found, Choice* to) {
  const Choice all[] = {{0, cudnn::success, 1, 0, 0, 0, {}},
                        {2, cudnn::not_supported, -1, 0, 1, 0, {}},
                        {3, cudnn::success, 2, kWorkspace, 1, 0, {}},
                        {1, cudnn::success, 3, kWorkspace, 1, 0, {}}};
  if (wanted < int(std::size(all))) return refuse_conv("fewer algorithms are asked for than there are");
  std::ranges::copy(all, to);
  return *found = int(std::size(all)), cudnn::success;
}
std::atomic<size_t> g_searches{0};
Status find_forward(Handle, Descriptor x, Descriptor w, Descriptor c, Descriptor y, int wanted, int* found, Choice* to) {
  ++g_searches;
  const std::string why = why_not({.x = at<Shaped>(x), .w = at<Shaped>(w), .y = at<Shaped>(y), .c = at<Convolution>(c)});
  return why.empty() ? choices(wanted, found, to) : refuse_conv(why);
}
Status find_data(Handle h, Descriptor w, Descriptor y, Descriptor c, Descriptor x, int wanted, int* found, Choice* to) {
  return find_forward(h, x, w, c, y, wanted, found, to);
}
Status find_filter(Handle h, Descriptor x, Descriptor y, Descriptor c, Descriptor w, int wanted, int* found, Choice* to) {
  return find_forward(h, x, w, c, y, wanted, found, to);
}
Status forward(Handle h, const void* alpha, Descriptor x, const void* px, Descriptor w, const void* pw, Descriptor c, int algorithm,
               void* workspace, size_t bytes, const void* beta, Descriptor y, void* py) {
  if (!is_offered(algorithm)) return cudnn::not_supported;
  return run_conv(h, {.x = at<Shaped>(x), .w = at<Shaped>(w), .y = at<Shaped>(y), .c = at<Convolution>(c), .px = writable(px),
                      .pw = writable(pw), .py = writable(py), .workspace = writable(workspace), .bytes = bytes}, alpha, beta);
}
Status forward_fused(Handle h, const void* alpha, Descriptor x, const void* px, Descriptor w, const void* pw, Descriptor c, int algorithm,
                     void* workspace, size_t bytes, const void* beta, Descriptor z, const void* pz, Descriptor bias, const void* pbias,
                     Descriptor activation, Descriptor y, void* py) {
  const int mode = at<ActivationOf>(activation).mode;
  if (!is_offered(algorithm) || (mode != cudnn::relu && mode != cudnn::identity)) return cudnn::not_supported;
  if (mode == cudnn::identity && algorithm != cudnn::kPrecomputedGemm) return cudnn::not_supported;
  const Shaped &b = at<Shaped>(bias), &sz = at<Shaped>(z), &sy = at<Shaped>(y);
  if (b.size[0] * b.size[2] * b.size[3] * b.size[4] != 1 || b.size[1] != sy.size[1] || b.stride[1] != 1) return refuse_conv("the bias is not 1 x channels x 1 x 1");
  if (!std::ranges::equal(sz.size, sy.size)) return refuse_conv("z is not of y's size");
  return run_conv(h, {.x = at<Shaped>(x), .w = at<Shaped>(w), .y = sy, .c = at<Convolution>(c), .px = writable(px), .pw = writable(pw),
                      .py = writable(py), .z = sz, .pz = writable(pz), .bias = writable(pbias), .relu = mode == cudnn::relu,
                      .workspace = writable(workspace), .bytes = bytes}, alpha, beta);
}
Status backward_data(Handle h, const void* alpha, Descriptor w, const void* pw, Descriptor y, const void* py, Descriptor c, int algorithm,
                     void* workspace, size_t bytes, const void* beta, Descriptor x, void* px) {
  if (!is_offered(algorithm)) return cudnn::not_supported;
  return run_conv(h, {.x = at<Shaped>(x), .w = at<Shaped>(w), .y = at<Shaped>(y), .c = at<Convolution>(c), .px = writable(px),
                      .pw = writable(pw), .py = writable(py), .result = 1, .workspace = writable(workspace), .bytes = bytes}, alpha, beta);
}
Status backward_filter(Handle h, const void* alpha, Descriptor x, const void* px, Descriptor y, const void* py, Descriptor c, int algorithm,
                       void* workspace, size_t bytes, const void* beta, Descriptor w, void* pw) {
  if (!is_offered(algorithm)) return cudnn::not_supported;
  return run_conv(h, {.x = at<Shaped>(x), .w = at<Shaped>(w), .y = at<Shaped>(y), .c = at<Convolution>(c), .px = writable(px),
                      .pw = writable(pw), .py = writable(py), .result = 2, .workspace = writable(workspace), .bytes = bytes}, alpha, beta);
}

}  // namespace

void* cudnn_function(std::string_view name) {
  static const cudnn::Functions all{version, create_cudnn, set_cudnn_stream, make<Shaped>, set_tensor, destroy_descriptor<Shaped>, make<Shaped>,
                                    set_filter, destroy_descriptor<Shaped>, make<Convolution>, set_convolution, set_groups, set_math,
                                    destroy_descriptor<Convolution>, make<ActivationOf>, set_activation, destroy_descriptor<ActivationOf>,
                                    find_forward, find_data, find_filter, forward, forward_fused, backward_data, backward_filter};
  return find_by_name(all, cudnn::kNames, name);
}
size_t algorithm_searches() { return g_searches; }

}  // namespace graft::cuda::emulation
