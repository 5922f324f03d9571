// Models of surgery programs: trees of layers by PyTorch's names, and the few types of the harness itself.
#include <algorithm>
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/nn/registry.h"
#include "report.h"
#include "surgery_kinds.h"
#include "surgery_world.h"
#include "values.h"

namespace conformance {
namespace {

using namespace graft;

// Children in order, or a program of calls and additions.
class Net : public nn::Layer {
 public:
  Net(std::string name, Json program) : name_(std::move(name)), program_(std::move(program)) {}
  std::string class_name() const override { return name_; }

  Tensor forward(const Tensor& input) override {
    Tensor x = input;
    if (program_.is_null()) {
      for (const auto& child : child_entries()) x = call_child(*child, x);
      return x;
    }
    std::map<std::string, Tensor> saved;
    for (const Json& s : program_) {
      if (s.is_string())
        x = call_child(child_entry(s.get<std::string>()), x);
      else if (s.contains("save"))
        saved[s["save"]] = x;
      else if (s.contains("load"))
        x = saved.at(s["load"]);
      else if (s.contains("add"))
        x = x + saved.at(s["add"]);
      else if (s.contains("mul_param"))
        x = x * param_entry(s["mul_param"].get<std::string>()).value();
      else if (s.contains("matmul_param"))
        x = matmul(x, param_entry(s["matmul_param"].get<std::string>()).value());
      else
        throw Unsupported("in a forward program: " + s.dump());
    }
    return x;
  }

 private:
  // As a slot of unknown type: any module may be here.
  static Tensor call_child(const nn::ChildEntry& e, const Tensor& x) {
    if (!e.module) fail(ErrorCode::type_error, "slot ", e.name, " is empty");
    const nn::CallScope scope(*e.module, &e);
    try {
      return e.module->call({x}).tensor();
    } catch (Error& error) {
      error.within(e.name, nn::type_name(*e.module));
      throw;
    }
  }

  std::string name_;
  Json program_;
};

class SubLinear : public nn::Linear {
 public:
  using nn::Linear::Linear;
};
class RecursiveLinear : public nn::Linear {
 public:
  RecursiveLinear(int64_t in, int64_t out, bool bias) : Linear(in, out, bias) {}
  nn::Child<nn::Linear> submodule{this, "submodule", in_features, out_features - 1};
};
class CopyLinear : public nn::Layer {
 public:
  CopyLinear(int64_t in, int64_t out, bool with_bias)
      : in_features(in),
        out_features(out),
        weight(this, "weight", zeros({out, in})),
        bias(this, "bias", with_bias ? zeros({out}) : Tensor()) {}
  Tensor forward(const Tensor& x) override { return graft::linear(x, weight, bias); }
  int64_t in_features, out_features;
  nn::Param weight, bias;
};

template <class M>
nn::ModulePtr make_linear(const Json& args) {
  return nn::make<M>(args.at("in_features").get<int64_t>(), args.at("out_features").get<int64_t>(),
                     args.value("bias", true));
}

// "$attr": an attribute of the module that is being replaced.
Json resolve(const Json& args, const nn::Module* replaced) {
  Json out = args;
  for (auto& [name, value] : out.items()) {
    if (!value.is_string() || !value.get<std::string>().starts_with('$')) continue;
    if (!replaced) throw Unsupported("an attribute of a replaced module where none is");
    const std::string attribute = value.get<std::string>().substr(1);
    if (attribute.starts_with("has_")) {
      const auto* p = replaced->find_param(attribute.substr(4));
      value = p && p->value().defined();
    } else {
      value = attribute_of(*replaced, attribute);
    }
  }
  return out;
}

Tensor typed_zeros(const Json& q) {
  if (!q.contains("shape") || q["shape"].is_null()) return {};
  DType t = f64;
  if (q.contains("dtype") && !parse_dtype(q["dtype"].get<std::string>(), t))
    throw Unsupported("dtype " + q["dtype"].dump());
  return sequence(q["shape"], [](int64_t) { return 0.0; }).to(t);
}

nn::ModulePtr make_net(const Json& tree) {
  const auto net = nn::make<Net>(tree.value("name", "Net"), tree.value("forward", Json()));
  for (const Json& p : part(tree, "params")) {
    const Tensor t = typed_zeros(p);
    if (t.defined())
      net->register_parameter(p.at("name"), nn::parameter(t));
    else
      net->register_parameter(p.at("name"), nullptr);
  }
  for (const Json& b : part(tree, "buffers"))
    net->register_buffer(b.at("name"), typed_zeros(b), b.value("persistent", true));
  return net;
}

// graft's Sequential refuses what takes two inputs; a program that only prints such a tree gets a container of ours.
bool holds_bilinear(const Json& tree) {
  const Json& children = part(tree, "children");
  return std::any_of(children.begin(), children.end(),
                     [](const Json& c) { return c.at(1).is_object() && c[1].value("kind", "") == "Bilinear"; });
}

nn::ModulePtr make_layer(const Json& tree, const nn::Module* replaced) {
  const std::string kind = tree.at("kind");
  const Json args = resolve(part(tree, "args"), replaced);
  if (kind == "Net") return make_net(tree);
  if (kind == "Sequential" && holds_bilinear(tree)) return nn::make<Net>(kind, Json());
  if (kind == "SubLinear") return make_linear<SubLinear>(args);
  if (kind == "RecursiveLinear") return make_linear<RecursiveLinear>(args);
  if (kind == "CopyLinear") return make_linear<CopyLinear>(args);
  if (!nn::registered_type(kind)) throw Unsupported("no layer is named " + kind);
  CaseTensors none;
  return nn::build(kind, to_args(Json::array(), args, none));
}

// A parameter of another place: "path.in.root", or "$self.name" of the replaced module.
nn::ParamEntry& tied_entry(const std::string& source, nn::Module& root, const nn::ModulePtr& replaced) {
  if (source.starts_with("$self.")) return replaced->param_entry(source.substr(6));
  return root.param_entry(source);
}

nn::ModulePtr build(const Json& tree, nn::ModulePtr root, const nn::ModulePtr& replaced) {
  if (tree.contains("self")) return replaced;
  if (tree.contains("ref")) return find_attribute(root, tree["ref"]).module;
  nn::ModulePtr m = make_layer(tree, replaced.get());
  m->to(f64);
  if (!root) root = m;
  for (const Json& child : part(tree, "children"))
    m->add_module(child.at(0), child.at(1).is_null() ? nullptr : build(child[1], root, replaced));
  for (const auto& [name, source] : part(tree, "tie").items())
    m->param_entry(name).share(tied_entry(source, *root, replaced));
  for (const Json& name : part(tree, "frozen")) m->get_parameter(name.get<std::string>()).requires_grad_(false);
  return m;
}

}  // namespace

nn::ModulePtr build_model(const Json& tree, const nn::ModulePtr& replaced) { return build(tree, nullptr, replaced); }

std::span<const Kind> own_kinds() {
  static const Kind kinds[] = {Kind::of<Net>("Net"), Kind::of<SubLinear>("SubLinear"),
                               Kind::of<RecursiveLinear>("RecursiveLinear"), Kind::of<CopyLinear>("CopyLinear")};
  return kinds;
}

}  // namespace conformance
