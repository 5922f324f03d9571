// Steps that apply a ready-made surgery: composer's algorithms.
#include "graft/surgery/blurpool.h"
#include "graft/surgery/ghost_batchnorm.h"
#include "graft/surgery/plan.h"
#include "graft/surgery/squeeze_excite.h"
#include "graft/surgery/weight_standardization.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

std::vector<surgery::Policy> policies_of(const std::string& name, const Json& args) {
  if (name == "blurpool") {
    surgery::BlurPoolOptions o;
    o.replace_convs = args.value("replace_convs", o.replace_convs);
    o.replace_maxpools = args.value("replace_maxpools", o.replace_maxpools);
    o.blur_first = args.value("blur_first", o.blur_first);
    o.min_channels = args.value("min_channels", o.min_channels);
    return surgery::blurpool(o);
  }
  if (name == "squeeze_excite") {
    surgery::SqueezeExciteOptions o;
    o.latent_channels = args.value("latent_channels", o.latent_channels);
    o.min_channels = args.value("min_channels", o.min_channels);
    return surgery::squeeze_excite(o);
  }
  if (name == "ghost_batchnorm") return surgery::ghost_batchnorm(args.value("ghost_batch_size", 32));
  if (name == "weight_standardization") return surgery::weight_standardization();
  throw Unsupported("the algorithm " + name);
}

Json algorithm(World& w, const Json& s) {
  nn::Module& model = *w.module(s.at("model"));
  surgery::Options options;
  if (s.contains("optimizer")) options.optimizers = {&w.optimizer(s["optimizer"])};
  surgery::replace(model, policies_of(s.at("name"), part(s, "args")), options);
  w.label(model, "");
  return {{"repr_after", nn::repr(model)}};
}

const Step kSteps[] = {{"algorithm", algorithm}};

}  // namespace

std::span<const Step> algorithm_steps() { return kSteps; }

}  // namespace conformance
