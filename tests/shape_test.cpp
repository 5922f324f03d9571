// Views, movement, indexing and creation against texts recorded from torch 2.x; contract KT2, KT8, KT15.
#include <complex>
#include <vector>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

using namespace graft;

namespace {

Tensor ramp(const Shape& shape, DType t) {
  std::vector<int64_t> values(numel_of(shape));
  for (size_t i = 0; i < values.size(); ++i) values[i] = int64_t(i);
  return tensor_of(values.data(), DType::i64, shape, t);
}
const Tensor x = ramp({2, 3, 4}, f32), m = ramp({3, 4}, DType::i64), v = ramp({6}, f32);
const Tensor i1 = tensor({2, 0, -1}), i2 = tensor({{0, 2}, {1, 0}});
const Tensor b3 = tensor({true, false, true});
// m is a multiple of 3
const Tensor mask = tensor({{true, false, false, true}, {false, false, true, false}, {false, true, false, false}});

template <class Value> Tensor put(const Tensor& t, const std::vector<TensorIndex>& indices, const Value& value) {
  const Tensor copy = t.clone();
  if constexpr (std::is_same_v<Value, Tensor>) return copy.index_put_(indices, value);
  else return copy.index_put_(indices, scalar_tensor(value));
}

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
template <class F> std::string error_of(const F& f, ErrorCode code) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(name_of(e.code()), name_of(code)) << e.what();
    return e.what();
  }
  return "no error";
}

