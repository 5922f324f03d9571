// What fusion did to one output channel, with its numbers: a batch norm in eval mode is y = x scale + shift, and the layer
// beside it has taken both into its weights.
//
//   const surgery::Fusion f = surgery::fuse(*net, {x});
//   std::cout << surgery::explain(f, "conv1", 3);
#pragma once
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>
#include "graft/surgery/fuse.h"

namespace graft::inline v1::surgery {

struct Explanation {
  // A norm, seen by one channel.
  struct Norm {
    std::string path;
    int64_t channel = 0;
    double gamma = 1, beta = 0, mean = 0, var = 1, eps = 0;
    double scale() const;  // gamma / sqrt(var + eps)
    double shift() const;  // beta - mean scale
  };
  std::string path, what;      // as Fused has them
  int64_t channel = 0;         // of the layer's output
  std::vector<Norm> before;    // of a norm before the layer: one for each of the channels that this output reads
  std::optional<Norm> behind;
  // All weights that lead to this output, those of a channel of the input side by side; bias: none is 0.
  std::vector<double> weight, folded_weight;
  double bias = 0, folded_bias = 0;
  bool had_bias = false;

  size_t channel_of(size_t weight) const { return before.empty() ? 0 : weight / (this->weight.size() / before.size()); }
  double before_shift() const;  // what the shifts of the norm before the layer add up to, behind the weights
};

// `path`: of any module of one chain. The numbers before are those of the modules that the fusion has taken out, as they
// are now; those after are of the layer that it has put in. Errors: key_error where nothing was fused there, index_out_of_range for
// a channel that is not there, type_error where no norm was folded into a layer.
Explanation explain(const Fusion&, std::string_view path, int64_t channel = 0);
std::ostream& operator<<(std::ostream&, const Explanation&);  // the formulas, and the numbers in them

}  // namespace graft
