// Graphs of device cuda: replayed steps are those of an eager program to the last bit, memory is kept, what cannot be
// recorded is refused. The eager program is the witness; its ops and optimizers are held to others elsewhere.
#include "graft/core/cuda_graph.h"

#include <cstring>
#include <optional>
#include <sstream>
#include <thread>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/nn.h"
#include "graft/optim/adam.h"
#include "graft/optim/scheduler.h"
#include "graft/optim/sgd.h"
#include "refused.h"

namespace graft {
namespace {

using CudaGraph = OnCuda<testing::Test>;
using cuda::Graph;
using graft_test::message;
namespace F = nn::functional;
const Device kCuda(Device::cuda);

std::vector<double> values(const Tensor& t) {
  const Tensor here = t.detach().cpu().contiguous().to(f64);
  return {here.data<double>(), here.data<double>() + here.numel()};
}
double value(const Tensor& t) { return values(t).at(0); }
Tensor counted(const Shape& shape, double step = 0.37) { return sin(arange(int64_t(numel_of(shape))).to(f32) * step).reshape(shape); }
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }


// ---- training ---------------------------------------------------------------------------------------------------

// A net in training, with everything that its step moves.
struct Trainer {
  std::shared_ptr<nn::Sequential> net;
  std::shared_ptr<optim::Optimizer> optimizer;
  std::shared_ptr<optim::LRScheduler> schedule;
  Tensor x, label, loss;
  bool set_to_none = true, clip = false;
  Generator generator{11};

