// One step of a recipe, in memory and as JSON. Written by record.cpp, read by replay.cpp and migrate.cpp.
#pragma once
#include <mutex>
#include "graft/core/json.h"
#include "graft/surgery/recipe.h"

namespace graft::inline v1::surgery::detail {

// What a policy has answered about a module of the model as it was.
struct Operation {
  enum class Kind : uint8_t { replace, remove, insert_before, insert_after, swap };
  Kind kind = Kind::replace;
  std::string path, with;      // with: the other of a swap
  Json module;                 // the architecture of the new one; null: `missing` says why, or a ready-made surgery answers
  std::string missing;
  std::optional<NamedSurgery> named;
  Carry carry = Carry::none;
  bool copies = false;         // of its buffers: it is an edited copy
  Removal removal = Removal::entry;
};
struct ChainPaths {
  std::string layer, before, behind, add, relu;  // empty: there is none
  bool residual_first = false;                   // of add
};

// A layer made of several: their paths and architectures.
struct Fold {
  std::string to;  // the path of the result
  std::vector<std::pair<std::string, Json>> parts;
  bool chain = true;   // norm before, layer, norm behind, each may be null; else as fuse_known_modules
};
struct Delta {  // an adapter merged into, or taken out of, its base
  std::string path;
  int64_t r;
  double alpha;
};

// From the keys of a state_dict() before to those after. Keys that are in none of these stay.
struct KeyMap {
  struct To { std::string to, from; };
  struct Adapted { std::string to, from; Carried::How how; Shape shape; };
  std::vector<To> rename, tie;  // tie: `from` stays as well
  std::vector<Adapted> carry;
  std::vector<Fold> fold;
  std::vector<Delta> add, subtract;
  std::vector<std::string> drop, fresh;
  bool complete = true;         // false: the model has so many paths that they were not listed
};

struct Step {
  enum class Kind : uint8_t { edit, fuse, fuse_modules, merge_lora, unmerge_lora };
  Kind kind = Kind::edit;
  uint64_t before = 0, after = 0;
  std::vector<Operation> operations;     // edit
  std::vector<std::string> inherit;      // edit: "device", "dtype", ... of Options
  std::vector<ChainPaths> chains;        // fuse
  bool move_hooks = false;               // fuse
  std::vector<std::vector<std::string>> groups;  // fuse_modules
  bool qat = false;
  std::string missing;                   // why it cannot be repeated
  KeyMap keys;
};

Json json_of(const Step&);
Step read_step(const Json&, const std::string& where);
std::string hex(uint64_t structure);

// What an edit does, kept as it is then and in a few hundred bytes a module; the step is made of it when it is asked for.
class Recording {
 public:
  Recording(const nn::Module& model, const Draft*, Step said);  // before anything is changed. `said`: what the model does not tell
  ~Recording();
  void finish(const Journal&, const Draft*);  // when it is committed
  std::shared_ptr<const Step> step() const;

 private:
  struct Taken;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Taken> taken_;  // null: the step is there
  mutable std::shared_ptr<const Step> step_;
};

}  // namespace graft
