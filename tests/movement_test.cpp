// Movement, creation, order, contractions, resizing against texts recorded from torch 2.x.
#include <cmath>
#include <vector>
#include <gtest/gtest.h>
#include "graft/core/ops.h"

using namespace graft;

namespace {

Tensor ramp(const Shape& shape, DType t) {
  std::vector<int64_t> values(numel_of(shape));
  for (size_t i = 0; i < values.size(); ++i) values[i] = int64_t(i);
  return tensor_of(values.data(), DType::i64, shape, t);
}
const Tensor x = ramp({2, 3, 4}, f32), m = ramp({3, 4}, DType::i64), v = ramp({6}, f32), r = ramp({1, 1, 3, 4}, f32);
const Tensor w = tensor({3., 1., 2., 3., double(NAN)}), u = tensor({3, 1, 2, 3, 1}), s3 = tensor({{3., 1., 2.}, {0., 5., 4.}});
// m is a multiple of 3
const Tensor mask = tensor({{true, false, false, true}, {false, false, true, false}, {false, true, false, false}});

struct Recorded {
  Tensor (*make)();
  const char* text;
};
void check(const std::vector<Recorded>& cases) {
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    std::ostringstream text;
    ASSERT_NO_THROW(text << cases[i].make());
    EXPECT_EQ(text.str(), cases[i].text);
  }
}

