#include "graft/surgery/weights.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft::inline v1::surgery {

std::string_view name_of(Carried::How how) {
  constexpr std::string_view names[] = {"kept", "copied", "sliced", "inflated", "fresh", "lost"};
  return names[size_t(how)];
}

static Tensor leading_block(Tensor t, const Tensor& like) {
  for (int d = 0; d < t.dim(); ++d) t = t.narrow(d, 0, std::min(t.size(d), like.size(d)));
  return t;
}
static Tensor sliced(const Tensor& from, const Tensor& to) {
  const Tensor whole = to.detach().clone();
  leading_block(whole, from).copy_(leading_block(from, to));
  return whole;
}
static Tensor inflated(Tensor from, const Tensor& to) {
  if (from.dim() + 1 == to.dim() && from.dim() >= 3) {
    from = from.unsqueeze(2) / double(to.size(2));
    Shape sizes = from.shape();
    sizes[2] = to.size(2);
    from = from.expand(sizes);
  }
  for (int d = 1; d < from.dim(); ++d) {
    const int64_t old = from.size(d), now = to.size(d);
    if (old == now) continue;
    if (now < old) {  // what would be left out is added
      Tensor sum = zeros_like(from.narrow(d, 0, now));
      for (int64_t j = 0; j < old; j += now) {
        const int64_t n = std::min(now, old - j);
        sum.narrow(d, 0, n).add_(from.narrow(d, j, n));
      }
      from = sum;
      continue;
    }
    std::vector<int64_t> source(static_cast<size_t>(now));
    for (int64_t j = 0; j < now; ++j) source[size_t(j)] = j % old;
    from = index_select(from, d, tensor(source, graft::Options(i64, from.device())));
    std::vector<int64_t> along(size_t(from.dim()), 1);
    along[size_t(d)] = now;
    std::vector<double> share(static_cast<size_t>(now));
    for (int64_t j = 0; j < now; ++j) share[size_t(j)] = 1.0 / double(now / old + (j % old < now % old));
    from = from * tensor(share, graft::Options(f64, from.device())).to(from.dtype()).reshape(Shape(std::span<const int64_t>(along)));
  }
  return sliced(from, to);
}

Tensor adapted(const Tensor& from, const Tensor& to, Carry how) {
  const NoGrad quiet;
  const Tensor old = from.detach();
  if (how == Carry::inflate) return inflated(old, to);
  return how == Carry::slice ? sliced(old, to) : old;
}

namespace {

struct Item {
  std::string name;
  Tensor old, now;
};
// By name, in the order of the new module; then what only the old one has.
std::vector<Item> pairs(const nn::NamedList<Tensor>& before, const nn::NamedList<Tensor>& after) {
  std::unordered_map<std::string_view, const Tensor*> olds;
  for (const auto& [name, t] : before) olds.emplace(name, &t);
  std::unordered_set<const TensorImpl*> kept;
  for (const auto& [name, t] : after) kept.insert(t.impl());
  std::vector<Item> list;
  for (const auto& [name, t] : after) {
    const auto it = olds.find(name);
    list.push_back({name, it == olds.end() ? Tensor() : *it->second, t});
    if (it != olds.end()) olds.erase(it);
  }
  for (const auto& [name, t] : before)
    if (olds.contains(name) && !kept.contains(t.impl())) list.push_back({name, t, {}});
  return list;
}
// A wrapped module's tensors are the same under another name.
bool is_in(const nn::NamedList<Tensor>& list, const Tensor& t) {
  return std::ranges::any_of(list, [&](const auto& p) { return p.second.is_same(t); });
}

Carried::How how_carried(const Item& i, Carry how) {
  using How = Carried::How;
  if (!i.now.defined()) return How::lost;
  if (!i.old.defined() || how == Carry::none) return How::fresh;
  if (i.old.shape() == i.now.shape()) return How::copied;
  if (how == Carry::inflate && i.old.dim() > 1 && (i.old.dim() == i.now.dim() || (i.old.dim() + 1 == i.now.dim() && i.old.dim() >= 3)))
    return How::inflated;
  return how != Carry::copy && i.old.dim() == i.now.dim() ? How::sliced : How::fresh;
}

}  // namespace

std::vector<Carried> carry_over(const nn::Module& before, nn::Module& after, const std::string& path, Carry how, bool write,
                           const std::function<bool(const Tensor&)>& may_write) {
  std::vector<Carried> list;
  const auto run = [&](const nn::NamedList<Tensor>& olds, const nn::NamedList<Tensor>& news) {
    for (const Item& i : pairs(olds, news)) {
      const bool kept = i.now.defined() && is_in(olds, i.now);
      Carried::How h = kept ? Carried::How::kept : how_carried(i, how);
      const bool writes = h == Carried::How::copied || h == Carried::How::sliced || h == Carried::How::inflated;
      if (writes && !may_write(i.now)) h = Carried::How::fresh;
      else if (writes && write) {
        const NoGrad quiet;
        i.now.detach().copy_(adapted(i.old, i.now, h == Carried::How::inflated ? Carry::inflate
                                                   : h == Carried::How::sliced ? Carry::slice : Carry::copy));
      }
      list.push_back({h, path.empty() ? i.name : path + "." + i.name, i.old.defined() ? i.old.shape() : Shape(),
                      i.now.defined() ? i.now.shape() : Shape()});
    }
  };
  run(before.named_parameters(), after.named_parameters());
  run(before.named_buffers(), after.named_buffers());
  return list;
}

}  // namespace graft
