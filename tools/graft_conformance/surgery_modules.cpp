// Steps that make, call, look at and change modules.
#include <cmath>
#include "graft/core/ops.h"
#include "graft/nn/norm.h"
#include "graft/nn/registry.h"
#include "report.h"
#include "surgery_kinds.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

Json build(World& w, const Json& s) {
  const nn::ModulePtr m = build_model(s.at("model"));
  m->to(where);
  fill(*m, s.value("base", 0.0));
  w.label(*m, "");
  w.set(s.at("as"), m);
  return {};
}
Json refill(World& w, const Json& s) {
  fill(*w.module(s.at("model")), s.value("base", 0.0));
  return {};
}
Json train(World& w, const Json& s) {
  w.module_of(s)->train(s.at("mode").get<bool>());
  return {};
}
Json call(World& w, const Json& s) {
  w.log.clear();
  const Tensor y = w.module_of(s)->call({w.tensor(s.at("x"))}).tensor();
  w.set(s.value("as", "y"), y);
  Json out = Json::object();
  if (s.value("observe", true)) out["y"] = observed(y);
  if (!w.log.empty()) out["log"] = w.log;
  return out;
}
Json copy(World& w, const Json& s) {
  w.set(s.at("as"), w.module(s.at("model"))->clone());
  return {};
}
Json cast(World& w, const Json& s) {
  DType t{};
  if (!parse_dtype(s.at("dtype").get<std::string>(), t)) throw Unsupported("dtype " + s["dtype"].dump());
  w.module_of(s)->to(t);
  return {};
}
Json requires_grad(World& w, const Json& s) {
  w.module_of(s)->requires_grad_(s.at("value").get<bool>());
  return {};
}
Json zero_grad(World& w, const Json& s) {
  w.module(s.at("model"))->zero_grad(s.value("set_to_none", true));
  return {};
}
Json method(World& w, const Json& s) {
  const nn::ModulePtr m = w.module(s.at("model"));
  const std::string name = s.at("name");
  if (name == "eval")
    m->eval();
  else if (name == "train")
    m->train();
  else
    throw Unsupported("method " + name);
  if (s.contains("as")) w.set(s["as"], m);  // all of them return the module itself
  return {{"returned_same_object", true}, {"returned_repr", nn::repr(*m)}};
}

// ---- observations ------------------------------------------------------------------------------------------------

template <class List>
Json names_of(const List& list) {
  Json out = Json::array();
  for (const auto& item : list) out.push_back(item.first);
  return out;
}
Json named_modules(const nn::NamedList<nn::Module*>& list) {
  Json out = Json::array();
  for (const auto& [name, m] : list) out.push_back({name, kind_name(*m)});
  return out;
}
Json sizes(const Tensor& t) {
  Json out = Json::array();
  for (const int64_t d : t.shape()) out.push_back(d);
  return out;
}
Json values_of(const nn::NamedList<Tensor>& list) {
  Json out = Json::object();
  for (const auto& [name, t] : list) out[name] = observed(t);
  return out;
}

using Observe = Json (*)(nn::Module&, const std::string& prefix);
const std::map<std::string, Observe> kObservations{
    {"repr", [](nn::Module& m, const std::string&) -> Json { return nn::repr(m); }},
    {"named_parameters",
     [](nn::Module& m, const std::string& prefix) {
       Json out = Json::array();
       for (const auto& [name, p] : m.named_parameters(prefix))
         out.push_back(Json::array({name, sizes(p), p.requires_grad()}));
       return out;
     }},
    {"named_parameters_dup",
     [](nn::Module& m, const std::string&) { return names_of(m.named_parameters({}, true, false)); }},
    {"named_modules",
     [](nn::Module& m, const std::string& prefix) { return named_modules(m.named_modules(nullptr, prefix)); }},
    {"named_modules_dup",
     [](nn::Module& m, const std::string&) { return names_of(m.named_modules(nullptr, {}, false)); }},
    {"named_children", [](nn::Module& m, const std::string&) { return named_modules(m.named_children()); }},
    {"named_buffers",
     [](nn::Module& m, const std::string&) {
       Json out = Json::array();
       for (const auto& [name, b] : m.named_buffers())
         out.push_back(Json::array({name, sizes(b), dtype_name(b.dtype())}));
       return out;
     }},
    {"training",
     [](nn::Module& m, const std::string&) {
       Json out = Json::object();
       for (const auto& [name, c] : m.named_modules()) out[name] = c->training();
       return out;
     }},
    {"state_keys", [](nn::Module& m, const std::string& prefix) -> Json { return m.state_dict(prefix).keys(); }},
    {"state",
     [](nn::Module& m, const std::string&) {
       const nn::StateDict state = m.state_dict();
       return values_of({state.begin(), state.end()});
     }},
    {"param_values", [](nn::Module& m, const std::string&) { return values_of(m.named_parameters()); }},
    {"buffer_values", [](nn::Module& m, const std::string&) { return values_of(m.named_buffers()); }},
    {"dtypes",
     [](nn::Module& m, const std::string&) {
       Json out = Json::object();
       for (const auto& [name, t] : m.state_dict()) out[name] = dtype_name(t.dtype());
       return out;
     }},
    {"has_grad",
     [](nn::Module& m, const std::string&) {
       Json out = Json::object();
       for (const auto& [name, p] : m.named_parameters()) out[name] = p.grad().defined();
       return out;
     }},
    {"momentum",
     [](nn::Module& m, const std::string&) {
       Json out = Json::object();
       for (const auto& [name, c] : m.named_modules())
         if (const auto* norm = dynamic_cast<const nn::BatchNormNd*>(c))
           out[name] = norm->momentum ? Json(*norm->momentum) : Json();
       return out;
     }},
    {"hook_counts",
     [](nn::Module& m, const std::string&) {
       Json out = Json::object();
       for (const auto& [name, c] : m.named_modules()) {
         const nn::HookTable* hooks = c->hooks();
         if (!hooks) continue;
         const size_t pre = hooks->count(nn::HookKind::forward_pre), post = hooks->count(nn::HookKind::forward);
         if (pre + post > 0) out[name] = {pre, post};
       }
       return out;
     }},
};