TEST(Movement, elements_move_to_where_PyTorch_moves_them) {
  check({
      {[] { return flip(x, {0, 2}); }, R"(tensor([[[15., 14., 13., 12.],
         [19., 18., 17., 16.],
         [23., 22., 21., 20.]],

        [[ 3.,  2.,  1.,  0.],
         [ 7.,  6.,  5.,  4.],
         [11., 10.,  9.,  8.]]]))"},
      {[] { return flip(m.t(), {0}); }, R"(tensor([[ 3,  7, 11],
        [ 2,  6, 10],
        [ 1,  5,  9],
        [ 0,  4,  8]]))"},
      {[] { return fliplr(m); }, R"(tensor([[ 3,  2,  1,  0],
        [ 7,  6,  5,  4],
        [11, 10,  9,  8]]))"},
      {[] { return flipud(m); }, R"(tensor([[ 8,  9, 10, 11],
        [ 4,  5,  6,  7],
        [ 0,  1,  2,  3]]))"},
      {[] { return rot90(m); }, R"(tensor([[ 3,  7, 11],
        [ 2,  6, 10],
        [ 1,  5,  9],
        [ 0,  4,  8]]))"},
      {[] { return rot90(m, 2); }, R"(tensor([[11, 10,  9,  8],
        [ 7,  6,  5,  4],
        [ 3,  2,  1,  0]]))"},
      {[] { return rot90(m, -1); }, R"(tensor([[ 8,  4,  0],
        [ 9,  5,  1],
        [10,  6,  2],
        [11,  7,  3]]))"},
      {[] { return rot90(x, 1, {1, 2}); }, R"(tensor([[[ 3.,  7., 11.],
         [ 2.,  6., 10.],
         [ 1.,  5.,  9.],
         [ 0.,  4.,  8.]],

        [[15., 19., 23.],
         [14., 18., 22.],
         [13., 17., 21.],
         [12., 16., 20.]]]))"},
      {[] { return roll(m, {1}, {1}); }, R"(tensor([[ 3,  0,  1,  2],
        [ 7,  4,  5,  6],
        [11,  8,  9, 10]]))"},
      {[] { return roll(m, {5}); }, R"(tensor([[ 7,  8,  9, 10],
        [11,  0,  1,  2],
        [ 3,  4,  5,  6]]))"},
      {[] { return roll(m, {-1, 2}, {0, 1}); }, R"(tensor([[ 6,  7,  4,  5],
        [10, 11,  8,  9],
        [ 2,  3,  0,  1]]))"},
      {[] { return tril(m); }, R"(tensor([[ 0,  0,  0,  0],
        [ 4,  5,  0,  0],
        [ 8,  9, 10,  0]]))"},
      {[] { return tril(m, 1); }, R"(tensor([[ 0,  1,  0,  0],
        [ 4,  5,  6,  0],
        [ 8,  9, 10, 11]]))"},
      {[] { return triu(x, -1); }, R"(tensor([[[ 0.,  1.,  2.,  3.],
         [ 4.,  5.,  6.,  7.],
         [ 0.,  9., 10., 11.]],

        [[12., 13., 14., 15.],
         [16., 17., 18., 19.],
         [ 0., 21., 22., 23.]]]))"},
      {[] { return triu(m.t(), 1); }, R"(tensor([[0, 4, 8],
        [0, 0, 9],
        [0, 0, 0],
        [0, 0, 0]]))"},
      {[] { return repeat(m, {2, 1, 2}); }, R"(tensor([[[ 0,  1,  2,  3,  0,  1,  2,  3],
         [ 4,  5,  6,  7,  4,  5,  6,  7],
         [ 8,  9, 10, 11,  8,  9, 10, 11]],

        [[ 0,  1,  2,  3,  0,  1,  2,  3],
         [ 4,  5,  6,  7,  4,  5,  6,  7],
         [ 8,  9, 10, 11,  8,  9, 10, 11]]]))"},
      {[] { return tile(v, {2}); }, R"(tensor([0., 1., 2., 3., 4., 5., 0., 1., 2., 3., 4., 5.]))"},
      {[] { return tile(x, {2}); }, R"(tensor([[[ 0.,  1.,  2.,  3.,  0.,  1.,  2.,  3.],
         [ 4.,  5.,  6.,  7.,  4.,  5.,  6.,  7.],
         [ 8.,  9., 10., 11.,  8.,  9., 10., 11.]],

        [[12., 13., 14., 15., 12., 13., 14., 15.],
         [16., 17., 18., 19., 16., 17., 18., 19.],
         [20., 21., 22., 23., 20., 21., 22., 23.]]]))"},
      {[] { return repeat(m, {0, 1}); }, R"(tensor([], size=(0, 4), dtype=torch.int64))"},
      {[] { return repeat_interleave(m, 2); }, R"(tensor([ 0,  0,  1,  1,  2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,  8,  8,
         9,  9, 10, 10, 11, 11]))"},
      {[] { return repeat_interleave(m, 2, 1); }, R"(tensor([[ 0,  0,  1,  1,  2,  2,  3,  3],
        [ 4,  4,  5,  5,  6,  6,  7,  7],
        [ 8,  8,  9,  9, 10, 10, 11, 11]]))"},
      {[] { return repeat_interleave(m, tensor({1, 0, 2}), 0); }, R"(tensor([[ 0,  1,  2,  3],
        [ 8,  9, 10, 11],
        [ 8,  9, 10, 11]]))"},
      {[] { return diag(v.narrow(0, 0, 3), 1); }, R"(tensor([[0., 0., 0., 0.],
        [0., 0., 1., 0.],
        [0., 0., 0., 2.],
        [0., 0., 0., 0.]]))"},
      {[] { return diag(m, -1); }, R"(tensor([4, 9]))"},
      {[] { return diag_embed(m, 1); }, R"(tensor([[[ 0,  0,  0,  0,  0],
         [ 0,  0,  1,  0,  0],
         [ 0,  0,  0,  2,  0],
         [ 0,  0,  0,  0,  3],
         [ 0,  0,  0,  0,  0]],

        [[ 0,  4,  0,  0,  0],
         [ 0,  0,  5,  0,  0],
         [ 0,  0,  0,  6,  0],
         [ 0,  0,  0,  0,  7],
         [ 0,  0,  0,  0,  0]],

        [[ 0,  8,  0,  0,  0],
         [ 0,  0,  9,  0,  0],
         [ 0,  0,  0, 10,  0],
         [ 0,  0,  0,  0, 11],
         [ 0,  0,  0,  0,  0]]]))"},
      {[] { return diag_embed(m, -1, 0, 2); }, R"(tensor([[[ 0,  0,  0,  0,  0],
         [ 0,  0,  0,  0,  0],
         [ 0,  0,  0,  0,  0]],

        [[ 0,  0,  0,  0,  0],
         [ 4,  0,  0,  0,  0],
         [ 8,  0,  0,  0,  0]],

        [[ 0,  1,  0,  0,  0],
         [ 0,  5,  0,  0,  0],
         [ 0,  9,  0,  0,  0]],

        [[ 0,  0,  2,  0,  0],
         [ 0,  0,  6,  0,  0],
         [ 0,  0, 10,  0,  0]],

        [[ 0,  0,  0,  3,  0],
         [ 0,  0,  0,  7,  0],
         [ 0,  0,  0, 11,  0]]]))"},
      {[] { return meshgrid({v.narrow(0, 0, 2), v.narrow(0, 0, 3)})[1]; }, R"(tensor([[0., 1., 2.],
        [0., 1., 2.]]))"},
      {[] { return meshgrid({v.narrow(0, 0, 2), v.narrow(0, 0, 3)}, "xy")[0]; }, R"(tensor([[0., 1.],
        [0., 1.],
        [0., 1.]]))"},
      {[] { return hstack({m, m}); }, R"(tensor([[ 0,  1,  2,  3,  0,  1,  2,  3],
        [ 4,  5,  6,  7,  4,  5,  6,  7],
        [ 8,  9, 10, 11,  8,  9, 10, 11]]))"},
      {[] { return vstack({v, v}); }, R"(tensor([[0., 1., 2., 3., 4., 5.],
        [0., 1., 2., 3., 4., 5.]]))"},
      {[] { return dstack({m, m}); }, R"(tensor([[[ 0,  0],
         [ 1,  1],
         [ 2,  2],
         [ 3,  3]],

        [[ 4,  4],
         [ 5,  5],
         [ 6,  6],
         [ 7,  7]],

        [[ 8,  8],
         [ 9,  9],
         [10, 10],
         [11, 11]]]))"},
      {[] { return pixel_shuffle(ramp({1, 8, 2, 2}, f32), 2); }, R"(tensor([[[[ 0.,  4.,  1.,  5.],
          [ 8., 12.,  9., 13.],
          [ 2.,  6.,  3.,  7.],
          [10., 14., 11., 15.]],

         [[16., 20., 17., 21.],
          [24., 28., 25., 29.],
          [18., 22., 19., 23.],
          [26., 30., 27., 31.]]]]))"},
      {[] { return pixel_unshuffle(ramp({1, 1, 2, 4}, f32), 2); }, R"(tensor([[[[0., 2.]],

         [[1., 3.]],

         [[4., 6.]],

         [[5., 7.]]]]))"},
      {[] { return pad(m, {1, 2}); }, R"(tensor([[ 0,  0,  1,  2,  3,  0,  0],
        [ 0,  4,  5,  6,  7,  0,  0],
        [ 0,  8,  9, 10, 11,  0,  0]]))"},
      {[] { return pad(m, {1, -1, 0, 2}, "constant", 9); }, R"(tensor([[ 9,  0,  1,  2],
        [ 9,  4,  5,  6],
        [ 9,  8,  9, 10],
        [ 9,  9,  9,  9],
        [ 9,  9,  9,  9]]))"},
      {[] { return pad(x, {-1, -1, -1, 1, 1, 0}); }, R"(tensor([[[ 0.,  0.],
         [ 0.,  0.],
         [ 0.,  0.]],

        [[ 5.,  6.],
         [ 9., 10.],
         [ 0.,  0.]],

        [[17., 18.],
         [21., 22.],
         [ 0.,  0.]]]))"},
      {[] { return pad(r, {2, 1, 1, 2}, "reflect"); }, R"(tensor([[[[ 6.,  5.,  4.,  5.,  6.,  7.,  6.],
          [ 2.,  1.,  0.,  1.,  2.,  3.,  2.],
          [ 6.,  5.,  4.,  5.,  6.,  7.,  6.],
          [10.,  9.,  8.,  9., 10., 11., 10.],
          [ 6.,  5.,  4.,  5.,  6.,  7.,  6.],
          [ 2.,  1.,  0.,  1.,  2.,  3.,  2.]]]]))"},
      {[] { return pad(r, {2, 1, 3, 0}, "replicate"); }, R"(tensor([[[[ 0.,  0.,  0.,  1.,  2.,  3.,  3.],
          [ 0.,  0.,  0.,  1.,  2.,  3.,  3.],
          [ 0.,  0.,  0.,  1.,  2.,  3.,  3.],
          [ 0.,  0.,  0.,  1.,  2.,  3.,  3.],
          [ 4.,  4.,  4.,  5.,  6.,  7.,  7.],
          [ 8.,  8.,  8.,  9., 10., 11., 11.]]]]))"},
      {[] { return pad(r, {2, 1, 1, 3}, "circular"); }, R"(tensor([[[[10., 11.,  8.,  9., 10., 11.,  8.],
          [ 2.,  3.,  0.,  1.,  2.,  3.,  0.],
          [ 6.,  7.,  4.,  5.,  6.,  7.,  4.],
          [10., 11.,  8.,  9., 10., 11.,  8.],
          [ 2.,  3.,  0.,  1.,  2.,  3.,  0.],
          [ 6.,  7.,  4.,  5.,  6.,  7.,  4.],
          [10., 11.,  8.,  9., 10., 11.,  8.]]]]))"},
      {[] { return pad(m.to(DType::boolean), {1, 0}, "constant", true); }, R"(tensor([[ True, False,  True,  True,  True],
        [ True,  True,  True,  True,  True],
        [ True,  True,  True,  True,  True]]))"},
      {[] { return im2col(r, {.kernel_size = {2, 3}, .padding = {1, 0}, .stride = {2, 1}}); }, R"(tensor([[[ 0.,  0.,  4.,  5.],
         [ 0.,  0.,  5.,  6.],
         [ 0.,  0.,  6.,  7.],
         [ 0.,  1.,  8.,  9.],
         [ 1.,  2.,  9., 10.],
         [ 2.,  3., 10., 11.]]]))"},
      {[] { return col2im(ramp({1, 4, 6}, f32), {3, 4}, {.kernel_size = {2, 2}}); }, R"(tensor([[[[ 0.,  7.,  9.,  8.],
          [15., 44., 48., 31.],
          [15., 37., 39., 23.]]]]))"},
  });
}

