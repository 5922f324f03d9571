#include "graft/nn/architecture.h"

#include <algorithm>
#include <cmath>

#include "graft/core/op.h"
#include "graft/nn/param.h"
#include "graft/nn/structure.h"

namespace graft::inline v1::nn {
namespace {

// ---- arguments as JSON -------------------------------------------------------------------------------------------

Json json_of(const Value& v) {
  if (const bool* b = v.get_if<bool>()) return *b;
  if (const int64_t* i = v.get_if<int64_t>()) return *i;
  if (const std::string* s = v.get_if<std::string>()) return *s;
  if (const double* d = v.get_if<double>()) {
    if (std::isfinite(*d)) return *d;
    return Json::of("float", std::isnan(*d) ? "nan" : *d > 0 ? "inf" : "-inf");  // JSON has no such numbers
  }
  if (const Values* list = v.get_if<Values>()) {
    Json::List all;
    for (const Value& item : *list) all.push_back(json_of(item));
    return all;
  }
  GRAFT_CHECK(v.is_none(), ErrorCode::type_error, "a ", v.kind(), " cannot be written as an argument");
  return nullptr;
}
Value value_of(const Json& j) {
  switch (j.kind()) {
    case Json::Kind::null: return {};
    case Json::Kind::boolean: return j.boolean();
    case Json::Kind::integer: return j.integer();
    case Json::Kind::number: return j.number();
    case Json::Kind::text: return j.text();
    case Json::Kind::object: {
      JsonReader r(j, "a number");
      const std::string name = r.text("float");
      r.finish();
      GRAFT_CHECK(name == "inf" || name == "-inf" || name == "nan", ErrorCode::malformed, "'", name, "' is no number");
      return name == "nan" ? NAN : name == "inf" ? INFINITY : -INFINITY;
    }
    case Json::Kind::list: break;
  }
  Values list;
  for (const Json& item : j.items()) list.push_back(value_of(item));
  return list;
}
constexpr const char* kFormats[] = {"preserve", "contiguous", "channels_last", "channels_last_3d"};

Json json_of(const std::vector<Arg>& arguments) {
  Json::Fields all;
  for (const Arg& a : arguments) all.emplace_back(a.name, json_of(a.value));
  return all;
}

// ---- describing --------------------------------------------------------------------------------------------------

struct Place { size_t module; const std::string* name; };

class Describer {
 public:
  Describer(const Structure& s, const Surroundings& around) : s_(s), around_(around) {}
  Json run(uint32_t root) {
    number(root);
    Json::List modules;
    for (size_t i = 0; i < order_.size(); ++i) {  // grows with the children of what is described
      const auto outside = i > 0 ? around_.modules.find(s_.module(order_[i])) : around_.modules.end();
      try {
        modules.push_back(outside != around_.modules.end() ? kept(outside->second) : one(i));
      } catch (Error& e) {
        if (i > 0) e.within(path(i), s_.type(order_[i]).name);
        throw;
      }
    }
    return Json::of("modules", std::move(modules));
  }

