#include "graft/optim/sgd.h"

#include <cmath>
#include <memory>
#include "graft/core/ops.h"
#include "graft/kernels/optimizer/step.h"

namespace graft::inline v1::optim {

void SGDOptions::check(std::string_view name) const {
  GRAFT_CHECK(std::isfinite(lr) && lr >= 0, name, ": lr is ", lr, "; it must be finite and not negative");
  GRAFT_CHECK(momentum >= 0, name, ": momentum is ", momentum, "; it must not be negative");
  GRAFT_CHECK(weight_decay >= 0, name, ": weight_decay is ", weight_decay, "; it must not be negative");
  GRAFT_CHECK(std::isfinite(dampening), name, ": dampening is ", dampening, "; it must be finite");
  GRAFT_CHECK(!nesterov || (momentum > 0 && dampening == 0), name, ": nesterov needs a momentum and no dampening");
}

State SGD::prepare(size_t group, const Slot& s) const {
  State next = s.state;
  if (options(group).momentum == 0 || next.buffers[0].defined()) return next;
  next.buffers[0] = zeros_like(s.param);
  next.fresh = true;
  return next;
}

static const OpDef sgd_op{.name = "sgd", .infer = nullptr};

static SgdAttrs attrs_of(const SGDOptions& o, const bool* first) {
  return {.lr = o.lr, .momentum = o.momentum, .dampening = o.dampening, .weight_decay = o.weight_decay,
          .nesterov = o.nesterov, .maximize = o.maximize, .first = first};
}
Optimizer::Numbers SGD::numbers(size_t group) const {
  return {sizeof(SgdStep<double>), [this, group, was = options(group)](const State& counted, std::byte* to) {
            const SGDOptions& o = options(group);
            GRAFT_CHECK((o.momentum == 0) == (was.momentum == 0) && o.maximize == was.maximize, name(),
                        ": maximize, or whether there is a momentum, has changed since the graph was captured; capture it again");
            new (to) SgdStep<double>(sgd_step<double>(attrs_of(o, &counted.fresh), 0));
          }};
}

std::function<void()> SGD::update(const Batch& b) const {
  std::vector<TensorImpl*> inout;
  const auto first = std::make_shared<bool[]>(b.slots.size());
  for (size_t k = 0; k < b.slots.size(); ++k) {
    inout.push_back(b.slots[k]->param.impl());
    if (options(b.group).momentum != 0) inout.push_back(b.states[k].buffers[0].impl());
    first[ptrdiff_t(k)] = b.states[k].fresh;
  }
  SgdAttrs attrs = attrs_of(options(b.group), first.get());
  attrs.later = static_cast<const SgdStep<double>*>(b.later);
  return [attrs, first, launch = Update(sgd_op, impls(b.grads), std::move(inout))] { launch.run(attrs); };
}

}  // namespace graft
