// Convolutions by cuDNN: the functions of its first interface. Its heuristics, which cost more than a small convolution, are
// asked once for every geometry.
#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include "graft/kernels/cuda/cudnn.h"
#include "graft/kernels/cuda/vendor_library.h"
#include "graft/kernels/cuda/workspace.h"

namespace graft::inline v1::cuda::vendor {
namespace {

struct Cudnn {
  cudnn::Functions call{};
  std::string version, why_not;  // one of them is empty
};
Cudnn open_cudnn() {
  Cudnn c;
  Opened o = open_first({"libcudnn.so.9"});
  if (o.library) c.call = find_functions<cudnn::Functions>(o, cudnn::kNames);
  c.why_not = o.why_not;
  if (!c.why_not.empty()) return c;
  const size_t v = c.call.version();  // 90100: 9.1.0
  const std::string text = std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
  if (v / 10000 != 9) c.why_not = o.name + " is version " + text + ", and not 9";
  else c.version = text + " (" + o.name + ")";
  return c;
}
const Cudnn& cudnn_library() {
  static const auto* c = new Cudnn(open_cudnn());
  return *c;
}
HandlePool& cudnn_handles() {
  static auto* pool = new HandlePool;
  return *pool;
}
void* make_cudnn_handle() {
  cudnn::Handle h = nullptr;
  return cudnn_library().call.create(&h) == cudnn::success ? h : nullptr;
}

Decline describe(cudnn::Status s) {
  if (s == cudnn::success) return kRan;
  switch (int(s) / 1000) {  // the thousands are the kind, the rest is the detail
    case 2: return "cuDNN: CUDNN_STATUS_BAD_PARAM";
    case 3: return "cuDNN: CUDNN_STATUS_NOT_SUPPORTED";
    case 4: return "cuDNN: CUDNN_STATUS_INTERNAL_ERROR";
    case 5: return "cuDNN: CUDNN_STATUS_EXECUTION_FAILED";
    default: return "cuDNN: a status that says it is not initialised";
  }
}

constexpr size_t kMostWorkspace = size_t{256} << 20;

// One and zero, as alpha and beta.
const void* factor(DType t, bool one) {
  static constexpr float narrow[2] = {0, 1};
  static constexpr double wide[2] = {0, 1};
  return t == f64 ? static_cast<const void*>(&wide[one]) : &narrow[one];
}

// The descriptors of a call.
class Descriptors {
 public:
  Descriptors(const Cudnn& c, const Conv& v)
      : c_(c), x(c.call.destroy_tensor), y(c.call.destroy_tensor), z(c.call.destroy_tensor), bias(c.call.destroy_tensor),
        w(c.call.destroy_filter), conv(c.call.destroy_convolution), activation(c.call.destroy_activation) {
    const cudnn::Type type = v.dtype == f32 ? cudnn::in_f32 : v.dtype == f64 ? cudnn::in_f64 : v.dtype == f16 ? cudnn::in_f16 : cudnn::in_bf16;
    const int rank = v.rank;
    const auto numbers = [rank](const int64_t (&from)[3]) { return std::array{int(from[0]), int(from[1]), rank > 2 ? int(from[2]) : 0}; };
    const auto sizes = [rank](int64_t a, int64_t b, const int64_t (&rest)[3]) {
      return std::array{int(a), int(b), int(rest[0]), int(rest[1]), rank > 2 ? int(rest[2]) : 0};
    };
    const auto tensor = [&](Described<cudnn::Status>& d, const Image& image, const std::array<int, 5>& size) {
      int stride[5];
      for (int i = 0; i < 2 + rank; ++i) stride[i] = int(image.stride[i]);
      then([&] { return c_.call.make_tensor(&d.it); });
      then([&] { return c_.call.set_tensor(d.it, type, 2 + rank, size.data(), stride); });
    };
    tensor(x, v.x, sizes(v.n, v.ci, v.in));
    tensor(y, v.y, sizes(v.n, v.co, v.out));
    if (v.residual.data) tensor(z, v.residual, sizes(v.n, v.co, v.out));
    if (v.bias) tensor(bias, Image{.stride = {v.co, 1, 1, 1, 1}}, {1, int(v.co), 1, 1, 1});
    then([&] { return c_.call.make_filter(&w.it); });
    then([&] { return c_.call.set_filter(w.it, type, v.channels_inside ? cudnn::nhwc : cudnn::nchw, 2 + rank, sizes(v.co, v.ci / v.groups, v.k).data()); });
    then([&] { return c_.call.make_convolution(&conv.it); });
    then([&] {
      return c_.call.set_convolution(conv.it, rank, numbers(v.pad).data(), numbers(v.stride).data(), numbers(v.dilation).data(),
                                     cudnn::cross_correlation, v.dtype == f64 ? cudnn::in_f64 : cudnn::in_f32);
    });
    then([&] { return c_.call.set_groups(conv.it, int(v.groups)); });
    then([&] { return c_.call.set_math(conv.it, v.dtype == f16 || v.dtype == bf16 ? cudnn::tensor_cores : cudnn::only_fma); });
    if (v.bias) {
      then([&] { return c_.call.make_activation(&activation.it); });
      then([&] { return c_.call.set_activation(activation.it, v.relu ? cudnn::relu : cudnn::identity, cudnn::kPropagateNan, 0); });
    }
  }
  template <class F> void then(F next) {
    if (status == cudnn::success) status = next();
  }