 private:
  static Json kept(const std::string& path) { return Json::of("keep", path); }
  size_t number(uint32_t m) {
    const auto [it, is_new] = numbers_.emplace(m, order_.size());
    if (is_new) order_.push_back(m), above_.push_back({now_, nullptr});
    return it->second;
  }
  std::string path(size_t i) const {
    std::string text;
    for (; i > 0; i = above_[i].module) text = *above_[i].name + (text.empty() ? "" : "." + text);
    return text;
  }
  Json one(size_t i) {
    now_ = i;
    const uint32_t m = order_[i];
    const Structure::Type& type = s_.type(m);
    GRAFT_CHECK(type.registered, ErrorCode::type_error, "the type ", type.name,
                " is not registered, so that no file can say how to make one; nn::register_type<", type.name, ">(...) does that");
    Json j = Json::of("type", type.name);
    Json::Fields args;
    for (const Arg& a : type.fixed) args.emplace_back(a.name, json_of(a.value));
    for (size_t k = 0; k < type.attributes.size(); ++k) args.emplace_back(type.attributes[k].name, json_of(s_.values(m)[k]));
    if (!args.empty()) j.set("args", std::move(args));
    if (!s_.training(m)) j.set("training", false);
    if (!s_.made_of(m).empty()) j.set("made_of", s_.made_of(m));
    Json::Fields parameters, buffers, children;
    for (const auto& e : s_.parameters(m)) {
      Json t = tensor(e);
      if (e.leaf && !e.requires_grad && t.find("dtype")) t.set("requires_grad", false);
      parameters.emplace_back(s_.name(e), std::move(t));
    }
    for (const auto& e : s_.buffers(m)) {
      Json t = tensor(e);
      if (!e.persistent && t.is_null()) t = Json::object();
      if (!e.persistent) t.set("persistent", false);
      buffers.emplace_back(s_.name(e), std::move(t));
    }
    for (const auto& e : s_.children(m)) {
      const bool there = e.module != Structure::kNone;
      const size_t n = there ? number(e.module) : 0;
      children.emplace_back(s_.name(e), there ? Json(n) : Json());
      if (there && !above_[n].name) above_[n].name = &s_.name(e);
    }
    if (!parameters.empty()) j.set("parameters", std::move(parameters));
    if (!buffers.empty()) j.set("buffers", std::move(buffers));
    if (!children.empty()) j.set("children", std::move(children));
    return j;
  }
  Json tensor(const Structure::Leaf& t) {
    if (!t.value) return nullptr;
    if (const auto it = around_.tensors.find(t.leaf); it != around_.tensors.end()) return kept(it->second);
    const auto [it, is_new] = tensors_.emplace(t.identity(), Place{now_, &s_.name(t)});
    if (!is_new) return Json::of("tied", Json::list_of(it->second.module, *it->second.name));
    Json::List shape;
    for (const int64_t n : s_.shape(t)) shape.emplace_back(n);
    Json j = Json::of("dtype", name_of(t.dtype), "shape", std::move(shape));
    if (t.format != MemoryFormat::contiguous) j.set("memory_format", kFormats[size_t(t.format)]);
    return j;
  }

  const Structure& s_;
  const Surroundings& around_;
  std::unordered_map<uint32_t, size_t> numbers_;
  std::unordered_map<const TensorImpl*, Place> tensors_;
  std::vector<uint32_t> order_;
  std::vector<Place> above_;  // the first slot that holds a module; of the root nothing
  size_t now_ = 0;
};

// ---- records -----------------------------------------------------------------------------------------------------

struct TensorRecord {
  enum Kind : uint8_t { none, own, tied, kept } kind = none;
  DType dtype = f32;
  Shape shape;
  MemoryFormat format = MemoryFormat::contiguous;
  bool requires_grad = true, persistent = true;
  size_t module = 0;  // tied to a tensor of this one
  std::string name;   // there, or of what is kept