Json observe(World& w, const Json& s) {
  const nn::ModulePtr m = w.module_of(s);
  Json out = Json::object();
  for (const Json& what : s.at("what")) {
    const auto found = kObservations.find(what);
    if (found == kObservations.end()) throw Unsupported("observing " + what.dump());
    out[what.get<std::string>()] = found->second(*m, s.value("prefix", ""));
  }
  return out;
}
Json observe_attribute(World& w, const Json& s) {
  const Attribute a = find_attribute(w.module(s.at("model")), s.at("path"));
  if (a.module) return {{"value", nn::repr(*a.module)}};
  if (!a.tensor.defined()) return {{"value", nullptr}};
  return {{"value", observed(a.tensor)},
          {"is_leaf", a.tensor.is_leaf()},
          {"requires_grad", a.tensor.requires_grad()},
          {"is_parameter", a.is_parameter}};
}
Json same(World& w, const Json& s) {
  const auto find = [&](const Json& place) { return find_attribute(w.module(place.at(0)), place.at(1)); };
  const Attribute a = find(s.at("a")), b = find(s.at("b"));
  return {{"same", a.module == b.module && a.tensor.impl() == b.tensor.impl()}};
}
Json isinstance(World& w, const Json& s) {
  Json out = Json::object();
  for (const Json& kind : s.at("kinds")) out[kind.get<std::string>()] = is_kind(*w.module(s.at("model")), kind);
  return {{"isinstance", out}};
}

// ---- registry ----------------------------------------------------------------------------------------------------

nn::ModulePtr built_for(World& w, const Json& tree, double base) {
  const nn::ModulePtr m = build_model(tree);
  fill(*m, base);
  w.label(*m, "set:");
  return m;
}

void assign_none(nn::Module& owner, const std::string& name) {
  if (auto* p = owner.find_param(name))
    p->assign(nn::Parameter());
  else if (auto* b = owner.find_buffer(name))
    b->put({});
  else if (auto* c = owner.find_child(name))
    c->put(nullptr);
  else
    throw Unsupported("None as a new attribute");
}
// What setattr does with a module: it takes the place of a buffer or of nothing; a parameter it does not replace.
void assign_module(nn::Module& owner, const std::string& name, const nn::ModulePtr& m) {
  if (auto* c = owner.find_child(name))
    c->put(m);
  else
    owner.add_module(name, m);
}
void assign_tensor(nn::Module& owner, const std::string& name, const Tensor& t) {
  if (auto* p = owner.find_param(name))
    p->assign(t, nn::Check::none);
  else if (auto* b = owner.find_buffer(name))
    b->put(t);
  else if (owner.find_child(name))
    fail(ErrorCode::type_error, "a tensor cannot be the child module ", name);
  else
    throw Unsupported("a tensor as a new attribute");
}
Json set(World& w, const Json& s) {
  const auto [path, name] = split_path(s.at("path"));
  nn::Module& owner = w.module(s.at("model"))->get_submodule(path);
  const Json& v = s.at("value");
  if (v.is_null())
    assign_none(owner, name);
  else if (v.contains("var"))
    assign_tensor(owner, name, w.tensor(v["var"]));
  else if (v.contains("module"))
    assign_module(owner, name, built_for(w, v["module"], v.value("base", 70.0)));
  else if (v.contains("tensor"))
    assign_tensor(owner, name, parameter_values(v["tensor"], v.value("base", 80.0)));
  else if (v.contains("parameter")) {
    const auto p = nn::parameter(parameter_values(v["parameter"], v.value("base", 80.0)));
    if (auto* entry = owner.find_param(name))
      entry->assign(p, nn::Check::none);
    else
      owner.register_parameter(name, p);
  }
  return {};
}
Json remove(World& w, const Json& s) {
  const auto [path, name] = split_path(s.at("path"));
  w.module(s.at("model"))->get_submodule(path).remove(name);
  return {};
}
Json register_entry(World& w, const Json& s) {
  const nn::ModulePtr m = w.module_of(s);
  const std::string what = s.at("what"), name = s.at("name");
  const bool none = !s.contains("shape") || s["shape"].is_null();
  const auto values = [&] { return none ? Tensor() : parameter_values(s["shape"], 90); };
  if (what == "buffer")
    m->register_buffer(name, values(), s.value("persistent", true));
  else if (what == "parameter" && none)
    m->register_parameter(name, nullptr);
  else if (what == "parameter")
    m->register_parameter(name, nn::parameter(values()));
  else if (what == "parameter_nonleaf")
    m->register_parameter(name, nn::parameter(values()) * 2.0);
  else if (what == "module")
    m->add_module(name, s.value("module", Json()).is_null() ? nullptr : build_model(s["module"]));
  else
    throw Unsupported("registering a " + what);
  return {};
}
Json get_submodule(World& w, const Json& s) {
  return {{"kind", kind_name(w.module(s.at("model"))->get_submodule(s.at("target").get<std::string>()))}};
}
Json set_submodule(World& w, const Json& s) {
  const nn::ModulePtr m = built_for(w, s.at("module"), 70);
  w.module(s.at("model"))
      ->set_submodule(s.at("target").get<std::string>(), m, s.value("kw", Json::object()).value("strict", false));
  return {};
}
Json get_parameter(World& w, const Json& s) {
  return {{"shape", sizes(w.module(s.at("model"))->get_parameter(s.at("target").get<std::string>()))}};
}

