#include "graft/surgery/model_file.h"

#include <cstring>
#include "graft/core/op.h"
#include "graft/core/version.h"
#include "graft/nn/architecture.h"
#include "graft/nn/structure.h"
#include "graft/surgery/register_modules.h"

namespace graft::inline v1::surgery {
namespace {

// Metadata. A version of the model but the last is an entry of kEarlier: what the last has at the top, and `tensors`, the names
// of those in the file by the keys that they have in that version.
constexpr const char* kModel = "graft.model";
constexpr const char *kModelVersion = "1", *kFormatsVersion = "2";  // 2: with memory formats; files without are still of 1
constexpr const char* kArchitecture = "graft.architecture";
constexpr const char* kRecipe = "graft.recipe";
constexpr const char* kStateVersions = "graft.state_versions";
constexpr const char* kEarlier = "graft.earlier";

// ---- saving ------------------------------------------------------------------------------------------------------

// What state_dict() has, each tensor once, and the buffers that are not part of it.
io::NamedTensors numbers_of(const nn::Module& m) {
  io::NamedTensors list;
  std::unordered_set<const TensorImpl*> seen;
  for (const auto& [key, t] : m.state_dict({}, true))
    if (seen.insert(t.impl()).second) list.emplace_back(key, t.detach());
  for (const auto& [path, part] : m.named_modules())
    for (const auto& e : part->buffer_entries())
      if (!e->persistent && e->value.defined() && seen.insert(e->value.impl()).second)
        list.emplace_back(path.empty() ? e->name : path + "." + e->name, e->value.detach());
  return list;
}
Json state_versions(const nn::Module& m) {
  Json::Fields all;
  for (const auto& [path, part] : m.named_modules())
    if (part->state_version() != 1) all.emplace_back(path.empty() ? "" : path + ".", part->state_version());
  return all;
}
bool same_bytes(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  if (a.is_same(b)) return true;
  const Tensor x = a.to(Device(Device::cpu)).contiguous(), y = b.to(Device(Device::cpu)).contiguous();
  return std::memcmp(x.view().data, y.view().data, size_t(x.nbytes())) == 0;
}

class Saving {
 public:
  void last(const nn::Module& m, const Recipe& recipe) {
    for (const auto& [key, t] : numbers_of(m)) store(key, t);
    metadata = {{kArchitecture, architecture(m).dump()}, {kStateVersions, state_versions(m).dump()}};
    metadata[kModel] = version_;
    if (!recipe.empty()) metadata[kRecipe] = recipe.json(-1);
  }
  void earlier(const ModelFile& f) {
    Json::Fields names;
    for (const auto& [key, t] : numbers_of(*f.model)) {
      const std::string* known = stored(key, t);
      names.emplace_back(key, known ? *known : store("graft.earlier." + std::to_string(earlier_.size()) + "." + key, t));
    }
    earlier_.push_back(Json::of("architecture", architecture(*f.model), "state_versions", state_versions(*f.model), "recipe",
                                f.recipe.json(-1), "tensors", std::move(names)));
    metadata[kEarlier] = Json(earlier_).dump();
    metadata[kModel] = version_;
  }
  io::NamedTensors tensors;
  io::Metadata metadata;

