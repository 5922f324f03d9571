#include "graft/surgery/catalog.h"

#include <algorithm>
#include <mutex>
#include "graft/surgery/activation_checkpointing.h"
#include "graft/surgery/batchnorm_swaps.h"
#include "graft/surgery/blurpool.h"
#include "graft/surgery/dropout.h"
#include "graft/surgery/factorize.h"
#include "graft/surgery/ghost_batchnorm.h"
#include "graft/surgery/intermediates.h"
#include "graft/surgery/lora.h"
#include "graft/surgery/operations.h"
#include "graft/surgery/qat.h"
#include "graft/surgery/squeeze_excite.h"
#include "graft/surgery/stochastic_depth.h"
#include "graft/surgery/weight_standardization.h"

namespace graft::inline v1::surgery {
namespace {

using nn::ArgReader;
using nn::Module;
using Policies = std::vector<Policy>;

Selection at(ArgReader& a, const Module& model) { return select(model).at(a.get<std::string>("at")); }

Policies make_blurpool(ArgReader& a, const Module&) {
  BlurPoolOptions o;
  o.replace_convs = a.get("replace_convs", o.replace_convs);
  o.replace_maxpools = a.get("replace_maxpools", o.replace_maxpools);
  o.blur_first = a.get("blur_first", o.blur_first);
  o.min_channels = a.get("min_channels", o.min_channels);
  return blurpool(o);
}
Policies make_factorize(ArgReader& a, const Module&) {
  FactorizeOptions o;
  o.min_channels = a.get("min_channels", o.min_channels);
  o.latent_channels = a.get("latent_channels", o.latent_channels);
  o.min_features = a.get("min_features", o.min_features);
  o.latent_features = a.get("latent_features", o.latent_features);
  o.energy = a.get("energy", o.energy);
  o.error = a.get("error", o.error);
  return factorize(o);
}
Policies make_lora(ArgReader& a, const Module& model) {
  LoRAOptions o;
  o.r = a.get("r", o.r);
  o.alpha = a.get("alpha", double(o.r));
  o.dropout = a.get("dropout", o.dropout);
  if (a.has("at")) return {lora(at(a, model), o)};
  return lora(o);
}
Policies make_squeeze_excite(ArgReader& a, const Module&) {
  SqueezeExciteOptions o;
  o.latent_channels = a.get("latent_channels", o.latent_channels);
  o.min_channels = a.get("min_channels", o.min_channels);
  return squeeze_excite(o);
}
Policies make_stochastic_depth(ArgReader& a, const Module& model) {
  const Selection branches = at(a, model);
  StochasticDepthOptions o;
  o.drop_rate = a.get("drop_rate", o.drop_rate);
  const auto by = a.get("by", std::string("block"));
  GRAFT_CHECK(by == "block" || by == "sample", "stochastic_depth: by must be 'block' or 'sample', not '", by, "'");
  o.by = by == "block" ? DropBy::block : DropBy::sample;
  o.linear = a.get("linear", o.linear);
  return {stochastic_depth(branches, o)};
}
Policies make_replace(ArgReader& a, const Module& model) {
  const auto from = a.get<std::string>("from"), to = a.get<std::string>("to");
  const auto type = nn::registered_type(from);
  if (!type) nn::build(from);  // whose error names the nearest types
  const nn::ModulePtr prototype = nn::build(to);
  const auto exact = [type = *type](const Module& m) { return std::type_index(typeid(m)) == type; };
  Policy p = on<Module>([prototype, exact](const Module& m) { return exact(m) ? prototype->clone() : nullptr; });
  if (a.has("at")) {
    const Selection s = at(a, model);
    p.selection = s;
    p.matches = detail::among(s);
  }
  return {p};
}
Policies make_qat(ArgReader& a, const Module&) {
  nn::qat::QConfig c;
  c.per_channel = a.get("per_channel", c.per_channel);
  c.activations = a.get("activations", c.activations);
  return prepare_qat(c);
}
Policies make_num_classes(ArgReader& a, const Module& model) {
  const Selection s = at(a, model);
  return {num_classes(s, a.get<int64_t>("n"))};
}
Policies make_in_channels(ArgReader& a, const Module& model) {
  const Selection s = at(a, model);
  return {in_channels(s, a.get<int64_t>("n"))};
}
Policies make_remove(ArgReader& a, const Module& model) {
  const Selection s = at(a, model);
  return {remove(s, a.get("identity", false) ? Removal::identity : Removal::entry)};
}

std::vector<Surgery> built_in() {
  return {
      {"batchnorm_to_groupnorm", "num_groups=32", "group norms that share weight and bias of batch norms",
       [](ArgReader& a, const Module&) { return batchnorm_to_groupnorm(a.get("num_groups", int64_t{32})); }},
      {"blurpool", "replace_convs=true replace_maxpools=true blur_first=true min_channels=16",
       "a blur before pools and convolutions take samples", make_blurpool},
      {"checkpoint_activations", "at=GLOB", "computed again in the backward pass instead of kept",
       [](ArgReader& a, const Module& m) { return Policies{checkpoint_activations(at(a, m))}; }},
      {"factorize", "min_channels=512 latent_channels=0.25 min_features=512 latent_features=0.25 energy=0 error=0",
       "two thin layers for a wide one", make_factorize},
      {"freeze_batchnorm", "", "batch norms that are not trained any more", [](ArgReader&, const Module&) { return freeze_batchnorm(); }},
      {"ghost_batchnorm", "ghost_batch_size=32", "training batches normalised in parts",
       [](ArgReader& a, const Module&) { return ghost_batchnorm(a.get("ghost_batch_size", int64_t{32})); }},
      {"in_channels", "at=GLOB n=N", "another number of inputs, weights repeated or summed", make_in_channels},
      {"knock_out", "at=GLOB", "zeros instead of a result", [](ArgReader& a, const Module& m) { return Policies{knock_out(at(a, m))}; }},
      {"lora", "r=8 alpha=R dropout=0 [at=GLOB]", "low-rank adapters beside Linear and Conv2d", make_lora},
      {"num_classes", "at=GLOB n=N", "another number of outputs; those that both have keep their weights", make_num_classes},
      {"prepare_qat", "per_channel=true activations=true", "layers that round their weights in training", make_qat},
      {"qat_to_float", "", "those of prepare_qat as they were, norms folded", [](ArgReader&, const Module&) { return qat_to_float(); }},
      {"remove", "at=GLOB identity=false", "modules taken out, or replaced by an Identity", make_remove},
      {"remove_dropout", "", "an Identity for every Dropout", [](ArgReader&, const Module&) { return remove_dropout(); }},
      {"remove_lora", "", "adapters taken off; what is merged stays", [](ArgReader&, const Module&) { return remove_lora(); }},
      {"replace", "from=TYPE to=TYPE [at=GLOB]", "modules of exactly one type by those of another", make_replace},
      {"squeeze_excite", "latent_channels=64 min_channels=128", "channels weighed by the mean of the image", make_squeeze_excite},
      {"stochastic_depth", "at=GLOB drop_rate=0.2 by=block linear=true", "branches left out at random in training", make_stochastic_depth},
      {"weight_standardization", "n_last_layers_ignore=0", "convolutions with standardised weights",
       [](ArgReader& a, const Module& m) {
         return weight_standardization(m, {.n_last_layers_ignore = a.get("n_last_layers_ignore", int64_t{0})});
       }},
  };
}

struct Catalog {
  std::mutex mutex;
  std::vector<Surgery> all = built_in();
};
Catalog& catalog() {
  static Catalog c;
  return c;
}

}  // namespace

std::vector<Surgery> surgeries() {
  const std::lock_guard lock(catalog().mutex);
  return catalog().all;
}
void register_surgery(Surgery s) {
  const std::lock_guard lock(catalog().mutex);
  auto& all = catalog().all;
  const auto at = std::ranges::lower_bound(all, s.name, {}, &Surgery::name);
  GRAFT_CHECK(at == all.end() || at->name != s.name, ErrorCode::key_error, "register_surgery: '", s.name, "' is taken");
  all.insert(at, std::move(s));
}
std::vector<Policy> make_surgery(std::string_view name, const nn::Args& args, const nn::Module& model) {
  const std::vector<Surgery> all = surgeries();
  const auto found = std::ranges::find(all, name, [](const Surgery& s) { return std::string_view(s.name); });
  if (found == all.end()) {
    std::vector<std::string> names;
    for (const Surgery& s : all) names.push_back(s.name);
    std::string near;
    for (const std::string& n : nn::nearest_names(name, names)) near += (near.empty() ? "; did you mean " : ", ") + n;
    fail(ErrorCode::key_error, "no surgery is named '", name, "'", near);
  }
  ArgReader reader{std::string(name), args};
  std::vector<Policy> policies = found->make(reader, model);
  reader.finish();
  return policies;
}

}  // namespace graft::inline v1::surgery
