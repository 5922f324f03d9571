// Replays one layer: built by name, given the recorded state, called; outputs, gradients and buffers compared.
#include <algorithm>
#include <map>
#include "arguments.h"
#include "compare.h"
#include "graft/core/autograd.h"
#include "graft/nn/registry.h"
#include "kinds.h"
#include "values.h"

namespace conformance {
namespace {

using namespace graft;

// The order of forward's arguments, for layers whose cases give some of them by name and leave others out.
const std::map<std::string, std::vector<std::string>> kForwardArguments{
    {"MultiheadAttention", {"query", "key", "value", "key_padding_mask", "need_weights", "attn_mask"}},
    {"TransformerEncoderLayer", {"src", "src_mask", "src_key_padding_mask"}},
    {"TransformerDecoderLayer",
     {"tgt", "memory", "tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask"}},
    {"Transformer",
     {"src", "tgt", "src_mask", "tgt_mask", "memory_mask", "src_key_padding_mask", "tgt_key_padding_mask"}},
};

// Sums of many products.
bool is_loose(const std::string& module) {
  for (const char* part :
       {"Conv", "Linear", "linear", "RNN", "GRU", "LSTM", "Transformer", "Attention", "Norm", "Loss"})
    if (module.find(part) != module.npos) return true;
  return false;
}

std::string part_of_id(const Json& c, size_t index) {  // module/dtype/train/number
  std::string rest = c.at("id");
  for (; index > 0; --index) rest = rest.substr(std::min(rest.size(), rest.find('/') + 1));
  return rest.substr(0, rest.find('/'));
}

nn::ModulePtr build_layer(const CaseFile& file, const Json& c, CaseTensors& tensors) {
  const std::string type = c.at("module");
  const auto known = nn::registered_types();
  if (std::find(known.begin(), known.end(), type) == known.end()) throw Unsupported("no layer of this name");
  const nn::ModulePtr m = nn::build(type, to_args(c.at("args"), c.at("kwargs"), tensors));
  DType dtype{};
  if (parse_dtype(part_of_id(c, 1), dtype)) m->to(dtype);
  m->to(where);
  nn::StateDict state;
  for (const auto& [name, key] : c.at("state").items()) state.set(name, file.tensor(key));
  m->load_state_dict(state);
  m->train(part_of_id(c, 2) == "train");
  return m;
}

nn::Values forward_arguments(const Json& c, const Tensors& inputs) {
  const Json& names = c.at("forward_names");
  const size_t by_position = inputs.size() - names.size();
  nn::Values args(inputs.begin(), inputs.begin() + int64_t(by_position));
  const auto order = kForwardArguments.find(c.at("module"));
  for (size_t i = 0; i < names.size(); ++i) {
    size_t at = by_position + i;
    if (order != kForwardArguments.end())
      at = size_t(std::find(order->second.begin(), order->second.end(), names[i].get<std::string>()) - order->second.begin());
    if (args.size() <= at) args.resize(at + 1);
    args[at] = inputs[by_position + i];
  }
  return args;
}

// The tensors of a tuple; what is nested deeper is not recorded.
Tensors tensors_of(const nn::Value& v) {
  if (const Tensor* t = v.get_if<Tensor>()) return {*t};
  Tensors out;
  for (const nn::Value& item : v.list())
    if (const Tensor* t = item.get_if<Tensor>()) out.push_back(*t);
  return out;
}

void check_gradients(const CaseFile& file, const Json& c, const nn::Module& m, const Tensors& inputs,
                     const Tensors& outputs, bool loose) {
  Tensors probed, probes, wrt, wanted;
  std::vector<std::string> names;
  for (const Tensor& y : outputs)
    if (y.requires_grad() && probed.size() < c.at("probes").size()) probed.push_back(y);
  for (size_t i = 0; i < probed.size(); ++i) probes.push_back(file.tensor(c["probes"][i]));
  for (const auto& [index, key] : c.at("grad_in").items()) {
    wrt.push_back(inputs.at(std::stoul(index)));
    wanted.push_back(file.tensor(key));
    names.push_back("the gradient of input " + index);
  }
  for (const auto& [name, key] : c.at("grad_par").items()) {
    wrt.push_back(m.get_parameter(name));
    wanted.push_back(file.tensor(key));
    names.push_back("the gradient of " + name);
  }
  if (wrt.empty()) return;
  if (probed.size() != c["probes"].size()) throw Mismatch("fewer outputs can be differentiated than recorded");
  const Tensors grads = grad(probed, wrt, {.grad_outputs = probes, .materialize_grads = true});
  for (size_t i = 0; i < wrt.size(); ++i)
    expect_close(grads[i], wanted[i], tolerance_for(wanted[i].dtype(), loose), names[i]);
}

void replay_module(const CaseFile& file, const Json& c) {
  CaseTensors tensors(file);
  const bool loose = is_loose(c.at("module"));
  const nn::ModulePtr m = build_layer(file, c, tensors);
  Tensors inputs;
  for (const Json& key : c.at("inputs")) inputs.push_back(file.tensor(key));
  for (const auto& [index, key] : c.at("grad_in").items()) inputs.at(std::stoul(index)).requires_grad_();
  const Tensors outputs = tensors_of(m->call(forward_arguments(c, inputs)));
  const Json& wanted = c.at("outputs");
  if (outputs.size() != wanted.size())
    throw Mismatch(concat("gives ", outputs.size(), " outputs instead of ", wanted.size()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor want = file.tensor(wanted[i]);
    expect_close(outputs[i], want, tolerance_for(want.dtype(), loose), concat("output ", i));
  }
  check_gradients(file, c, *m, inputs, outputs, loose);
  for (const auto& [name, key] : c.at("state_after").items()) {
    const Tensor want = file.tensor(key);
    expect_close(m->get_buffer(name), want, tolerance_for(want.dtype(), loose), name + " afterwards");
  }
}

}  // namespace

Result run_module(const CaseFile& file, const Json& c) {
  return run_case(c.value("id", "?"), {c.value("module", "?")}, [&] { replay_module(file, c); });
}

}  // namespace conformance
