#include "graft/optim/adam.h"

#include <cmath>
#include <memory>
#include "graft/core/ops.h"
#include "graft/kernels/optimizer/step.h"

namespace graft::inline v1::optim {

void AdamOptions::check(std::string_view name) const {
  GRAFT_CHECK(std::isfinite(lr) && lr >= 0, name, ": lr is ", lr, "; it must be finite and not negative");
  GRAFT_CHECK(beta1 >= 0 && beta1 < 1, name, ": beta1 is ", beta1, "; it must be in [0, 1)");
  GRAFT_CHECK(beta2 >= 0 && beta2 < 1, name, ": beta2 is ", beta2, "; it must be in [0, 1)");
  GRAFT_CHECK(eps >= 0, name, ": eps is ", eps, "; it must not be negative");
  GRAFT_CHECK(weight_decay >= 0, name, ": weight_decay is ", weight_decay, "; it must not be negative");
}

State AdamBase::prepare(size_t group, const Slot& s) const {
  State next = s.state;
  for (size_t b = 0; b < (options(group).amsgrad ? 3U : 2U); ++b)
    if (!next.buffers[b].defined()) next.buffers[b] = zeros_like(s.param);
  return next;
}

static const OpDef adam_op{.name = "adam", .infer = nullptr};

static AdamAttrs attrs_of(const AdamOptions& o, bool decoupled, const int64_t* step) {
  return {.lr = o.lr, .beta1 = o.beta1, .beta2 = o.beta2, .eps = o.eps, .weight_decay = o.weight_decay,
          .decoupled = decoupled, .amsgrad = o.amsgrad, .maximize = o.maximize, .step = step};
}
Optimizer::Numbers AdamBase::numbers(size_t group) const {
  return {sizeof(AdamStep<double>), [this, group, was = options(group)](const State& counted, std::byte* to) {
            const AdamOptions& o = options(group);
            GRAFT_CHECK(o.amsgrad == was.amsgrad && o.maximize == was.maximize, name(),
                        ": amsgrad or maximize has changed since the graph was captured; capture it again");
            new (to) AdamStep<double>(adam_step<double>(attrs_of(o, decoupled_, &counted.step), 0));
          }};
}

std::function<void()> AdamBase::update(const Batch& b) const {
  const AdamOptions& o = options(b.group);
  std::vector<TensorImpl*> inout;
  const auto step = std::make_shared<int64_t[]>(b.slots.size());
  for (size_t k = 0; k < b.slots.size(); ++k) {
    inout.push_back(b.slots[k]->param.impl());
    for (size_t i = 0; i < (o.amsgrad ? 3U : 2U); ++i) inout.push_back(b.states[k].buffers[i].impl());
    step[ptrdiff_t(k)] = b.states[k].step;
  }
  AdamAttrs attrs = attrs_of(o, decoupled_, step.get());
  attrs.later = static_cast<const AdamStep<double>*>(b.later);
  return [attrs, step, launch = Update(adam_op, impls(b.grads), std::move(inout))] { launch.run(attrs); };
}

}  // namespace graft
