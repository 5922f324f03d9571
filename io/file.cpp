#include "graft/io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include "graft/core/error.h"

namespace graft::inline v1::io {
namespace {

[[noreturn]] void fail_system(std::string_view path, std::string_view what) {
  fail(ErrorCode::io, path, ": ", what, ": ", std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

struct Mapping {
  void* data;
  size_t bytes;
  Mapping(void* d, size_t n) : data(d), bytes(n) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(data, bytes); }
};

void write_all(int fd, const std::string& path, std::span<const std::byte> bytes) {
  constexpr size_t kMost = size_t{1} << 30;  // Linux writes at most 2 GiB per call
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), std::min(bytes.size(), kMost));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_system(path, "cannot write");
    bytes = bytes.subspan(size_t(n));
  }
}

// Closing is checked too: some file systems report a full disk only there.
void write_and_close(Descriptor& out, const std::string& path, bool sync,
                     const std::function<void(const WriteBytes&)>& body) {
  body([&](std::span<const std::byte> bytes) { write_all(out.get(), path, bytes); });
  if (sync && ::fsync(out.get()) != 0) fail_system(path, "cannot write to disk");
  if (::close(out.release()) != 0) fail_system(path, "cannot write");
}

// Opens a new file in `directory` with the permissions of `like` if that exists.
Descriptor open_temporary(const std::filesystem::path& directory, const std::string& target, const struct stat* like,
                          std::string& name) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    const auto ticks = std::chrono::steady_clock::now().time_since_epoch().count();
    name = (directory / (".graft-" + std::to_string(::getpid()) + "-" + std::to_string(ticks) + ".tmp")).string();
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
      if (like) (void)!::fchmod(fd, like->st_mode & 07777);
      return Descriptor(fd);
    }
    if (errno != EEXIST) break;
  }
  fail_system(target, "cannot create a file beside it");
}

void sync_directory(const std::filesystem::path& directory, const std::string& path) {
  const Descriptor d(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (d.get() >= 0 && ::fsync(d.get()) != 0 && errno == EIO) fail_system(path, "renamed, but not known to be on disk");
}

// Follows symbolic links, dangling ones too.
std::string resolve(std::string path) {
  for (int hops = 0; hops < 40; ++hops) {
    std::error_code none;
    const std::filesystem::path to = std::filesystem::read_symlink(path, none);
    if (none) break;
    path = (std::filesystem::path(path).parent_path() / to).string();
  }
  return path;
}

}  // namespace

ByteSource ByteSource::file(const std::string& path, Mode mode) {
  if (path.find('\0') != std::string::npos) fail(ErrorCode::io, path, ": ", "a path cannot hold a NUL");
  // O_NONBLOCK: opening a pipe must not wait for its other end.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) fail_system(path, "cannot open");
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail_system(path, "cannot open");
  if (!S_ISREG(info.st_mode)) fail(ErrorCode::io, path, ": ", "not a regular file");
  ByteSource s;
  s.name_ = path;
  s.size_ = uint64_t(info.st_size);
  if (mode == Mode::map && s.size_ > 0) {
    void* data = ::mmap(nullptr, s.size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) fail_system(path, "cannot map");
    s.owner_ = std::make_shared<Mapping>(data, s.size_);
    s.data_ = static_cast<const std::byte*>(data);
  } else {
    s.fd_ = fd.get();
    s.owner_ = std::make_shared<Descriptor>(fd.get());
    fd.release();
  }
  return s;
}

ByteSource ByteSource::memory(std::span<const std::byte> bytes, std::string name) {
  ByteSource s;
  s.name_ = std::move(name);
  s.size_ = bytes.size();
  static constexpr std::byte kNothing{};
  s.data_ = bytes.empty() ? &kNothing : bytes.data();
  return s;
}

void ByteSource::read(uint64_t offset, std::span<std::byte> into) const {
  if (offset > size_ || into.size() > size_ - offset)
    fail(ErrorCode::too_small, name_, ": ", "bytes ", offset, " to ", offset + into.size(), " asked for, size is ",
         size_);
  if (into.empty()) return;
  if (data_) {
    std::memcpy(into.data(), data_ + offset, into.size());
    return;
  }
  while (!into.empty()) {
    const ssize_t n = ::pread(fd_, into.data(), std::min(into.size(), size_t{1} << 30), off_t(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_system(name_, "cannot read");
    if (n == 0) fail(ErrorCode::too_small, name_, ": ", "was shortened while it was read: ends at byte ", offset);
    into = into.subspan(size_t(n));
    offset += uint64_t(n);
  }
}

void replace_file(const std::string& path, const std::function<void(const WriteBytes&)>& body) {
  if (path.find('\0') != std::string::npos) fail(ErrorCode::io, path, ": ", "a path cannot hold a NUL");
  const std::string target = resolve(path);
  struct stat info {};
  const bool exists = ::stat(target.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) fail(ErrorCode::io, path, ": ", "is a directory");
  if (exists && !S_ISREG(info.st_mode)) {
    Descriptor out(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
    if (out.get() < 0) fail_system(path, "cannot open");
    return write_and_close(out, path, false, body);
  }
  std::filesystem::path directory = std::filesystem::path(target).parent_path();
  if (directory.empty()) directory = ".";
  std::string temporary;
  Descriptor out = open_temporary(directory, path, exists ? &info : nullptr, temporary);
  try {
    write_and_close(out, path, true, body);
    if (::rename(temporary.c_str(), target.c_str()) != 0) fail_system(path, "cannot replace");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(directory, path);
}

}  // namespace graft::inline v1::io
