// For research: what flows through a model, one module of it alone, and the model without one of its connections.
#pragma once
#include "graft/nn/child.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// Records each call of the selected modules while it lives; hooks of its own, which leave with it. Inputs and outputs are
// kept as they are, with their history; what a later op writes in place is seen changed.
//
//   const surgery::Intermediates seen(surgery::select(*net).at("layer*"));
//   (*net)(x);
//   seen.output("layer2");
class Intermediates {
 public:
  struct Call {
    std::string path;
    nn::Values inputs;
    nn::Value output;
  };
  explicit Intermediates(const Selection&);
  ~Intermediates();
  Intermediates(const Intermediates&) = delete;
  Intermediates& operator=(const Intermediates&) = delete;

  const std::vector<Call>& calls() const;  // in the order in which they ended
  const Call& last(std::string_view path) const;  // Error if there was none
  Tensor output(std::string_view path) const { return last(path).output.tensor(); }
  void clear();

 private:
  std::shared_ptr<std::vector<Call>> calls_;
  std::vector<nn::RemovableHandle> hooks_;
};

// A copy of one module, and what it was first called with in a run of the whole model: run() is that call.
struct Isolated {
  nn::ModulePtr module;
  nn::Values inputs;
  nn::Value output;  // of the model's own
  nn::Value run() const { return module->call(inputs); }
};
// Runs the model without recording gradients; in training mode that moves its running statistics. Inputs and output are
// copies, and so is the module, as it was before the run.
Isolated isolate(nn::Module& model, std::string_view path, const nn::Values& args);

// The module runs, and zeros of the shape of its result go on: a connection that carries nothing.
class KnockedOut : public nn::Layer {
 public:
  explicit KnockedOut(const nn::ModulePtr& m) : module(this, "module", m) {}
  Tensor forward(const Tensor& x) override;
  nn::Child<nn::Layer> module;
};
// surgery::replace(*net, {surgery::knock_out(surgery::select(*net).at("layer2.0.branch"))}); its Edit's undo() restores it.
Policy knock_out(const Selection&);

}  // namespace graft::inline v1::surgery