TEST(Shape, views_find_the_elements_that_PyTorch_finds) {
  check({
      {[] { return x.view({4, -1}); }, R"(tensor([[ 0.,  1.,  2.,  3.,  4.,  5.],
        [ 6.,  7.,  8.,  9., 10., 11.],
        [12., 13., 14., 15., 16., 17.],
        [18., 19., 20., 21., 22., 23.]]))"},
      {[] { return x.transpose(0, 2).reshape({3, 8}); }, R"(tensor([[ 0., 12.,  4., 16.,  8., 20.,  1., 13.],
        [ 5., 17.,  9., 21.,  2., 14.,  6., 18.],
        [10., 22.,  3., 15.,  7., 19., 11., 23.]]))"},
      {[] { return x.narrow(2, 1, 2).view({2, 3, 2, 1}).squeeze(-1); }, R"(tensor([[[ 1.,  2.],
         [ 5.,  6.],
         [ 9., 10.]],

        [[13., 14.],
         [17., 18.],
         [21., 22.]]]))"},
      {[] { return x.narrow(1, 1, 2).view({2, 8}); }, R"(tensor([[ 4.,  5.,  6.,  7.,  8.,  9., 10., 11.],
        [16., 17., 18., 19., 20., 21., 22., 23.]]))"},
      {[] { return x.permute({2, 0, 1}); }, R"(tensor([[[ 0.,  4.,  8.],
         [12., 16., 20.]],

        [[ 1.,  5.,  9.],
         [13., 17., 21.]],

        [[ 2.,  6., 10.],
         [14., 18., 22.]],

        [[ 3.,  7., 11.],
         [15., 19., 23.]]]))"},
      {[] { return m.t(); }, R"(tensor([[ 0,  4,  8],
        [ 1,  5,  9],
        [ 2,  6, 10],
        [ 3,  7, 11]]))"},
      {[] { return x.T(); }, R"(tensor([[[ 0., 12.],
         [ 4., 16.],
         [ 8., 20.]],

        [[ 1., 13.],
         [ 5., 17.],
         [ 9., 21.]],

        [[ 2., 14.],
         [ 6., 18.],
         [10., 22.]],

        [[ 3., 15.],
         [ 7., 19.],
         [11., 23.]]]))"},
      {[] { return x.mT(); }, R"(tensor([[[ 0.,  4.,  8.],
         [ 1.,  5.,  9.],
         [ 2.,  6., 10.],
         [ 3.,  7., 11.]],

        [[12., 16., 20.],
         [13., 17., 21.],
         [14., 18., 22.],
         [15., 19., 23.]]]))"},
      {[] { return x.movedim(0, -1); }, R"(tensor([[[ 0., 12.],
         [ 1., 13.],
         [ 2., 14.],
         [ 3., 15.]],

        [[ 4., 16.],
         [ 5., 17.],
         [ 6., 18.],
         [ 7., 19.]],

        [[ 8., 20.],
         [ 9., 21.],
         [10., 22.],
         [11., 23.]]]))"},
      {[] { return x.movedim({0, 1}, {2, 0}); }, R"(tensor([[[ 0., 12.],
         [ 1., 13.],
         [ 2., 14.],
         [ 3., 15.]],

        [[ 4., 16.],
         [ 5., 17.],
         [ 6., 18.],
         [ 7., 19.]],

        [[ 8., 20.],
         [ 9., 21.],
         [10., 22.],
         [11., 23.]]]))"},
      {[] { return m.expand({2, -1, 4}); }, R"(tensor([[[ 0,  1,  2,  3],
         [ 4,  5,  6,  7],
         [ 8,  9, 10, 11]],

        [[ 0,  1,  2,  3],
         [ 4,  5,  6,  7],
         [ 8,  9, 10, 11]]]))"},
      {[] { return m.unsqueeze(-1).squeeze().unsqueeze(1); }, R"(tensor([[[ 0,  1,  2,  3]],

        [[ 4,  5,  6,  7]],

        [[ 8,  9, 10, 11]]]))"},
      {[] { return x.flatten(1); }, R"(tensor([[ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11.],
        [12., 13., 14., 15., 16., 17., 18., 19., 20., 21., 22., 23.]]))"},
      {[] { return x.flatten(0, 1); }, R"(tensor([[ 0.,  1.,  2.,  3.],
        [ 4.,  5.,  6.,  7.],
        [ 8.,  9., 10., 11.],
        [12., 13., 14., 15.],
        [16., 17., 18., 19.],
        [20., 21., 22., 23.]]))"},
      {[] { return x.unflatten(2, {2, -1}); }, R"(tensor([[[[ 0.,  1.],
          [ 2.,  3.]],

         [[ 4.,  5.],
          [ 6.,  7.]],

         [[ 8.,  9.],
          [10., 11.]]],


        [[[12., 13.],
          [14., 15.]],

         [[16., 17.],
          [18., 19.]],

         [[20., 21.],
          [22., 23.]]]]))"},
      {[] { return x.select(1, -1); }, R"(tensor([[ 8.,  9., 10., 11.],
        [20., 21., 22., 23.]]))"},
      {[] { return x.slice(2, 1, -1, 2); }, R"(tensor([[[ 1.],
         [ 5.],
         [ 9.]],

        [[13.],
         [17.],
         [21.]]]))"},
      {[] { return x.slice(1, -2); }, R"(tensor([[[ 4.,  5.,  6.,  7.],
         [ 8.,  9., 10., 11.]],

        [[16., 17., 18., 19.],
         [20., 21., 22., 23.]]]))"},
      {[] { return m.diagonal(); }, R"(tensor([ 0,  5, 10]))"},
      {[] { return m.diagonal(-1); }, R"(tensor([4, 9]))"},
      {[] { return x.diagonal(1, 1, 2); }, R"(tensor([[ 1.,  6., 11.],
        [13., 18., 23.]]))"},
      {[] { return m.diagonal(9); }, R"(tensor([], dtype=torch.int64))"},
      {[] { return v.unfold(0, 3, 2); }, R"(tensor([[0., 1., 2.],
        [2., 3., 4.]]))"},
      {[] { return m.unfold(1, 2, 1); }, R"(tensor([[[ 0,  1],
         [ 1,  2],
         [ 2,  3]],

        [[ 4,  5],
         [ 5,  6],
         [ 6,  7]],

        [[ 8,  9],
         [ 9, 10],
         [10, 11]]]))"},
      {[] { return v.as_strided({2, 3}, {2, 1}, 1); }, R"(tensor([[1., 2., 3.],
        [3., 4., 5.]]))"},
      {[] { return x.split(2, 1)[1]; }, R"(tensor([[[ 8.,  9., 10., 11.]],

        [[20., 21., 22., 23.]]]))"},
      {[] { return x.split({1, 3}, 2)[1]; }, R"(tensor([[[ 1.,  2.,  3.],
         [ 5.,  6.,  7.],
         [ 9., 10., 11.]],

        [[13., 14., 15.],
         [17., 18., 19.],
         [21., 22., 23.]]]))"},
      {[] { return v.chunk(4)[2]; }, R"(tensor([4., 5.]))"},
      {[] { return v.tensor_split(4)[1]; }, R"(tensor([2., 3.]))"},
      {[] { return v.tensor_split({1, 4})[1]; }, R"(tensor([1., 2., 3.]))"},
      {[] { return x.unbind(2)[3]; }, R"(tensor([[ 3.,  7., 11.],
        [15., 19., 23.]]))"},
      {[] { return view_as_real(tensor({std::complex<float>(1, 2), std::complex<float>(3, 4)})); }, R"(tensor([[1., 2.],
        [3., 4.]]))"},
      {[] { return view_as_complex(x.view({12, 2}).narrow(0, 0, 2)); }, R"(tensor([0.+1.j, 2.+3.j]))"},
      {[] { return stack({m, m}, -1); }, R"(tensor([[[ 0,  0],
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
      {[] { return cat({v, tensor({1, 2})}); }, R"(tensor([0., 1., 2., 3., 4., 5., 1., 2.]))"},
      {[] { return cat({zeros({0}), m}, 1); }, R"(tensor([[ 0.,  1.,  2.,  3.],
        [ 4.,  5.,  6.,  7.],
        [ 8.,  9., 10., 11.]]))"},
  });
}