  bool is(const Tensor& t) const { return t.defined() && t.dtype() == dtype && t.shape() == shape; }
};
template <class T> using Named = std::vector<std::pair<std::string, T>>;
struct Record {
  std::string keep;
  bool kept = false;
  std::string type;
  Json args = Json::object();
  bool training = true;
  std::string made_of;
  Named<TensorRecord> parameters, buffers;
  Named<std::optional<size_t>> children;
};

MemoryFormat read_format(JsonReader& r, int rank) {
  const std::string name = r.text("memory_format");
  for (const MemoryFormat f : {MemoryFormat::channels_last, MemoryFormat::channels_last_3d})
    if (name == kFormats[size_t(f)] && rank == (f == MemoryFormat::channels_last ? 4 : 5)) return f;
  fail(ErrorCode::malformed, r.where("memory_format"), ": 'channels_last' of 4 dimensions or 'channels_last_3d' of 5 was expected, not '", name,
       "' of ", rank);
}
TensorRecord read_tensor(const Json& j, const std::string& where, size_t modules, bool buffer) {
  TensorRecord t;
  if (j.is_null()) return t;
  JsonReader r(j, where);
  if (buffer) t.persistent = r.boolean("persistent", true);
  if (r.find("keep")) {
    t.kind = TensorRecord::kept;
    t.name = r.text("keep");
  } else if (r.find("tied")) {
    t.kind = TensorRecord::tied;
    const Json::List& at = r.list("tied");
    const bool right = at.size() == 2 && at[0].kind() == Json::Kind::integer && at[1].kind() == Json::Kind::text;
    GRAFT_CHECK(right && at[0].integer() >= 0 && size_t(at[0].integer()) < modules, ErrorCode::malformed, where,
                ".tied: the number of a module and a name were expected");
    t.module = size_t(at[0].integer());
    t.name = at[1].text();
  } else if (t.persistent || r.find("dtype")) {
    t.kind = TensorRecord::own;
    const std::string dtype = r.text("dtype");
    GRAFT_CHECK(parse_dtype(dtype, t.dtype), ErrorCode::malformed, where, ": no dtype is named '", dtype, "'");
    const Json::List& sizes = r.list("shape");
    GRAFT_CHECK(sizes.size() <= size_t(kMaxRank), ErrorCode::malformed, where, ": ", sizes.size(), " dimensions, of at most ", kMaxRank);
    for (const Json& n : sizes) {
      GRAFT_CHECK(n.kind() == Json::Kind::integer && n.integer() >= 0, ErrorCode::malformed, where, ".shape: sizes were expected");
      t.shape.push_back(n.integer());
    }
    if (r.find("memory_format")) t.format = read_format(r, t.shape.rank());
    if (!buffer) t.requires_grad = r.boolean("requires_grad", true);
  }
  r.finish();
  return t;
}
Record read_record(const Json& j, const std::string& where, size_t modules) {
  Record m;
  JsonReader r(j, where);
  if (r.find("keep")) {
    m.kept = true;
    m.keep = r.text("keep");
    r.finish();
    return m;
  }
  m.type = r.text("type");
  if (const Json* args = r.find("args")) {
    r.fields("args");
    m.args = *args;
  }
  m.training = r.boolean("training", true);
  m.made_of = r.text("made_of", "");
  if (r.find("parameters"))
    for (const auto& [name, t] : r.fields("parameters"))
      m.parameters.emplace_back(name, read_tensor(t, r.where("parameters." + name), modules, false));
  if (r.find("buffers"))
    for (const auto& [name, t] : r.fields("buffers"))
      m.buffers.emplace_back(name, read_tensor(t, r.where("buffers." + name), modules, true));
  if (r.find("children"))
    for (const auto& [name, c] : r.fields("children")) {
      const bool right = c.is_null() || (c.kind() == Json::Kind::integer && c.integer() >= 0 && size_t(c.integer()) < modules);
      GRAFT_CHECK(right, ErrorCode::malformed, r.where("children." + name), ": the number of a module was expected, of ", modules);
      m.children.emplace_back(name, c.is_null() ? std::nullopt : std::optional(size_t(c.integer())));
    }
  r.finish();
  return m;
}
std::vector<Record> read_records(const Json& j, const std::string& where) {
  JsonReader r(j, where);
  const Json::List& list = r.list("modules");
  r.finish();
  GRAFT_CHECK(!list.empty(), ErrorCode::malformed, where, ".modules: there is no module");
  std::vector<Record> records;
  for (size_t i = 0; i < list.size(); ++i) records.push_back(read_record(list[i], concat(where, ".modules[", i, "]"), list.size()));
  return records;
}

// ---- building ----------------------------------------------------------------------------------------------------

class Building {
 public:
  Building(std::vector<Record> records, const BuildOptions& options)
      : records_(std::move(records)), options_(options), made_(records_.size()), above_(records_.size()) {}
  ModulePtr run() {
    for (size_t i = 0; i < records_.size(); ++i) at(i, [&] { make_one(i); });
    for (size_t i = records_.size(); i-- > 0;) at(i, [&] { fill_slots(i); });  // from below: nothing lies in anything yet
    for (size_t i = 0; i < records_.size(); ++i) at(i, [&] { fit_tensors(i); });
    for (size_t i = 0; i < records_.size(); ++i) at(i, [&] { compare(i); });
    return made_[0];
  }

 private:
  template <class F> void at(size_t i, F f) {
    try {
      f();
    } catch (Error& e) {
      if (i == 0) throw;
      std::string path;
      for (size_t k = i; k > 0 && above_[k].name; k = above_[k].module) path = *above_[k].name + (path.empty() ? "" : "." + path);
      e.within(path, records_[i].kept ? "kept" : records_[i].type);
      throw;
    }
  }

