// Replays one recorded call of an op: outputs, then gradients of its probed outputs.
#include "ops.h"

#include <unordered_map>
#include "compare.h"
#include "graft/core/autograd.h"
#include "kinds.h"

namespace conformance {
namespace {

using namespace graft;

const OpAdapter* find_op(const std::string& name) {
  static const auto table = [] {
    std::unordered_map<std::string_view, const OpAdapter*> t;
    for (const auto family : {pointwise_ops(), view_ops(), shape_ops(), index_ops(), linear_ops(), reduction_ops(),
                              functional_ops(), loss_ops()})
      for (const OpAdapter& op : family) t.emplace(op.name, &op);
    return t;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

void check_gradients(const CaseFile& file, const Json& c, const Outputs& outputs, CaseTensors& tensors, bool loose) {
  Tensors probed, probes, inputs;
  for (size_t i = 0; i < c.at("probed").size(); ++i) {
    probed.push_back(outputs.at(c["probed"][i]));
    probes.push_back(file.tensor(c.at("probes").at(i)));
  }
  for (const auto& [key, value] : c.at("grads").items()) inputs.push_back(tensors.get(key));
  if (inputs.empty()) return;
  const Tensors grads = grad(probed, inputs, {.grad_outputs = probes, .materialize_grads = true});
  size_t i = 0;
  for (const auto& [key, value] : c["grads"].items()) {
    const Tensor want = file.tensor(value);
    expect_close(grads[i++], want, tolerance_for(want.dtype(), loose), "the gradient of " + key);
  }
}

void replay_op(const CaseFile& file, const Json& c) {
  const OpAdapter* op = find_op(c.at("op"));
  if (!op) throw Unsupported("no op of this name");
  CaseTensors tensors(file);
  Arguments arguments(c.at("args"), c.at("kwargs"), tensors);
  const Outputs outputs = op->call(arguments);
  arguments.finish();
  const Json& wanted = c.at("outputs");
  if (outputs.size() != wanted.size())
    throw Mismatch(concat("gives ", outputs.size(), " outputs instead of ", wanted.size()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor want = file.tensor(wanted[i]);
    expect_close(outputs[i], want, tolerance_for(want.dtype(), op->loose), concat("output ", i));
  }
  if (c.contains("grads")) check_gradients(file, c, outputs, tensors, op->loose);
}

}  // namespace

Result run_op(const CaseFile& file, const Json& c) {
  return run_case(c.value("id", "?"), {c.value("op", "?")}, [&] { replay_op(file, c); });
}

}  // namespace conformance