TEST(Shape, index_reads_what_PyTorch_reads) {
  check({
      {[] { return x.index({1}); }, R"(tensor([[12., 13., 14., 15.],
        [16., 17., 18., 19.],
        [20., 21., 22., 23.]]))"},
      {[] { return x.index({-1, 2}); }, R"(tensor([20., 21., 22., 23.]))"},
      {[] { return x.index({Ellipsis, 1}); }, R"(tensor([[ 1.,  5.,  9.],
        [13., 17., 21.]]))"},
      {[] { return x.index({Slice(), None, Slice(1, None)}); }, R"(tensor([[[[ 4.,  5.,  6.,  7.],
          [ 8.,  9., 10., 11.]]],


        [[[16., 17., 18., 19.],
          [20., 21., 22., 23.]]]]))"},
      {[] { return x.index({Slice(), Slice(None, None, 2), Slice(-3, -1)}); }, R"(tensor([[[ 1.,  2.],
         [ 9., 10.]],

        [[13., 14.],
         [21., 22.]]]))"},
      {[] { return m.index({i2}); }, R"(tensor([[[ 0,  1,  2,  3],
         [ 8,  9, 10, 11]],

        [[ 4,  5,  6,  7],
         [ 0,  1,  2,  3]]]))"},
      {[] { return x.index({Slice(), i1}); }, R"(tensor([[[ 8.,  9., 10., 11.],
         [ 0.,  1.,  2.,  3.],
         [ 8.,  9., 10., 11.]],

        [[20., 21., 22., 23.],
         [12., 13., 14., 15.],
         [20., 21., 22., 23.]]]))"},
      {[] { return x.index({Slice(), Slice(), i2}); }, R"(tensor([[[[ 0.,  2.],
          [ 1.,  0.]],

         [[ 4.,  6.],
          [ 5.,  4.]],

         [[ 8., 10.],
          [ 9.,  8.]]],


        [[[12., 14.],
          [13., 12.]],

         [[16., 18.],
          [17., 16.]],

         [[20., 22.],
          [21., 20.]]]]))"},
      {[] { return x.index({tensor({{0}, {1}}), Slice(), i1}); }, R"(tensor([[[ 2.,  6., 10.],
         [ 0.,  4.,  8.],
         [ 3.,  7., 11.]],

        [[14., 18., 22.],
         [12., 16., 20.],
         [15., 19., 23.]]]))"},
      {[] { return x.index({Slice(), i2, i2}); }, R"(tensor([[[ 0., 10.],
         [ 5.,  0.]],

        [[12., 22.],
         [17., 12.]]]))"},
      {[] { return x.index({0, Slice(), i1}); }, R"(tensor([[ 2.,  0.,  3.],
        [ 6.,  4.,  7.],
        [10.,  8., 11.]]))"},
      {[] { return x.index({Slice(), b3}); }, R"(tensor([[[ 0.,  1.,  2.,  3.],
         [ 8.,  9., 10., 11.]],

        [[12., 13., 14., 15.],
         [20., 21., 22., 23.]]]))"},
      {[] { return m.index({mask}); }, R"(tensor([0, 3, 6, 9]))"},
      {[] { return x.index({Ellipsis, mask}); }, R"(tensor([[ 0.,  3.,  6.,  9.],
        [12., 15., 18., 21.]]))"},
      {[] { return x.index({Slice(), b3, i1.narrow(0, 0, 2)}); }, R"(tensor([[ 2.,  8.],
        [14., 20.]]))"},
      {[] { return x.index({tensor({1, 0}), Slice(), tensor({3, 2})}); }, R"(tensor([[15., 19., 23.],
        [ 2.,  6., 10.]]))"},
      {[] { return x.index({None, tensor({1, 0}), None, Slice(), tensor({3, 2})}); }, R"(tensor([[[[15., 19., 23.]]],


        [[[ 2.,  6., 10.]]]]))"},
      {[] { return m.index({true}); }, R"(tensor([[[ 0,  1,  2,  3],
         [ 4,  5,  6,  7],
         [ 8,  9, 10, 11]]]))"},
      {[] { return m.index({false}); }, R"(tensor([], size=(0, 3, 4), dtype=torch.int64))"},
      {[] { return m.index({scalar_tensor(2)}); }, R"(tensor([ 8,  9, 10, 11]))"},
      {[] { return m.index({zeros({0}, DType::i64)}); }, R"(tensor([], size=(0, 4), dtype=torch.int64))"},
      {[] { return x.index({Slice(5, None)}); }, R"(tensor([], size=(0, 3, 4)))"},
  });
}

