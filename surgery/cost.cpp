#include "graft/surgery/cost.h"

#include <algorithm>
#include "graft/core/op.h"
#include "graft/core/path.h"

namespace graft::inline v1::surgery {
namespace {

int64_t bytes_of(const Tensor& t) { return t.numel() * size_of(t.dtype()); }

class Meter final : public Observer {
 public:
  explicit Meter(Cost& c) : cost_(c) {}

  void after(const graft::Call& call, std::span<const Tensor> out, const Candidate*) override {
    const size_t now = ops_++;
    for (TensorImpl* in : call.in) touch(*in, now);
    for (const Tensor& t : out) make(t, now);
    const int64_t macs = call.op.macs ? call.op.macs(call, out) : 0;
    std::unordered_set<const void*> counted;  // a module that calls itself counts once
    for (const PathFrame* f = current_frame(); f; f = f->outer) {
      if (!f->module || !counted.insert(f->module).second) continue;
      Cost::OfModule& m = cost_.modules[static_cast<const nn::Module*>(f->module)];
      m.macs += macs;
      Tensor& last = last_[f->module];
      if (out.empty() || (last.defined() && std::ranges::find(call.in, last.impl()) == call.in.end())) continue;
      last = out[0];  // not of an op beside the way of the data, such as running statistics
      m.output = concat(out[0].shape());
    }
  }
  void given(const Tensor& t) {
    if (t.defined() && t.impl()->storage) base_[t.impl()->storage.get()] = std::max(base_[t.impl()->storage.get()], bytes_of(t));
  }
  void returned(const Tensor& t) {
    if (t.defined()) touch(*t.impl(), ops_);
  }
  int64_t peak() const {  // of what ops have made
    std::vector<int64_t> change(ops_ + 2);
    for (const auto& [storage, life] : lives_) {
      change[life.from] += life.bytes;
      change[life.to + 1] -= life.bytes;
    }
    int64_t now = 0, most = 0;
    for (const int64_t c : change) most = std::max(most, now += c);
    return most;
  }
  int64_t base() const {
    int64_t sum = 0;
    for (const auto& [storage, bytes] : base_) sum += bytes;
    return sum;
  }

 private:
  struct Life { int64_t bytes; size_t from, to; };
  void touch(TensorImpl& t, size_t now) {
    if (const auto it = lives_.find(t.storage.get()); it != lives_.end()) it->second.to = now;
  }
  void make(const Tensor& t, size_t now) {
    const Storage* s = t.impl()->storage.get();
    if (!s || base_.contains(s)) return;
    const auto [it, fresh] = lives_.try_emplace(s, Life{bytes_of(t), now, now});
    if (!fresh) it->second.to = now;  // a view, or written in place
    else kept_.push_back(t);          // so that no other storage gets its address
  }
  Cost& cost_;
  size_t ops_ = 0;
  std::unordered_map<const void*, Tensor> last_;
  std::unordered_map<const Storage*, Life> lives_;
  std::unordered_map<const Storage*, int64_t> base_;
  std::vector<Tensor> kept_;
};

}  // namespace

Cost cost(nn::Module& model, const nn::Values& example) {
  Cost c;
  Meter meter(c);
  for (const nn::Module* m : std::as_const(model).modules()) {
    for (const auto& e : m->param_entries()) meter.given(e->value());
    for (const auto& e : m->buffer_entries()) meter.given(e->value);
  }
  c.state_bytes = meter.base();
  nn::Value inputs(example);
  nn::for_each_tensor(inputs, [&](Tensor& t) { meter.given(t); });
  try {
    const DryRun shapes_only;
    const NoGrad quiet;
    const Observing scope(meter);
    const PathScope root("", &model);
    nn::Value result = model.invoke(example);
    nn::for_each_tensor(result, [&](Tensor& t) { meter.returned(t); });
    if (const Tensor* t = result.get_if<Tensor>(); t && t->defined()) c.modules[&model].output = concat(t->shape());
  } catch (const Error& e) {
    if (e.code() != ErrorCode::data_dependent) throw;
    c.unknown = e.what();
  }
  c.peak_bytes = meter.base() + meter.peak();
  c.model = c.modules[&model];
  return c;
}

}  // namespace graft