 private:
  const std::string& store(const std::string& name, const Tensor& t) {
    tensors.emplace_back(name, t);
    by_size_[t.nbytes()].push_back(tensors.size() - 1);
    return tensors.back().first;
  }
  // A tensor of the same bytes; that of the same name first, since most have not changed.
  const std::string* stored(const std::string& key, const Tensor& t) {
    const auto it = by_size_.find(t.nbytes());
    if (it == by_size_.end()) return nullptr;
    for (const bool same_name : {true, false})
      for (const size_t i : it->second)
        if ((tensors[i].first == key) == same_name && same_bytes(tensors[i].second, t)) return &tensors[i].first;
    return nullptr;
  }
  Json architecture(const nn::Module& m) {
    const nn::Structure s(m);
    for (uint32_t i = 0; i < s.size(); ++i)
      for (const auto& list : {s.parameters(i), s.buffers(i)})
        for (const nn::Structure::Leaf& t : list)
          if (t.format != MemoryFormat::contiguous) version_ = kFormatsVersion;
    return nn::architecture(s, 0);
  }
  const char* version_ = kModelVersion;
  std::unordered_map<int64_t, std::vector<size_t>> by_size_;
  Json::List earlier_;
};

// ---- loading -----------------------------------------------------------------------------------------------------

constexpr std::string_view kExtra = "_extra_state";
constexpr uint64_t kSlack = 16 << 20;  // bytes: what a model may have beyond its file, which is found out more exactly later
using Names = std::unordered_map<std::string, std::string>;  // of the file's tensors, by key; absent: the key itself

class Loading {
 public:
  Loading(const io::SafetensorsFile& file, const Device& device) : file_(file), device_(device) {
    for (const io::TensorEntry& e : file.entries()) bytes_ += e.end - e.begin;
  }
  nn::ModulePtr model(const Json& architecture, const Json& versions, const Names* names) {
    nn::ModulePtr m;
    try {
      m = nn::from_architecture(architecture, {.empty = true, .most_bytes = bytes_ + kSlack});
    } catch (const Error& e) {
      if (e.code() != ErrorCode::key_error) throw;
      std::string known;
      for (const std::string& n : nn::registered_types()) known += (known.empty() ? "" : ", ") + n;
      throw Error(e.what(), e.code(), "registered are " + known);
    }
    read_state(*m, versions, names);
    read_other_buffers(*m, names);
    if (device_ != Device(Device::cpu)) m->to(device_);
    return m;
  }
  size_t used() const { return used_.size(); }

 private:
  const std::string& name_of(const std::string& key, const Names* names) const {
    if (!names) return key;
    const auto it = names->find(key);
    return it == names->end() ? key : it->second;
  }
  bool has(const std::string& key, const Names* names) const { return (!names || names->contains(key)) && file_.contains(name_of(key, names)); }
  Tensor read(const std::string& key, const Tensor& like, const Names* names) {
    GRAFT_CHECK(has(key, names), ErrorCode::malformed, "the file has no tensor for '", key, "'");
    const std::string& name = name_of(key, names);
    used_.insert(name);
    const Tensor t = file_.tensor(name);
    GRAFT_CHECK(!like.defined() || (t.dtype() == like.dtype() && t.shape() == like.shape()), ErrorCode::mismatch, "'", key,
                "' is ", t.view(), " in the file and ", like.view(), " in the architecture");
    return t;
  }
  void read_state(nn::Module& m, const Json& versions, const Names* names) {
    nn::StateDict dict;
    std::unordered_map<const TensorImpl*, Tensor> seen;
    for (const auto& [key, t] : m.state_dict({}, true)) {
      Tensor& value = seen[t.impl()];
      if (!value.defined()) value = read(key, key.ends_with(kExtra) ? Tensor() : t, names);
      dict.set(key, value);
    }
    std::vector<std::pair<std::string, Tensor>> extras;  // of modules that have none while they are new
    const auto extra = [&](const std::string& key) {
      if (key.ends_with(kExtra) && !dict.contains(key)) extras.emplace_back(key, read(key, {}, names));
    };
    if (names)
      for (const auto& [key, name] : *names) extra(key);
    else
      for (const io::TensorEntry& e : file_.entries())
        if (!e.name.starts_with("graft.earlier.")) extra(e.name);
    for (const auto& [prefix, v] : versions.fields()) {
      GRAFT_CHECK(v.kind() == Json::Kind::integer, ErrorCode::malformed, "state_versions: a number was expected");
      dict.set_version(prefix, v.integer());
    }
    m.load_state_dict(dict);
    for (const auto& [key, t] : extras) {
      const size_t path = key.size() - kExtra.size();
      m.get_submodule(std::string_view(key).substr(0, path > 0 ? path - 1 : 0)).set_extra_state(t);
    }
  }
  void read_other_buffers(nn::Module& m, const Names* names) {
    const NoGrad quiet;
    std::unordered_set<const TensorImpl*> seen;
    for (const auto& [key, t] : m.state_dict({}, true)) seen.insert(t.impl());
    for (const auto& [path, part] : m.named_modules())
      for (const auto& e : part->buffer_entries())
        if (!e->persistent && e->value.defined() && seen.insert(e->value.impl()).second)
          e->value.detach().copy_(read(path.empty() ? e->name : path + "." + e->name, e->value, names));
  }

