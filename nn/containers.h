// Modules that hold modules or parameters: Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict; Identity.
// Indexing gives a Slot: call it, assign to it, look through it: list[0](x), list[0] = make<...>(...), list[0].as<Conv2d>().
#pragma once
#include <initializer_list>
#include "graft/nn/child.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

template <class T> inline constexpr bool is_module_ptr_v = false;
template <class M> inline constexpr bool is_module_ptr_v<std::shared_ptr<M>> = std::is_base_of_v<Module, M>;

template <class M> ModulePtr known(std::shared_ptr<M> m) {  // remembers the type it came as
  if (m) Module::made_as(*m);
  return m;
}

// Children in order, named "0", "1", ...: what Sequential and ModuleList share. D is what a child must be.
template <class Base, class D> class ListOf : public Base {
 public:
  size_t size() const { return this->child_entries().size(); }
  bool empty() const { return size() == 0; }
  Slot<D> operator[](int64_t i) const { return Slot<D>(*this->child_entries()[position(i)]); }

  template <class M> ListOf& append(std::shared_ptr<M> m) {
    this->add_module(std::to_string(size()), known(std::move(m)));
    return *this;
  }
  template <class M> ListOf& insert(int64_t at, std::shared_ptr<M> m) {
    const auto n = int64_t(size());
    GRAFT_CHECK(at >= -n && at <= n, ErrorCode::index_out_of_range, "insert: index ", at, " out of range for ", n, " modules");
    this->insert_child(size_t(at < 0 ? at + n : at), known(std::move(m)));
    return *this;
  }
  ListOf& extend(const std::vector<ModulePtr>& more) {
    for (const ModulePtr& m : more) append(m);
    return *this;
  }
  ModulePtr pop(int64_t i = -1) {
    const size_t at = position(i);
    const ModulePtr m = this->child_entries()[at]->module;
    this->remove(this->child_entries()[at]->name);
    this->number_children();
    return m;
  }
  void erase(int64_t i) { pop(i); }

  class Iterator {
   public:
    Iterator(const ListOf* list, size_t at) : list_(list), at_(at) {}
    Slot<D> operator*() const { return (*list_)[int64_t(at_)]; }
    Iterator& operator++() { return ++at_, *this; }
    bool operator!=(const Iterator& o) const { return at_ != o.at_ && at_ < list_->size(); }

   private:
    const ListOf* list_;
    size_t at_;
  };
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size()}; }
  Children children_are() const override { return Children::ordered; }

 protected:
  ListOf() = default;
  ChildEntry::Cast child_cast() const override { return &Slot<D>::cast; }

 private:
  size_t position(int64_t i) const {
    const auto n = int64_t(size());
    GRAFT_CHECK(i >= -n && i < n, ErrorCode::index_out_of_range, type_name(*this), ": index ", i, " is out of range for ", n,
                " modules");
    return size_t(i < 0 ? i + n : i);
  }
};

// Calls its children one after the other.
class Sequential : public ListOf<Layer, Layer> {
 public:
  Sequential() = default;
  template <class... M>
    requires(sizeof...(M) > 0 && (is_module_ptr_v<M> && ...))
  explicit Sequential(M... modules) { (append(std::move(modules)), ...); }
  explicit Sequential(const std::vector<ModulePtr>& modules) { extend(modules); }
  explicit Sequential(std::initializer_list<std::pair<std::string, ModulePtr>> named);
  Tensor forward(const Tensor& x) override;
};

// A list that is not called itself: for (auto layer : *layers) x = layer(x). Prints equal children in a row once.
template <class D> class ModuleListOf : public ListOf<Module, D> {
 public:
  ModuleListOf() = default;
  template <class... M>
    requires(sizeof...(M) > 0 && (is_module_ptr_v<M> && ...))
  explicit ModuleListOf(M... modules) { (this->append(std::move(modules)), ...); }
  explicit ModuleListOf(const std::vector<ModulePtr>& modules) { this->extend(modules); }
  std::string class_name() const override { return "ModuleList"; }
  bool prints_runs_once() const override { return true; }
};
using ModuleList = ModuleListOf<Layer>;

// Children by name, in the order of their insertion.
template <class D> class ModuleDictOf : public Module {
 public:
  ModuleDictOf() = default;
  explicit ModuleDictOf(std::initializer_list<std::pair<std::string, ModulePtr>> items) { update(items); }
  size_t size() const { return child_entries().size(); }
  bool contains(std::string_view key) const { return find_child(key) != nullptr; }
  Slot<D> operator[](std::string_view key) const {
    ChildEntry* e = find_child(key);
    GRAFT_CHECK(e, ErrorCode::key_error, "ModuleDict has no key '", key, "'");
    return Slot<D>(*e);
  }
  template <class M> void set(std::string key, std::shared_ptr<M> m) { add_module(std::move(key), known(std::move(m))); }
  void update(std::initializer_list<std::pair<std::string, ModulePtr>> items) {
    for (const auto& [key, m] : items) add_module(key, m);
  }
  ModulePtr pop(std::string_view key) {
    const ModulePtr m = (*this)[key].module();
    remove(std::string(key));
    return m;
  }
  void erase(std::string_view key) { pop(key); }
  void clear() {
    while (size() > 0) remove(std::string(child_entries().back()->name));
  }
  std::vector<std::string> keys() const {
    std::vector<std::string> all;
    for (const auto& e : child_entries()) all.push_back(e->name);
    return all;
  }
  std::string class_name() const override { return "ModuleDict"; }
  Children children_are() const override { return Children::keyed; }

 protected:
  ChildEntry::Cast child_cast() const override { return &Slot<D>::cast; }
};
using ModuleDict = ModuleDictOf<Layer>;

class ParameterList : public Module {
 public:
  ParameterList() = default;
  explicit ParameterList(const std::vector<Tensor>& tensors) { extend(tensors); }
  size_t size() const { return param_entries().size(); }
  Param operator[](int64_t i) const;
  ParameterList& append(const Parameter&);
  ParameterList& append(const Tensor& t);  // becomes a parameter() unless it is one
  ParameterList& extend(const std::vector<Tensor>&);
  std::string extra_repr() const override;
};

class ParameterDict : public Module {
 public:
  ParameterDict() = default;
  explicit ParameterDict(std::initializer_list<std::pair<std::string, Tensor>> items);
  size_t size() const { return param_entries().size(); }
  bool contains(std::string_view key) const { return find_param(key) != nullptr; }
  Param operator[](std::string_view key) const;
  void set(std::string key, const Parameter&);
  void set(std::string key, const Tensor&);  // becomes a parameter() unless it is one
  Tensor pop(std::string_view key);
  void erase(std::string_view key) { pop(key); }
  std::vector<std::string> keys() const;
  std::string extra_repr() const override;
};

// Returns its input. Arguments of any kind are accepted by name and ignored, so that it can stand in for anything.
class Identity : public Layer {
 public:
  Tensor forward(const Tensor& x) override { return x; }
};

}  // namespace graft::nn
