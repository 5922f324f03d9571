// Files as bytes: reading at a position, and replacing a file completely or not at all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace graft::inline v1::io {

// Bytes to read from: a regular file, a mapping of one, or memory of the caller. Copies share it.
class ByteSource {
 public:
  enum class Mode { read, map };
  // In Mode::map the bytes are those of the file at the time they are used: if another process shortens the file,
  // using them is SIGBUS, and if it rewrites the file, values change. Map only files that you control.
  static ByteSource file(const std::string& path, Mode = Mode::read);
  static ByteSource memory(std::span<const std::byte>, std::string name);  // must outlive this object

  uint64_t size() const { return size_; }
  const std::string& name() const { return name_; }             // the path, for error messages
  void read(uint64_t offset, std::span<std::byte> into) const;  // all of it, or Error
  const std::byte* mapped() const { return data_; }             // null when reading
  std::shared_ptr<const void> owner() const { return owner_; }  // keeps mapped() valid

 private:
  std::string name_;
  uint64_t size_ = 0;
  int fd_ = -1;  // valid while owner_ is
  const std::byte* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

using WriteBytes = std::function<void(std::span<const std::byte>)>;
// Writes a temporary file `.graft-*.tmp` beside `path`, syncs it and renames it over `path`. An error, an exception
// of `body` or a killed process leaves the old file as it was; but after a kill the temporary one may remain.
// A symbolic link is followed. A target that is no regular file (a device, a pipe) is written directly.
void replace_file(const std::string& path, const std::function<void(const WriteBytes&)>& body);

}  // namespace graft::inline v1::io