TEST(Movement, new_tensors_hold_what_PyTorch_puts_there) {
  check({
      {[] { return arange(5); }, R"(tensor([0, 1, 2, 3, 4]))"},
      {[] { return arange(1, 2, 0.25); }, R"(tensor([1.0000, 1.2500, 1.5000, 1.7500]))"},
      {[] { return arange(5, 0, -2); }, R"(tensor([5, 3, 1]))"},
      {[] { return arange(3, f64); }, R"(tensor([0., 1., 2.], dtype=torch.float64))"},
      {[] { return arange(0.5, 3.5, 1, f16); }, R"(tensor([0.5000, 1.5000, 2.5000], dtype=torch.float16))"},
      {[] { return linspace(0, 1, 5); }, R"(tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000]))"},
      {[] { return linspace(3, -3, 4, f64); }, R"(tensor([ 3.,  1., -1., -3.], dtype=torch.float64))"},
      {[] { return linspace(2, 5, 1); }, R"(tensor([2.]))"},
      {[] { return linspace(0, 10, 4, DType::i64); }, R"(tensor([ 0,  3,  6, 10]))"},
      {[] { return logspace(0, 2, 3); }, R"(tensor([  1.,  10., 100.]))"},
      {[] { return logspace(-1, 1, 3, 2); }, R"(tensor([0.5000, 1.0000, 2.0000]))"},
      {[] { return eye(3); }, R"(tensor([[1., 0., 0.],
        [0., 1., 0.],
        [0., 0., 1.]]))"},
      {[] { return eye(2, 3, DType::boolean); }, R"(tensor([[ True, False, False],
        [False,  True, False]]))"},
      {[] { return zeros_like(m); }, R"(tensor([[0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0]]))"},
      {[] { return full_like(m, 2, f64); }, R"(tensor([[2., 2., 2., 2.],
        [2., 2., 2., 2.],
        [2., 2., 2., 2.]], dtype=torch.float64))"},
      {[] { return tril_indices(3, 3, -1); }, R"(tensor([[1, 2, 2],
        [0, 0, 1]]))"},
      {[] { return triu_indices(2, 3); }, R"(tensor([[0, 0, 0, 1, 1],
        [0, 1, 2, 1, 2]]))"},
      {[] { return graft::complex(v.narrow(0, 0, 2), ones({1})); }, R"(tensor([0.+1.j, 1.+1.j]))"},
      {[] { return tensor({{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}); }, R"(tensor([[[1, 2],
         [3, 4]],

        [[5, 6],
         [7, 8]]]))"},
      {[] { return tensor({{1., 2.}}, f64); }, R"(tensor([[1., 2.]], dtype=torch.float64))"},
      {[] { return tensor(std::vector<float>{1, 2}); }, R"(tensor([1., 2.]))"},
  });
}