  // From above, so that what a factory has put into a slot can stay there where it is what the record says.
  void make_one(size_t i) {
    const Record& r = records_[i];
    GRAFT_CHECK(i == 0 || above_[i].name, ErrorCode::malformed, "architecture: module ", i, " is in no slot of a module before it");
    if (r.kept) {
      GRAFT_CHECK(options_.module, ErrorCode::malformed, "architecture: it names '", r.keep, "' of a model around it, and there is none");
      made_[i] = options_.module(r.keep);
      return;
    }
    if (!made_[i]) {
      Args args;
      for (const auto& [name, v] : r.args.fields()) args.emplace_back(name, value_of(v));
      if (options_.empty && detail::is_of_library(r.type)) {
        const DryRun shapes;
        made_[i] = detail::build_leniently(r.type, args);
      } else {
        made_[i] = detail::build_leniently(r.type, args);
      }
    }
    adopted_.insert(made_[i].get());
    for (const auto& [name, c] : r.children) {
      if (!c) continue;
      if (!above_[*c].name) above_[*c] = {i, &name};
      const ChildEntry* e = made_[i]->find_child(name);
      if (*c > i && !made_[*c] && e && e->module && describes(records_[*c], *e->module) && adopted_.insert(e->module.get()).second)
        made_[*c] = e->module;
    }
  }
  static bool describes(const Record& r, const Module& m) {
    if (r.kept) return false;
    const std::optional<Made> made = made_with(m);
    return made && made->type == r.type && json_of(made->arguments) == r.args;
  }

  void fill_slots(size_t i) {
    const Record& r = records_[i];
    if (r.kept) return;
    Module& m = *made_[i];
    drop_others(m, m.child_entries(), r.children);
    for (const auto& [name, c] : r.children) {
      const ModulePtr child = c ? made_[*c] : nullptr;
      ChildEntry* e = m.find_child(name);
      if (!e) m.add_module(name, child);
      else if (e->module != child) e->put(child);
    }
    check_order(m.child_entries(), r.children, "children");
    m.set_training(r.training);
    m.set_made_of(r.made_of);
  }
  template <class Entries, class List> static void drop_others(Module& m, const Entries& entries, const List& wanted) {
    std::vector<std::string> gone;
    std::unordered_set<std::string_view> names;
    for (const auto& [name, x] : wanted) names.insert(name);
    for (const auto& e : entries)
      if (!names.contains(e->name)) gone.push_back(e->name);
    for (const std::string& name : gone) m.remove(name);
  }
  template <class Entries, class List> static void check_order(const Entries& entries, const List& wanted, const char* what) {
    for (size_t k = 0; k < wanted.size(); ++k)
      GRAFT_CHECK(k < entries.size() && entries[k]->name == wanted[k].first, ErrorCode::mismatch, "architecture: its ", what,
                  " come in another order than '", wanted[k].first, "' at ", k);
  }

