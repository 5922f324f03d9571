// Random numbers on cpu. Element i in logical order gets value i of the stream, however the output lies in memory.
#include <algorithm>
#include <numeric>
#include <vector>
#include "graft/kernels/parallel.h"
#include "graft/kernels/random/philox.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

template <class T> struct real_part { using type = T; };
template <class T> struct real_part<std::complex<T>> { using type = T; };

// Walks an output in logical order.
class Odometer {
 public:
  explicit Odometer(const View& v) : v_(v) {}
  int64_t next() {
    const int64_t here = offset_;
    for (int d = v_.rank - 1; d >= 0; --d) {
      offset_ += v_.stride[d];
      if (++at_[size_t(d)] < v_.size[d]) break;
      offset_ -= v_.stride[d] * v_.size[d];
      at_[size_t(d)] = 0;
    }
    return here;
  }

 private:
  const View& v_;
  int64_t offset_ = 0;
  std::array<int64_t, kMaxRank> at_{};
};

template <class Draw, class T> Decline draw(const Launch& l) {
  using Real = typename real_part<T>::type;  // a complex number is two draws
  constexpr int64_t per = per_block<Draw, Real>(), parts = sizeof(T) / sizeof(Real);
  const Draw& d = l.attrs_as<Draw>();
  const View& out = *l.out[0];
  const int64_t n = out.numel * parts;
  Odometer place(out);
  for (int64_t i = 0; i < n; i += per) {
    std::array<Real, 4> value;
    d(philox::words(d.stream.seed, d.stream.first + uint64_t(i / per)), value.data());
    const int64_t count = std::min(per, n - i);
    if (out.contiguous) {
      std::copy_n(value.data(), count, out.as<Real>() + i);
      continue;
    }
    for (int64_t k = 0; k < count; k += parts) {
      Real* to = reinterpret_cast<Real*>(out.as<T>() + place.next());
      std::copy_n(value.data() + k, parts, to);
    }
  }
  return kRan;
}

template <class T> Decline dropout(const Launch& l) {  // x[, residual]
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  const auto& d = l.attrs_as<DropoutDraw>();
  constexpr int64_t per = kPerBlock<T>;
  const T *x = l.in[0]->as<T>(), *residual = l.in.size() > 1 ? l.in[1]->as<T>() : nullptr;
  T* y = l.out[0]->as<T>();
  const int64_t n = l.out[0]->numel;
  parallel_for(0, (n + per - 1) / per, 4096, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      d(philox::words(d.keep.stream.seed, d.keep.stream.first + uint64_t(i)), x + i * per, residual ? residual + i * per : nullptr, y + i * per,
        n - i * per);
  });
  return kRan;
}

// Sorts 0..n-1 by 64-bit random keys; equal keys stay in order.
Decline permutation(const Launch& l) {
  const Stream s = l.attrs_as<PermutationDraw>().stream;
  const View& out = *l.out[0];
  std::vector<std::pair<uint64_t, int64_t>> keyed(size_t(out.numel));
  for (int64_t i = 0; i < out.numel; ++i) keyed[size_t(i)] = {word64(s, i), i};
  std::ranges::sort(keyed);
  for (int64_t i = 0; i < out.numel; ++i) out.as<int64_t>()[i] = keyed[size_t(i)].second;
  return kRan;
}

// With replacement: the place of a uniform number among the cumulated weights. Without: every weight w gets an
// exponential time of rate w, and the earliest win (Efraimidis and Spirakis, 2006).
Decline multinomial(const Launch& l) {
  const auto& d = l.attrs_as<MultinomialDraw>();
  const View& weights = *l.in[0];
  const int64_t n = weights.size[weights.rank - 1], rows = weights.numel / n;
  std::vector<double> sums(size_t(weights.numel));
  for (int64_t r = 0; r < rows; ++r) {
    const double* w = weights.as<double>() + r * n;
    for (int64_t i = 0; i < n; ++i)
      if (!(w[i] >= 0) || std::isinf(w[i])) return "a weight is negative, infinite or NaN";
    if (std::ranges::count_if(w, w + n, [](double x) { return x > 0; }) < (d.replacement ? 1 : d.samples))
      return "too few weights are positive";
    std::partial_sum(w, w + n, sums.begin() + r * n);
  }
  std::vector<std::pair<double, int64_t>> times(static_cast<size_t>(n));
  for (int64_t r = 0; r < rows; ++r) {
    int64_t* out = l.out[0]->as<int64_t>() + r * d.samples;
    const double* w = weights.as<double>() + r * n;
    const auto first = sums.begin() + r * n, last = first + n;
    for (int64_t k = 0; d.replacement && k < d.samples; ++k) {
      const double at = philox::unit64(word64(d.stream, r * d.samples + k)) * last[-1];
      out[k] = std::min(std::upper_bound(first, last, at), std::lower_bound(first, last, last[-1])) - first;
    }
    if (d.replacement) continue;
    for (int64_t i = 0; i < n; ++i) times[size_t(i)] = {-std::log(philox::positive(word64(d.stream, r * n + i))) / w[i], i};
    std::partial_sort(times.begin(), times.begin() + d.samples, times.end());
    for (int64_t k = 0; k < d.samples; ++k) out[k] = times[size_t(k)].second;
  }
  return kRan;
}

template <class Draw, class T> void add() { add_kernel(Draw::name, Device::cpu, dtype_v<T>, "reference", draw<Draw, T>); }

}  // namespace

void register_random_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add<UniformDraw, T>(), add<NormalDraw, T>(), add<ExponentialDraw, T>(), add<BernoulliDraw, T>(), add<IntegerDraw, T>();
    add_kernel("dropout", Device::cpu, dtype_v<T>, "counters", dropout<T>);
  });
  for_each_type(ComplexTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add<UniformDraw, T>(), add<NormalDraw, T>();
  });
  for_each_type(IntTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add<IntegerDraw, T>(), add<BernoulliDraw, T>();
  });
  add<IntegerDraw, bool>(), add<BernoulliDraw, bool>();
  add_kernel("randperm", Device::cpu, i64, "sort", permutation);
  add_kernel("multinomial", Device::cpu, f64, "reference", multinomial);
}

}  // namespace graft
