#include "graft/surgery/trace.h"

#include <algorithm>
#include "graft/core/op.h"
#include "graft/nn/call.h"

namespace graft::inline v1::surgery {
namespace {

void add_once(std::vector<size_t>& list, size_t i) {
  if (std::ranges::find(list, i) == list.end()) list.push_back(i);
}

class Recorder final : public Observer {
 public:
  explicit Recorder(Trace& t) : t_(t) {}
  void after(const graft::Call& call, std::span<const Tensor> out, const Candidate*) override {
    Trace::Op op{call.op.name, call_of(current_frame()), {}, {}};
    for (TensorImpl* in : call.in) op.in.push_back(value_of(*in, op.call));
    const size_t at = t_.ops.size();
    for (const size_t id : op.in) {
      Trace::Item& value = t_.values[id];
      add_once(value.consumers, at);
      if (value.producer == Trace::none) add_once(t_.reads_of[value.tensor.impl()], at);
    }
    for (const Tensor& o : out) op.out.push_back(made(o, at));
    t_.ops.push_back(std::move(op));
  }
  void given(const Tensor& t) {
    if (t.defined()) t_.values[value_of(*t.impl(), Trace::none)].input = true;
  }
  void returned(const Tensor& t) {
    if (t.defined()) t_.values[value_of(*t.impl(), Trace::none)].output = true;
  }

 private:
  size_t made(const Tensor& t, size_t op) {
    const size_t id = t_.values.size();
    t_.values.push_back({t, op, {}, false, false, false});
    current_[t.impl()] = id;
    if (t.impl()->storage) in_storage_[t.impl()->storage.get()] = id;
    return id;
  }
  size_t value_of(TensorImpl& t, size_t call) {
    if (const auto it = current_.find(&t); it != current_.end()) return it->second;
    const Tensor tensor(Ref<TensorImpl>::share(&t));
    const auto of = t.storage ? in_storage_.find(t.storage.get()) : in_storage_.end();
    if (of == in_storage_.end()) return made(tensor, Trace::none);
    const size_t at = t_.ops.size();  // the same memory under another handle, which no op has made: detach()
    add_once(t_.values[of->second].consumers, at);
    t_.ops.push_back({"alias", call, {of->second}, {}});
    const size_t id = made(tensor, at);
    t_.ops[at].out.push_back(id);
    return id;
  }
  size_t call_of(const PathFrame* f) {
    while (f && !f->module) f = f->outer;
    if (!f) return Trace::none;
    if (const auto it = serials_.find(f->serial); it != serials_.end()) return it->second;
    const size_t outer = call_of(f->outer);
    const size_t id = t_.calls.size();
    const auto* module = static_cast<const nn::Module*>(f->module);
    t_.calls.push_back({module, outer, {}, {}});
    t_.calls_of[module].push_back(id);
    return serials_[f->serial] = id;
  }

  Trace& t_;
  std::unordered_map<const TensorImpl*, size_t> current_;
  std::unordered_map<const Storage*, size_t> in_storage_;
  std::unordered_map<uint64_t, size_t> serials_;
};

bool lies_within(const Trace& t, size_t call, size_t outer) {
  while (call != outer && call != Trace::none) call = t.calls[call].outer;
  return call == outer;
}

void derive_calls(Trace& t) {
  for (size_t v = 0; v < t.values.size(); ++v) {
    const Trace::Item& value = t.values[v];
    const size_t from = value.producer == Trace::none ? Trace::none : t.ops[value.producer].call;
    for (const size_t op : value.consumers)
      for (size_t c = t.ops[op].call; c != Trace::none; c = t.calls[c].outer)
        if (!lies_within(t, from, c)) add_once(t.calls[c].in, v);
    for (size_t c = from; c != Trace::none; c = t.calls[c].outer) {
      const bool leaves = value.output || std::ranges::any_of(value.consumers, [&](size_t op) {
                            return !lies_within(t, t.ops[op].call, c);
                          });
      if (leaves) t.calls[c].out.push_back(v);
    }
  }
}

// Handles of the trace itself, and of views to what they are views of, do not count.
void find_kept(Trace& t) {
  std::unordered_map<const TensorImpl*, uint32_t> known;
  for (const Trace::Item& v : t.values)
    if (++known[v.tensor.impl()] == 1 && v.tensor.impl()->base) ++known[v.tensor.impl()->base.get()];
  for (Trace::Item& v : t.values)
    v.kept = v.producer != Trace::none && v.tensor.impl()->refs.load() > known[v.tensor.impl()];
}

Trace run(nn::Module& model, const nn::Values& example) {
  Trace t;
  Recorder recorder(t);
  const NoGrad quiet;
  {
    const Observing observing(recorder);
    const nn::CallScope scope(model, nullptr);
    nn::Value given(example);
    nn::for_each_tensor(given, [&](Tensor& in) { recorder.given(in); });
    nn::Value result = model.call(example);
    nn::for_each_tensor(result, [&](Tensor& out) { recorder.returned(out); });
  }
  find_kept(t);
  derive_calls(t);
  return t;
}

}  // namespace

size_t Trace::producer_call(size_t value) const {
  return values[value].producer == none ? none : ops[values[value].producer].call;
}
std::vector<size_t> Trace::consumer_calls(size_t value) const {
  std::vector<size_t> list;
  for (const size_t op : values[value].consumers) add_once(list, ops[op].call);
  return list;
}
size_t Trace::only_consumer(size_t value) const {
  const Item& v = values[value];
  if (v.output || v.kept) return none;
  const std::vector<size_t> list = consumer_calls(value);
  return list.size() == 1 ? list[0] : none;
}

Trace trace(nn::Module& model, const nn::Values& example) {
  nn::refuse_during_call("trace");
  try {
    const DryRun shapes_only;
    return run(model, example);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::data_dependent) throw;
    if (std::ranges::any_of(std::as_const(model).modules(), [](const nn::Module* m) { return m->training(); }))
      throw Error(e.text(), e.code(), "to trace this model on real values, call eval() first");
  }
  Trace t = run(model, example);
  t.on_values = true;
  return t;
}

}  // namespace graft