TEST(Movement, elements_are_ordered_as_PyTorch_orders_them) {
  check({
      {[] { return sort(w).values; }, R"(tensor([1., 2., 3., 3., nan]))"},
      {[] { return sort(w).indices; }, R"(tensor([1, 2, 0, 3, 4]))"},
      {[] { return sort(w, 0, true).values; }, R"(tensor([nan, 3., 3., 2., 1.]))"},
      {[] { return sort(w, 0, true).indices; }, R"(tensor([4, 0, 3, 2, 1]))"},
      {[] { return sort(x.transpose(0, 2), 0, true).values; }, R"(tensor([[[ 3., 15.],
         [ 7., 19.],
         [11., 23.]],

        [[ 2., 14.],
         [ 6., 18.],
         [10., 22.]],

        [[ 1., 13.],
         [ 5., 17.],
         [ 9., 21.]],

        [[ 0., 12.],
         [ 4., 16.],
         [ 8., 20.]]]))"},
      {[] { return argsort(s3, 0); }, R"(tensor([[1, 0, 0],
        [0, 1, 1]]))"},
      {[] { return sort(mask, 1).values; }, R"(tensor([[False, False,  True,  True],
        [False, False, False,  True],
        [False, False, False,  True]]))"},
      {[] { return topk(s3, 2).values; }, R"(tensor([[3., 2.],
        [5., 4.]]))"},
      {[] { return topk(s3, 2).indices; }, R"(tensor([[0, 2],
        [1, 2]]))"},
      {[] { return topk(s3, 1, 0, false).values; }, R"(tensor([[0., 1., 2.]]))"},
      {[] { return kthvalue(s3, 2).values; }, R"(tensor([2., 4.]))"},
      {[] { return kthvalue(s3, 1, 0, true).indices; }, R"(tensor([[1, 0, 0]]))"},
      {[] { return median(s3, 1).values; }, R"(tensor([2., 4.]))"},
      {[] { return median(s3); }, R"(tensor(2.))"},
      {[] { return median(w); }, R"(tensor(nan))"},
      {[] { return unique(u).values; }, R"(tensor([1, 2, 3]))"},
      {[] { return unique(u).inverse; }, R"(tensor([2, 0, 1, 2, 0]))"},
      {[] { return unique(u).counts; }, R"(tensor([2, 1, 2]))"},
      {[] { return unique_consecutive(tensor({1, 1, 2, 1})).values; }, R"(tensor([1, 2, 1]))"},
      {[] { return bincount(u); }, R"(tensor([0, 2, 1, 2]))"},
      {[] { return bincount(u, v.narrow(0, 0, 5), 6); }, R"(tensor([0., 5., 2., 3., 0., 0.]))"},
      {[] { return searchsorted(v, tensor({{0.5, 3., 9.}})); }, R"(tensor([[1, 3, 6]]))"},
      {[] { return searchsorted(v, tensor({{0.5, 3., 9.}}), true); }, R"(tensor([[1, 4, 6]]))"},
      {[] { return searchsorted(m, tensor({{1}, {6}, {20}})); }, R"(tensor([[1],
        [2],
        [4]]))"},
      {[] { return bucketize(tensor({1., 2.5}), v); }, R"(tensor([1, 3]))"},
  });
}