  void fit_tensors(size_t i) {
    const Record& r = records_[i];
    if (r.kept) return;
    Module& m = *made_[i];
    drop_others(m, m.param_entries(), r.parameters);
    drop_others(m, m.buffer_entries(), r.buffers);
    for (const auto& [name, t] : r.parameters) {
      ParamEntry* e = m.find_param(name);
      if (!e) e = &m.register_parameter(name, Parameter());
      if (t.kind == TensorRecord::tied && i >= t.module && made_[t.module]->find_param(t.name)) {
        e->share(*made_[t.module]->find_param(t.name));
        continue;
      }
      const Tensor fitting = fitted(t, e->leaf, i);
      if (!fitting.is_same(e->leaf)) e->put(fitting.defined() && t.kind == TensorRecord::own ? parameter(fitting, false) : fitting);
      if (e->leaf.defined()) seen_.insert(e->leaf.impl());
      if (t.kind == TensorRecord::own && e->leaf.requires_grad() != t.requires_grad) e->leaf.requires_grad_(t.requires_grad);
    }
    for (const auto& [name, t] : r.buffers) {
      BufferEntry* e = m.find_buffer(name);
      if (!e) e = &m.register_buffer(name, Tensor(), t.persistent);
      e->put(fitted(t, e->value, i));
      e->persistent = t.persistent;
      if (e->value.defined()) seen_.insert(e->value.impl());
    }
    check_order(m.param_entries(), r.parameters, "parameters");
    check_order(m.buffer_entries(), r.buffers, "buffers");
  }
  Tensor fitted(const TensorRecord& t, const Tensor& there, size_t i) {
    switch (t.kind) {
      case TensorRecord::none: return {};
      case TensorRecord::kept:
        GRAFT_CHECK(options_.tensor, ErrorCode::malformed, "architecture: it names '", t.name, "' of a model around it, and there is none");
        return options_.tensor(t.name);
      case TensorRecord::tied: {
        const Module& m = *made_[t.module];
        const ParamEntry* p = m.find_param(t.name);
        const BufferEntry* b = m.find_buffer(t.name);
        GRAFT_CHECK(t.module <= i && (p || b), ErrorCode::malformed, "architecture: tied to '", t.name, "' of module ", t.module,
                    ", which has been described neither before nor there");
        return p ? p->leaf : b->value;
      }
      case TensorRecord::own: break;
    }
    count_bytes(t);
    const bool usable = there.defined() && there.device() != Device::meta && !seen_.contains(there.impl());
    const NoGrad quiet;
    const auto laid_out = [&](const Tensor& x) { return t.format == MemoryFormat::contiguous ? x : x.contiguous(t.format); };
    if (usable && t.is(there)) return t.format == MemoryFormat::contiguous ? there : laid_out(there.detach());
    if (usable && there.shape() == t.shape) return laid_out(there.detach().to(t.dtype));
    return laid_out(options_.empty ? empty(t.shape, t.dtype) : zeros(t.shape, t.dtype));
  }
  void count_bytes(const TensorRecord& t) {
    uint64_t left = (options_.most_bytes - bytes_) / uint64_t(size_of(t.dtype)), n = 1;
    if (std::ranges::find(t.shape, 0) != t.shape.end()) return;
    for (const int64_t size : t.shape) {
      GRAFT_CHECK(uint64_t(size) <= left / n, ErrorCode::too_large, "architecture: its tensors have more than ", options_.most_bytes, " bytes");
      n *= uint64_t(size);
    }
    GRAFT_CHECK(n <= left, ErrorCode::too_large, "architecture: its tensors have more than ", options_.most_bytes, " bytes");
    bytes_ += n * uint64_t(size_of(t.dtype));
  }

  // A factory may not know an argument, or make something else of it.
  void compare(size_t i) const {
    const Record& r = records_[i];
    if (r.kept) return;
    const std::optional<Made> made = made_with(*made_[i]);
    GRAFT_CHECK(made && made->type == r.type, ErrorCode::mismatch, "architecture: the factory of ", r.type, " makes a ", type_name(*made_[i]));
    const Json args = json_of(made->arguments);
    std::vector<std::string> names;
    for (const auto& [name, v] : args.fields()) names.push_back(name);
    for (const auto& [name, v] : r.args.fields()) {
      std::string near;
      const Json* now = args.find(name);
      if (!now)
        for (const std::string& n : nearest_names(name, names)) near += (near.empty() ? "; did you mean " : ", ") + n;
      GRAFT_CHECK(now, ErrorCode::malformed, r.type, ": has no argument '", name, "'", near);
      GRAFT_CHECK(*now == v, ErrorCode::mismatch, r.type, ": made with ", name, " = ", v.dump(), " it has ", now->dump());
    }
    for (const std::string& name : names)
      GRAFT_CHECK(r.args.find(name), ErrorCode::malformed, r.type, ": the argument '", name, "' is missing");
  }

  std::vector<Record> records_;
  const BuildOptions& options_;
  std::vector<ModulePtr> made_;
  std::vector<Place> above_ = {};
  std::unordered_set<const Module*> adopted_;  // one record each
  std::unordered_set<const TensorImpl*> seen_;
  uint64_t bytes_ = 0;
};

}  // namespace

Json architecture(const Structure& s, uint32_t root, const Surroundings& around) { return Describer(s, around).run(root); }
Json architecture(const Module& m, const Surroundings& around) { return architecture(Structure(m), 0, around); }
void check_architecture(const Json& j, const std::string& where) { read_records(j, where); }
ModulePtr from_architecture(const Json& j, const BuildOptions& options) {
  return Building(read_records(j, "architecture"), options).run();
}

}  // namespace graft::nn