  void step() {
    const UseGenerator scope(generator);
    optimizer->zero_grad(set_to_none);
    loss = F::cross_entropy((*net)(x), label);
    loss.backward();
    if (clip) optim::clip_grad_norm_(net->parameters(), 0.5);
    optimizer->step();
  }
  // Everything that a step leaves behind.
  std::vector<std::vector<double>> state() const {
    std::vector<std::vector<double>> all{values(loss), {double(generator.offset()), optimizer->lr()}};
    for (const auto& [name, t] : optimizer->state_dict()) all.push_back(values(t));
    for (const auto& [name, t] : net->state_dict()) all.push_back(values(t));
    for (const Tensor& p : net->parameters()) all.push_back(values(p.grad()));
    return all;
  }
};
using Make = std::function<std::unique_ptr<Trainer>()>;

std::unique_ptr<Trainer> perceptron(bool set_to_none = true, bool clip = false, bool amsgrad = false) {
  auto t = std::make_unique<Trainer>();
  Generator start(5);
  const UseGenerator scope(start);
  t->net = nn::make<nn::Sequential>(nn::make<nn::Linear>(7, 19), nn::make<nn::ReLU>(), nn::make<nn::Dropout>(0.4), nn::make<nn::Linear>(19, 3));
  t->net->cuda();
  t->optimizer = std::make_shared<optim::AdamW>(t->net->parameters(), optim::AdamWOptions{.lr = 0.02, .amsgrad = amsgrad});
  t->schedule = std::make_shared<optim::ExponentialLR>(*t->optimizer, 0.7);
  t->x = counted({5, 7}).cuda();
  t->label = tensor({0, 2, 1, 2, 0}).cuda();
  t->set_to_none = set_to_none;
  t->clip = clip;
  return t;
}
std::unique_ptr<Trainer> convolutions(double momentum = 0.9) {
  auto t = std::make_unique<Trainer>();
  Generator start(5);
  const UseGenerator scope(start);
  t->net = nn::make<nn::Sequential>(nn::make<nn::Conv2d>(2, 5, 3), nn::make<nn::BatchNorm2d>(5), nn::make<nn::ReLU>(), nn::make<nn::Flatten>(),
                                    nn::make<nn::Linear>(5 * 4 * 3, 3));
  t->net->cuda();
  t->optimizer = std::make_shared<optim::SGD>(t->net->parameters(), optim::SGDOptions{.lr = 0.1, .momentum = momentum, .dampening = momentum / 9});
  t->schedule = std::make_shared<optim::StepLR>(*t->optimizer, 2, 0.5);
  t->x = counted({4, 2, 6, 5}).cuda();
  t->label = tensor({0, 2, 1, 2}).cuda();
  return t;
}

// `warm` eager steps, then five that are replayed in one program and eager in the other, with other inputs each time.
void expect_same_training(const Make& make, int warm) {
  SCOPED_TRACE(concat("after ", warm, " eager steps"));
  const auto eager = make(), replayed = make();
  for (int i = 0; i < warm; ++i) {
    eager->step();
    replayed->step();
  }
  const auto graph = Graph::capture([&] { replayed->step(); });
  for (int i = 0; i < 5; ++i) {
    for (const auto& t : {eager.get(), replayed.get()}) t->x.copy_(counted(t->x.shape(), 0.41 + i).cuda());
    eager->step();
    graph.replay();
    ASSERT_EQ(replayed->state(), eager->state()) << "step " << i;
    eager->schedule->step();
    replayed->schedule->step();
  }
  eager->step();  // and both go on without it
  replayed->step();
  EXPECT_EQ(replayed->state(), eager->state());
}

TEST_F(CudaGraph, training_with_dropout_adam_and_a_schedule_is_replayed_to_the_last_bit) {
  for (const bool set_to_none : {true, false}) {
    SCOPED_TRACE(set_to_none);
    const Make make = [&] { return perceptron(set_to_none); };
    expect_same_training(make, 1);
    expect_same_training(make, 0);
  }
}
TEST_F(CudaGraph, training_with_clipped_gradients_and_amsgrad_is_replayed_to_the_last_bit) {
  expect_same_training([] { return perceptron(true, true, true); }, 2);
}
TEST_F(CudaGraph, training_with_convolutions_batch_norm_and_momentum_is_replayed_to_the_last_bit) {
  expect_same_training([] { return convolutions(); }, 1);
  expect_same_training([] { return convolutions(); }, 0);  // the first replay starts the momentum
  expect_same_training([] { return convolutions(0); }, 1);
}
TEST_F(CudaGraph, many_parameters_of_any_strides_and_two_steps_of_an_optimizer_in_one_graph_are_counted) {
  const auto make = [] {
    Tensors all;
    for (int64_t i = 0; i < 1200; ++i) {  // their numbers go in several copies
      const Tensor p = counted({i % 3 + 1, 2}, 0.1 * double(i + 1)).to(i % 2 ? f64 : f32).cuda();
      all.push_back((i % 5 == 0 ? p.t() : p).detach().requires_grad_());
      all.back().set_grad(counted({i % 3 + 1, 2}, 0.7).to(p.dtype()).cuda().reshape(all.back().shape()));
    }
    return all;
  };
  const Tensors a = make(), b = make();
  optim::Adam eager(a, {.lr = 0.1}), replayed(b, {.lr = 0.1});
  const auto graph = Graph::capture([&] { replayed.step(), replayed.step(); });
  EXPECT_EQ(replayed.state(b[0])->step, 0);
  for (int i = 0; i < 2; ++i) {
    eager.step(), eager.step();
    graph.replay();
  }
  EXPECT_EQ(replayed.state(b[0])->step, 4);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_EQ(values(b[i]), values(a[i])) << i;
}
TEST_F(CudaGraph, an_optimizer_counts_for_each_parameter_and_has_rates_for_each_group) {
  const auto make = [] {
    Tensors all;
    for (int i = 0; i < 3; ++i) all.push_back(counted({50}, 0.3 + i).cuda().requires_grad_());
    return all;
  };
  const Tensors a = make(), b = make();
  optim::Adam eager({a[0], a[1]}, {.lr = 0.1}), replayed({b[0], b[1]}, {.lr = 0.1});
  eager.add_param_group({a[2]}, {.lr = 0.3});
  replayed.add_param_group({b[2]}, {.lr = 0.3});
  const auto give_gradients = [](const Tensors& all, size_t n) {
    for (size_t i = 0; i < n; ++i) all[i].set_grad(counted({50}, 0.9 + double(i)).cuda());
  };
  give_gradients(a, 1);  // the others have none, and are not counted
  give_gradients(b, 1);
  for (int i = 0; i < 4; ++i) eager.step(), replayed.step();
  give_gradients(a, 3);
  give_gradients(b, 3);
  const auto graph = Graph::capture([&] { replayed.step(); });
  for (int i = 0; i < 3; ++i) {
    eager.set_lr(1, 0.2 / (i + 1));
    replayed.set_lr(1, 0.2 / (i + 1));
    eager.step();
    graph.replay();
    for (size_t k = 0; k < 3; ++k) EXPECT_EQ(values(b[k]), values(a[k])) << k;
  }
  EXPECT_EQ(replayed.state(b[0])->step, 7);
  EXPECT_EQ(replayed.state(b[1])->step, 3);
}
TEST_F(CudaGraph, an_inference_step_is_replayed_with_other_inputs) {
  const auto t = convolutions();
  t->net->eval();
  Tensor y;
  const InferenceMode fast;
  const auto graph = Graph::capture([&] { y = (*t->net)(t->x); });
  for (int i = 0; i < 5; ++i) {
    t->x.copy_(counted(t->x.shape(), 1.0 + i).cuda());
    graph.replay();
    EXPECT_EQ(values(y), values((*t->net)(t->x)));
  }
}
TEST_F(CudaGraph, options_that_change_are_followed_or_refused) {
  const auto eager = perceptron(), replayed = perceptron();
  const auto graph = Graph::capture([&] { replayed->step(); });
  for (const auto& [name, v] : {std::pair<const char*, double>{"beta1", 0.5}, {"beta2", 0.9}, {"eps", 0.1}, {"weight_decay", 0.3}}) {
    for (const auto& t : {eager.get(), replayed.get()}) t->optimizer->set_option(0, name, v);
    eager->step();
    graph.replay();
    EXPECT_EQ(replayed->state(), eager->state()) << name;
  }
  const auto before = replayed->state();
  replayed->optimizer->set_option(0, "maximize", 1);
  EXPECT_TRUE(contains(message([&] { graph.replay(); }, ErrorCode::invalid_argument), "AdamW: amsgrad or maximize has changed"));
  replayed->optimizer->set_option(0, "maximize", 0);
  EXPECT_EQ(replayed->state(), before) << "nothing has happened";
  const auto plain = convolutions(0);
  const auto other = Graph::capture([&] { plain->step(); });
  plain->optimizer->set_option(0, "momentum", 0.5);
  EXPECT_TRUE(contains(message([&] { other.replay(); }, ErrorCode::invalid_argument), "SGD: maximize, or whether there is a momentum, has changed"));
}
TEST_F(CudaGraph, parameters_and_state_that_were_exchanged_are_found) {
  auto t = perceptron();
  t->step();
  const auto graph = Graph::capture([&] { t->step(); });
  graph.replay();
  const Tensor weight = t->net->parameters()[0];
  const Tensor data = weight.detach();
  weight.set_data(data.clone());
  EXPECT_TRUE(contains(message([&] { graph.replay(); }, ErrorCode::invalid_argument), "AdamW: parameter 0 of group 0 (f32[19,7]@cuda:0), or its state"));
  weight.set_data(data);
  EXPECT_NO_THROW(graph.replay());
  t->optimizer->load_state_dict(t->optimizer->state_dict());
  message([&] { graph.replay(); }, ErrorCode::invalid_argument);
  t->schedule = nullptr;
  t->optimizer = nullptr;
  EXPECT_TRUE(contains(message([&] { graph.replay(); }, ErrorCode::invalid_argument), "an optimizer that the step uses is gone"));
}
TEST_F(CudaGraph, a_capture_leaves_host_and_tensors_as_they_were) {
  const auto t = perceptron();
  t->step();
  const auto before = t->state();
  const Tensor loss = t->loss;
  Tensors grads, parameters = t->net->parameters();
  for (const Tensor& p : parameters) grads.push_back(p.grad());
  const auto graph = Graph::capture([&] { t->step(); });
  t->loss = loss;  // that of the graph, and its gradients, have no values yet
  for (size_t i = 0; i < grads.size(); ++i) parameters[i].set_grad(grads[i]);
  EXPECT_EQ(t->state(), before);
  const optim::State& state = *t->optimizer->state(parameters[0]);
  EXPECT_EQ(state.step, 1);
  const uint32_t version = parameters[0].version(), of_state = state.buffers[0].version();
  graph.replay();
  EXPECT_GT(parameters[0].version(), version) << "autograd sees that it was written";
  EXPECT_GT(state.buffers[0].version(), of_state);
}

// ---- random numbers -----------------------------------------------------------------------------------------------

TEST_F(CudaGraph, draws_are_those_of_the_same_seed_and_place) {
  Generator own(3), eager_own(3);
  const auto draw = [](Generator& g) {
    return Tensors{rand({7}, kCuda), randn({33}, {f64, kCuda}, &g), randint(100, {9}, kCuda), empty({5}, kCuda).exponential_(),
                   dropout(ones({64}, kCuda), 0.5), randperm(17, {i64, kCuda}), empty({11}, kCuda).bernoulli_(0.3, &g)};
  };
  Tensors made;
  manual_seed(9);
  const auto graph = Graph::capture([&] { made = draw(own); });
  EXPECT_EQ(default_generator().offset(), 0U);
  EXPECT_EQ(own.offset(), 0U);
  std::vector<std::vector<double>> got, want;
  const auto keep = [](const Tensors& all, auto& to) {
    for (const Tensor& t : all) to.push_back(values(t));
  };
  for (int i = 0; i < 3; ++i) {
    graph.replay();
    keep(made, got);
    if (i == 1) default_generator().take(5);  // somebody else's
  }
  manual_seed(1234);
  graph.replay();
  keep(made, got);
  const uint64_t end = default_generator().offset();
  manual_seed(9);
  for (int i = 0; i < 3; ++i) {
    keep(draw(eager_own), want);
    if (i == 1) default_generator().take(5);
  }
  manual_seed(1234);
  keep(draw(eager_own), want);
  EXPECT_EQ(got, want);
  EXPECT_NE(got[0], got[7]);
  EXPECT_EQ(default_generator().offset(), end);
  EXPECT_EQ(own.offset(), eager_own.offset());
}
TEST_F(CudaGraph, generators_that_are_moved_in_the_step_or_end_before_the_graph_are_errors) {
  const auto reseed = [] {
    rand({3}, kCuda);
    manual_seed(4);
    rand({3}, kCuda);
  };
  manual_seed(3);
  EXPECT_TRUE(contains(message([&] { Graph::capture(reseed); }, ErrorCode::invalid_argument), "a generator was seeded, or used elsewhere"));
  std::optional<Generator> short_lived(3);
  const auto graph = Graph::capture([&] { rand({3}, kCuda, &*short_lived); });
  short_lived.reset();
  EXPECT_TRUE(contains(message([&] { graph.replay(); }, ErrorCode::invalid_argument), "a generator that the step draws from is gone"));
}
TEST_F(CudaGraph, draws_on_the_cpu_happen_once_and_count_each_time) {
  Generator g(2), eager(2);
  Tensor here, there;
  const auto step = [&](Generator& from) {
    here = rand({8}, Device::cpu, &from);
    there = rand({8}, kCuda, &from);
  };
  const auto graph = Graph::capture([&] { step(g); });
  const std::vector<double> first = values(here);
  Tensor made = there;
  for (int i = 0; i < 2; ++i) {
    graph.replay();
    step(eager);
    EXPECT_EQ(values(made), values(there));
  }
  EXPECT_EQ(g.offset(), eager.offset());
  EXPECT_NE(values(here), first);
}

// ---- memory -----------------------------------------------------------------------------------------------------

TEST_F(CudaGraph, what_the_step_read_and_wrote_is_kept) {
  Tensor x = counted({1000}).cuda(), sum_so_far = zeros({1000}, kCuda), y;
  const std::vector<double> want = values(x * 3.0);
  const auto graph = Graph::capture([&] {
    y = x * 3.0;
    sum_so_far.add_(y);
  });
  const Tensor total = sum_so_far.detach();
  x = sum_so_far = Tensor();
  Tensors others;
  for (int i = 0; i < 8; ++i) others.push_back(full({1000}, 7.0 + i, kCuda));  // would get its memory
  graph.replay();
  EXPECT_EQ(values(y), want);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(values(others[size_t(i)]), std::vector<double>(1000, 7.0 + i));
  graph.replay();
  EXPECT_EQ(value(total), 2 * want[0]);
}
TEST_F(CudaGraph, what_the_step_allocated_is_the_graphs_until_it_ends) {
  const Tensor x = counted({3 << 17}).cuda();  // large enough for segments of their own
  cuda::synchronize();
  cuda::empty_cache();
  const int64_t before = cuda::memory_stats().from_device;
  Tensor y;
  std::optional<Graph> graph = Graph::capture([&] { y = sum(exp(x) * x); });  // two large results in between
  const int64_t held = cuda::memory_stats().from_device;
  EXPECT_GE(held, before + (20 << 20));
  cuda::empty_cache();
  EXPECT_EQ(cuda::memory_stats().from_device, held) << "cached, and not to be given back";
  Tensors others;
  for (int i = 0; i < 3; ++i) others.push_back(full({3 << 17}, 5.0 + i, kCuda));
  graph->replay();
  EXPECT_EQ(value(y), value(sum(exp(x) * x)));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(value(min(others[size_t(i)])), 5 + i);
    EXPECT_EQ(value(max(others[size_t(i)])), 5 + i);
  }
  const std::vector<double> result = values(y);
  graph.reset();
  EXPECT_EQ(values(y), result) << "its results outlive it";
  y = Tensor();
  others.clear();
  cuda::synchronize();
  cuda::empty_cache();
  EXPECT_EQ(cuda::memory_stats().from_device, before) << "given back";
}
TEST_F(CudaGraph, memory_within_the_step_is_used_again) {
  const Tensor x = arange(1 << 16).to(f32).cuda();
  cuda::reset_peak();
  const int64_t before = cuda::memory_stats().in_use;
  Tensor y;
  const auto graph = Graph::capture([&] {
    y = x;
    for (int i = 0; i < 12; ++i) y = y + 1.0;
  });
  EXPECT_LE(cuda::memory_stats().peak_in_use, before + 2 * x.nbytes() + (64 << 10)) << "twelve results lie in the memory of two";
  graph.replay();
  EXPECT_EQ(values(y), values(x + 12.0));
}
TEST_F(CudaGraph, results_may_end_before_the_graph) {
  const Tensor x = counted({1000}).cuda();
  Tensor y;
  const auto graph = Graph::capture([&] { y = (x + 1.0) * 2.0; });
  graph.replay();
  const std::vector<double> first = values(y);
  y = Tensor();
  const Tensor other = full({1000}, 5.0, kCuda);
  for (int i = 0; i < 3; ++i) graph.replay();
  EXPECT_EQ(values(other), std::vector<double>(1000, 5));
  EXPECT_EQ(first, values((x + 1.0) * 2.0));
}
TEST_F(CudaGraph, pinned_memory_is_read_at_each_replay) {
  Tensor host = cuda::pin(counted({100})), y;
  float* at = host.mutable_data<float>();
  const auto graph = Graph::capture([&] { y = host.to(kCuda, true) * 2.0; });
  host = Tensor();  // kept by the graph
  for (const float v : {3.0F, 4.0F}) {
    at[7] = v;
    graph.replay();
    EXPECT_EQ(values(y)[7], 2 * v);
  }
}
#ifdef GRAFT_CUDA_EMULATED
TEST_F(CudaGraph, memory_that_runs_out_while_a_graph_is_captured_is_an_error_that_leaves_nothing) {
  const Tensor x = counted({1 << 20}).cuda();
  cuda::synchronize();
  cuda::empty_cache();
  { const Tensor cached = empty({10 << 20}, kCuda); }
  cuda::emulation::settings().memory = 100 << 20;
  const int64_t held = cuda::memory_stats().from_device;
  const std::string text = message([&] { Graph::capture([&] { const Tensor y = empty({12 << 20}, kCuda), z = empty({12 << 20}, kCuda); }); },
                                   ErrorCode::device_out_of_memory);
  EXPECT_TRUE(contains(text, "cannot be given back while a graph is captured")) << text;
  EXPECT_EQ(cuda::memory_stats().from_device, held) << "that would have to wait for the device";
  EXPECT_NO_THROW(empty({15 << 20}, kCuda)) << "afterwards it is given back";
}
#endif