TEST(Movement, contractions_agree_with_PyTorch) {
  check({
      {[] { return einsum("ij,kj->ik", {s3, s3}); }, R"(tensor([[14., 13.],
        [13., 41.]]))"},
      {[] { return einsum("bij,bkj", {x, x}); }, R"(tensor([[ 748.,  988., 1228.],
        [ 988., 1356., 1724.],
        [1228., 1724., 2220.]]))"},
      {[] { return einsum("ii->i", {m.narrow(1, 0, 3)}); }, R"(tensor([ 0,  5, 10]))"},
      {[] { return einsum("ii", {s3.t().narrow(0, 0, 2)}); }, R"(tensor(8.))"},
      {[] { return einsum("...ij,...jk->...ik", {x, x.mT()}); }, R"(tensor([[[  14.,   38.,   62.],
         [  38.,  126.,  214.],
         [  62.,  214.,  366.]],

        [[ 734.,  950., 1166.],
         [ 950., 1230., 1510.],
         [1166., 1510., 1854.]]]))"},
      {[] { return einsum("i,j,k->kji", {v, s3.select(0, 0), s3.select(1, 0)}); }, R"(tensor([[[ 0.,  9., 18., 27., 36., 45.],
         [ 0.,  3.,  6.,  9., 12., 15.],
         [ 0.,  6., 12., 18., 24., 30.]],

        [[ 0.,  0.,  0.,  0.,  0.,  0.],
         [ 0.,  0.,  0.,  0.,  0.,  0.],
         [ 0.,  0.,  0.,  0.,  0.,  0.]]]))"},
      {[] { return einsum("ba", {s3}); }, R"(tensor([[3., 0.],
        [1., 5.],
        [2., 4.]]))"},
      {[] { return einsum("ij->", {s3}); }, R"(tensor(15.))"},
      {[] { return einsum("ij,ij->ij", {s3, s3}); }, R"(tensor([[ 9.,  1.,  4.],
        [ 0., 25., 16.]]))"},
      {[] { return einsum("i...->...", {x}); }, R"(tensor([[12., 14., 16., 18.],
        [20., 22., 24., 26.],
        [28., 30., 32., 34.]]))"},
      {[] { return einsum("ij,j", {s3, s3.select(0, 1)}); }, R"(tensor([13., 41.]))"},
      {[] { return tensordot(x, s3, {0}, {0}); }, R"(tensor([[[  0.,  60.,  48.],
         [  3.,  66.,  54.],
         [  6.,  72.,  60.],
         [  9.,  78.,  66.]],

        [[ 12.,  84.,  72.],
         [ 15.,  90.,  78.],
         [ 18.,  96.,  84.],
         [ 21., 102.,  90.]],

        [[ 24., 108.,  96.],
         [ 27., 114., 102.],
         [ 30., 120., 108.],
         [ 33., 126., 114.]]]))"},
      {[] { return tensordot(s3, s3, 2); }, R"(tensor(55.))"},
      {[] { return outer(v, s3.select(0, 1)); }, R"(tensor([[ 0.,  0.,  0.],
        [ 0.,  5.,  4.],
        [ 0., 10.,  8.],
        [ 0., 15., 12.],
        [ 0., 20., 16.],
        [ 0., 25., 20.]]))"},
      {[] { return kron(s3, s3.narrow(1, 0, 2)); }, R"(tensor([[ 9.,  3.,  3.,  1.,  6.,  2.],
        [ 0., 15.,  0.,  5.,  0., 10.],
        [ 0.,  0., 15.,  5., 12.,  4.],
        [ 0.,  0.,  0., 25.,  0., 20.]]))"},
  });
}