TEST(Shape, index_put_writes_what_PyTorch_writes) {
  check({
      {[] { return put(m, {1}, 7); }, R"(tensor([[ 0,  1,  2,  3],
        [ 7,  7,  7,  7],
        [ 8,  9, 10, 11]]))"},
      {[] { return put(m, {Slice(), Slice(1, 3)}, tensor({-1, -2})); }, R"(tensor([[ 0, -1, -2,  3],
        [ 4, -1, -2,  7],
        [ 8, -1, -2, 11]]))"},
      {[] { return put(m, {i1}, tensor({5, 6, 7, 8})); }, R"(tensor([[5, 6, 7, 8],
        [4, 5, 6, 7],
        [5, 6, 7, 8]]))"},
      {[] { return put(m, {mask}, -1); }, R"(tensor([[-1,  1,  2, -1],
        [ 4,  5, -1,  7],
        [ 8, -1, 10, 11]]))"},
      {[] { return put(x, {Slice(), i2, 1}, 0.5); }, R"(tensor([[[ 0.0000,  0.5000,  2.0000,  3.0000],
         [ 4.0000,  0.5000,  6.0000,  7.0000],
         [ 8.0000,  0.5000, 10.0000, 11.0000]],

        [[12.0000,  0.5000, 14.0000, 15.0000],
         [16.0000,  0.5000, 18.0000, 19.0000],
         [20.0000,  0.5000, 22.0000, 23.0000]]]))"},
      {[] { return put(x, {1, Ellipsis, mask}, -1); }, R"(tensor([[[ 0.,  1.,  2.,  3.],
         [ 4.,  5.,  6.,  7.],
         [ 8.,  9., 10., 11.]],

        [[-1., 13., 14., -1.],
         [16., 17., -1., 19.],
         [20., -1., 22., 23.]]]))"},
      {[] { return put(x, {tensor({1, 0}), Slice(), tensor({3, 2})}, tensor({{1., 2., 3.}})); }, R"(tensor([[[ 0.,  1.,  1.,  3.],
         [ 4.,  5.,  2.,  7.],
         [ 8.,  9.,  3., 11.]],

        [[12., 13., 14.,  1.],
         [16., 17., 18.,  2.],
         [20., 21., 22.,  3.]]]))"},
      {[] { return m.clone().index_put_({tensor({0, 0, 2})}, tensor({1, 2, 3, 4}), true); }, R"(tensor([[ 2,  5,  8, 11],
        [ 4,  5,  6,  7],
        [ 9, 11, 13, 15]]))"},
  });
}

