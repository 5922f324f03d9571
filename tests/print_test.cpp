// Tensors print as PyTorch prints them: the texts below are recorded from torch 2.x.
#include <complex>
#include <limits>
#include <gtest/gtest.h>
#include "graft/core/ops.h"

using namespace graft;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();

Tensor ramp(const Shape& shape, DType t = f32) {
  std::vector<int64_t> values(numel_of(shape));
  for (size_t i = 0; i < values.size(); ++i) values[i] = int64_t(i);
  return tensor_of(values.data(), DType::i64, shape, t);
}
Tensor complex_of(std::vector<std::complex<float>> values) {
  return tensor(std::span<const std::complex<float>>(values), {int64_t(values.size())});
}
std::string text_of(const Tensor& t) {
  std::ostringstream text;
  text << t;
  return text.str();
}

TEST(Print, values_print_as_PyTorch_prints_them) {
  const struct { Tensor (*make)(); const char* text; } cases[] = {
    {[] { return tensor({1.0, 2.5, -3.0}); }, R"(tensor([ 1.0000,  2.5000, -3.0000]))"},
    {[] { return tensor({1.0, 2.0, -3.0}); }, R"(tensor([ 1.,  2., -3.]))"},
    {[] { return tensor({1, 20, -300}); }, R"(tensor([   1,   20, -300]))"},
    {[] { return tensor({true, false}); }, R"(tensor([ True, False]))"},
    {[] { return tensor({1.0, 20000.0}, {2}, f64); }, R"(tensor([1.0000e+00, 2.0000e+04], dtype=torch.float64))"},
    {[] { return tensor({0.00001, 1.5}); }, R"(tensor([1.0000e-05, 1.5000e+00]))"},
    {[] { return tensor({1.0, 1e9}); }, R"(tensor([1.0000e+00, 1.0000e+09]))"},
    {[] { return tensor({0.0, kNan, kInf, -kInf, 1.0}); }, R"(tensor([0., nan, inf, -inf, 1.]))"},
    {[] { return tensor({kNan, 1.25}); }, R"(tensor([   nan, 1.2500]))"},
    {[] { return tensor({kNan, kInf}); }, R"(tensor([nan, inf]))"},
    {[] { return tensor({0.0, -0.0}); }, R"(tensor([0., -0.]))"},
    {[] { return scalar_tensor(3.5); }, R"(tensor(3.5000))"},
    {[] { return scalar_tensor(7); }, R"(tensor(7))"},
    {[] { return ramp({2, 3}); }, R"(tensor([[0., 1., 2.],
        [3., 4., 5.]]))"},
    {[] { return ramp({2, 2, 3}, f64) * 0.5; }, R"(tensor([[[0.0000, 0.5000, 1.0000],
         [1.5000, 2.0000, 2.5000]],

        [[3.0000, 3.5000, 4.0000],
         [4.5000, 5.0000, 5.5000]]], dtype=torch.float64))"},
    {[] { return ramp({2, 1, 2, 2}, DType::i32); }, R"(tensor([[[[0, 1],
          [2, 3]]],


        [[[4, 5],
          [6, 7]]]], dtype=torch.int32))"},
    {[] { return ramp({30}); }, R"(tensor([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13.,
        14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25., 26., 27.,
        28., 29.]))"},
    {[] { return ramp({30}) * 0.37; }, R"(tensor([ 0.0000,  0.3700,  0.7400,  1.1100,  1.4800,  1.8500,  2.2200,  2.5900,
         2.9600,  3.3300,  3.7000,  4.0700,  4.4400,  4.8100,  5.1800,  5.5500,
         5.9200,  6.2900,  6.6600,  7.0300,  7.4000,  7.7700,  8.1400,  8.5100,
         8.8800,  9.2500,  9.6200,  9.9900, 10.3600, 10.7300]))"},
    {[] { return ramp({1200}); }, R"(tensor([0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 1.1970e+03, 1.1980e+03,
        1.1990e+03]))"},
    {[] { return ramp({50, 40}); }, R"(tensor([[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 3.7000e+01, 3.8000e+01,
         3.9000e+01],
        [4.0000e+01, 4.1000e+01, 4.2000e+01,  ..., 7.7000e+01, 7.8000e+01,
         7.9000e+01],
        [8.0000e+01, 8.1000e+01, 8.2000e+01,  ..., 1.1700e+02, 1.1800e+02,
         1.1900e+02],
        ...,
        [1.8800e+03, 1.8810e+03, 1.8820e+03,  ..., 1.9170e+03, 1.9180e+03,
         1.9190e+03],
        [1.9200e+03, 1.9210e+03, 1.9220e+03,  ..., 1.9570e+03, 1.9580e+03,
         1.9590e+03],
        [1.9600e+03, 1.9610e+03, 1.9620e+03,  ..., 1.9970e+03, 1.9980e+03,
         1.9990e+03]]))"},
    {[] { return ramp({7, 5, 40}, DType::i64); }, R"(tensor([[[   0,    1,    2,  ...,   37,   38,   39],
         [  40,   41,   42,  ...,   77,   78,   79],
         [  80,   81,   82,  ...,  117,  118,  119],
         [ 120,  121,  122,  ...,  157,  158,  159],
         [ 160,  161,  162,  ...,  197,  198,  199]],

        [[ 200,  201,  202,  ...,  237,  238,  239],
         [ 240,  241,  242,  ...,  277,  278,  279],
         [ 280,  281,  282,  ...,  317,  318,  319],
         [ 320,  321,  322,  ...,  357,  358,  359],
         [ 360,  361,  362,  ...,  397,  398,  399]],

        [[ 400,  401,  402,  ...,  437,  438,  439],
         [ 440,  441,  442,  ...,  477,  478,  479],
         [ 480,  481,  482,  ...,  517,  518,  519],
         [ 520,  521,  522,  ...,  557,  558,  559],
         [ 560,  561,  562,  ...,  597,  598,  599]],

        ...,

        [[ 800,  801,  802,  ...,  837,  838,  839],
         [ 840,  841,  842,  ...,  877,  878,  879],
         [ 880,  881,  882,  ...,  917,  918,  919],
         [ 920,  921,  922,  ...,  957,  958,  959],
         [ 960,  961,  962,  ...,  997,  998,  999]],

        [[1000, 1001, 1002,  ..., 1037, 1038, 1039],
         [1040, 1041, 1042,  ..., 1077, 1078, 1079],
         [1080, 1081, 1082,  ..., 1117, 1118, 1119],
         [1120, 1121, 1122,  ..., 1157, 1158, 1159],
         [1160, 1161, 1162,  ..., 1197, 1198, 1199]],

        [[1200, 1201, 1202,  ..., 1237, 1238, 1239],
         [1240, 1241, 1242,  ..., 1277, 1278, 1279],
         [1280, 1281, 1282,  ..., 1317, 1318, 1319],
         [1320, 1321, 1322,  ..., 1357, 1358, 1359],
         [1360, 1361, 1362,  ..., 1397, 1398, 1399]]]))"},
    {[] { return zeros({0, 3}); }, R"(tensor([], size=(0, 3)))"},
    {[] { return zeros({0}); }, R"(tensor([]))"},
    {[] { return zeros({0}, DType::i64); }, R"(tensor([], dtype=torch.int64))"},
    {[] { return zeros({2, 0}, f64); }, R"(tensor([], size=(2, 0), dtype=torch.float64))"},
    {[] { return zeros({2, 3}, Device::meta); }, R"(tensor(..., device='meta', size=(2, 3)))"},
    {[] { return zeros({2}, {f64, Device::meta}); }, R"(tensor(..., device='meta', size=(2,), dtype=torch.float64))"},
    {[] { return ramp({3}).to(f16) * 0.1; }, R"(tensor([0.0000, 0.1000, 0.2000], dtype=torch.float16))"},
    {[] { return ramp({3}).to(bf16); }, R"(tensor([0., 1., 2.], dtype=torch.bfloat16))"},
    {[] { return ramp({3}).to(DType::u8); }, R"(tensor([0, 1, 2], dtype=torch.uint8))"},
    {[] { return ramp({2}).requires_grad_(); }, R"(tensor([0., 1.], requires_grad=True))"},
    {[] { return ramp({2, 2}).requires_grad_() + ramp({2, 2}); }, R"(tensor([[0., 2.],
        [4., 6.]], grad_fn=<AddBackward0>))"},
    {[] { return exp(ramp({2, 8}, f64).requires_grad_()); }, R"(tensor([[1.0000e+00, 2.7183e+00, 7.3891e+00, 2.0086e+01, 5.4598e+01, 1.4841e+02,
         4.0343e+02, 1.0966e+03],
        [2.9810e+03, 8.1031e+03, 2.2026e+04, 5.9874e+04, 1.6275e+05, 4.4241e+05,
         1.2026e+06, 3.2690e+06]], dtype=torch.float64, grad_fn=<ExpBackward0>))"},
    {[] { return ramp({2}).requires_grad_().select(0, 1); }, R"(tensor(1., grad_fn=<SelectBackward0>))"},
    {[] { return complex_of({{1, 2}, {0.5, -1}}); }, R"(tensor([1.0000+2.j, 0.5000-1.j]))"},
    {[] { return complex_of({{1, 2}, {3, -100}}); }, R"(tensor([1.+2.j, 3.-100.j]))"},
    {[] { return complex_of({{1, 0.00001}}); }, R"(tensor([1.+1.0000e-05j]))"},
    {[] { return scalar_tensor(std::complex<double>(1, -2)).to(c128); }, R"(tensor(1.-2.j, dtype=torch.complex128))"},
    {[] { return ramp({3, 4}).transpose(0, 1).narrow(0, 1, 2); }, R"(tensor([[ 1.,  5.,  9.],
        [ 2.,  6., 10.]]))"},
  };
  for (const auto& c : cases) EXPECT_EQ(text_of(c.make()), c.text);
}

TEST(Print, errors_name_a_tensor_by_dtype_shape_and_device_only) {
  const Tensor x = zeros({2, 3}).requires_grad_();
  EXPECT_EQ(summary(x), "f32[2,3]@cpu");
  EXPECT_EQ(summary(Tensor()), "undefined");
  EXPECT_EQ(concat("got ", x, " and ", zeros({0}, {f64, Device::meta})), "got f32[2,3]@cpu and f64[0]@meta");
  try {
    x.backward();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "backward: a gradient can be left out for one element only, not for f32[2,3]@cpu");
  }
}

}  // namespace
