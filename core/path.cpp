#include "graft/core/path.h"

namespace graft::inline v1 {

constinit thread_local uint64_t t_path_serial = 0;
constinit thread_local const PathFrame* t_path = nullptr;

std::string path_of(const PathFrame* frame) {
  std::string path;
  for (; frame; frame = frame->outer)
    if (!frame->slot.empty()) path = path.empty() ? std::string(frame->slot) : std::string(frame->slot) + "." + path;
  return path;
}

}  // namespace graft