TEST(Shape, ops_by_index_agree_with_PyTorch) {
  check({
      {[] { return gather(m, 1, tensor({{0, 3}, {1, 1}, {2, 0}})); }, R"(tensor([[ 0,  3],
        [ 5,  5],
        [10,  8]]))"},
      {[] { return gather(m, 0, tensor({{2, 0}})); }, R"(tensor([[8, 1]]))"},
      {[] { return scatter(m, 1, tensor({{0, 3}, {1, 2}}), tensor({{-1, -2}, {-3, -4}})); }, R"(tensor([[-1,  1,  2, -2],
        [ 4, -3, -4,  7],
        [ 8,  9, 10, 11]]))"},
      {[] { return scatter(m, 0, tensor({{2, 0}}), 9); }, R"(tensor([[ 0,  9,  2,  3],
        [ 4,  5,  6,  7],
        [ 9,  9, 10, 11]]))"},
      {[] { return scatter(m, 0, tensor({{2, 0}}), tensor({{5, 7}}), "multiply"); }, R"(tensor([[ 0,  7,  2,  3],
        [ 4,  5,  6,  7],
        [40,  9, 10, 11]]))"},
      {[] { return scatter_add(m, 1, tensor({{0, 0, 3}}), tensor({{1, 2, 3}})); }, R"(tensor([[ 3,  1,  2,  6],
        [ 4,  5,  6,  7],
        [ 8,  9, 10, 11]]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "sum", true); }, R"(tensor([5., 4., 2., 5., 4., 5.]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "sum", false); }, R"(tensor([5., 3., 2., 2., 4., 5.]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "prod", true); }, R"(tensor([ 0., -4.,  2.,  6.,  4.,  5.]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "prod", false); }, R"(tensor([ 5., -4.,  2.,  2.,  4.,  5.]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "mean", true); }, R"(tensor([2.5000, 1.3333, 2.0000, 2.5000, 4.0000, 5.0000]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "mean", false); }, R"(tensor([5.0000, 1.5000, 2.0000, 2.0000, 4.0000, 5.0000]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "amax", true); }, R"(tensor([5., 4., 2., 3., 4., 5.]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "amax", false); }, R"(tensor([5., 4., 2., 2., 4., 5.]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "amin", true); }, R"(tensor([ 0., -1.,  2.,  2.,  4.,  5.]))"},
      {[] { return scatter_reduce(v, 0, tensor({0, 1, 1, 3}), tensor({5., -1., 4., 2.}), "amin", false); }, R"(tensor([ 5., -1.,  2.,  2.,  4.,  5.]))"},
      {[] { return index_select(m, 1, tensor({3, 0, 0})); }, R"(tensor([[ 3,  0,  0],
        [ 7,  4,  4],
        [11,  8,  8]]))"},
      {[] { return index_add(m, 0, tensor({2, 2}), tensor({{1, 1, 1, 1}, {1, 2, 3, 4}}), 3); }, R"(tensor([[ 0,  1,  2,  3],
        [ 4,  5,  6,  7],
        [14, 18, 22, 26]]))"},
      {[] { return index_copy(m, 1, tensor({3}), tensor({{-1}, {-2}, {-3}})); }, R"(tensor([[ 0,  1,  2, -1],
        [ 4,  5,  6, -2],
        [ 8,  9, 10, -3]]))"},
      {[] { return index_fill(m, 1, tensor({0, -1}), 5); }, R"(tensor([[ 5,  1,  2,  5],
        [ 5,  5,  6,  5],
        [ 5,  9, 10,  5]]))"},
      {[] { return take(m, tensor({{5, -1}})); }, R"(tensor([[ 5, 11]]))"},
      {[] { return take_along_dim(m, tensor({{1}, {0}, {3}}), 1); }, R"(tensor([[ 1],
        [ 4],
        [11]]))"},
      {[] { return take_along_dim(m, tensor({3, 1})); }, R"(tensor([3, 1]))"},
      {[] { return masked_fill(x, mask, -1); }, R"(tensor([[[-1.,  1.,  2., -1.],
         [ 4.,  5., -1.,  7.],
         [ 8., -1., 10., 11.]],

        [[-1., 13., 14., -1.],
         [16., 17., -1., 19.],
         [20., -1., 22., 23.]]]))"},
      {[] { return masked_select(m, mask); }, R"(tensor([0, 3, 6, 9]))"},
      {[] { return masked_select(m, tensor({true, false, false, true})); }, R"(tensor([ 0,  3,  4,  7,  8, 11]))"},
      {[] { return masked_scatter(m, mask, tensor({-1, -2, -3, -4, -5})); }, R"(tensor([[-1,  1,  2, -2],
        [ 4,  5, -3,  7],
        [ 8, -4, 10, 11]]))"},
      {[] { return nonzero(m.narrow(1, 0, 2)); }, R"(tensor([[0, 1],
        [1, 0],
        [1, 1],
        [2, 0],
        [2, 1]]))"},
      {[] { return nonzero(scalar_tensor(3)); }, R"(tensor([], size=(1, 0), dtype=torch.int64))"},
      {[] { return where(mask)[1]; }, R"(tensor([0, 3, 2, 1]))"},
  });
}

