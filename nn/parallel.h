// The mark of a module that runs copies of another one, on several devices or in several processes. Surgery on it, or on
// a model that contains one, is refused: the copies would not follow.
#pragma once

namespace graft::inline v1::nn {

class ParallelWrapper {  // to be derived from beside Module
 public:
  virtual ~ParallelWrapper() = default;
};

}  // namespace graft
