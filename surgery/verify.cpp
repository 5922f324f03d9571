#include "graft/surgery/verify.h"

#include <cmath>
#include <limits>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/path.h"
#include "graft/core/random.h"

namespace graft::inline v1::surgery {

// ---- comparing ---------------------------------------------------------------------------------------------------

namespace {

double epsilon(DType t) {  // the distance from 1 to the next number
  switch (t) {
    case f64: case c128: return 0x1p-52;
    case f32: case c64: return 0x1p-23;
    case f16: return 0x1p-10;
    case bf16: return 0x1p-7;
    default: return 0;
  }
}
Tensor as_f64(const Tensor& t) {
  const Tensor real = is_complex(t.dtype()) ? view_as_real(t.detach()) : t.detach();
  return real.to(graft::Options(f64, Device::cpu)).contiguous();
}
std::string index_text(int64_t flat, const Shape& shape) {
  std::string text;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    text = std::to_string(flat % shape[d]) + (text.empty() ? "" : ",") + text;
    flat /= shape[d];
  }
  return "[" + text + "]";
}

Difference compare(const Tensor& a, const Tensor& b, const std::string& place, double ulps) {
  Difference d;
  d.place = place;
  if (!a.defined() && !b.defined()) return d;
  if (!a.defined() || !b.defined() || a.shape() != b.shape() || a.dtype() != b.dtype()) {
    d.ulps = d.absolute = std::numeric_limits<double>::infinity();
    const auto described = [](const Tensor& t) { return t.defined() ? concat(t.view()) : std::string("None"); };
    d.text = concat("at ", place, ": it was ", described(a), " and is ", described(b));
    return d;
  }
  const Tensor x = as_f64(a), y = as_f64(b);
  const double *p = x.data<double>(), *q = y.data<double>();
  int64_t worst = -1;
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (std::isfinite(p[i])) d.magnitude = std::max(d.magnitude, std::abs(p[i]));
    const bool same = p[i] == q[i] || (std::isnan(p[i]) && std::isnan(q[i]));
    const double by = same ? 0 : std::isfinite(p[i]) && std::isfinite(q[i]) ? std::abs(p[i] - q[i]) : std::numeric_limits<double>::infinity();
    if (by > d.absolute) d.absolute = by, worst = i;
  }
  const double unit = epsilon(a.dtype()) * d.magnitude;
  d.allowed = ulps * unit;
  if (worst < 0) return d;
  d.ulps = unit > 0 ? d.absolute / unit : std::numeric_limits<double>::infinity();
  d.place += index_text(is_complex(a.dtype()) ? worst / 2 : worst, a.shape());
  d.text = concat("at ", d.place, " by ", d.absolute);
  d.text += unit > 0 ? concat(", ", d.ulps, " ulp of ", name_of(a.dtype()), " at ", d.magnitude, ", where ", ulps, " ulp, ", d.allowed,
                              ", are allowed")
            : epsilon(a.dtype()) > 0 ? std::string(", where all was 0") : concat(", and ", name_of(a.dtype()), " must be equal");
  return d;
}

void compare_all(const nn::Value& a, const nn::Value& b, const std::string& place, double ulps, Difference& worst) {
  const nn::Values *la = a.get_if<nn::Values>(), *lb = b.get_if<nn::Values>();
  if (la && lb && la->size() == lb->size()) {
    for (size_t i = 0; i < la->size(); ++i) compare_all((*la)[i], (*lb)[i], place + "[" + std::to_string(i) + "]", ulps, worst);
    return;
  }
  const Tensor *ta = a.get_if<Tensor>(), *tb = b.get_if<Tensor>();
  Difference d;
  if (ta && tb) {
    d = compare(*ta, *tb, place, ulps);
  } else if (concat(a) != concat(b) || a.kind() != b.kind()) {
    d.ulps = std::numeric_limits<double>::infinity();
    d.place = place;
    d.text = "at " + place + ": it was " + concat(a) + " and is " + concat(b);
  }
  if (worst.place.empty() || d.ulps > worst.ulps) worst = std::move(d);
}

}  // namespace