TEST(Movement, images_are_resized_as_PyTorch_resizes_them) {
  check({
      {[] { return interpolate(r, {.size = {5, 3}, .mode = "nearest"}); }, R"(tensor([[[[ 0.,  1.,  2.],
          [ 0.,  1.,  2.],
          [ 4.,  5.,  6.],
          [ 4.,  5.,  6.],
          [ 8.,  9., 10.]]]]))"},
      {[] { return interpolate(r, {.size = {5, 3}, .mode = "nearest-exact"}); }, R"(tensor([[[[ 0.,  2.,  3.],
          [ 0.,  2.,  3.],
          [ 4.,  6.,  7.],
          [ 8., 10., 11.],
          [ 8., 10., 11.]]]]))"},
      {[] { return interpolate(r, {.size = {5, 3}, .mode = "area"}); }, R"(tensor([[[[ 0.5000,  1.5000,  2.5000],
          [ 2.5000,  3.5000,  4.5000],
          [ 4.5000,  5.5000,  6.5000],
          [ 6.5000,  7.5000,  8.5000],
          [ 8.5000,  9.5000, 10.5000]]]]))"},
      {[] { return interpolate(r, {.size = {5, 3}, .mode = "bilinear"}); }, R"(tensor([[[[ 0.1667,  1.5000,  2.8333],
          [ 1.7667,  3.1000,  4.4333],
          [ 4.1667,  5.5000,  6.8333],
          [ 6.5667,  7.9000,  9.2333],
          [ 8.1667,  9.5000, 10.8333]]]]))"},
      {[] { return interpolate(r, {.size = {5, 3}, .mode = "bilinear", .align_corners = true}); }, R"(tensor([[[[ 0.0000,  1.5000,  3.0000],
          [ 2.0000,  3.5000,  5.0000],
          [ 4.0000,  5.5000,  7.0000],
          [ 6.0000,  7.5000,  9.0000],
          [ 8.0000,  9.5000, 11.0000]]]]))"},
      {[] { return interpolate(r, {.size = {5, 3}, .mode = "bicubic"}); }, R"(tensor([[[[-0.2578,  1.1160,  2.4898],
          [ 1.3902,  2.7640,  4.1378],
          [ 4.1262,  5.5000,  6.8738],
          [ 6.8622,  8.2360,  9.6098],
          [ 8.5102,  9.8840, 11.2578]]]]))"},
      {[] { return interpolate(r, {.size = {5, 3}, .mode = "bicubic", .align_corners = true}); }, R"(tensor([[[[ 0.0000,  1.5000,  3.0000],
          [ 1.6250,  3.1250,  4.6250],
          [ 4.0000,  5.5000,  7.0000],
          [ 6.3750,  7.8750,  9.3750],
          [ 8.0000,  9.5000, 11.0000]]]]))"},
      {[] { return interpolate(r, {.scale_factor = {1.7}, .mode = "bilinear"}); }, R"(tensor([[[[ 0.0000,  0.3824,  0.9706,  1.5588,  2.1471,  2.7353],
          [ 1.5294,  1.9118,  2.5000,  3.0882,  3.6765,  4.2647],
          [ 3.8824,  4.2647,  4.8529,  5.4412,  6.0294,  6.6176],
          [ 6.2353,  6.6176,  7.2059,  7.7941,  8.3824,  8.9706],
          [ 8.0000,  8.3824,  8.9706,  9.5588, 10.1471, 10.7353]]]]))"},
      {[] { return interpolate(r, {.scale_factor = {2, 0.5}}); }, R"(tensor([[[[ 0.,  2.],
          [ 0.,  2.],
          [ 4.,  6.],
          [ 4.,  6.],
          [ 8., 10.],
          [ 8., 10.]]]]))"},
      {[] { return interpolate(r.select(1, 0), {.size = {7}, .mode = "linear"}); }, R"(tensor([[[ 0.0000,  0.3571,  0.9286,  1.5000,  2.0714,  2.6429,  3.0000],
         [ 4.0000,  4.3571,  4.9286,  5.5000,  6.0714,  6.6429,  7.0000],
         [ 8.0000,  8.3571,  8.9286,  9.5000, 10.0714, 10.6429, 11.0000]]]))"},
      {[] { return interpolate(r.unsqueeze(0), {.size = {1, 2, 3}, .mode = "trilinear"}); }, R"(tensor([[[[[1.1667, 2.5000, 3.8333],
           [7.1667, 8.5000, 9.8333]]]]]))"},
  });
}

