// Layers of nn/qat.h against torch.ao's: values, gradients and statistics recorded from PyTorch 1.13 (CPU, f32), with
// MovingAveragePerChannelMinMaxObserver (in "ConvBn2d tensor" MovingAverageMinMaxObserver) for weights. Every tensor is
// fill(shape, a, b): ((i a + b) mod 17 - 8) / 8 at i; weights are that times 0.77, running variances that plus 1.25.
#pragma once
#include <gtest/gtest.h>

#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/qat.h"

namespace graft_test {

using namespace graft;

struct QatCase {
  const char* name;
  std::vector<double> y, dx, dw, dgamma, dbeta, mean, var, scale, eval;  // of one step of training, and of eval mode after it
};
inline const std::vector<QatCase>& qat_cases() {
  static const std::vector<QatCase> all{
    {"ConvBnReLU2d",
      {0, 0, 0, 0, 0, 0, 0.00316869, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.131684, 1.67039, 0, 0, 0, 0, 1.80048, 0, 0, 0,
      1.48994, 0, 0.579307, 0.133968, 0.283803, 0.210155, 0.149205, 0, 0.149205, 0.0780972, 0.0577806, 0.161903, 0,
      0.426019, 0.0730181, 0.202536, 0, 0.273644, 0.019687, 0, 0, 0, 0, 0, 0.00316869, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
      0.24359, 0, 0.221208, 1.13884, 0, 0, 0, 0.377876, 1.35286, 0, 0, 0.198827, 1.62423, 0, 0, 0.0197781, 0.314278,
      0.210155, 0.00698918, 0.111112, 0, 0.0780972, 0.0933347, 0.019687, 0.085716, 0.426019, 0.139047, 0.0349245, 0.0755577,
      0.273644, 0.0603202, 0.019687},
      {0.523956, -0.0762001, 0.279898, -0.151942, -0.0632601, 0.349989, 0.310844, 1.0295, -0.0524744, -1.00612, 0.0659513,
      0.0638188, 0.183087, -0.164554, -0.244784, 0.752992, -1.41279, 0.235403, 0.228174, 0.88551, 0.787446, -1.02879,
      0.144699, -0.691147, 0.234266, 0.0286945, 0.583527, -0.243003, 0.669519, 0.267779, 1.45511, -0.0860899, -1.07814,
      -0.266912, -0.359041, 0.607191},
      {0.0186539, -0.12765, 0.140154, -0.14972, 0.280926, 0.0502943, 0, 0.12944, 1.30824, -1.26278, -1.36457, 0.379374,
      0.0270163, 0, 0.965746, -0.606682, -0.206103, -0.093286, 0.081454, 0.0646237, 0.00768785, -0.231706, -0.254446,
      0.125862},
      {-0.665569, 1.90475, 0.514343},
      {-0.625, 0, -0.125},
      {0.0201686, 0.402982, 0.775642},
      {0.481846, 0.930063, 1.38648},
      {0.00213516, 0.00603918, 0.000616373},
      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.621763, 0.6127, 0.472993, 0.922323, 1.77114, 0.531897, 0.826415,
      0.808291, 0.482055, 1.82627, 0, 0.708608, 0.362737, 1.6624, 0.0425419, 1.17304, 0.225928, 0.296917, 0.261846,
      0.232172, 0.115091, 0.234638, 0.194481, 0.186233, 0.238492, 0.148234, 0.36883, 0.193941, 0.258995, 0.141297, 0.294759,
      0.166964, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.985003, 0.472993, 0.975185, 1.48493, 0, 0.826415,
      0.479034, 1.0575, 1.58008, 0, 0.361226, 0.957816, 1.73942, 0.0425419, 0.682177, 0.859643, 0.312332, 0.261846, 0.16126,
      0.212902, 0.143995, 0.194481, 0.204115, 0.166964, 0.20188, 0.36883, 0.226468, 0.174672, 0.194943, 0.294759, 0.187467,
      0.166964}},
    {"ConvBn2d tensor",
      {-0.166008, -0.689757, -0.475385, -0.144896, -0.21653, -0.52216, -0.499874, -1.81313, -0.100235, -0.645096, -0.119723,
      -0.6589, 0.522076, 0.496606, 1.78439, -0.751382},
      {0.215435, -0.0897299, -0.26996, 1.16128, 0.0827456, 0.00188802, -0.246025, -0.084319, 0.1145, -0.211785, 0.136169,
      -0.0499007, -1.51341, 0.0336423, -0.0525451, 0.356146, -0.133422, 0.0683405, -0.191769, 0.457221, 0.314172, -0.204376,
      -0.106783, -0.878237, -0.13787, 0.838647, 0.201516, 0.344874, 0.0596705, -0.0779281, 0.345317, -0.569938, 1.1378,
      -0.169521, 0.375492, -0.260225},
      {0.0758268, -0.133895, -0.0655012, -0.239651, -0.0990694, 0.353237, -0.257527, 0.0389335, -0.19098, 1.04358,
      -0.316726, 0.848077, 0.94961, 0, 1.28513, -2.77837},
      {-0.537732, 2.45358},
      {-0.875, 0.625},
      {0.0961924, 0.463777},
      {0.499387, 0.925702},
      {0.00603918},
      {-0.272339, -0.75944, -0.560069, -0.252704, 0.167473, 0.0186994, 0.0277617, -0.593009, -0.211169, -0.717905,
      -0.229293, -0.730743, 0.530722, 0.520904, 1.12582, -0.0930695}},
    {"ConvBn1d",
      {-0.392857, -0.660705, -0.0178686, 0.831107, 0.202089, -2.13786, 0.0676009, 0.066802, 0.00895898, -0.714275,
      -0.0714383, -0.339287, 0.0762858, -0.980465, 0.956911, 0.0666422, 0.356496, 0.0677607, -0.125008, -0.392857,
      -0.660705, -1.10627, 0.831107, 0.202089, 0.356336, 0.0676009, 0.066802},
      {0.0566139, 0.279826, -0.750733, 0.235391, 0.201093, -1.05531, 0.840656, -0.195036, -0.214608, 0.405608, -0.0204844,
      0.0708868, 1.39161, -0.839384, -0.00657597, 0.12059, 0.0648476, -0.293861, -0.306423, 0.472935, -0.763653, -0.266041,
      0.911727, -0.339675},
      {0.5158, -0.414856, 0.5158, -6.0654e-05, -0.687341, 3.11048, -0.687341, 1.3021, -0.27138, -0.260689, 0, -0.219274},
      {2.55349, 2.26132, -0.771392},
      {0.25, -0.875, 0.125},
      {0.0373961, 0.412078, 0.759418},
      {0.467514, 0.925924, 1.37207},
      {0.00186827, 0.00603918, 0.00046228},
      {-0.67262, -0.822133, -0.463303, 1.16043, 0.862126, -0.283504, 0.214986, 0.214697, 0.192786, -0.852035, -0.493205,
      -0.642718, 0.802465, 0.298751, 1.22009, 0.214639, 0.318526, 0.215044, -0.523108, -0.67262, -0.822133, 0.23909,
      1.16043, 0.862126, 0.318468, 0.214986, 0.214697}},
    {"ConvBn3d",
      {-0.584881, -0.662075, -0.149881, -1.24831, -0.121466, -0.131578, 1.46827, -0.570084},
      {-0.012927, -0.782543, 0.887105, 2.23733, -1.84073, -0.46608, -0.474696, 0.964741, 1.45901, -2.67549, -0.809794,
      0.566129, 0.0676844, 0.807874, -1.01773, -2.19613, 1.9166, 0.399552, 0.511798, -1.02857, -1.58901, 2.78819, 0.902684,
      -0.615001},
      {0.39252, 0.39252, -0.349202, -0.124271, -0.349202, 0.39252, 0, -0.349202, 4.90705, 4.90705, -5.1735, 2.03881,
      -5.1735, 0, -2.21242, -5.1735},
      {0.342709, -2.97473},
      {1.125, -0.625},
      {0.0168471, 0.444936},
      {0.528074, 0.905591},
      {0.00213516, 0.00603918},
      {-0.930496, -1.01321, 0.421593, 0.142894, -0.442476, -0.452615, 0.726727, 0.31963}},
    {"LinearBn1d",
      {0.0580013, -1.82198, -0.519865, 0.723656, -0.519334, 0.440661, -0.518802, 0.157667},
      {-0.164966, -0.0467016, 0.0715615, -0.626358, -0.171179, 0.283824, -0.137811, 0.0155672, 0.167439, 0.929135, 0.202314,
      -0.522825},
      {0.12238, 0.123318, 0, 0, 0.613578, 0.613578},
      {-1.17556, 1.77947},
      {-0.375, 0.875},
      {0.00839214, 0.38882},
      {0.476254, 0.93389},
      {0.00133448, 0.00528429},
      {-0.481946, 0.0441076, -0.844679, 1.32798, -0.844346, 1.18525, -0.844012, 1.04252}},
  };
  return all;
}