// ---- state, hooks ------------------------------------------------------------------------------------------------

Json load_state(World& w, const Json& s) {
  nn::StateDict state;
  for (const auto& [name, t] : w.module(s.at("from"))->state_dict()) state.set(name, t.clone());
  for (const Json& name : part(s, "drop")) state.erase(name.get<std::string>());
  for (const auto& [name, shape] : part(s, "put").items()) state.set(name, parameter_values(shape, 33));
  for (const auto& [from, to] : part(s, "rename").items()) state.rename(from, to);
  const nn::IncompatibleKeys keys =
      w.module(s.at("model"))->load_state_dict(state, {.strict = s.value("strict", true)});
  return {{"missing_keys", keys.missing_keys}, {"unexpected_keys", keys.unexpected_keys}};
}

Json number_or_none(const Tensor& t) { return t.defined() ? Json(sum(t.detach()).item().value()) : Json(); }
Json hook(World& w, const Json& s) {
  const nn::ModulePtr m = w.module_of(s);
  const std::string when = s.at("when"), name = s.at("name");
  const bool acts = s.contains("action");
  const double scale = acts ? s["action"].at("scale").get<double>() : 1;
  const nn::HookOptions options{.prepend = s.value("prepend", false)};
  World* world = &w;
  nn::RemovableHandle handle;
  if (when == "pre") {
    handle = m->register_forward_pre_hook(
        [=](nn::Module&, nn::Values& args) {
          world->log.push_back(name);
          for (nn::Value& a : args)
            if (acts) a = a.tensor() * scale;
        },
        options);
  } else if (when == "post") {
    handle = m->register_forward_hook(
        [=](nn::Module&, const nn::Values&, nn::Value& out) {
          world->log.push_back(name);
          if (acts) out = out.tensor() * scale;
        },
        options);
  } else if (when == "full_backward") {
    handle = m->register_full_backward_hook([=](nn::Module&, Tensors& in, const Tensors& out) {
      world->log.push_back({name, number_or_none(in.at(0)), number_or_none(out.at(0))});
      for (Tensor& g : in)
        if (acts && g.defined()) g = g * scale;
    });
  } else {
    throw Unsupported("a hook that runs " + when);
  }
  w.set("handle:" + name, handle);
  return {};
}
Json remove_hook(World& w, const Json& s) {
  nn::RemovableHandle handle = w.get<nn::RemovableHandle>("handle:" + s.at("name").get<std::string>());
  handle.remove();
  return {};
}
Json get_log(World& w, const Json&) { return {{"log", w.log}}; }

const Step kModulesSteps[] = {
    {"build", build},
    {"fill", refill},
    {"train", train},
    {"call", call},
    {"copy", copy},
    {"cast", cast},
    {"requires_grad", requires_grad},
    {"zero_grad", zero_grad},
    {"method", method},
    {"observe", observe},
    {"observe_attr", observe_attribute},
    {"same", same},
    {"isinstance", isinstance},
    {"set", set},
    {"del", remove},
    {"register", register_entry},
    {"get_submodule", get_submodule},
    {"set_submodule", set_submodule},
    {"get_parameter", get_parameter},
    {"load_state", load_state},
    {"hook", hook},
    {"remove_hook", remove_hook},
    {"get_log", get_log},
};

}  // namespace

std::span<const Step> module_steps() { return kModulesSteps; }

}  // namespace conformance