std::vector<double> values_of(const Tensor& t) {
  const Tensor d = t.to(f64).contiguous();
  return {d.data<double>(), d.data<double>() + d.numel()};
}
TEST(Movement, every_element_type_moves_as_f64_does) {
  const std::vector<Tensor (*)(const Tensor&)> ops{
      [](const Tensor& t) { return flip(t, {1}); },
      [](const Tensor& t) { return roll(t, {1, 2}, {0, 1}); },
      [](const Tensor& t) { return tril(t, 1); },
      [](const Tensor& t) { return pad(t, {1, 2, -1, 1}); },
      [](const Tensor& t) { return pad(t.unsqueeze(0), {1, 2}, "reflect"); },
      [](const Tensor& t) { return repeat(t.t(), {2, 1}); },
      [](const Tensor& t) { return cat({t, t.narrow(0, 1, 1)}); },
      [](const Tensor& t) { return diag_embed(t.select(0, 1)); },
      [](const Tensor& t) { return gather(t, 1, tensor({{3, 0}, {1, 1}})); },
      [](const Tensor& t) { return scatter(t, 0, tensor({{2, 0}}), t); },
      [](const Tensor& t) { return index_select(t.t(), 0, tensor({3, 3, 0})); },
      [](const Tensor& t) { return masked_fill(t, mask, 0); },
      [](const Tensor& t) { return masked_select(t, mask); },
      [](const Tensor& t) { return t.index({Slice(None, None, 2), tensor({3, -4})}); },
      [](const Tensor& t) { return nonzero(t); },
  };
  for (int type = 0; type < kDTypes; ++type) {
    const Tensor a = m.to(DType(type));
    for (size_t i = 0; i < ops.size(); ++i) {
      if (DType(type) == DType::boolean && i == 7) continue;  // embed adds, which bool does not
      EXPECT_EQ(values_of(ops[i](a)), values_of(ops[i](a.to(f64)))) << name_of(DType(type)) << ", op " << i;
    }
  }
}

