#include "graft/nn/sizes.h"

#include <algorithm>

namespace graft::inline v1::nn {

static constexpr std::array<std::string_view, 4> kPaddingModes{"zeros", "reflect", "replicate", "circular"};
static constexpr std::array<std::string_view, 4> kReductions{"none", "mean", "sum", "batchmean"};

PaddingMode::PaddingMode(std::string_view name) {
  const auto* at = std::ranges::find(kPaddingModes, name);
  GRAFT_CHECK(at != kPaddingModes.end(), "padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular', but got '",
              name, "'");
  mode_ = Mode(at - kPaddingModes.begin());
}
std::string_view PaddingMode::name() const { return kPaddingModes[mode_]; }

Reduction::Reduction(std::string_view name) {
  const auto* at = std::ranges::find(kReductions, name);
  GRAFT_CHECK(at != kReductions.end(), name, " is not a valid value for reduction; 'none', 'mean', 'sum' are");
  mode_ = Mode(at - kReductions.begin());
}
std::string_view Reduction::name() const { return kReductions[mode_]; }

}  // namespace graft::nn
