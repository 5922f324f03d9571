// Steps that fuse: by names, as torch.ao, and by trace, as torch.fx.
#include "graft/nn/containers.h"
#include "graft/surgery/dropout.h"
#include "graft/surgery/fuse.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/trace.h"
#include "report.h"
#include "surgery_kinds.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;


Json fuse(World& w, const Json& s) {
  std::vector<std::vector<std::string>> groups;
  for (const Json& g : s.at("groups"))
    groups.push_back(g.is_string() ? std::vector<std::string>{g.get<std::string>()}
                                   : g.get<std::vector<std::string>>());
  if (!s["groups"].empty() && s["groups"][0].is_string()) groups = {s["groups"].get<std::vector<std::string>>()};
  surgery::FuseModulesOptions o;
  o.inplace = s.value("inplace", false);
  const nn::ModulePtr& model = w.module(s.at("model"));
  const nn::ModulePtr fused =
      s.value("qat", false) ? surgery::fuse_modules_qat(model, groups, o) : surgery::fuse_modules(model, groups, o);
  w.set(s.value("as", "f"), fused);
  Json parameters = Json::array();
  for (const auto& [name, t] : fused->named_parameters())
    parameters.push_back({name, shape_list(t), t.requires_grad()});
  return {{"returned_same_object", fused == model}, {"repr", nn::repr(*fused)}, {"named_parameters", parameters}};
}

// The calls of modules in order, and the ops of the model's own forward, as torch.fx lists them.
Json graph_of(nn::Module& model, const Tensor& x) {
  const surgery::Trace t = surgery::trace(model, {x});
  Json graph = Json::array({Json::array({"placeholder", "x"})});
  size_t last = surgery::Trace::none;
  for (const auto& op : t.ops) {
    const nn::Module* m = op.call == surgery::Trace::none ? &model : t.calls[op.call].module;
    if (m == &model)
      graph.push_back(Json::array({"call_function", concat("<built-in function ", op.name, ">")}));
    else if (op.call != last)
      graph.push_back(Json::array({"call_module", m->path()}));
    last = op.call;
  }
  graph.push_back(Json::array({"output", "output"}));
  return graph;
}

// A slot keeps an Identity where torch.fx has no module any more.
Json fx_fuse(World& w, const Json& s) {
  const nn::ModulePtr& model = w.module(s.at("model"));
  const nn::ModulePtr fused = s.value("inplace", false) ? model : model->clone();
  const Tensor x = w.example();
  surgery::fuse(*fused, {x}, {.relu = false, .refusals_are_errors = model->training()});
  w.set(s.value("as", "f"), fused);
  Json modules = Json::array();
  for (const auto& [path, m] : std::as_const(*fused).named_modules())
    if (m != fused.get() && typeid(*m) != typeid(nn::Identity)) modules.push_back({path, kind_name(*m)});
  return {{"modules", modules}, {"graph", graph_of(*fused, x)}};
}
Json fx_remove_dropout(World& w, const Json& s) {
  const nn::ModulePtr& model = w.module(s.at("model"));
  const nn::ModulePtr f = s.value("inplace", false) ? model : model->clone();
  surgery::replace(*f, surgery::remove_dropout());
  w.set(s.value("as", "f"), f);
  return {{"graph", graph_of(*f, w.example())}};
}

const Step kFuseSteps[] = {{"fuse", fuse}, {"fx_fuse", fx_fuse}, {"fx_remove_dropout", fx_remove_dropout}};

}  // namespace

std::span<const Step> fusion_steps() { return kFuseSteps; }

}  // namespace conformance
