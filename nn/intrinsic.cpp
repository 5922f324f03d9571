#include "graft/nn/intrinsic.h"

#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

// A child, where it is exactly an M in eval mode whose hooks would not be missed.
template <class M> static const M* plain(const Module* m) {
  return m && typeid(*m) == typeid(M) && !m->runs_hooks() && !m->training() ? static_cast<const M*>(m) : nullptr;
}
template <class M> static const M* plain(const Module& parent, size_t i) {
  return i < parent.child_entries().size() ? plain<M>(parent.child_entries()[i]->module.get()) : nullptr;
}

template <int N> using ConvOf = std::conditional_t<N == 1, Conv1d, std::conditional_t<N == 2, Conv2d, Conv3d>>;

template <int N> static Tensor in_one(const Tensor& x, const ConvNd<N>& conv, const functional::Epilogue& epilogue) {
  if constexpr (N == 1) return functional::conv1d_bias_act(x, conv.weight, conv.bias, conv.geometry(), epilogue);
  else if constexpr (N == 2) return functional::conv2d_bias_act(x, conv.weight, conv.bias, conv.geometry(), epilogue);
  else return functional::conv3d_bias_act(x, conv.weight, conv.bias, conv.geometry(), epilogue);
}
template <int N> Tensor ConvReLUNd<N>::forward(const Tensor& x) {
  const auto* conv = plain<ConvOf<N>>(*this, 0);
  if (!conv || !plain<ReLU>(*this, 1) || this->child_entries().size() != 2) return Sequential::forward(x);
  return in_one<N>(x, *conv, {});
}

template <int N>
ConvAddReLUNd<N>::ConvAddReLUNd(ModulePtr c, ModulePtr a, ModulePtr r, bool residual_first)
    : conv(this, "conv", std::move(c)), add(this, "add", std::move(a)), relu(this, "relu", nullptr), residual_first(residual_first) {
  if (r) relu.put(std::move(r));
}
template <int N> Tensor ConvAddReLUNd<N>::forward(const Tensor& a, const Tensor& b) {
  const Tensor &x = residual_first ? b : a, &residual = residual_first ? a : b;
  const auto* layer = plain<ConvOf<N>>(conv.module().get());
  if (layer && plain<Add>(add.module().get()) && (!relu || plain<ReLU>(relu.module().get())))
    return in_one<N>(x, *layer, {.residual = residual, .relu = bool(relu)});
  const Tensor y = conv(x);
  const Tensor sum = residual_first ? add(residual, y) : add(y, residual);
  return relu ? relu(sum) : sum;
}

Tensor LinearReLU::forward(const Tensor& x) {
  const auto* linear = plain<Linear>(*this, 0);
  if (!linear || !plain<ReLU>(*this, 1) || child_entries().size() != 2) return Sequential::forward(x);
  return functional::linear_act(x, linear->weight, linear->bias, "relu");
}

template class ConvReLUNd<1>;
template class ConvReLUNd<2>;
template class ConvReLUNd<3>;
template class ConvAddReLUNd<1>;
template class ConvAddReLUNd<2>;
template class ConvAddReLUNd<3>;

template <class S> static void add_sequence(Registry& r, const char* name) {
  r.add<S>(name, [](ArgReader&) { return make<S>(); });
}
template <class M> static void add_sum(Registry& r, const char* name) {  // the children are described
  r.add<M>(name, [](ArgReader& a) { return make<M>(make<Identity>(), make<Add>(), nullptr, a.get("residual_first", false)); },
           {attribute<&M::residual_first>("residual_first")});
}
void register_intrinsic(Registry& r) {
  add_sum<ConvAddReLU1d>(r, "ConvAddReLU1d");
  add_sum<ConvAddReLU2d>(r, "ConvAddReLU2d");
  add_sum<ConvAddReLU3d>(r, "ConvAddReLU3d");
  add_sequence<ConvReLU1d>(r, "ConvReLU1d");
  add_sequence<ConvReLU2d>(r, "ConvReLU2d");
  add_sequence<ConvReLU3d>(r, "ConvReLU3d");
  add_sequence<ConvTransposeReLU1d>(r, "ConvTransposeReLU1d");
  add_sequence<ConvTransposeReLU2d>(r, "ConvTransposeReLU2d");
  add_sequence<ConvTransposeReLU3d>(r, "ConvTransposeReLU3d");
  add_sequence<LinearReLU>(r, "LinearReLU");
  add_sequence<BNReLU1d>(r, "BNReLU1d");
  add_sequence<BNReLU2d>(r, "BNReLU2d");
  add_sequence<BNReLU3d>(r, "BNReLU3d");
  add_sequence<ConvBn1d>(r, "ConvBn1d");
  add_sequence<ConvBn2d>(r, "ConvBn2d");
  add_sequence<ConvBn3d>(r, "ConvBn3d");
  add_sequence<ConvBnReLU1d>(r, "ConvBnReLU1d");
  add_sequence<ConvBnReLU2d>(r, "ConvBnReLU2d");
  add_sequence<ConvBnReLU3d>(r, "ConvBnReLU3d");
  add_sequence<LinearBn1d>(r, "LinearBn1d");
}

}  // namespace graft
