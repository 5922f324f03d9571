// One runner per kind of case. None of them throws.
#pragma once
#include "report.h"

namespace conformance {

Result run_op(const CaseFile&, const Json& c);
Result run_optim(const CaseFile&, const Json& c);
Result run_module(const CaseFile&, const Json& c);
Result run_surgery(const CaseFile&, const Json& c);

}  // namespace conformance
