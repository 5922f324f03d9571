#include "graft/surgery/intermediates.h"

#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft::inline v1::surgery {

Intermediates::Intermediates(const Selection& s) : calls_(std::make_shared<std::vector<Call>>()) {
  s.check(s.root());
  const std::vector<std::string> paths = s.paths();
  const std::vector<nn::ModulePtr> modules = s.modules();
  for (size_t i = 0; i < modules.size(); ++i) {
    GRAFT_CHECK(modules[i], ErrorCode::type_error, "intermediates: the root is not held by a shared pointer");
    hooks_.push_back(modules[i]->register_forward_hook(
        [into = calls_, path = paths[i]](nn::Module&, const nn::Values& args, nn::Value& out) { into->push_back({path, args, out}); }));
  }
}
Intermediates::~Intermediates() {
  for (nn::RemovableHandle& h : hooks_) h.remove();
}
const std::vector<Intermediates::Call>& Intermediates::calls() const { return *calls_; }
const Intermediates::Call& Intermediates::last(std::string_view path) const {
  for (size_t i = calls_->size(); i-- > 0;)
    if ((*calls_)[i].path == path) return (*calls_)[i];
  fail("intermediates: no call of '", path, "' was recorded");
}
void Intermediates::clear() { calls_->clear(); }

Isolated isolate(nn::Module& model, std::string_view path, const nn::Values& args) {
  const NoGrad quiet;
  Isolated found{model.get_submodule(path).clone(), {}, {}};
  const Intermediates seen(select(model).at(path).expect(1));
  model.call(args);
  GRAFT_CHECK(!seen.calls().empty(), "isolate: '", path, "' was not called");
  const Intermediates::Call& first = seen.calls().front();
  found.inputs = first.inputs;
  found.output = first.output;
  const auto copy = [](Tensor& t) { t = t.detach().clone(); };
  for (nn::Value& v : found.inputs) nn::for_each_tensor(v, copy);
  nn::for_each_tensor(found.output, copy);
  return found;
}

Tensor KnockedOut::forward(const Tensor& x) { return zeros_like(module(x)); }
Policy knock_out(const Selection& s) {
  return on<nn::Module>(s, [](const nn::Module&, const Site& site) { return nn::make<KnockedOut>(site.module); });
}

}  // namespace graft::inline v1::surgery
