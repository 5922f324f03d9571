// Connectionist temporal classification (Graves et al. 2006): the forward recursion in logarithms, one step per time, so
// that gradients of any order follow from it.
#include <limits>
#include "graft/core/op.h"
#include "graft/nn/functional/reduce.h"

namespace graft::inline v1::nn::functional {
namespace {

constexpr double kNever = -1e30;  // the logarithm of an impossible path, finite so that no NaN arises

// What the recursion runs over: targets with blanks between, around and behind them, [n, states].
struct Paths {
  Tensor label;  // i64
  Tensor skip;   // bool: the state may be entered from two before, as its label differs from that one's
  Tensor last, before_last;  // [n, 1]: the two states in which a path may end
  std::vector<int64_t> steps, lengths;
};

std::vector<int64_t> values_of(const Tensor& t) {
  const Tensor x = t.to(i64).contiguous();
  return {x.data<int64_t>(), x.data<int64_t>() + x.numel()};
}

Paths paths_of(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths, const Tensor& target_lengths,
               int64_t blank) {
  const int64_t time = log_probs.size(0), n = log_probs.size(1), classes = log_probs.size(2);
  Paths p{.label = {}, .skip = {}, .last = {}, .before_last = {}, .steps = values_of(input_lengths), .lengths = values_of(target_lengths)};
  GRAFT_CHECK(int64_t(p.steps.size()) == n && int64_t(p.lengths.size()) == n, ErrorCode::shape_mismatch,
              "ctc_loss: input_lengths and target_lengths must be of size batch_size ", n);
  const std::vector<int64_t> all = values_of(targets);
  const int64_t longest = n ? std::max<int64_t>(0, *std::ranges::max_element(p.lengths)) : 0, states = 2 * longest + 1;
  p.label = full({n, states}, blank, i64);
  p.skip = full({n, states}, false, DType::boolean);
  p.last = full({n, 1}, 0, i64);
  p.before_last = full({n, 1}, 0, i64);
  int64_t* label = p.label.mutable_data<int64_t>();
  bool* skip = p.skip.mutable_data<bool>();
  int64_t first = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t length = p.lengths[size_t(i)];
    GRAFT_CHECK(p.steps[size_t(i)] >= 0 && p.steps[size_t(i)] <= time, "ctc_loss: Expected input_lengths to have value at most ",
                time, ", but got value ", p.steps[size_t(i)]);
    if (targets.dim() == 2) first = i * targets.size(1);
    GRAFT_CHECK(length >= 0 && first + length <= int64_t(all.size()) && (targets.dim() != 2 || length <= targets.size(1)),
                ErrorCode::shape_mismatch, "ctc_loss: target length ", length, " of sample ", i, " exceeds ", targets);
    for (int64_t j = 0; j < length; ++j) {
      const int64_t c = all[size_t(first + j)];
      GRAFT_CHECK(c >= 0 && c < classes && c != blank, ErrorCode::index_out_of_range, "ctc_loss: label ", c,
                  " is blank or out of range for ", classes, " classes");
      label[i * states + 2 * j + 1] = c;
      skip[i * states + 2 * j + 1] = j > 0 && c != all[size_t(first + j - 1)];
    }
    p.last.mutable_data<int64_t>()[i] = 2 * length;
    p.before_last.mutable_data<int64_t>()[i] = std::max<int64_t>(2 * length - 1, 0);
    first += length;
  }
  return p;
}

Tensor log_sum(const Tensor& a, const Tensor& b) {
  const Tensor top = maximum(a, b).detach();
  return log(exp(a - top) + exp(b - top)) + top;
}
Tensor shifted(const Tensor& alpha, int64_t by) {  // what was `by` states before
  const int64_t states = alpha.size(1);
  if (by >= states) return full(alpha.shape(), kNever, alpha.options());
  return cat({full({alpha.size(0), by}, kNever, alpha.options()), alpha.narrow(1, 0, states - by)}, 1);
}
Tensor running(const std::vector<int64_t>& steps, int64_t t) {  // bool [n, 1]
  const Tensor mask = full({int64_t(steps.size()), 1}, false, DType::boolean);
  for (size_t i = 0; i < steps.size(); ++i) mask.mutable_data<bool>()[i] = t < steps[i];
  return mask;
}

Tensor negative_log_likelihood(const Tensor& log_probs, const Paths& p) {  // [n]
  const int64_t n = log_probs.size(1), states = p.label.size(1);
  Tensor alpha = cat({zeros({n, 1}, log_probs.options()), full({n, states}, kNever, log_probs.options())}, 1);
  // State -1, before everything, leads to states 0 and 1 with the first step.
  for (int64_t t = 0; t < log_probs.size(0); ++t) {
    const Tensor emit = gather(log_probs.select(0, t), 1, p.label);
    const Tensor here = alpha.narrow(1, 1, states), one = alpha.narrow(1, 0, states);
    Tensor two = shifted(here, 2);
    if (t == 0 && states > 1) two = cat({two.narrow(1, 0, 1), alpha.narrow(1, 0, 1), two.narrow(1, 2, states - 2)}, 1);
    const Tensor allowed = t == 0 ? logical_or(p.skip, ge(two, -1.0)) : p.skip;
    const Tensor next = log_sum(log_sum(here, one), where(allowed, two, kNever)) + emit;
    const Tensor stepped = cat({full({n, 1}, kNever, log_probs.options()), next}, 1);
    alpha = where(running(p.steps, t), stepped, alpha);
  }
  const auto end = [&](const Tensor& state) { return gather(alpha, 1, state + 1).squeeze(1); };
  const Tensor single = eq(p.last, 0).squeeze(1);  // an empty target ends in one state only
  return -where(single, end(p.last), log_sum(end(p.last), end(p.before_last)));
}

}  // namespace

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, const CtcOptions& o) {
  if (log_probs.dim() == 2) {  // without a batch
    const Tensor loss = ctc_loss(log_probs.unsqueeze(1), targets.reshape({1, targets.numel()}), input_lengths.reshape({1}),
                                 target_lengths.reshape({1}), o);
    return o.reduction == Reduction::none ? loss.squeeze(0) : loss;
  }
  GRAFT_CHECK(log_probs.dim() == 3, ErrorCode::shape_mismatch, "ctc_loss: needs log_probs [time, n, classes]: ", log_probs);
  GRAFT_CHECK(o.blank >= 0 && o.blank < log_probs.size(2), "ctc_loss: blank must be in label range");
  if (log_probs.device().type == Device::meta || thread_modes().dry_run)
    return reduced(sum(log_probs, {0, 2}), o.reduction);  // the shape
  const Paths p = paths_of(log_probs, targets, input_lengths, target_lengths, o.blank);
  Tensor loss = negative_log_likelihood(log_probs, p);
  const Tensor impossible = gt(loss.detach(), -kNever / 2);
  loss = where(impossible, o.zero_infinity ? 0.0 : std::numeric_limits<double>::infinity(), loss);
  if (o.reduction != Reduction::mean) return reduced(loss, o.reduction);
  const Tensor lengths = clamp_min(target_lengths.to(i64), 1).to(loss.dtype());
  return reduced(loss / lengths, o.reduction);
}

}  // namespace graft::nn::functional