  const io::SafetensorsFile& file_;
  Device device_;
  uint64_t bytes_ = 0;
  std::unordered_set<std::string> used_;
};

const std::string* find(const io::Metadata& m, const char* key) {
  const auto it = m.find(key);
  return it == m.end() ? nullptr : &it->second;
}
Json parsed(const std::string* text, const char* what) {
  return text ? Json::parse(*text, what, {.bytes = io::kMostHeaderBytes, .depth = 40}) : Json::object();
}
Names read_names(const Json::Fields& fields) {
  Names names;
  for (const auto& [key, name] : fields) {
    GRAFT_CHECK(name.kind() == Json::Kind::text, ErrorCode::malformed, "tensors: names were expected");
    names.emplace(key, name.text());
  }
  return names;
}
ModelFile read_earlier(Loading& loading, const Json& j) {
  JsonReader r(j, kEarlier);
  const Names names = read_names(r.fields("tensors"));
  ModelFile f{loading.model(r.at("architecture"), r.at("state_versions"), &names), Recipe::parse(r.text("recipe"), kRecipe), {}};
  r.finish();
  return f;
}
ModelFile read(const io::SafetensorsFile& file, const Device& device) {
  const io::Metadata& m = file.metadata();
  const std::string *version = find(m, kModel), *architecture = find(m, kArchitecture), *recipe = find(m, kRecipe);
  GRAFT_CHECK(version && architecture, ErrorCode::malformed, "tensors, but not a model of graft, which save_model() writes");
  GRAFT_CHECK(*version == kModelVersion || *version == kFormatsVersion, ErrorCode::unsupported, "a model file of version ", *version,
              "; this graft, ", kVersion, ", reads ", kModelVersion, " and ", kFormatsVersion);
  Loading loading(file, device);
  ModelFile f{loading.model(parsed(architecture, kArchitecture), parsed(find(m, kStateVersions), kStateVersions), nullptr),
              recipe ? Recipe::parse(*recipe, kRecipe) : Recipe(), {}};
  const std::string* text = find(m, kEarlier);
  const Json earlier = text ? parsed(text, kEarlier) : Json::list();
  GRAFT_CHECK(earlier.kind() == Json::Kind::list, ErrorCode::malformed, kEarlier, ": a list was expected");
  std::shared_ptr<ModelFile> before;
  for (size_t i = earlier.items().size(); i-- > 0;) {
    auto one = std::make_shared<ModelFile>(read_earlier(loading, earlier.items()[i]));
    one->before = std::move(before);
    before = std::move(one);
  }
  f.before = std::move(before);
  GRAFT_CHECK(loading.used() == file.entries().size(), ErrorCode::malformed, file.entries().size() - loading.used(),
              " tensors belong to no version of the model");
  return f;
}

}  // namespace

void save_model(const std::string& path, const nn::Module& m, const SaveModelOptions& o) {
  const NoGrad quiet;
  register_modules();
  Saving saving;
  saving.last(m, o.recipe);
  for (const ModelFile* f = o.before.get(); f; f = f->before.get()) saving.earlier(*f);
  io::save_safetensors(path, saving.tensors, saving.metadata);
}
ModelFile load_model(const std::string& path, const io::ReadOptions& options) {
  register_modules();
  io::ReadOptions here = options;
  here.device = Device::cpu;
  const io::SafetensorsFile file = io::SafetensorsFile::open(path, here);
  try {
    return read(file, options.device);
  } catch (const Error& e) {
    throw Error(path + ": " + e.what(), e.code());
  }
}

}  // namespace graft