inline Tensor fill(const Shape& shape, int64_t a, int64_t b) {
  const Tensor t = zeros(shape);
  for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<float>()[i] = float((i * a + b) % 17 - 8) / 8;
  return t;
}
inline void expect_values(const Tensor& t, const std::vector<double>& expected, const std::string& what) {
  const Tensor here = t.detach().cpu().to(f64).contiguous();
  ASSERT_EQ(size_t(here.numel()), expected.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(here.data<double>()[i], expected[i], 2e-5 * (1 + std::abs(expected[i]))) << what << " at " << i;
}
template <class Norm, class L> void expect_case(size_t number, bool relu, const std::shared_ptr<L>& layer, const Shape& input, const Device& device) {
  const QatCase& c = qat_cases()[number];
  const std::string name = c.name;
  auto norm = nn::make<Norm>(layer->weight->size(0));
  {
    const NoGrad quiet;
    const auto set = [](const Tensor& to, int64_t a, int64_t b, double scale, double shift) {
      to.detach().copy_(fill(to.shape(), a, b) * scale + shift);
    };
    set(layer->weight, 5, 3, 0.77, 0);
    if (layer->bias) set(layer->bias, 3, 1, 1, 0);
    set(norm->weight, 7, 10, 1, 0);
    set(norm->bias, 2, 5, 1, 0);
    set(norm->running_mean, 3, 9, 1, 0);
    set(norm->running_var, 4, 2, 1, 1.25);
  }
  const auto m = nn::make<nn::qat::QuantAware>(*layer, norm, relu, nn::qat::QConfig{.per_channel = name != "ConvBn2d tensor", .activations = false});
  EXPECT_EQ("qat." + name.substr(0, name.find(' ')), nn::type_name(*m));
  m->to(device);
  const Tensor x = fill(input, 5, 1).to(device);
  x.requires_grad_();
  const Tensor y = m->forward(x);
  sum(y * fill(y.shape(), 11, 4).to(device)).backward();
  expect_values(y, c.y, name + " y");
  expect_values(x.grad(), c.dx, name + " dx");
  expect_values(m->weight->grad(), c.dw, name + " dw");
  if (m->bias) {  // the norm takes away what it adds
    const Tensor left = amax(abs(m->bias->grad()));
    EXPECT_LT(left.to(f64).cpu().data<double>()[0], 1e-5) << name;
  }
  expect_values(norm->weight->grad(), c.dgamma, name + " dgamma");
  expect_values(norm->bias->grad(), c.dbeta, name + " dbeta");
  expect_values(norm->running_mean, c.mean, name + " mean");
  expect_values(norm->running_var, c.var, name + " var");
  expect_values(m->get_buffer("weight_fake_quant.scale"), c.scale, name + " scale");
  m->eval();
  expect_values(m->forward(x), c.eval, name + " eval");
}
inline void expect_recorded(const Device& device) {
  namespace qat = nn::qat;
  using nn::make;
  expect_case<nn::BatchNorm2d>(0, true, make<nn::Conv2d>(2, 3, 2, nn::Conv2dOptions{.padding = 1}), {2, 2, 3, 3}, device);
  expect_case<nn::BatchNorm2d>(1, false, make<nn::Conv2d>(2, 2, 2, nn::Conv2dOptions{.stride = 2, .padding = 1, .bias = false}), {2, 2, 3, 3}, device);
  expect_case<nn::BatchNorm1d>(2, false, make<nn::Conv1d>(2, 3, 2), {3, 2, 4}, device);
  expect_case<nn::BatchNorm3d>(3, false, make<nn::Conv3d>(1, 2, 2), {2, 1, 2, 3, 2}, device);
  expect_case<nn::BatchNorm1d>(4, false, make<nn::Linear>(3, 2), {4, 3}, device);

  qat::FakeQuantize results;  // of two tensors, one after the other
  results.to(device);
  const auto pass = [&](const Tensor& given, const std::vector<double>& value, const std::vector<double>& gradient) {
    const Tensor x = given.to(device);
    x.requires_grad_();
    const Tensor y = results(x);
    sum(y * fill({2, 5}, 11, 4).to(device)).backward();
    expect_values(y, value, "FakeQuantize");
    expect_values(x.grad(), gradient, "FakeQuantize's gradient");
  };
  pass(fill({2, 5}, 3, 2), {-0.748039246, -0.377450973, 0, 0.377450973, 0.748039246, -1.00196075, -0.624509811, -0.247058824, 0.123529412, 0.500980377},
       {-0.5, 0.875, 0.125, -0.625, 0.75, 0, -0.75, 0.625, -0.125, -0.875});
  pass(fill({2, 5}, 7, 1) * 3.0 + 0.4, {-1.01011765, 0.399838239, 0.778632343, -0.722514689, 0.778632343, -1.01011765, 0.771617651, 0.778632343,
                                        -0.350735277, 0.778632343},
       {0, 0.875, 0, -0.625, 0, 0, -0.75, 0, -0.125, 0});
  expect_values(results.scale, {0.0070147058}, "scale");
  expect_values(results.zero_point, {144}, "zero_point");
}

}  // namespace graft_test
