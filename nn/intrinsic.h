// Layers in a row that fusion makes, under the names of torch.nn.intrinsic: Sequentials with children "0", "1" (and
// "2"); and those with a second input that is added.
#pragma once
#include "graft/nn/activation.h"
#include "graft/nn/add.h"
#include "graft/nn/containers.h"
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"

namespace graft::inline v1::nn {

// Runs as one kernel while its children are a plain convolution and a plain ReLU without hooks, in eval mode.
template <int N> class ConvReLUNd : public Sequential {
 public:
  using Sequential::Sequential;
  Tensor forward(const Tensor& x) override;
};
class ConvReLU1d : public ConvReLUNd<1> { public: using ConvReLUNd::ConvReLUNd; };
class ConvReLU2d : public ConvReLUNd<2> { public: using ConvReLUNd::ConvReLUNd; };
class ConvReLU3d : public ConvReLUNd<3> { public: using ConvReLUNd::ConvReLUNd; };

// In the place of an Add: relu(add(conv(x), residual)), or without the ReLU. One kernel where the children are plain as above;
// else its parts, one after the other.
template <int N> class ConvAddReLUNd : public ModuleOf<Tensor(const Tensor&, const Tensor&)> {
 public:
  // relu: null for none. residual_first: it is called as add(residual, x).
  ConvAddReLUNd(ModulePtr conv, ModulePtr add, ModulePtr relu, bool residual_first = false);
  Tensor forward(const Tensor& a, const Tensor& b) override;
  std::string extra_repr() const override { return residual_first ? "residual_first=True" : ""; }

  Child<Layer> conv;
  Child<Add> add;
  Child<Layer> relu;  // may be empty
  bool residual_first;
};
class ConvAddReLU1d : public ConvAddReLUNd<1> { public: using ConvAddReLUNd::ConvAddReLUNd; };
class ConvAddReLU2d : public ConvAddReLUNd<2> { public: using ConvAddReLUNd::ConvAddReLUNd; };
class ConvAddReLU3d : public ConvAddReLUNd<3> { public: using ConvAddReLUNd::ConvAddReLUNd; };

class ConvTransposeReLU1d : public Sequential { public: using Sequential::Sequential; };
class ConvTransposeReLU2d : public Sequential { public: using Sequential::Sequential; };
class ConvTransposeReLU3d : public Sequential { public: using Sequential::Sequential; };
class LinearReLU : public Sequential {  // one kernel as well
 public:
  using Sequential::Sequential;
  Tensor forward(const Tensor& x) override;
};
class BNReLU1d : public Sequential { public: using Sequential::Sequential; };
class BNReLU2d : public Sequential { public: using Sequential::Sequential; };
class BNReLU3d : public Sequential { public: using Sequential::Sequential; };

// Of fuse_modules_qat: the layers as they were, still trained.
class ConvBn1d : public Sequential { public: using Sequential::Sequential; };
class ConvBn2d : public Sequential { public: using Sequential::Sequential; };
class ConvBn3d : public Sequential { public: using Sequential::Sequential; };
class ConvBnReLU1d : public Sequential { public: using Sequential::Sequential; };
class ConvBnReLU2d : public Sequential { public: using Sequential::Sequential; };
class ConvBnReLU3d : public Sequential { public: using Sequential::Sequential; };
class LinearBn1d : public Sequential { public: using Sequential::Sequential; };

extern template class ConvReLUNd<1>;
extern template class ConvReLUNd<2>;
extern template class ConvReLUNd<3>;
extern template class ConvAddReLUNd<1>;
extern template class ConvAddReLUNd<2>;
extern template class ConvAddReLUNd<3>;

}  // namespace graft
