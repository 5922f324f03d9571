// What the ops that index share: checked indices, and the two general ops. Not installed for users.
#pragma once
#include <optional>
#include <span>
#include "graft/core/tensor.h"
#include "graft/kernels/index/attrs.h"

namespace graft::inline v1 {

Tensor as_index(std::string_view op, const Tensor& index);  // as i64, or Error
bool has_values(const Tensor& t);  // that can be looked at: not on meta, in a dry run or while a graph is captured
// The first index that is not in the range; none also where values are not known.
std::optional<int64_t> first_outside(const Tensor& index, const RangeAttrs& range);
// Every index in [low, size), or an Error that names the first that is not.
void check_indices(std::string_view op, const Tensor& index, int64_t low, int64_t size, int dim, const Tensor& x);
int64_t known_count(std::string_view op, const Tensor& count,
                    const Tensor& x);  // its value; data_dependent where it has none
Shape indexed_shape(const View& x, const View& index, const IndexAttrs&);
Tensor index_at(const Tensor& x, std::span<const Tensor> index, const IndexAttrs&);  // indices checked, of one shape
Tensor index_put_at(const Tensor& x, const Tensor& values, std::span<const Tensor> index, const IndexAttrs&);
void index_put_at_(const Tensor& x, const Tensor& values, std::span<const Tensor> index, const IndexAttrs&);

}  // namespace graft
