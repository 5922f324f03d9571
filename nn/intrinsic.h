// Layers in a row that fusion makes, under the names of torch.nn.intrinsic: Sequentials with children "0", "1" (and
// "2").
#pragma once
#include "graft/nn/activation.h"
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

}  // namespace graft
