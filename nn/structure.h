// What a model is made of at one moment: types and arguments of its modules, slots, sharing, what its tensors look like; no
// numbers. Taken in one walk, a few hundred bytes a module. architecture(), architecture_hash() and the recipes of surgery are
// written from it, also when the model has changed since: it holds on to nothing, and addresses in it are only compared.
#pragma once
#include <deque>
#include <span>
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

class Structure {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct Leaf {  // a parameter or a buffer
    const TensorImpl* value = nullptr;  // null: None
    const TensorImpl* leaf = nullptr;   // what makes two entries one tensor; of a buffer the value
    uint32_t name = 0, shape = 0;
    DType dtype{};
    MemoryFormat format = MemoryFormat::contiguous;  // channels_last where it is that and not contiguous
    bool requires_grad = true, persistent = true;
    const TensorImpl* identity() const { return leaf ? leaf : value; }
  };
  struct Child {
    uint32_t name = 0;
    uint32_t module = kNone;  // kNone: the slot is empty
  };
  struct Type {
    std::string name;  // as it is registered; else that of the class
    bool registered = false;
    Args fixed;
    std::vector<Attribute> attributes;
    uint32_t last = kNone;  // part of this type: the next one is mostly alike
  };

  explicit Structure(const Module& root, size_t modules = 0);  // about so many there are to be: room is made once
  // Modules that `known` has are taken to be as they are there, but for their slots.
  Structure(const Module& root, const Structure& known);

  // Modules by number: the root is 0, and those nearer to it come first. Each is there once.
  size_t size() const { return modules_.size(); }
  uint32_t find(const Module*) const;  // kNone: it is not there
  const Module* module(uint32_t i) const { return own(i).module; }
  const Type& type(uint32_t i) const { return parts_->types[own(i).type]; }
  std::span<const Value> values(uint32_t i) const;  // of the attributes of its type
  std::span<const Leaf> parameters(uint32_t i) const;
  std::span<const Leaf> buffers(uint32_t i) const;
  std::span<const Child> children(uint32_t i) const;
  bool training(uint32_t i) const { return own(i).training; }
  bool extra_state(uint32_t i) const { return own(i).extra_state; }
  const std::string& made_of(uint32_t i) const { return parts_->names.all[own(i).made_of]; }
  template <class L> const std::string& name(const L& leaf_or_child) const { return parts_->names.all[leaf_or_child.name]; }
  const Shape& shape(const Leaf& l) const { return parts_->shapes[l.shape]; }

 private:
  struct Own {  // of a module, whatever lies in its slots
    const Module* module;
    uint32_t type, values, parameters, buffers, end, made_of;
    bool training, extra_state;
  };
  struct Names {  // each once
    std::deque<std::string> all{""};
    std::unordered_map<std::string_view, uint32_t> numbers{{"", 0}};
    uint32_t number(const std::string& name, uint32_t likely);
  };
  class Numbers {  // of modules, by address: a flat hash map that only grows
   public:
    uint32_t& at(const Module*);  // kNone where it is new
    uint32_t find(const Module*) const;
    void reserve(size_t modules);

   private:
    struct Slot { const Module* module = nullptr; uint32_t number = kNone; };
    size_t place(const Module*) const;
    std::vector<Slot> slots_;  // a power of two, at most half full
    size_t size_ = 0;
  };
  struct Parts {
    std::vector<Own> all;
    std::vector<Type> types;
    std::vector<Value> values;
    std::vector<Leaf> leaves;
    std::vector<Shape> shapes;
    Names names;
    Numbers numbers;
    std::unordered_map<std::type_index, uint32_t> by_type;
    const std::type_info* last = nullptr;  // type asked for
    uint32_t last_type = 0;
    uint32_t own(const Module&);
    uint32_t type(const Module&);
    uint32_t take_values(const Module&, const Type&);
    void take(const std::string& name, const Tensor& value, const Tensor& leaf, const Leaf* like);
  };
  struct Placed { uint32_t own, children; };
  const Own& own(uint32_t i) const { return parts_->all[modules_[i].own]; }
  void walk(const Module& root);
  uint32_t number(const Module&);

  std::shared_ptr<Parts> parts_;
  std::vector<Placed> modules_;
  std::vector<Child> children_;
  std::vector<uint32_t> number_of_;  // by part
};

// As architecture_hash() of the model.
uint64_t architecture_hash(const Structure&);

}  // namespace graft::nn
