// What training needs beside the ops: random numbers and optimizer steps on cuda are those of the cpu.
#include <cmath>
#include <functional>
#include "cuda_device.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/init.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"

namespace graft {
namespace {

using CudaTraining = OnCuda<testing::Test>;
const Device kCuda(Device::cuda);

std::vector<double> values(const Tensor& t) {
  const Tensor here = t.detach().cpu().contiguous().to(f64);
  return {here.data<double>(), here.data<double>() + here.numel()};
}

TEST_F(CudaTraining, the_generator_gives_the_numbers_of_the_cpu) {
  const std::function<Tensor(Options)> draws[] = {
      [](Options o) { return rand({3, 7}, o); }, [](Options o) { return randn({33}, o); },
      [](Options o) { return empty({9}, o).exponential_(0.5); }, [](Options o) { return empty({5, 5}, o).bernoulli_(0.3); },
      [](Options o) { return empty({70}, o).random_(-5, 100); }};
  for (const auto& draw : draws)
    for (const DType t : {f32, f64, f16, bf16}) {
      manual_seed(7);
      const Tensor here = draw({t, Device::cpu});
      manual_seed(7);
      const Tensor there = draw({t, kCuda});
      EXPECT_EQ(values(there), values(here)) << name_of(t);
    }
}
TEST_F(CudaTraining, initial_values_are_those_of_the_cpu) {
  namespace init = nn::init;
  const std::function<void(const Tensor&)> initialisers[] = {
      [](const Tensor& t) { init::constant_(t, 0.3); }, [](const Tensor& t) { init::eye_(t); },
      [](const Tensor& t) { init::uniform_(t, -1, 2); }, [](const Tensor& t) { init::normal_(t, 1, 2); },
      [](const Tensor& t) { init::trunc_normal_(t); }, [](const Tensor& t) { init::xavier_uniform_(t); },
      [](const Tensor& t) { init::xavier_normal_(t); }, [](const Tensor& t) { init::kaiming_uniform_(t); },
      [](const Tensor& t) { init::kaiming_normal_(t); }, [](const Tensor& t) { init::orthogonal_(t, 0.5); },
      [](const Tensor& t) { init::sparse_(t, 0.4); }};
  for (const auto& set : initialisers)
    for (const DType t : {f32, f64, bf16}) {
      const Tensor here = zeros({7, 12}, {t, Device::cpu}), there = zeros({12, 7}, {t, kCuda}).t();  // strided, as a tied weight may be
      manual_seed(7);
      set(here);
      manual_seed(7);
      set(there);
      EXPECT_EQ(values(there), values(here)) << &set - initialisers << " in " << name_of(t);
    }
  const Tensor here = zeros({4, 2, 3, 3}), there = zeros({4, 2, 3, 3}, kCuda);
  EXPECT_EQ(values(init::dirac_(there, 2)), values(init::dirac_(here, 2)));
}
TEST_F(CudaTraining, values_lie_in_logical_order_whatever_the_strides) {
  manual_seed(3);
  const Tensor here = zeros({6, 5});
  here.t().normal_();
  manual_seed(3);
  const Tensor there = zeros({6, 5}, kCuda);
  there.t().normal_();
  EXPECT_EQ(values(there), values(here));
}

// Parameters of odd sizes, many of them, one of them strided and its gradient otherwise; three steps with the same gradients on both
// devices.
template <class Make> void expect_same_steps(DType t, double tolerance, Make make) {
  std::vector<Tensor> here, there;
  for (int i = 0; i < 30; ++i) {
    const Tensor x = sin(arange(1 + 97 * i).to(f64)).to(t);
    here.push_back(i == 5 ? x.reshape({2, -1}).t() : x.clone());
    there.push_back(i == 5 ? x.cuda().reshape({2, -1}).t() : x.cuda());
  }
  for (auto* list : {&here, &there})
    for (Tensor& p : *list) p = p.detach().requires_grad_();
  auto a = make(here), b = make(there);
  for (int step = 0; step < 3; ++step) {
    for (size_t i = 0; i < here.size(); ++i) {
      const Tensor g = cos(here[i].detach().to(f64) * (1.5 + step)).to(t).contiguous();
      here[i].set_grad(g);
      there[i].set_grad(g.cuda());
    }
    a.step();
    b.step();
  }
  for (size_t i = 0; i < here.size(); ++i) {
    const std::vector<double> x = values(here[i]), y = values(there[i]);
    for (size_t k = 0; k < x.size(); ++k) ASSERT_NEAR(y[k], x[k], tolerance) << "parameter " << i << " element " << k;
  }
}
TEST_F(CudaTraining, optimizer_steps_are_those_of_the_cpu) {
  for (const auto& [t, tolerance] : {std::pair{f32, 1e-6}, {f64, 1e-13}, {bf16, 2e-2}}) {
    SCOPED_TRACE(name_of(t));
    expect_same_steps(t, tolerance, [](const Tensors& p) { return optim::SGD(p, {.lr = 0.1}); });
    expect_same_steps(t, tolerance, [](const Tensors& p) { return optim::SGD(p, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}); });
    expect_same_steps(t, tolerance, [](const Tensors& p) { return optim::SGD(p, {.lr = 0.1, .maximize = true}); });
    expect_same_steps(t, tolerance, [](const Tensors& p) { return optim::Adam(p, {.lr = 0.01}); });
    expect_same_steps(t, tolerance, [](const Tensors& p) { return optim::Adam(p, {.lr = 0.01, .amsgrad = true}); });
    expect_same_steps(t, tolerance, [](const Tensors& p) { return optim::AdamW(p, {.lr = 0.01, .weight_decay = 0.1}); });
  }
}

}  // namespace
}  // namespace graft
