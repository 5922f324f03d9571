// Reductions. `dims` may be counted from the end; none given means all. Sums, means and variances accumulate in f64
// (integers in i64), in an order that does not depend on the number of threads. Errors and NaN rules are PyTorch's.
#pragma once
#include <initializer_list>
#include <optional>
#include <vector>
#include "graft/core/tensor.h"

namespace graft::inline v1 {

// Which dimensions: sum(x), sum(x, 1), sum(x, {0, -1}).
class Dims {
 public:
  Dims() = default;
  Dims(int d) : Dims({d}) {}  // NOLINT(google-explicit-constructor)
  Dims(std::initializer_list<int> d);  // NOLINT(google-explicit-constructor)
  Dims(const std::vector<int>& d);     // NOLINT(google-explicit-constructor)
  bool all() const { return n_ == 0; }
  uint8_t mask(std::string_view op, const View&) const;  // bits of the dimensions, all of them where none is given

 private:
  int n_ = 0;
  int dims_[kMaxRank] = {};
};

Tensor sum(const Tensor&, const Dims& = {}, bool keepdim = false, std::optional<DType> = {});
Tensor mean(const Tensor&, const Dims& = {}, bool keepdim = false, std::optional<DType> = {});
Tensor prod(const Tensor&, std::optional<DType> = {});
Tensor prod(const Tensor&, int dim, bool keepdim = false, std::optional<DType> = {});
Tensor amax(const Tensor&, const Dims& = {}, bool keepdim = false);  // equal elements share the gradient
Tensor amin(const Tensor&, const Dims& = {}, bool keepdim = false);
Tensor any(const Tensor&, const Dims& = {}, bool keepdim = false);
Tensor all(const Tensor&, const Dims& = {}, bool keepdim = false);
Tensor count_nonzero(const Tensor&, const Dims& = {});

struct MaxResult { Tensor values, indices; };  // of equal elements the first
MaxResult max(const Tensor&, int dim, bool keepdim = false);
MaxResult min(const Tensor&, int dim, bool keepdim = false);
Tensor max(const Tensor&);
Tensor min(const Tensor&);
Tensor argmax(const Tensor&, std::optional<int> dim = {}, bool keepdim = false);  // without dim: of the flattened tensor
Tensor argmin(const Tensor&, std::optional<int> dim = {}, bool keepdim = false);

struct VarMean { Tensor var, mean; };  // var is std in std_mean
Tensor var(const Tensor&, const Dims& = {}, double correction = 1, bool keepdim = false);
Tensor std(const Tensor&, const Dims& = {}, double correction = 1, bool keepdim = false);
VarMean var_mean(const Tensor&, const Dims& = {}, double correction = 1, bool keepdim = false);
VarMean std_mean(const Tensor&, const Dims& = {}, double correction = 1, bool keepdim = false);
Tensor norm(const Tensor&, double p = 2, const Dims& = {}, bool keepdim = false);  // any p, also infinite
namespace linalg {
Tensor vector_norm(const Tensor&, double ord = 2, const Dims& = {}, bool keepdim = false);
}
Tensor logsumexp(const Tensor&, const Dims&, bool keepdim = false);

Tensor cumsum(const Tensor&, int dim, std::optional<DType> = {});
Tensor cumprod(const Tensor&, int dim, std::optional<DType> = {});

}  // namespace graft
