// Types of modules by the names that programs use.
#pragma once
#include <span>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include "graft/nn/module.h"

namespace conformance {

struct Kind {
  std::string_view name;
  std::type_index type;
  bool (*matches)(const graft::nn::Module&);  // subclasses too
  template <class M>
  static Kind of(std::string_view name) {
    return {name, typeid(M), [](const graft::nn::Module& m) {
              if constexpr (std::is_same_v<M, graft::nn::Module>)
                return true;
              else
                return dynamic_cast<const M*>(&m) != nullptr;
            }};
  }
};
const Kind& find_kind(const std::string& name);  // throws Unsupported
std::span<const Kind> own_kinds();               // of the harness

}  // namespace conformance
