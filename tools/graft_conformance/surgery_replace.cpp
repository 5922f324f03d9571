// Steps of surgery itself: counting, replacing, fusing, mutable modules.
#include "report.h"
#include "surgery_kinds.h"
#include "surgery_world.h"

namespace conformance {

std::span<const Step> surgery_steps() { return {}; }

}  // namespace conformance
