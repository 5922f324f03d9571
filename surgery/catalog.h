// Surgeries by name: what recipes repeat and the command line applies. surgery::make_surgery("lora", {{"r", 4}}, *net)
#pragma once
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// `model` is what selections of an argument like "at" are made of.
using SurgeryMaker = std::function<std::vector<Policy>(nn::ArgReader&, const nn::Module& model)>;

// Errors name the nearest surgeries, or arguments.
std::vector<Policy> make_surgery(std::string_view name, const nn::Args&, const nn::Module& model);
struct Surgery {
  std::string name;
  std::string usage;  // "r=8 alpha=8 dropout=0 [at=GLOB]"
  std::string summary;
  SurgeryMaker make;
};
std::vector<Surgery> surgeries();  // sorted by name
// One of your own. Policies that it makes say so by Policy::named, if their answers depend on the numbers of the model.
void register_surgery(Surgery);

}  // namespace graft::inline v1::surgery