TEST(Movement, memory_formats_change_strides_and_not_values) {
  const Tensor image = ramp({2, 3, 4, 5}, f32), video = ramp({2, 3, 2, 4, 5}, f32);
  const Tensor last = image.contiguous(MemoryFormat::channels_last), last_3d = video.to(MemoryFormat::channels_last_3d);
  EXPECT_EQ(last.strides(), Shape({60, 1, 15, 3}));
  EXPECT_EQ(last_3d.strides(), Shape({120, 1, 60, 15, 3}));
  EXPECT_TRUE(last.is_contiguous(MemoryFormat::channels_last) && !last.is_contiguous());
  EXPECT_EQ(values_of(last), values_of(image));
  EXPECT_EQ(values_of(last_3d), values_of(video));
  EXPECT_EQ(last.clone().strides(), last.strides());
  EXPECT_EQ(last.clone(MemoryFormat::contiguous).strides(), image.strides());
  EXPECT_TRUE(last.contiguous(MemoryFormat::channels_last).is_same(last));
  EXPECT_EQ(zeros_like(last).strides(), last.strides());
  EXPECT_EQ(empty({0, 3, 4, 5}).contiguous(MemoryFormat::channels_last).shape(), Shape({0, 3, 4, 5}));
  EXPECT_THROW(x.contiguous(MemoryFormat::channels_last), Error);
}

}  // namespace
