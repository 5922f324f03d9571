// Recorded arguments as the values that nn::build takes.
#pragma once
#include "arguments.h"
#include "graft/nn/registry.h"

namespace conformance {

graft::nn::Value to_value(const Json&, CaseTensors&);
graft::nn::Args to_args(const Json& args, const Json& kwargs, CaseTensors&);

}  // namespace conformance
