// Steps that apply a ready-made surgery: composer's algorithms.
#include <cmath>
#include "graft/core/ops.h"
#include "graft/surgery/blurpool.h"
#include "graft/surgery/factorize.h"
#include "graft/surgery/ghost_batchnorm.h"
#include "graft/surgery/low_rank.h"
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
  if (name == "factorize") {
    surgery::FactorizeOptions o;
    o.min_channels = args.value("min_channels", o.min_channels);
    o.latent_channels = args.value("latent_channels", o.latent_channels);
    o.min_features = args.value("min_features", o.min_features);
    o.latent_features = args.value("latent_features", o.latent_features);
    return surgery::factorize(o);
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

// X[i] = cos(0.21 i^2 + 0.7), W[i] = sin(0.37 i^2 + 1), b = sin(0.37 i + 3) / 2, Y = X W + b
Json factorize_matrix(World&, const Json& s) {
  const Tensor x = sequence(s.at("X"), [](int64_t i) { return std::cos(0.21 * double(i * i) + 0.7); });
  const Tensor w = sequence(s.at("W"), [](int64_t i) { return std::sin(0.37 * double(i * i) + 1); });
  const Tensor b = parameter_values({w.size(1)}, 3);
  const auto f = surgery::factorize_matrix(x, matmul(x, w) + b, w, {.bias = b, .rank = s.at("rank").get<double>()});
  const Tensor fitted = matmul(x, f.wa);
  Json out{{"rank", f.rank}, {"nmse", f.nmse}, {"Wa_shape", shape_list(f.wa)}, {"bias", observed(f.bias)}};
  if (f.wb.defined()) out["Wb_shape"] = shape_list(f.wb);
  out["Yhat"] = observed((f.wb.defined() ? matmul(fitted, f.wb) : fitted) + f.bias);
  return out;
}

const Step kAlgorithmsSteps[] = {{"algorithm", algorithm}, {"factorize_matrix", factorize_matrix}};

}  // namespace

std::span<const Step> algorithm_steps() { return kAlgorithmsSteps; }

}  // namespace conformance
