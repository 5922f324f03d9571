// In-place ops and views under autograd: the right gradient or an error, never a wrong one. Finite differences judge.
#include <random>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/gradcheck.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

using namespace graft;

namespace {

Tensor input(const Shape& shape, uint64_t seed) {
  Generator g(seed);
  return (rand(shape, f64, &g) * 0.8 + 0.3).detach().requires_grad_();  // away from kinks and poles
}
bool fits(const Tensor& from, const Tensor& to) {  // does `from` broadcast to `to`?
  if (from.dim() > to.dim()) return false;
  for (int i = 1; i <= from.dim(); ++i)
    if (from.size(-i) != 1 && from.size(-i) != to.size(-i)) return false;
  return true;
}

// A program of a dozen random steps over a pool of tensors: new values, views, views of views, in-place ops on either.
// The same seed is the same program.
class RandomProgram {
 public:
  explicit RandomProgram(uint64_t seed) : numbers_(seed) {}
  Tensors operator()(const Tensors& in) {
    pool_ = {in[0] * 1.0, in[1] * 1.0, zeros({2, 3}, f64), in[0], in[1]};
    for (int step = 0; step < 12; ++step) one_step();
    Tensors out;
    for (const Tensor& t : pool_) out.push_back(sum(t * t));
    return out;
  }
  int written = 0;

 private:
  int64_t pick(int64_t n) { return int64_t(numbers_() % uint64_t(n)); }
  const Tensor& any() { return pool_[size_t(pick(int64_t(pool_.size())))]; }
  void one_step() {
    const Tensor x = any(), y = any();
    switch (pick(10)) {
      case 0: return pool_.push_back(fits(y, x) ? x * y : x * 0.7);
      case 1: return pool_.push_back(exp(x * 0.3));
      case 2: return pool_.push_back(x.dim() ? x.transpose(0, x.dim() - 1) : x * 1.0);
      case 3: return pool_.push_back(x.dim() ? x.narrow(int(pick(x.dim())), 0, 1) : x * 1.0);
      case 4: return pool_.push_back(x.reshape({x.numel()}));
      case 5: return pool_.push_back(x.dim() < 3 ? x.expand([&] { Shape s{2}; for (const int64_t d : x.shape()) s.push_back(d); return s; }()) : x * 1.0);
      default: break;
    }
    if (!fits(y, x)) return;
    try {
      switch (pick(4)) {
        case 0: x.add_(y); break;
        case 1: x.mul_(y); break;
        case 2: x.copy_(y); break;
        default: x.add_(y, -0.4);
      }
      ++written;
    } catch (const Error&) {  // a leaf, or memory that its elements share: refused, and nothing has changed
    }
  }
  std::mt19937_64 numbers_;
  Tensors pool_;
};

TEST(Inplace, random_programs_give_the_right_gradient_or_an_error) {
  int right = 0, refused = 0, written = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const Tensors in{input({2, 3}, 2 * seed + 1), input({3}, 2 * seed + 2)};
    const TensorFn f = [&](const Tensors& x) {
      RandomProgram program(seed);
      Tensors out = program(x);
      written += program.written;
      return out;
    };
    try {
      const GradcheckReport report = gradcheck(f, in, {.atol = 1e-4, .raise = false});
      ASSERT_TRUE(report) << "program " << seed << ": " << report.text;
      ++right;
    } catch (const Error& e) {
      ASSERT_EQ(e.code(), ErrorCode::autograd) << "program " << seed << ": " << e.what();
      ++refused;
    }
  }
  EXPECT_GT(right, 200);  // most programs are fine
  EXPECT_GT(refused, 0);
  EXPECT_GT(written, 400);
}

void expect_right(const TensorFn& f, const Tensors& in) {
  gradcheck(f, in);
  gradgradcheck(f, in);
}

TEST(Inplace, views_of_views_made_before_and_after_a_write_follow_it) {
  expect_right([](const Tensors& in) -> Tensors {
    const Tensor y = in[0] * 1.0;
    const Tensor before = y.transpose(0, 1).narrow(0, 1, 2).reshape({4});
    const Tensor row = y.narrow(0, 0, 1);
    y.narrow(1, 1, 2).narrow(0, 0, 1).mul_(in[1].narrow(0, 0, 2));
    const Tensor after = y.narrow(1, 2, 1);
    row.add_(in[1]);
    return {before * before, row * 2, after * y};
  }, {input({2, 3}, 1), input({3}, 2)});
}

