#include "graft/surgery/qat.h"

#include <algorithm>
#include "graft/core/op.h"
#include "graft/nn/architecture.h"
#include "graft/nn/intrinsic.h"
#include "graft/nn/registry.h"
#include "graft/surgery/fold.h"
#include "graft/surgery/recipe_step.h"

namespace graft::inline v1::surgery {
namespace {

namespace qat = nn::qat;
using nn::Module;
using nn::ModulePtr;

// A type that becomes one of nn::qat.
struct QatType {
  std::type_index from, layer;  // from: a Sequential of the layer, a norm, a ReLU; or the layer itself
  bool norm, relu;
};
const std::vector<QatType>& qat_types() {
  static const std::vector<QatType> all{
      {typeid(nn::Conv1d), typeid(nn::Conv1d), false, false},
      {typeid(nn::Conv2d), typeid(nn::Conv2d), false, false},
      {typeid(nn::Conv3d), typeid(nn::Conv3d), false, false},
      {typeid(nn::Linear), typeid(nn::Linear), false, false},
      {typeid(nn::ConvReLU1d), typeid(nn::Conv1d), false, true},
      {typeid(nn::ConvReLU2d), typeid(nn::Conv2d), false, true},
      {typeid(nn::ConvReLU3d), typeid(nn::Conv3d), false, true},
      {typeid(nn::LinearReLU), typeid(nn::Linear), false, true},
      {typeid(nn::ConvBn1d), typeid(nn::Conv1d), true, false},
      {typeid(nn::ConvBn2d), typeid(nn::Conv2d), true, false},
      {typeid(nn::ConvBn3d), typeid(nn::Conv3d), true, false},
      {typeid(nn::LinearBn1d), typeid(nn::Linear), true, false},
      {typeid(nn::ConvBnReLU1d), typeid(nn::Conv1d), true, true},
      {typeid(nn::ConvBnReLU2d), typeid(nn::Conv2d), true, true},
      {typeid(nn::ConvBnReLU3d), typeid(nn::Conv3d), true, true},
  };
  return all;
}

Answer prepared(const Module& m, const qat::QConfig& c) {
  const auto t = std::ranges::find(qat_types(), std::type_index(typeid(m)), &QatType::from);
  if (t == qat_types().end()) return nullptr;
  if (t->from == t->layer) return nn::make<qat::QuantAware>(m, nullptr, false, c);
  std::vector<ModulePtr> parts;
  for (const auto& e : m.child_entries()) parts.push_back(e->module);
  const auto is = [&](size_t i, std::type_index type) {
    const nn::Module* part = i < parts.size() ? parts[i].get() : nullptr;
    return part && std::type_index(typeid(*part)) == type;
  };
  const size_t behind = t->norm ? 2 : 1;
  const bool norm_fits = !t->norm || (parts.size() > 1 && parts[1] && norm_dims(*parts[1]) > 0);
  if (!is(0, t->layer) || !norm_fits || (t->relu && !is(behind, typeid(nn::ReLU))) || parts.size() != behind + size_t(t->relu))
    return Answer::declined("unknown_parts", "it does not hold a " + short_type_name(t->layer) + (t->norm ? ", a BatchNorm" : "") +
                                                 (t->relu ? ", a ReLU" : "") + ", and nothing else");
  return nn::make<qat::QuantAware>(*parts[0], t->norm ? parts[1] : nullptr, t->relu, c);
}
Answer as_float(const qat::QuantAware& m) {
  ModulePtr layer = m.plain();
  const Foldable l = *foldable(*layer);
  if (m.bn) {
    const auto* norm = m.bn.as<nn::BatchNormNd>();
    if (!norm) return Answer::declined("unknown_parts", "its bn is a " + nn::type_name(*m.bn.module()));
    if (!norm->running_var) return Answer::declined("no_statistics", "its norm keeps no running statistics");
    layer = with_weights(l, fold_behind(l, weights_of(l), *norm));
  }
  if (!m.relu) return layer;
  const auto both = nn::build_as<nn::Sequential>(l.dims > 0 ? concat("ConvReLU", l.dims, "d") : "LinearReLU");
  both->extend({layer, nn::make<nn::ReLU>()});
  return both;
}
std::vector<detail::Fold> folds_of(const Module& module, const std::string& path) {
  const auto& m = dynamic_cast<const qat::QuantAware&>(module);
  if (!m.bn) return {};
  const auto below = [&](const char* name) { return path.empty() ? std::string(name) : path + "." + name; };
  return {{m.relu ? below("0") : path,
           {{"", Json()}, {path, nn::architecture(*m.plain())}, {below("bn"), nn::architecture(*m.bn.module())}}}};
}

}  // namespace

std::vector<Policy> prepare_qat(const qat::QConfig& c) {
  Policy p = on<Module>([c](const Module& m) { return prepared(m, c); });
  p.name = "prepare_qat";
  return {p};
}
std::vector<Policy> qat_to_float() {
  Policy p = on<qat::QuantAware>([](const qat::QuantAware& m) { return as_float(m); });
  p.name = "qat_to_float";
  p.named = NamedSurgery{"qat_to_float", {}};
  p.folds = folds_of;
  return {p};
}

}  // namespace graft::inline v1::surgery