Difference difference(const nn::Value& before, const nn::Value& after, double ulps) {
  const NoGrad quiet;
  Difference worst;
  compare_all(before, after, "output", ulps, worst);
  return worst;
}

// ---- running -----------------------------------------------------------------------------------------------------

namespace detail {
namespace {

// While it lives, buffers are copies: what a forward writes is forgotten.
class BuffersAside {
 public:
  explicit BuffersAside(nn::Module& model) {
    const NoGrad quiet;
    std::unordered_map<const TensorImpl*, Tensor> copies;
    for (nn::Module* m : model.modules())
      for (const auto& e : m->buffer_entries()) {
        if (!e->value.defined()) continue;
        Tensor& copy = copies[e->value.impl()];
        if (!copy.defined()) copy = e->value.clone();
        mine_.push_back({e.get(), copy});
      }
    exchange();
  }
  ~BuffersAside() { exchange(); }
  BuffersAside(const BuffersAside&) = delete;
  BuffersAside& operator=(const BuffersAside&) = delete;

 private:
  void exchange() noexcept {
    for (auto& [entry, other] : mine_) std::swap(entry->value, other);
  }
  std::vector<std::pair<nn::BufferEntry*, Tensor>> mine_;
};

// While it lives, every module's answers are written down.
class Listening {
 public:
  Listening(nn::Module& model, Answers& into) {
    try {
      for (nn::Module* m : model.modules()) {
        nn::HookTable& table = m->hook_table();
        tables_.push_back({table.shared_from_this(), table.list(nn::HookKind::forward)});
        m->register_forward_hook([&into, this](nn::Module& by, const nn::Values&, nn::Value& output) {
          nn::Value copy = output;
          nn::for_each_tensor(copy, [](Tensor& t) {
            if (t.defined()) t = t.detach().clone();
          });
          into.all.push_back({&by, current_path(), calls_[&by]++, std::move(copy)});
        });
      }
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Listening() { stop(); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  void stop() noexcept {
    for (auto& [table, list] : tables_) table->exchange(nn::HookKind::forward, list);
    tables_.clear();
  }
  std::vector<std::pair<std::shared_ptr<nn::HookTable>, std::shared_ptr<const nn::HookTable::List>>> tables_;
  std::unordered_map<const nn::Module*, size_t> calls_;
};

}  // namespace

nn::Value run_quietly(nn::Module& model, const nn::Values& inputs) {
  const NoGrad no_history;
  const BuffersAside aside(model);
  Generator same(default_generator());
  const UseGenerator scope(same);
  nn::Values given = inputs;  // in-place layers must not write the caller's
  nn::Value list(given);
  nn::for_each_tensor(list, [](Tensor& t) {
    if (t.defined()) t = t.detach().clone();
  });
  return model.call(list.list());
}

Answers answers_of(nn::Module& model, const nn::Values& inputs) {
  Answers answers;
  const Listening scope(model, answers);
  run_quietly(model, inputs);
  return answers;
}

std::string first_divergence(const Answers& before, const Answers& after, const Predecessors& predecessors, double ulps,
                             std::string* path) {
  std::unordered_map<const nn::Module*, std::unordered_map<size_t, const nn::Value*>> now;
  std::unordered_set<const nn::Module*> replaced;
  for (const auto& [m, p] : predecessors) replaced.insert(p);
  for (const Answers::One& a : after.all) {
    const auto it = predecessors.find(a.module);
    if (it != predecessors.end()) now[it->second][a.call] = &a.output;
    else if (!replaced.contains(a.module)) now[a.module][a.call] = &a.output;
  }
  for (const Answers::One& a : before.all) {
    const auto of = now.find(a.module);
    if (of == now.end()) continue;
    const auto it = of->second.find(a.call);
    if (it == of->second.end()) continue;
    const Difference d = difference(a.output, *it->second, ulps);
    if (d.ulps <= ulps) continue;
    *path = a.path;
    return (a.path.empty() ? "the model itself" : "'" + a.path + "'") + " (" + nn::type_name(*a.module) + "), " + d.text;
  }
  return {};
}

}  // namespace detail
}  // namespace graft
