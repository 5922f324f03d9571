#include "graft/nn/structure.h"

#include <algorithm>
#include <bit>

namespace graft::inline v1::nn {

Structure::Structure(const Module& root, size_t modules) : parts_(std::make_shared<Parts>()) {
  parts_->numbers.reserve(modules);
  parts_->all.reserve(modules);
  parts_->leaves.reserve(2 * modules);
  modules_.reserve(modules);
  children_.reserve(modules);
  number_of_.reserve(modules);
  walk(root);
}
Structure::Structure(const Module& root, const Structure& known) : parts_(known.parts_) {
  number_of_.reserve(parts_->all.capacity());
  modules_.reserve(known.size());
  children_.reserve(known.children_.size());
  walk(root);
}

void Structure::walk(const Module& root) {
  std::vector<const Module*> order{&root};
  number(root);
  size_t likely = 0;  // child of the last list, which names its entries alike
  for (size_t i = 0; i < order.size(); ++i) {  // grows with the children
    const size_t first = children_.size();
    modules_[i].children = uint32_t(first);
    for (const auto& e : order[i]->child_entries()) {
      const size_t at = likely + (children_.size() - first);
      const uint32_t name = parts_->names.number(e->name, at < first ? children_[at].name : 0);
      Child& c = children_.emplace_back();
      c.name = name;
      if (!e->module) continue;
      c.module = number(*e->module);
      if (c.module == order.size()) order.push_back(e->module.get());
    }
    if (children_.size() > first) likely = first;
  }
}
uint32_t Structure::number(const Module& m) {
  const uint32_t part = parts_->own(m);
  if (part >= number_of_.size()) number_of_.resize(part + 1, kNone);
  if (number_of_[part] == kNone) {
    number_of_[part] = uint32_t(modules_.size());
    modules_.push_back({part, 0});
  }
  return number_of_[part];
}
uint32_t Structure::find(const Module* m) const {
  const uint32_t part = parts_->numbers.find(m);
  return part >= number_of_.size() ? kNone : number_of_[part];
}

size_t Structure::Numbers::place(const Module* m) const {  // its slot, or the empty one where it would be
  size_t at = size_t((reinterpret_cast<uintptr_t>(m) >> 4) * 0x9E3779B97F4A7C15U >> 20) & (slots_.size() - 1);
  while (slots_[at].module && slots_[at].module != m) at = (at + 1) & (slots_.size() - 1);
  return at;
}
void Structure::Numbers::reserve(size_t modules) {
  std::vector<Slot> old(std::bit_ceil(std::max<size_t>(2 * modules, 64)));
  old.swap(slots_);
  for (const Slot& s : old)
    if (s.module) slots_[place(s.module)] = s;
}
uint32_t& Structure::Numbers::at(const Module* m) {
  if (2 * (size_ + 1) > slots_.size()) reserve(2 * slots_.size());
  Slot& s = slots_[place(m)];
  if (!s.module) s.module = m, ++size_;
  return s.number;
}
uint32_t Structure::Numbers::find(const Module* m) const { return slots_.empty() ? kNone : slots_[place(m)].number; }

uint32_t Structure::Names::number(const std::string& name, uint32_t likely) {
  if (likely < all.size() && all[likely] == name) return likely;
  if (const auto it = numbers.find(name); it != numbers.end()) return it->second;
  all.push_back(name);
  return numbers.emplace(all.back(), uint32_t(all.size() - 1)).first->second;
}

static MemoryFormat format_of(const Tensor& t) {
  if (t.is_contiguous()) return MemoryFormat::contiguous;
  if (t.dim() == 4 && t.is_contiguous(MemoryFormat::channels_last)) return MemoryFormat::channels_last;
  if (t.dim() == 5 && t.is_contiguous(MemoryFormat::channels_last_3d)) return MemoryFormat::channels_last_3d;
  return MemoryFormat::contiguous;
}
// `like` is the entry at the same place of a module of the same type, or null.
void Structure::Parts::take(const std::string& name, const Tensor& value, const Tensor& leaf, const Leaf* like) {
  Leaf l;
  l.name = names.number(name, like ? like->name : 0);
  if (value.defined()) {
    l.value = value.impl();
    l.leaf = leaf.impl();
    const View& v = value.view();
    l.dtype = v.dtype;
    const bool same = like && like->value && std::ranges::equal(shapes[like->shape], std::span(v.size, v.rank));
    l.shape = same ? like->shape : uint32_t(shapes.size());
    if (!same) shapes.emplace_back(v);
    if (v.rank >= 4) l.format = format_of(value);
    if (leaf.defined()) l.requires_grad = leaf.requires_grad();
  }
  leaves.push_back(l);
}
static bool same_value(const Value& a, const Value& b) {
  if (const auto* i = a.get_if<int64_t>()) return b.get_if<int64_t>() && *i == *b.get_if<int64_t>();
  if (const auto* d = a.get_if<double>()) return b.get_if<double>() && std::bit_cast<uint64_t>(*d) == std::bit_cast<uint64_t>(*b.get_if<double>());
  if (const auto* x = a.get_if<bool>()) return b.get_if<bool>() && *x == *b.get_if<bool>();
  if (const auto* s = a.get_if<std::string>()) return b.get_if<std::string>() && *s == *b.get_if<std::string>();
  if (const auto* list = a.get_if<Values>()) return b.get_if<Values>() && std::ranges::equal(*list, *b.get_if<Values>(), same_value);
  return a.is_none() && b.is_none();
}
// Those of the last module of the type, where they are the same.
uint32_t Structure::Parts::take_values(const Module& m, const Type& t) {
  const size_t from = values.size();
  bool alike = t.last != kNone;
  for (size_t k = 0; k < t.attributes.size(); ++k) {
    values.push_back(t.attributes[k].read(m));
    alike = alike && same_value(values.back(), values[all[t.last].values + k]);
  }
  if (alike) values.resize(from);
  return alike ? all[t.last].values : uint32_t(from);
}
uint32_t Structure::Parts::own(const Module& m) {
  uint32_t& number = numbers.at(&m);
  if (number != kNone) return number;
  Own o{};
  o.module = &m;
  o.type = type(m);
  Type& t = types[o.type];
  o.values = take_values(m, t);
  const auto like = [&, from = t.last == kNone ? 0 : all[t.last].parameters, end = t.last == kNone ? 0 : all[t.last].end](size_t k) {
    return from + k < end ? &leaves[from + k] : nullptr;
  };
  o.parameters = uint32_t(leaves.size());
  size_t k = 0;
  for (const auto& e : m.param_entries()) {
    const Leaf l = like(k) ? *like(k) : Leaf();
    take(e->name, e->value(), e->leaf, like(k++) ? &l : nullptr);
  }
  o.buffers = uint32_t(leaves.size());
  for (const auto& e : m.buffer_entries()) {
    const Leaf l = like(k) ? *like(k) : Leaf();
    take(e->name, e->value, e->value, like(k++) ? &l : nullptr);
    leaves.back().persistent = e->persistent;
  }
  o.end = uint32_t(leaves.size());
  o.training = m.training();
  o.extra_state = m.get_extra_state().defined();
  o.made_of = names.number(m.made_of(), 0);
  t.last = number = uint32_t(all.size());
  all.push_back(o);
  return t.last;
}
uint32_t Structure::Parts::type(const Module& m) {
  const std::type_info& id = typeid(m);
  if (&id == last) return last_type;
  const auto [it, is_new] = by_type.try_emplace(id, uint32_t(types.size()));
  if (is_new) {
    Type& t = types.emplace_back();
    if (std::optional<Made> made = made_with(m)) {
      t.registered = true;
      t.name = std::move(made->type);
      t.attributes = attributes_of(m);
      t.fixed.assign(made->arguments.begin(), made->arguments.end() - std::ptrdiff_t(t.attributes.size()));
    } else {
      t.name = type_name(m);
    }
  }
  last = &id;
  return last_type = it->second;
}

std::span<const Value> Structure::values(uint32_t i) const {
  return std::span(parts_->values).subspan(own(i).values, type(i).attributes.size());
}
std::span<const Structure::Leaf> Structure::parameters(uint32_t i) const {
  return std::span(parts_->leaves).subspan(own(i).parameters, own(i).buffers - own(i).parameters);
}
std::span<const Structure::Leaf> Structure::buffers(uint32_t i) const {
  return std::span(parts_->leaves).subspan(own(i).buffers, own(i).end - own(i).buffers);
}
std::span<const Structure::Child> Structure::children(uint32_t i) const {
  const size_t from = modules_[i].children, end = i + 1 < modules_.size() ? modules_[i + 1].children : children_.size();
  return std::span(children_).subspan(from, end - from);
}

}  // namespace graft::nn
