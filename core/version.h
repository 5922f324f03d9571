// The version of graft: three numbers, a string, and the name of the ABI namespace. See docs/versioning.md.
#pragma once

#define GRAFT_VERSION_MAJOR 0
#define GRAFT_VERSION_MINOR 1
#define GRAFT_VERSION_PATCH 0

#define GRAFT_VERSION_TEXT_(major, minor, patch) #major "." #minor "." #patch
#define GRAFT_VERSION_TEXT(major, minor, patch) GRAFT_VERSION_TEXT_(major, minor, patch)
#define GRAFT_VERSION GRAFT_VERSION_TEXT(GRAFT_VERSION_MAJOR, GRAFT_VERSION_MINOR, GRAFT_VERSION_PATCH)

// Every name lives in this inline namespace. It changes when the ABI does, so that objects compiled against different
// ABIs fail to link instead of failing to work.
namespace graft::inline v1 {

inline constexpr int kVersionMajor = GRAFT_VERSION_MAJOR;
inline constexpr int kVersionMinor = GRAFT_VERSION_MINOR;
inline constexpr int kVersionPatch = GRAFT_VERSION_PATCH;
inline constexpr const char* kVersion = GRAFT_VERSION;  // "0.1.0": the headers' version

}  // namespace graft