// ---- streams ----------------------------------------------------------------------------------------------------

TEST_F(CudaGraph, a_replay_comes_in_the_order_of_the_stream_that_is_current) {
  const Tensor x = zeros({1000}, kCuda), y = zeros({1000}, kCuda);
  const auto graph = Graph::capture([&] {
    x.add_(1.0);
    y.copy_(x * 10.0);
  });
  const cuda::Stream side;
  for (int i = 0; i < 4; ++i) {
    x.add_(0.5);
    const cuda::Event before, after;
    before.record();
    {
      const cuda::UseStream scope(side);
      side.wait(before);
      graph.replay();
      after.record(side);
    }
    cuda::current_stream().wait(after);
    graph.replay();
    EXPECT_EQ(values(y), std::vector<double>(1000, 10 * (2.5 * i + 2.5)));
  }
}
TEST_F(CudaGraph, replays_on_other_streams_wait_for_what_the_capture_prepared) {
  Tensor p = ones({1000}, kCuda).requires_grad_();
  p.set_grad(ones({1000}, kCuda));
  optim::SGD sgd({p}, {.lr = 1, .momentum = 0.5});
  cuda::synchronize();
  const auto graph = Graph::capture([&] { sgd.step(); });  // its buffer is zeroed beside the capture
  const cuda::UseStream scope((cuda::Stream()));
  graph.replay();
  graph.replay();
  EXPECT_EQ(values(p), std::vector<double>(1000, -1.5));
}
TEST_F(CudaGraph, streams_may_fork_and_join) {
  const Tensor x = counted({1000}).cuda();
  const cuda::Stream side;
  Tensor y, c;
  const auto graph = Graph::capture([&] {
    const cuda::Event forked, joined;
    forked.record();
    Tensor b;
    {
      const cuda::UseStream scope(side);
      side.wait(forked);
      b = exp(x) * 2.0;
      joined.record(side);
    }
    const Tensor a = x * 3.0;
    cuda::current_stream().wait(joined);
    cuda::record_use(b, cuda::current_stream());
    y = a + b;
    const std::byte* memory = b.view().data;
    b = Tensor();
    {
      const cuda::UseStream scope(side);
      Tensors others;
      for (int i = 0; i < 6; ++i) {
        others.push_back(empty({1000}, kCuda));
        EXPECT_NE(others.back().view().data, memory) << "it may still be read";
      }
      c = x * 5.0;
      joined.record(side);
    }
    cuda::current_stream().wait(joined);
  });
  for (int i = 0; i < 3; ++i) {
    graph.replay();
    EXPECT_EQ(values(y), values(x * 3.0 + exp(x) * 2.0));
    EXPECT_EQ(values(c), values(x * 5.0));
  }
}
TEST_F(CudaGraph, memory_of_a_forked_stream_is_the_graphs_too) {
  const Tensor x = counted({1000}).cuda(), y = zeros({1000}, kCuda);
  const std::vector<double> want = values(exp(x) * 2.0);
  const cuda::Stream side;
  cuda::synchronize();
  cuda::empty_cache();
  const auto graph = Graph::capture([&] {
    const cuda::Event forked, joined;
    forked.record();
    {
      const cuda::UseStream scope(side);
      side.wait(forked);
      y.copy_(exp(x) * 2.0);
      joined.record(side);
    }
    cuda::current_stream().wait(joined);
  });
  Tensors others;
  {
    const cuda::UseStream scope(side);
    for (int i = 0; i < 4; ++i) others.push_back(full({1000}, 5.0 + i, kCuda));
  }
  cuda::synchronize();
  graph.replay();
  EXPECT_EQ(values(y), want);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(values(others[size_t(i)]), std::vector<double>(1000, 5.0 + i));
}
TEST_F(CudaGraph, memory_that_waits_for_another_stream_is_not_asked_for_in_a_capture) {
  const cuda::Stream side;
  const Tensor z = counted({1000}).cuda();
  Tensor x = counted({1000}).cuda(), y, w;
  const cuda::Event made;
  made.record();
  {
    const cuda::UseStream scope(side);
    side.wait(made);
    y = x * 2.0;
    cuda::record_use(x, side);
  }
  x = Tensor();
  const auto graph = Graph::capture([&] { w = z * 3.0; });
  graph.replay();
  EXPECT_EQ(values(w), values(z * 3.0));
  side.synchronize();
}
TEST_F(CudaGraph, memory_of_a_graph_that_ends_is_used_after_its_last_replay) {
  const Tensor x = counted({1000}).cuda();
  const std::vector<double> want = values(exp(x) * 2.0);
  cuda::synchronize();
  cuda::empty_cache();
  const cuda::Stream side;
  Tensor y;
  std::optional<Graph> graph = Graph::capture([&] { y = exp(x) * 2.0; });
  {
    const cuda::UseStream scope(side);
    graph->replay();
  }
  graph.reset();
  Tensors others;
  for (int i = 0; i < 4; ++i) others.push_back(full({1000}, 5.0 + i, kCuda));
  for (const Tensor& t : others) values(t);
  side.synchronize();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(values(others[size_t(i)]), std::vector<double>(1000, 5.0 + i));
  EXPECT_EQ(values(y), want);
}
TEST_F(CudaGraph, other_threads_work_on_while_one_captures) {
  const Tensor x = counted({1000}).cuda();
  const std::vector<double> twice = values(x * 2.0);
  cuda::synchronize();
  Tensor y;
  std::vector<double> got;
  bool captures = true;
  const auto graph = Graph::capture([&] {
    y = x * 3.0;
    std::thread([&] {
      captures = cuda::is_capturing();
      const cuda::UseStream scope((cuda::Stream()));
      got = values(x * 2.0);
    }).join();
    y = y + 1.0;
  });
  EXPECT_FALSE(captures);
  EXPECT_EQ(got, twice);
  graph.replay();
  EXPECT_EQ(values(y), values(x * 3.0 + 1.0));
}
TEST_F(CudaGraph, streams_that_are_no_part_of_the_graph_or_are_not_joined_are_refused) {
  const Tensor x = counted({10}).cuda();
  cuda::synchronize();
  const cuda::Stream side;
  EXPECT_TRUE(contains(message([&] {
                Graph::capture([&] {
                  const cuda::UseStream scope(side);
                  x * 2.0;
                });
              }, ErrorCode::invalid_argument), "the current stream is not part of the graph"));
  EXPECT_TRUE(contains(message([&] {
                Graph::capture([&] {
                  const cuda::Event forked;
                  forked.record();
                  const cuda::UseStream scope(side);
                  side.wait(forked);
                  x * 2.0;
                });
              }, ErrorCode::device_error), "the step cannot be a graph"));
  const cuda::UseStream scope(side);
  EXPECT_NO_THROW(values(x * 2.0)) << "the stream can be used on";
}

