// Where the program is: the dotted path of the modules whose forward functions are running on this thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace graft::inline v1 {

// Frames live on the C++ stack, innermost first; entering one costs two stores.
struct PathFrame {
  std::string_view slot;         // empty for the module that was called directly
  const void* module = nullptr;  // tells calls of a shared module from those of another one in the same place
  const PathFrame* outer = nullptr;
  uint64_t serial = 0;  // tells the calls of one module apart
};
extern constinit thread_local const PathFrame* t_path;
extern constinit thread_local uint64_t t_path_serial;

class PathScope {
 public:
  PathScope(std::string_view slot, const void* module) : frame_{slot, module, t_path, ++t_path_serial} { t_path = &frame_; }
  ~PathScope() { t_path = frame_.outer; }
  PathScope(const PathScope&) = delete;
  PathScope& operator=(const PathScope&) = delete;

 private:
  PathFrame frame_;
};

inline const PathFrame* current_frame() { return t_path; }
std::string path_of(const PathFrame*);  // "encoder.3.conv"; empty outside of every module
inline std::string current_path() { return path_of(t_path); }

}  // namespace graft
