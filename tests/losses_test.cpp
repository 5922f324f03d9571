// Losses, distances and attention against values and gradients recorded from PyTorch 2 (CPU, f64). The seed of the gradient
// is 1, 2, 3, ... over the elements of the result.
#include <cmath>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/nn/functional.h"

using namespace graft;
namespace F = nn::functional;

namespace {

const Tensor X = tensor({0.3, -1.2, 0.8, 1.5, -0.4, 0.1}, {2, 3}, f64), T = tensor({0.5, -1.0, 1.9, 0.2, -0.4, -2.1}, {2, 3}, f64);
const Tensor S = tensor({1., -1., 1., -1., 1., -1.}, {2, 3}, f64), W = tensor({0.5, 1., 2., 1.5, 0.25, 1.}, {2, 3}, f64);
const Tensor B = tensor({1., 0., 1., 0., 1., 1.}, {2, 3}, f64), Y = tensor({2, 0});

struct Recorded {
  const char* name;
  Tensor (*fn)(const Tensor& x);
  std::vector<double> value, grad;
};
const Recorded kRecorded[] = {
    {"mse mean", [](const Tensor& x) { return F::mse_loss(x, T); },
     {1.3033333333333335},
     {-0.06666666666666667, -0.06666666666666665, -0.3666666666666666, 0.43333333333333335, 0.0, 0.7333333333333334}},
    {"mse weighted", [](const Tensor& x) { return F::mse_loss(x, T, "mean", W); },
     {1.5768},
     {-0.032, -0.06399999999999999, -0.704, 0.624, 0.0, 0.7040000000000001}},
    {"l1 sum", [](const Tensor& x) { return F::l1_loss(x, T, "sum"); },
     {5.0},
     {-1.0, -1.0, -1.0, 1.0, 0.0, 1.0}},
    {"smooth l1", [](const Tensor& x) { return F::smooth_l1_loss(x, T, "none", 0.7); },
     {0.028571428571428577, 0.02857142857142856, 0.7499999999999999, 0.9500000000000001, 0.0, 1.85},
     {-0.28571428571428575, -0.5714285714285713, -3.0, 4.0, 0.0, 6.0}},
    {"huber", [](const Tensor& x) { return F::huber_loss(x, T, "mean", 0.6); },
     {0.3766666666666667},
     {-0.03333333333333333, -0.033333333333333326, -0.09999999999999999, 0.09999999999999999, 0.0,
      0.09999999999999999}},
    {"bce", [](const Tensor& x) { return F::binary_cross_entropy(sigmoid(x), B, {.weight = W}); },
     {0.7845719686025897},
     {-0.035463123599028416, 0.03857920275016374, -0.10334183962412917, 0.2043936190484109,
      -0.024945319171352166, -0.07917013542017666}},
    {"bce with logits", [](const Tensor& x) { return F::binary_cross_entropy_with_logits(x, B, {.pos_weight =
      tensor({1., 2., 3.}, f64)}); },
     {1.231928912108877},
     {-0.07092624719805683, 0.03857920275016373, -0.15501275943619378, 0.1362624126989406, -0.19956255337081732,
      -0.23751040626053}},
    {"kl batchmean", [](const Tensor& x) { return F::kl_div(F::log_softmax(x, 1), softmax(T, 1), "batchmean"); },
     {0.14711710723861465},
     {0.07937678554399664, 0.017711354870499532, -0.0970881404144962, 0.05492260110264278, -0.11283622827653761,
      0.05791362717389483}},
    {"kl log target", [](const Tensor& x) { return F::kl_div(x, T, "sum", true); },
     {5.900576301116728},
     {-1.6487212707001282, -0.36787944117144233, -6.6858944422792685, -1.2214027581601699, -0.6703200460356393,
      -0.1224564282529819}},
    {"poisson full", [](const Tensor& x) { return F::poisson_nll_loss(x, W * 2, true, true); },
     {1.7931219422377225},
     {0.05830980126266719, -0.28313429801463297, -0.29574317858458865, 0.24694817838967742, 0.02838667433927322,
      -0.14913818032072537}},
    {"gaussian full", [](const Tensor& x) { return F::gaussian_nll_loss(x, T, W, true); },
     {1.3948416510092512},
     {-0.06666666666666667, -0.033333333333333326, -0.09166666666666665, 0.14444444444444443, 0.0,
      0.3666666666666667}},
    {"hinge embedding", [](const Tensor& x) { return F::hinge_embedding_loss(x, S, 0.5); },
     {0.4666666666666666},
     {0.16666666666666666, -0.16666666666666666, 0.16666666666666666, 0.0, 0.16666666666666666,
      -0.16666666666666666}},
    {"margin ranking", [](const Tensor& x) { return F::margin_ranking_loss(x, T, S, 0.3); },
     {1.0666666666666667},
     {-0.16666666666666666, 0.16666666666666666, -0.16666666666666666, 0.16666666666666666,
      -0.16666666666666666, 0.16666666666666666}},
    {"cosine embedding", [](const Tensor& x) { return F::cosine_embedding_loss(x, T, tensor({1., -1.}, f64), -0.5); },
     {0.34554459690058414},
     {-0.015893161160558875, -0.09039235410040578, -0.12962859571565372, 0.006742531601371796,
      -0.05369282045855671, -0.3159092558546492}},
    {"soft margin", [](const Tensor& x) { return F::soft_margin_loss(x, S); },
     {0.7579272613684352},
     {-0.07092624719805683, 0.03857920275016373, -0.051670919812064585, 0.1362624126989406,
      -0.09978127668540866, 0.08749653124649}},
    {"multi margin", [](const Tensor& x) { return F::multi_margin_loss(x, Y, {.p = 2, .weight = tensor({1., 2.,
      0.5}, f64)}); },
     {0.02083333333333333},
     {0.08333333333333331, 0.0, -0.08333333333333331, 0.0, 0.0, 0.0}},
    {"multilabel margin", [](const Tensor& x) { return F::multilabel_margin_loss(x, tensor({2, 0, -1, 1, -1, 0},
      {2, 3})); },
     {0.7333333333333334},
     {0.0, 0.0, 0.0, 0.16666666666666666, -0.3333333333333333, 0.16666666666666666}},
    {"multilabel soft margin", [](const Tensor& x) { return F::multilabel_soft_margin_loss(x, B); },
     {0.7412605947017686},
     {-0.07092624719805683, 0.03857920275016373, -0.05167091981206459, 0.1362624126989406, -0.09978127668540866,
      -0.07917013542017666}},
    {"triplet swap", [](const Tensor& x) { return F::triplet_margin_loss(x, T, T * -0.5, {.margin = 2, .swap =
      true}); },
     {1.6175233204077448},
     {-0.1980009685397615, 0.25181909623997545, -0.8341083716368838, -0.1548172704241459, 0.15344308870553838,
      0.6734146255442245}},
    {"normalize", [](const Tensor& x) { return F::normalize(x, 3); },
     {0.22836913908575196, -0.9134765563430078, 0.6089843708953386, 0.9936614581630816, -0.26497638884348845,
      0.06624409721087211},
     {0.7521641987238412, 1.6675211655636588, 2.219220173824047, 0.6566638706077728, 3.4539364173668665,
      3.9657876103508727}},
    {"cosine similarity", [](const Tensor& x) { return F::cosine_similarity(x, T, 0); },
     {0.5462677805469223, 0.9982743731749958, 0.5737562550149747},
     {0.5369298697683424, 0.02936101097573518, 0.3780120482247815, -0.10738597395366853, -0.08808303292720543,
      -3.024096385798247}},
    {"pairwise distance", [](const Tensor& x) { return F::pairwise_distance(x, T); },
     {1.135780348484248, 2.555387837492188},
     {-0.1760895055693718, -0.17608950556937175, -0.9684962426652303, 1.0174588615681897, 7.826600606985608e-07,
      1.7218529161968947}},
    {"pairwise distance inf", [](const Tensor& x) { return F::pairwise_distance(x, T, INFINITY, 1e-6, true); },
     {1.099999, 2.2000010000000003},
     {-0.0, -0.0, -1.0, 0.0, 0.0, 2.0}},
    {"lp pool", [](const Tensor& x) { return F::lp_pool1d(exp(x), 3, 2, 1); },
     {1.3548389370437284, 2.227378266033099, 4.48668203132029, 1.181917074195284},
     {1.339953399368735, 0.025900471833350196, 4.443741597907841, 13.415159433888606, 0.9073340254952643,
      3.8652209313581327}},
    {"local response norm", [](const Tensor& x) { return F::local_response_norm(x.unsqueeze(0), 2, 0.5); },
     {0.29503515477101167, -0.9528555431168862, 0.7157255073474252, 1.0618650069189124, -0.31078780169636494,
      0.08932135009599125},
     {0.6495135658328484, 0.45804600803891726, 1.990362353655793, 1.3242606710892013, 3.7183540560100807,
      5.34199300251509}},
    {"attention", [](const Tensor& x) { return F::scaled_dot_product_attention(x, T, W); },
     {0.5898739822173582, 0.9325945133369813, 1.9101260177826418, 0.8476666029325484, 0.7392500478005887,
      1.6523333970674514},
     {0.0495865835109024, -0.0991731670218048, 0.6611544468120304, 0.2258713041951591, -0.4517426083903182,
      3.0116173892687867}},
    {"attention causal", [](const Tensor& x) { return F::scaled_dot_product_attention(x, T, W, {.is_causal =
      true, .scale = 0.7}); },
     {0.5, 1.0, 2.0, 0.8179952884012547, 0.7615035336990591, 1.6820047115987455},
     {0.0, 0.0, 0.0, 0.26187569908419744, -0.5237513981683949, 3.4916759877893053}},
    {"ctc", [](const Tensor& x) { return F::ctc_loss(F::log_softmax(cat({x, T, x}), 1).unsqueeze(1), tensor({1,
      1, 2}, {1, 3}), tensor({6}), tensor({3})); },
     {1.7401372434652702},
     {0.10223229438587021, -0.20874268553679615, 0.10651039115092595, 0.03009585714868939,
      -0.038291922088650454, 0.008196064939961063}},
    {"ctc batch", [](const Tensor& x) { return F::ctc_loss(F::log_softmax(stack({x, T, x, x}), 2), tensor({1, 2,
      1}), tensor({4, 3}), tensor({2, 1}), {.reduction = "sum"}); },
     {3.854753474960278},
     {0.23468833007718232, -0.6075640129506935, 0.37287568287351114, -0.09126177430851133, -0.26198710521582724,
      0.3532488795243386}},
    {"ctc impossible", [](const Tensor& x) { return F::ctc_loss(F::log_softmax(stack({x, T}), 2), tensor({1, 2,
      1, 1}, {2, 2}), tensor({2, 2}), tensor({2, 2}), {.zero_infinity = true}); },
     {0.7046416758777865},
     {0.0870518569709337, -0.23057610521285735, 0.1435242482419236, 0.0, 0.0, 0.0}},
    {"attention mask", [](const Tensor& x) { return F::scaled_dot_product_attention(x, T, W, {.attn_mask =
      tensor({1, 0, 1, 1}, {2, 2}).to(DType::boolean)}); },
     {0.5, 1.0, 2.0, 0.8476666029325484, 0.7392500478005887, 1.6523333970674514},
     {0.0, 0.0, 0.0, 0.2258713041951591, -0.4517426083903182, 3.0116173892687867}},
};

void expect_close(const Tensor& got, const std::vector<double>& expected, double tolerance) {
  const Tensor t = got.to(f64).contiguous();
  ASSERT_EQ(size_t(t.numel()), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(t.data<double>()[i], expected[i], tolerance * (1 + std::abs(expected[i])));
}
Tensor seeded(const Tensor& y) {
  const Tensor seed = empty(y.shape(), f64);
  for (int64_t i = 0; i < seed.numel(); ++i) seed.mutable_data<double>()[i] = double(i + 1);
  return sum(y * seed);
}

TEST(Recorded, values_and_gradients_are_those_of_PyTorch) {
  for (const Recorded& r : kRecorded) {
    SCOPED_TRACE(r.name);
    const Tensor x = X.clone().requires_grad_();
    const Tensor y = r.fn(x);
    expect_close(y, r.value, 1e-12);
    seeded(y).backward();
    expect_close(x.grad(), r.grad, 1e-10);
  }
}

}  // namespace