// ---- what is refused ----------------------------------------------------------------------------------------------

TEST_F(CudaGraph, what_needs_the_host_is_refused_by_name_and_leaves_the_device_usable) {
  const Tensor x = counted({4, 3}).cuda(), mask = gt(x, 0.0), index = tensor({1, 2}).cuda(), host = cuda::pin(counted({4}));
  const Tensor p = abs(counted({5})).cuda(), one = tensor({1.}, kCuda), place = tensor({1}).cuda().reshape({});
  const cuda::Event event;
  const cuda::Stream side;
  event.record();
  const std::pair<const char*, std::function<void()>> refused[] = {
      {"item: depends on the values of f32[1]@cuda:0", [&] { one.item(); }},
      {"to: depends on the values of f32[4,3]@cuda:0", [&] { x.cpu(); }},
      {"to: depends on the values of ", [&] { std::ostringstream() << x; }},
      {"nonzero: depends on the values of ", [&] { nonzero(x); }},
      {"masked_select: depends on the values of ", [&] { masked_select(x, mask); }},
      {"repeat_interleave: depends on the values of ", [&] { repeat_interleave(index, index, 0); }},
      {"index: depends on the values of ", [&] { x.index({place}); }},
      {"multinomial: depends on the values of ", [&] { multinomial(p, 2); }},
      {"bincount: depends on the values of ", [&] { bincount(index); }},
      {"one_hot: num_classes depends on the values of ", [&] { F::one_hot(index); }},
      {"only pinned memory of the host is copied", [&] { counted({4}).cuda(); }},
      {"only pinned memory of the host is copied", [&] { host.cuda(); }},
      {"only pinned memory of the host is copied", [&] { x.copy_(counted({4, 3})); }},
      {"synchronize: not while a graph is captured", [] { cuda::synchronize(); }},
      {"Stream::synchronize: not while a graph is captured", [&] { side.synchronize(); }},
      {"Event::synchronize: not while a graph is captured", [&] { event.synchronize(); }},
      {"Event::reached: not while a graph is captured", [&] { (void)event.reached(); }},
      {"empty_cache: not while a graph is captured", [] { cuda::empty_cache(); }},
      {"Graph::capture: not while a graph is captured", [] { Graph::capture([] {}); }},
  };
  const std::vector<double> want = values(x * 2.0);
  for (const auto& [text, f] : refused) {
    Tensor y;
    EXPECT_REFUSED(text, Graph::capture([&] {
                     y = x * 2.0;
                     f();
                   }));
    EXPECT_FALSE(cuda::is_capturing());
    EXPECT_EQ(values(x * 2.0), want) << text;
    EXPECT_REFUSED(text, Graph::capture(f));
  }
  Tensor y;
  const auto graph = Graph::capture([&] { y = x * 2.0; });
  graph.replay();
  EXPECT_EQ(values(y), want);
}
TEST_F(CudaGraph, a_step_that_throws_leaves_no_memory_and_no_count) {
  const auto t = perceptron();
  t->step();
  cuda::synchronize();
  cuda::empty_cache();
  const auto before = t->state();
  const int64_t in_use = cuda::memory_stats().in_use, from_device = cuda::memory_stats().from_device;
  EXPECT_THROW(Graph::capture([&] {
                 const Tensor y = rand({1 << 20}, kCuda, &t->generator) * 2.0;
                 t->optimizer->step();
                 throw std::runtime_error("no");
               }),
               std::runtime_error);
  EXPECT_FALSE(cuda::is_capturing());
  EXPECT_EQ(t->state(), before);
  cuda::empty_cache();
  EXPECT_EQ(cuda::memory_stats().in_use, in_use);
  EXPECT_EQ(cuda::memory_stats().from_device, from_device);
}
TEST_F(CudaGraph, graphs_that_are_gone_or_elsewhere_are_named) {
  message([] { Graph::capture([] {}, 14); }, ErrorCode::device_unavailable);
  auto graph = Graph::capture([] {});
  const auto moved = std::move(graph);
  EXPECT_EQ(moved.device(), 0);
  EXPECT_NO_THROW(moved.replay()) << "of nothing";
  EXPECT_EQ(message([&] { graph.replay(); }, ErrorCode::invalid_argument), "Graph::replay: this graph was moved from");  // NOLINT(bugprone-use-after-move)
  EXPECT_REFUSED("Graph::replay: not while a graph is captured", Graph::capture([&] { moved.replay(); }));
  const DryRun dry;
  EXPECT_REFUSED("a dry run launches nothing", Graph::capture([] {}));
}
#ifdef GRAFT_CUDA_EMULATED
TEST_F(CudaGraph, graphs_of_several_devices_live_side_by_side_and_a_step_stays_on_one) {
  const Tensor x = counted({10}).cuda(0), y = counted({10}).cuda(1);
  EXPECT_REFUSED(": goes to cuda:1 while a graph of cuda:0 is captured", Graph::capture([&] { y * 2.0; }));
  EXPECT_REFUSED("while a graph is captured", Graph::capture([&] { x.cuda(1); }));
  Tensor a, b;
  const auto first = Graph::capture([&] { a = x * 2.0; }, 0);
  const auto second = Graph::capture([&] { b = y * 3.0; }, 1);
  second.replay();
  first.replay();
  EXPECT_EQ(values(a), values(x * 2.0));
  EXPECT_EQ(values(b), values(y * 3.0));
}
TEST_F(CudaGraph, a_fault_of_a_replayed_kernel_is_found) {
  const Tensor x = empty({100}, kCuda);
  const auto graph = Graph::capture([&] { x + 1.0; });
  graph.replay();
  EXPECT_TRUE(contains(message([] { cuda::synchronize(); }, ErrorCode::device_error), "uninitialised global memory"));
  cuda::emulation::reset();
}
#endif
TEST_F(CudaGraph, labels_and_indices_are_used_unseen) {
  const Tensor x = counted({4, 3}).cuda(), label = tensor({0, 2, 1, 1}).cuda(), p = tensor({0.25, 0.5, 0.75}, kCuda);
  const auto all = [&] {
    return Tensors{F::cross_entropy(x, label), embedding(x, label), gather(x, 0, label.reshape({1, 4}).narrow(1, 0, 3)), F::one_hot(label, 3),
                   index_select(x, 0, label), F::binary_cross_entropy(p, p), F::gaussian_nll_loss(x, x, x * x)};
  };
  Tensors made;
  const auto graph = Graph::capture([&] { made = all(); });
  label.copy_(tensor({2, 1, 0, 0}).cuda());
  graph.replay();
  const Tensors want = all();
  for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(values(made[i]), values(want[i])) << i;
}
TEST_F(CudaGraph, a_label_out_of_range_that_nobody_could_check_makes_the_loss_and_its_line_of_the_gradient_nan) {
  const Tensor x = counted({2, 3}).cuda().requires_grad_(), label = tensor({0, 2}).cuda();
  Tensor loss, dx;
  const auto graph = Graph::capture([&] {
    loss = F::cross_entropy(x, label, {.reduction = "none"});
    dx = grad({sum(loss)}, {x})[0];
  });
  for (const int64_t bad : {int64_t{3}, int64_t{-1}, INT64_MAX}) {
    label.copy_(tensor({int64_t{1}, bad}).cuda());
    graph.replay();
    const auto l = values(loss), d = values(dx);
    EXPECT_TRUE(std::isfinite(l[0]) && std::isfinite(d[0]) && std::isfinite(d[2])) << bad;
    EXPECT_TRUE(std::isnan(l[1]) && std::isnan(d[3]) && std::isnan(d[5])) << bad;
  }
}

}  // namespace
}  // namespace graft