 private:
  const Cudnn& c_;

 public:
  cudnn::Status status = cudnn::success;
  Described<cudnn::Status> x, y, z, bias, w, conv, activation;
};

// Of the algorithms that give the same sums every time, the one that the heuristics hold for the fastest.
Decline choose(const Cudnn& c, const Conv& v, cudnn::Handle h, Descriptors& d, cudnn::Choice& chosen) {
  cudnn::Choice choices[10] = {};
  int found = 0;
  const auto ask = [&](auto find, cudnn::Descriptor a, cudnn::Descriptor b, cudnn::Descriptor result) {
    d.then([&] { return find(h, a, b, d.conv.it, result, int(std::size(choices)), &found, choices); });
  };
  if (v.result == ConvResult::y) ask(c.call.find_forward, d.x.it, d.w.it, d.y.it);
  else if (v.result == ConvResult::x) ask(c.call.find_data, d.w.it, d.y.it, d.x.it);
  else ask(c.call.find_filter, d.x.it, d.y.it, d.w.it);
  if (const Decline why = describe(d.status)) return why;
  const bool fixed = v.bias && !v.relu;  // an identity at the end goes with one algorithm only
  for (int i = 0; i < found; ++i) {
    const cudnn::Choice& x = choices[i];
    if (x.status != cudnn::success || x.determinism != cudnn::kDeterministic || x.memory > kMostWorkspace) continue;
    if (fixed && x.algorithm != cudnn::kPrecomputedGemm) continue;
    return chosen = x, kRan;
  }
  return "cuDNN has no algorithm for it that gives the same sums every time";
}

// All that a choice depends on: of a convolution, everything but where its tensors lie.
using Geometry = std::array<int64_t, 45>;
Geometry geometry_of(const Conv& v, int device) {
  Geometry all{};
  size_t n = 0;
  const auto take = [&](std::initializer_list<int64_t> some) {
    for (const int64_t x : some) all[n++] = x;
  };
  take({int64_t(v.result), int64_t(v.dtype), v.rank, v.n, v.ci, v.co, v.groups, v.channels_inside, v.bias != nullptr, v.relu, v.residual.data != nullptr, device});
  for (const auto* sizes : {&v.in, &v.out, &v.k, &v.pad, &v.stride, &v.dilation})
    for (int i = 0; i < v.rank; ++i) take({(*sizes)[i]});
  for (const Image* image : {&v.x, &v.y, &v.residual})
    for (int i = 0; i < 2 + v.rank; ++i) take({image->stride[i]});
  return all;
}
Decline choose_once(const Cudnn& c, const Conv& v, int device, cudnn::Handle h, Descriptors& d, cudnn::Choice& chosen) {
  static std::mutex mutex;
  static auto* known = new std::map<Geometry, cudnn::Choice>;
  constexpr size_t most = 4096;  // of shapes that never come back, too
  const Geometry geometry = geometry_of(v, device);
  {
    const std::lock_guard lock(mutex);
    if (const auto at = known->find(geometry); at != known->end()) return chosen = at->second, kRan;
  }
  if (const Decline why = choose(c, v, h, d, chosen)) return why;
  const std::lock_guard lock(mutex);
  if (known->size() >= most) known->clear();
  known->emplace(geometry, chosen);
  return kRan;
}

// Does an element lie further from the first than 32 bits can count? cuDNN's sizes and strides are ints.
bool is_large(const Conv& v) {
  const auto reach = [&](const Image& image, int64_t channels, const int64_t (&sizes)[3]) {
    int64_t last = (v.n - 1) * image.stride[0] + (channels - 1) * image.stride[1];
    for (int i = 0; i < v.rank; ++i) last += (sizes[i] - 1) * image.stride[2 + i];
    return std::max(last, std::max(v.n, channels));
  };
  return std::max(reach(v.x, v.ci, v.in), reach(v.y, v.co, v.out)) > INT32_MAX || (v.residual.data && reach(v.residual, v.co, v.out) > INT32_MAX);
}

}  // namespace

Library find_cudnn() { return state_of("cuDNN", &cudnn_library); }

Decline convolve(const Conv& v, const View& out, void* stream) {
  if (const Decline off = switched_off()) return off;
  const Cudnn& c = cudnn_library();
  static const auto* reason = new std::string("cuDNN is not loaded: " + c.why_not);
  if (!c.why_not.empty()) return reason->c_str();
  if (is_large(v)) return "cuDNN counts elements in 32 bits";
  if (v.residual.data && !v.bias) return "cuDNN adds a residual only together with a bias";
  if (v.relu && !v.bias) return "cuDNN ends in an activation only together with a bias";
  const Handle h(cudnn_handles(), out.device.index, make_cudnn_handle);
  if (!h.get()) return "cuDNN makes no handle";
  Descriptors d(c, v);
  d.then([&] { return c.call.set_stream(h.get(), stream); });
  cudnn::Choice chosen{};
  if (const Decline why = choose_once(c, v, out.device.index, h.get(), d, chosen)) return why;
  if (const Decline why = describe(d.status)) return why;
  const Workspace workspace(out, chosen.memory);
  if (chosen.memory && !workspace.get()) return "no memory is left for cuDNN's workspace";
  const void *one = factor(v.dtype, true), *zero = factor(v.dtype, false);
  if (v.result == ConvResult::x)
    return describe(c.call.backward_data(h.get(), one, d.w.it, v.w, d.y.it, v.y.data, d.conv.it, chosen.algorithm, workspace.get(),
                                         chosen.memory, zero, d.x.it, v.x.data));
  if (v.result == ConvResult::w)
    return describe(c.call.backward_filter(h.get(), one, d.x.it, v.x.data, d.y.it, v.y.data, d.conv.it, chosen.algorithm, workspace.get(),
                                           chosen.memory, zero, d.w.it, v.w));
  if (!v.bias)
    return describe(c.call.forward(h.get(), one, d.x.it, v.x.data, d.w.it, v.w, d.conv.it, chosen.algorithm, workspace.get(), chosen.memory,
                                   zero, d.y.it, v.y.data));
  const bool add = v.residual.data != nullptr;
  return describe(c.call.forward_fused(h.get(), one, d.x.it, v.x.data, d.w.it, v.w, d.conv.it, chosen.algorithm, workspace.get(),
                                       chosen.memory, add ? one : zero, add ? d.z.it : d.y.it, add ? v.residual.data : v.y.data, d.bias.it,
                                       v.bias, d.activation.it, d.y.it, v.y.data));
}

}  // namespace graft::cuda::vendor