TEST(Shape, indices_out_of_range_name_index_dimension_and_size) {
  constexpr ErrorCode range = ErrorCode::index_out_of_range;
  EXPECT_EQ(error_of([] { m.index({3}); }, range), "index: index 3 is out of range for dimension 0 with size 3: i64[3,4]@cpu");
  EXPECT_EQ(error_of([] { m.index({Slice(), tensor({0, -5})}); }, range),
            "index: index -5 is out of range for dimension 1 with size 4: i64[3,4]@cpu");
  EXPECT_EQ(error_of([] { index_select(m, 1, tensor({0, -1})); }, range),
            "index_select: index -1 is out of range for dimension 1 with size 4: i64[3,4]@cpu");
  EXPECT_EQ(error_of([] { gather(m, 0, tensor({{3}})); }, range),
            "gather: index 3 is out of range for dimension 0 with size 3: i64[3,4]@cpu");
  EXPECT_EQ(error_of([] { m.select(-1, 4); }, range), "select: index 4 is out of range for dimension 1 with size 4: i64[3,4]@cpu");
  EXPECT_EQ(error_of([] { m.index({0, 0, 0}); }, range), "index: too many indices (3) for i64[3,4]@cpu");
  EXPECT_EQ(error_of([] { m.index({b3, b3}); }, ErrorCode::shape_mismatch),
            "index: the mask bool[3]@cpu does not match dimension 1 of i64[3,4]@cpu");
}

TEST(Shape, sizes_that_depend_on_values_are_unknown_on_meta_and_in_a_dry_run) {
  const Tensor ghost = empty({3, 4}, {DType::boolean, Device::meta});
  error_of([&] { nonzero(ghost); }, ErrorCode::data_dependent);
  error_of([&] { masked_select(ghost, ghost); }, ErrorCode::data_dependent);
  const DryRun dry;
  EXPECT_EQ(error_of([] { nonzero(mask); }, ErrorCode::data_dependent),
            "nonzero: the size of the result depends on the values of bool[3,4]@cpu, which are not known here");
  EXPECT_EQ(error_of([] { x.index({Ellipsis, mask}); }, ErrorCode::data_dependent).substr(0, 8), "nonzero:");
  EXPECT_EQ(x.index({Slice(), i2}).shape(), Shape({2, 2, 2, 4}));
}

TEST(Shape, negative_indices_count_from_the_end_where_PyTorch_lets_them) {
  EXPECT_EQ(take_along_dim(m, tensor({{-1}, {-4}, {0}}), 1).at({0, 0}), 3);
  EXPECT_EQ(take(m, tensor({-12})).at({0}), 0);
  error_of([] { gather(m, 1, tensor({{-1}})); }, ErrorCode::index_out_of_range);
}

TEST(Shape, a_joined_tensor_without_elements_has_a_gradient_of_zeros) {
  const Tensor none = zeros({0}).requires_grad_(), some = ones({2, 3}).requires_grad_();
  sum(cat({none, some}, 1)).backward();
  EXPECT_EQ(none.grad().shape(), Shape({0}));
  EXPECT_EQ(some.grad().at({1, 2}), 1);
}

TEST(Shape, every_element_type_moves) {
  for (int t = 0; t < kDTypes; ++t) {
    const Tensor a = m.to(DType(t)), i = tensor({2, 0});
    const Tensor moved = put(a, {i}, a.index({tensor({1, 1})})).index({Slice(), tensor({3, 0})});
    const Tensor expected = tensor({{7, 4}, {7, 4}, {7, 4}});
    if (DType(t) == DType::boolean) continue;
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t c = 0; c < 2; ++c) EXPECT_EQ(moved.at({r, c}), expected.at({r, c})) << name_of(DType(t));
  }
}

