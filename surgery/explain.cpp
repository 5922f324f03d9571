#include "graft/surgery/explain.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include "graft/surgery/fold.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {

double Explanation::Norm::scale() const { return gamma / std::sqrt(var + eps); }
double Explanation::Norm::shift() const { return beta - mean * scale(); }
double Explanation::before_shift() const {
  double total = 0;
  for (size_t i = 0; i < weight.size() && !before.empty(); ++i) total += weight[i] * before[channel_of(i)].shift();
  return total;
}

namespace {

std::vector<double> in_f64(const Tensor& t) {
  const NoGrad quiet;
  const Tensor wide = t.detach().to(Device(Device::cpu)).to(f64).contiguous();
  return {wide.data<double>(), wide.data<double>() + wide.numel()};
}
double number(const Tensor& t, int64_t i, double none) { return t.defined() ? in_f64(t)[size_t(i)] : none; }

// The weights of one output: [channels that it reads, kernel...].
std::vector<double> weights_to(const Foldable& l, int64_t channel) {
  const Tensor w = l.weight->value().detach();
  if (!l.transposed) return in_f64(w.select(0, channel));
  const int64_t of_group = l.out / l.groups, group = channel / of_group, inputs = l.in / l.groups;
  return in_f64(w.narrow(0, group * inputs, inputs).select(1, channel % of_group));
}

Explanation::Norm norm_of(const nn::BatchNormNd& n, std::string path, int64_t channel) {
  const int64_t at = n.num_features == 1 ? 0 : channel;
  return {std::move(path), channel, number(n.weight, at, 1), number(n.bias, at, 0), number(n.running_mean, at, 0),
          number(n.running_var, at, 1), n.eps};
}

// The layer with the folded weights: the module itself, or what its "0" holds, or "conv" of one that adds.
std::optional<Foldable> folded_in(const nn::Module& m) {
  if (auto l = foldable(m)) return l;
  for (const char* name : {"0", "conv"})
    if (const nn::ChildEntry* e = m.find_child(name); e && e->module) return foldable(*e->module);
  return {};
}

const Change* change_at(const Fusion& f, const std::string& path) {
  const auto at = std::ranges::find(f.edit.changes(), path, &Change::path);
  return at == f.edit.changes().end() ? nullptr : &*at;
}

const Fused& chain_with(const Fusion& f, std::string_view path) {
  std::string known;
  for (const Fused& x : f.fused) {
    if (x.path == path || std::ranges::find(x.chain, path) != x.chain.end()) return x;
    known += (known.empty() ? "" : ", ") + x.path;
  }
  fail(ErrorCode::key_error, "explain: nothing was fused at '", path, "'; fused: ", known.empty() ? "nothing" : known);
}

}  // namespace

Explanation explain(const Fusion& f, std::string_view path, int64_t channel) {
  const Fused& fused = chain_with(f, path);
  std::optional<Foldable> layer;
  std::vector<std::pair<std::string, const nn::BatchNormNd*>> norms;
  bool norm_first = false;
  int layers = 0;
  for (const std::string& part : fused.chain) {
    const Change* c = change_at(f, part);
    if (!c || !c->before) continue;
    if (const auto l = foldable(*c->before)) {
      layer = l;
      norm_first = !norms.empty();
      ++layers;
    } else if (norm_dims(*c->before)) norms.emplace_back(part, &dynamic_cast<const nn::BatchNormNd&>(*c->before));
  }
  const Change* put_in = change_at(f, fused.path);
  const auto after = put_in && put_in->after ? folded_in(*put_in->after) : std::nullopt;
  const bool kept = after && layer && after->weight->leaf.is_same(layer->weight->leaf);  // fuse_modules_qat
  GRAFT_CHECK(layers == 1 && !norms.empty() && after && !kept, ErrorCode::type_error,
              "explain: no norm was folded into a layer at '", fused.path, "': ", fused.what);
  GRAFT_CHECK(channel >= 0 && channel < layer->out, ErrorCode::index_out_of_range, "explain: '", fused.path, "' has output channels 0 to ",
              layer->out - 1, ", not ", channel);

  Explanation e;
  e.path = fused.path;
  e.what = fused.what;
  e.channel = channel;
  if (norm_first) {
    const int64_t inputs = layer->in / layer->groups, first = channel / (layer->out / layer->groups) * inputs;
    for (int64_t i = first; i < first + inputs; ++i) e.before.push_back(norm_of(*norms[0].second, norms[0].first, i));
  }
  if (!norm_first || norms.size() > 1) e.behind = norm_of(*norms.back().second, norms.back().first, channel);
  e.weight = weights_to(*layer, channel);
  e.folded_weight = weights_to(*after, channel);
  e.had_bias = layer->bias->value().defined();
  e.bias = number(layer->bias->value(), channel, 0);
  e.folded_bias = number(after->bias->value(), channel, 0);
  return e;
}

namespace {

constexpr size_t kMostNumbers = 8;  // of a list, and of channels: the others are alike

std::string listed(const std::vector<double>& numbers) {
  std::string text;
  for (size_t i = 0; i < std::min(numbers.size(), kMostNumbers); ++i) text += concat(i ? ", " : "", numbers[i]);
  return numbers.size() > kMostNumbers ? concat(text, ", ... (", numbers.size(), ")") : text;
}
// Of a number that is added or subtracted behind others: "(-3)".
std::string term(double x) { return std::signbit(x) ? concat("(", x, ")") : concat(x); }

void add_norm(std::vector<std::vector<std::string>>& rows, const Explanation::Norm& n, const std::string& of) {
  rows.push_back({n.path + of, concat("gamma ", n.gamma, ", beta ", n.beta, ", mean ", n.mean, ", var ", n.var, ", eps ", n.eps)});
  rows.push_back({"  scale", concat("gamma / sqrt(var + eps) = ", n.gamma, " / sqrt(", n.var, " + ", n.eps, ") = ", n.scale())});
  rows.push_back({"  shift", concat("beta - mean * scale = ", n.beta, " - ", term(n.mean), " * ", term(n.scale()), " = ", n.shift())});
}

}  // namespace

std::ostream& operator<<(std::ostream& o, const Explanation& e) {
  o << e.path << ": " << e.what << ", output channel " << e.channel << '\n';
  std::vector<std::vector<std::string>> rows;
  const size_t shown = std::min(e.before.size(), kMostNumbers);
  for (size_t i = 0; i < shown; ++i) add_norm(rows, e.before[i], concat(" of input ", e.before[i].channel));
  if (shown < e.before.size()) rows.push_back({"...", concat(e.before.size(), " inputs")});
  if (e.behind) add_norm(rows, *e.behind, {});

  const std::string scales = e.before.empty() ? "scale" : e.behind ? "scale of its input * scale" : "scale of its input";
  rows.push_back({"w", listed(e.weight)});
  rows.push_back({"w'", concat("w * ", scales, " = ", listed(e.folded_weight))});
  rows.push_back({"b", e.had_bias ? concat(e.bias) : "0 (none)"});
  std::string formula = "b", numbers = concat(e.bias);
  if (!e.before.empty()) {
    formula += " + sum of w * shift of its input";
    numbers += concat(" + ", term(e.before_shift()));
    if (e.behind) formula = "(" + formula + ")", numbers = "(" + numbers + ")";
  }
  if (e.behind) {
    formula += " * scale + shift";
    numbers += concat(" * ", term(e.behind->scale()), " + ", term(e.behind->shift()));
  }
  rows.push_back({"b'", concat(formula, " = ", numbers, " = ", e.folded_bias)});
  print_table(o, rows);
  return o;
}

}  // namespace graft
