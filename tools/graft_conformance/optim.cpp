// Replays one optimizer: the recorded gradients of ten steps, parameters compared after steps 1, 5 and 10.
#include "compare.h"
#include "kinds.h"
#include "optimizers.h"

namespace conformance {
namespace {

using namespace graft;

void replay_optimizer(const CaseFile& file, const Json& c) {
  const std::string id = c.at("id");
  ParamGroup group;
  for (int j = 0; file.has_tensor(concat(id, ":p", j, ":0")); ++j)
    group.params.push_back(file.tensor(concat(id, ":p", j, ":0")).requires_grad_());
  if (group.params.empty()) throw Unsupported("no parameters are recorded");
  const auto optimizer = make_optimizer(c.at("optimizer"), c.at("kwargs"), {group});
  for (int t = 1; file.has_tensor(concat(id, ":g0:", t)); ++t) {
    for (size_t j = 0; j < group.params.size(); ++j) group.params[j].set_grad(file.tensor(concat(id, ":g", j, ':', t)));
    optimizer->step();
    for (size_t j = 0; j < group.params.size(); ++j) {
      const std::string key = concat(id, ":p", j, ':', t);
      if (!file.has_tensor(key)) continue;
      const Tensor want = file.tensor(key);
      expect_close(group.params[j], want, tolerance_for(want.dtype(), false),
                   concat("parameter ", j, " after step ", t));
    }
  }
}

}  // namespace

Result run_optim(const CaseFile& file, const Json& c) {
  return run_case(c.value("id", "?"), {c.value("optimizer", "?")}, [&] { replay_optimizer(file, c); });
}

}  // namespace conformance
