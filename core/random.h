// Random numbers: the generator and the functions that draw from it. Same seed, same numbers, for any number of threads.
#pragma once
#include <memory>
#include <mutex>
#include "graft/core/tensor.h"
#include "graft/kernels/random_stream.h"

namespace graft::inline v1 {

// A stream of numbers that is a function of (seed, position). What draws n numbers moves the position; nothing else is
// kept, so the state is two integers. One generator may be used by several threads; the order in which they draw then
// decides who gets what, so give each thread its own (UseGenerator) where results are to repeat.
class Generator {
 public:
  explicit Generator(uint64_t seed = 0);
  Generator(const Generator&);
  ~Generator();
  Generator& operator=(const Generator& o);

  void manual_seed(uint64_t seed);  // and back to the beginning
  uint64_t seed() const { return position().seed; }
  uint64_t offset() const { return position().first; }
  Stream position() const;
  Stream take(uint64_t blocks);  // the next `blocks` counters of the stream are the caller's

  Tensor state() const;  // u8[16], to be kept in a checkpoint
  void set_state(const Tensor&);
  std::weak_ptr<Generator* const> alive() const { return self_; }  // expired once the generator is gone

 private:
  mutable std::mutex mutex_;
  Stream at_;
  std::shared_ptr<Generator* const> self_;
};

// What the functions below use when they are given no generator: that of the innermost UseGenerator of this thread, else
// the one of the process, which starts with seed 0.
Generator& default_generator();
void manual_seed(uint64_t);  // of default_generator()

class UseGenerator {
 public:
  explicit UseGenerator(Generator&);
  ~UseGenerator();
  UseGenerator(const UseGenerator&) = delete;
  UseGenerator& operator=(const UseGenerator&) = delete;

 private:
  Generator* before_;
};

// ---- new tensors ---------------------------------------------------------------------------------------------
// On Device::meta and in a dry run these have a shape and leave the generator alone.

Tensor rand(const Shape&, const Options& = {}, Generator* = nullptr);   // uniform in [0, 1)
Tensor randn(const Shape&, const Options& = {}, Generator* = nullptr);  // normal; complex: variance 1 in all
Tensor randint(int64_t low, int64_t high, const Shape&, const Options& = i64, Generator* = nullptr);  // [low, high)
Tensor randint(int64_t high, const Shape&, const Options& = i64, Generator* = nullptr);
Tensor randperm(int64_t n, const Options& = i64, Generator* = nullptr);  // a permutation of 0 .. n-1
Tensor normal(double mean, double std, const Shape&, const Options& = {}, Generator* = nullptr);
// Options that are left out are those of x.
Tensor rand_like(const Tensor& x, std::optional<DType> = {}, Generator* = nullptr);
Tensor randn_like(const Tensor& x, std::optional<DType> = {}, Generator* = nullptr);
Tensor randint_like(const Tensor& x, int64_t low, int64_t high, std::optional<DType> = {}, Generator* = nullptr);
Tensor bernoulli(const Tensor& p, Generator* = nullptr);  // 0 or 1, each element with its own probability of 1
Tensor bernoulli(const Tensor& like, double p, Generator* = nullptr);
// Indices drawn with the (unnormalised) weights of the last dimension: [.., n] -> [.., samples].
// x / (1 - p) with probability 1 - p, else 0, plus the residual: one kernel, and no mask is kept for the derivative.
Tensor dropout(const Tensor& x, double p, const Tensor& residual = {}, Generator* = nullptr);
Tensor multinomial(const Tensor& weights, int64_t samples, bool replacement = false, Generator* = nullptr);

// In place: Tensor::uniform_, normal_, exponential_, bernoulli_, random_.

}  // namespace graft