// Sum of the elements, each weighed differently.
Tensor weigh(const Tensor& y) { return sum(y * (ramp(y.shape(), f64) * 0.25 + 0.5)); }
TEST(Shape, writes_through_views_reach_the_gradient_of_what_was_written_and_cut_that_of_what_was_lost) {
  const Tensor a = ramp({3, 4}, f64).requires_grad_(), w = ramp({2, 2}, f64).requires_grad_();
  const Tensor y = a * 2.0;
  y.select(0, 1).index_put_({tensor({3, 0})}, w.select(0, 0));
  y.index_put_({Slice(0, 3, 2), 1}, w.select(0, 1).select(0, 1));
  const Tensors g = grad({weigh(y * y)}, {a, w});
  const double weight = 0.5;
  for (int64_t r = 0; r < 3; ++r)
    for (int64_t c = 0; c < 4; ++c) {
      const bool lost = r == 1 ? c == 3 || c == 0 : c == 1;
      const double k = weight + 0.25 * double(4 * r + c), value = double(4 * r + c);
      EXPECT_NEAR(g[0].at({r, c}), lost ? 0 : 8 * value * k, 1e-12);
    }
  EXPECT_NEAR(g[1].at({0, 0}), 2 * 0 * 2.25, 1e-12);
  EXPECT_NEAR(g[1].at({0, 1}), 2 * 1 * 1.5, 1e-12);       // at [1, 0]
  EXPECT_NEAR(g[1].at({1, 0}), 0, 1e-12);
  EXPECT_NEAR(g[1].at({1, 1}), 2 * 3 * (0.75 + 2.75), 1e-12);  // at [0, 1] and [2, 1]
}

TEST(Contract, KT2_zero_negative_or_overlapping_strides_are_refused_expanded_views_are_read_only) {
  std::array<float, 16> memory{};
  const auto blob = [&](const Shape& size, const Shape& stride) { from_blob(memory.data(), size, stride); };
  constexpr ErrorCode invalid = ErrorCode::invalid_argument;
  EXPECT_NE(error_of([&] { blob({3}, {0}); }, invalid), "no error");
  EXPECT_NE(error_of([&] { blob({3}, {-1}); }, invalid), "no error");
  EXPECT_NE(error_of([&] { blob({3, 3}, {2, 1}); }, invalid), "no error");
  EXPECT_NO_THROW(blob({3, 3}, {1, 3}));
  EXPECT_NE(error_of([&] { x.as_strided({2}, {-1}, 3); }, invalid), "no error");
  const Tensor row = ones({3}), wide = row.expand({2, 3}), windows = ones({5}).unfold(0, 3, 1);
  EXPECT_EQ(error_of([&] { wide.add_(ones({2, 3})); }, invalid),
            "add_: elements of the expanded f32[2,3]@cpu share memory; clone() it first");
  EXPECT_NE(error_of([&] { wide.mutable_data<float>(); }, invalid), "no error");
  EXPECT_NE(error_of([&] { windows.mul_(ones({3, 3})); }, invalid), "no error");
  EXPECT_NE(error_of([&] { wide.index_put_({0}, 1); }, invalid).substr(0, 0), "no error");
  EXPECT_EQ(row.at({0}), 1);
}

TEST(Contract, KT8_sizes_that_overflow_are_errors_not_wraps) {
  constexpr int64_t big = int64_t(1) << 40;
  constexpr ErrorCode overflow = ErrorCode::overflow;
  EXPECT_NE(error_of([] { empty({big, big}); }, overflow), "no error");
  EXPECT_NE(error_of([] { empty({int64_t(1) << 61}, f64); }, overflow), "no error");
  EXPECT_NE(error_of([] { empty({big, big}, Device::meta); }, overflow), "no error");
  EXPECT_NE(error_of([] { ones({1}).expand({big, big}); }, overflow), "no error");
  EXPECT_NE(error_of([] { ones({1}).view({big, big}); }, overflow), "no error");
  EXPECT_NE(error_of([] { from_blob(nullptr, {big, big}); }, overflow), "no error");
  EXPECT_EQ(empty({big, 0}).numel(), 0);
}

TEST(Contract, KT15_ops_that_read_what_they_write_are_right) {
  const Tensor a = ramp({3, 3}, f64), expected = a + a.t();
  a.add_(a.t());
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(a.at({i / 3, i % 3}), expected.at({i / 3, i % 3}));
  const Tensor b = ramp({5}, f64);
  b.narrow(0, 1, 4).copy_(b.narrow(0, 0, 4));
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(b.at({i}), double(std::max<int64_t>(i - 1, 0)));
  const Tensor c = ramp({4}, f64);
  c.index_put_({tensor({3, 2, 1, 0})}, c);
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(c.at({i}), double(3 - i));
}

}  // namespace