TEST(Inplace, a_view_may_be_written_through_another_view_of_the_same_elements) {
  expect_right([](const Tensors& in) -> Tensors {
    const Tensor y = in[0] * in[0];
    const Tensor flat = y.reshape({6}), columns = y.transpose(0, 1);
    flat.narrow(0, 1, 3).mul_(in[1]);
    columns.narrow(0, 0, 1).copy_(columns.narrow(0, 2, 1));
    flat.add_(flat);
    return {y, columns * flat.narrow(0, 0, 2)};
  }, {input({2, 3}, 3), input({3}, 4)});
}

TEST(Inplace, a_constant_becomes_differentiable_by_what_is_written_into_it) {
  expect_right([](const Tensors& in) -> Tensors {
    const Tensor buffer = zeros({3, 3}, f64), diagonal = buffer.reshape({9}).narrow(0, 0, 3);
    diagonal.copy_(in[1]);
    buffer.narrow(0, 1, 2).add_(in[0]);
    return {buffer * buffer, diagonal};
  }, {input({2, 3}, 5), input({3}, 6)});
}

TEST(Inplace, an_output_that_is_overwritten_after_it_was_saved_is_an_error) {
  const Tensor x = input({3}, 7);
  const Tensor y = exp(x);
  const Tensor part = y.narrow(0, 0, 1);  // saved memory reached through a view
  part.mul_(x.narrow(0, 0, 1));
  EXPECT_THROW(sum(y).backward(), Error);
  const Tensor s = softmax(x, 0), view = s.reshape({3, 1});
  view.detach().add_(ones({3, 1}, f64));  // and through an alias without history
  EXPECT_THROW(sum(s).backward(), Error);
}

TEST(Inplace, a_write_that_needs_the_old_value_of_its_target_keeps_it) {
  expect_right([](const Tensors& in) -> Tensors {
    const Tensor y = in[1] * 1.0, z = in[1] + 0.5;
    y.mul_(y);
    y.mul_(z);
    y.mul_(in[0]);
    return {y * z};
  }, {input({1}, 8), input({3}, 9)});
}

TEST(Inplace, writing_without_grad_mode_moves_the_version_that_saved_tensors_check) {
  const Tensor x = input({3}, 10), w = input({3}, 11), y = x * w;
  {
    const NoGrad quiet;
    w.add_(ones({3}, f64));
  }
  EXPECT_THROW(sum(y).backward(), Error);
}

TEST(Inplace, a_view_made_without_grad_mode_is_refused_once_its_base_was_written_with_gradients) {
  const Tensor x = input({3}, 12), base = x * 1.0;
  Tensor hidden;
  {
    const NoGrad quiet;
    hidden = base.narrow(0, 0, 2);
  }
  EXPECT_FALSE(hidden.requires_grad());
  base.mul_(x);
  EXPECT_THROW(hidden * 2.0, Error);
}

TEST(Inplace, a_failed_write_leaves_history_version_and_values) {
  const Tensor x = input({3}, 13), y = x * 2;
  const uint32_t version = y.version();
  EXPECT_THROW(y.add_(ones({2, 3}, f64)), Error);
  EXPECT_THROW(y.add_(empty({3}, {f64, Device::meta})), Error);
  EXPECT_EQ(y.version(), version);
  EXPECT_EQ(grad({sum(y)}, {x})[0].at({0}), 2);
}

TEST(Inplace, new_memory_under_a_base_is_noticed_by_its_views) {
  const Tensor x = input({3}, 14), base = zeros({3}, f64), view = base.narrow(0, 0, 2);
  base.set_data(ones({3}, f64));
  EXPECT_THROW(view.mul_(x.narrow(0, 0, 2)), Error);
}

}  // namespace

namespace {

TEST(Inplace, a_tensor_written_by_what_was_computed_from_it_is_freed) {
  const int64_t before = graft::memory::stats().in_use;
  for (int i = 0; i < 10; ++i) {
    const graft::Tensor w = graft::ones({4}, graft::f64).requires_grad_(), x = graft::ones({4}, graft::f64);
    const graft::Tensor y = x * w;  // saves x for the gradient of w
    x.add_(y);                      // x has a history now, which leads to y
  }
  EXPECT_EQ(graft::memory::stats().in_use, before);
}

}  // namespace
