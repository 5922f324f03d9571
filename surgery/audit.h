// What is odd about a model and its optimizers, found before a long run does:
//
//   std::cout << surgery::audit(*net, {&sgd});
//   if (const auto found = surgery::audit(*net, {&sgd}); !found.empty()) ...
#pragma once
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>
#include "graft/nn/module.h"
#include "graft/optim/optimizer.h"

namespace graft::inline v1::surgery {

struct Finding {
  enum class Kind : uint8_t {
    not_optimized,    // a parameter that wants a gradient is in none of the optimizers
    optimized_twice,  // it is in several: each would update it
    frozen,           // it is in an optimizer and wants no gradient
    dead,             // an optimizer holds a parameter that the model does not have
    mixed_dtype,      // floating-point numbers of another type than most
    mixed_device,     // on another device than most
    mixed_mode,       // in training mode where most are in eval mode, or the other way round
  };
  Kind kind;
  std::string path;  // of the parameter, buffer or module; of a dead one "optimizer 0, group 1, parameter 2"
  std::string text;
};
std::string_view name_of(Finding::Kind);

class Audit : public std::vector<Finding> {
 public:
  using vector::vector;
  size_t count(Finding::Kind) const;
};
std::ostream& operator<<(std::ostream&, const Audit&);  // a table, or "nothing found"

// In the order of the kinds, then of the model. Without optimizers, only what concerns the model itself. Shared modules
// and tied parameters are looked at once. Linear in the model and the optimizers.
Audit audit(const nn::Module& model, const std::vector<const optim::Optimizer*>& optimizers = {});

}  // namespace graft
