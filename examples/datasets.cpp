// Reads MNIST's format: gzipped IDX files of bytes, a header of big-endian sizes before the values.
#include "graft/examples/datasets.h"
#include <zlib.h>
#include <array>
#include <filesystem>
#include <limits>
#include <memory>
#include <vector>

namespace graft::inline v1::datasets {
namespace {

struct GzClose {
  void operator()(gzFile file) const { gzclose(file); }
};

// A gzipped file, read from its beginning to its end.
class Reader {
 public:
  Reader(std::string path, const std::string& hint) : path_(std::move(path)), file_(gzopen(path_.c_str(), "rb")) {
    if (!file_) throw Error(path_ + ": cannot be opened", ErrorCode::io, hint);
    if (gzdirect(file_.get())) fail(ErrorCode::malformed, path_, ": is not compressed by gzip");
  }

  void read(void* to, size_t bytes) {
    const auto wanted = static_cast<unsigned>(bytes);
    const int got = gzread(file_.get(), to, wanted);
    if (got < 0) fail(ErrorCode::malformed, path_, ": damaged (", complaint(), ")");
    if (unsigned(got) < wanted) fail(ErrorCode::too_small, path_, ": ends ", wanted - unsigned(got), " bytes early");
  }

  void expect_end() {
    char more = 0;
    const int got = gzread(file_.get(), &more, 1);  // also checks the sum over the contents
    if (got < 0) fail(ErrorCode::malformed, path_, ": damaged (", complaint(), ")");
    if (got > 0) fail(ErrorCode::mismatch, path_, ": holds more than its header says");
  }

  const std::string& path() const { return path_; }

 private:
  const char* complaint() {
    int code = 0;
    return gzerror(file_.get(), &code);
  }

  std::string path_;
  std::unique_ptr<gzFile_s, GzClose> file_;
};

struct Bytes {
  std::vector<int64_t> sizes;
  std::vector<uint8_t> values;
};

// An IDX file of bytes: 0 0 8 RANK, then RANK sizes of four bytes, then the values.
Bytes read_idx(const std::string& path, size_t rank, const std::string& hint) {
  Reader reader(path, hint);
  std::array<uint8_t, 4> magic{};
  reader.read(magic.data(), magic.size());
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] != rank) {
    fail(ErrorCode::malformed, path, ": is not an IDX file of bytes with ", rank, " dimensions");
  }
  Bytes out;
  int64_t count = 1;
  for (size_t i = 0; i < rank; ++i) {
    std::array<uint8_t, 4> b{};
    reader.read(b.data(), b.size());
    const int64_t size = int64_t(b[0]) << 24 | int64_t(b[1]) << 16 | int64_t(b[2]) << 8 | int64_t(b[3]);
    constexpr int64_t kMost = int64_t(1) << 30;  // no data set of ours comes near
    if (size > kMost || count * size > kMost) fail(ErrorCode::too_large, path, ": claims more than ", kMost, " values");
    count *= size;
    out.sizes.push_back(size);
  }
  out.values.resize(size_t(count));
  reader.read(out.values.data(), out.values.size());
  reader.expect_end();
  return out;
}

Tensor read_images(const std::string& path, float white, const std::string& hint) {
  const Bytes idx = read_idx(path, 3, hint);
  const Tensor images = empty({idx.sizes[0], 1, idx.sizes[1], idx.sizes[2]});
  float* to = images.mutable_data<float>();
  for (size_t i = 0; i < idx.values.size(); ++i) {
    if (float(idx.values[i]) > white) fail(ErrorCode::mismatch, path, ": a value above ", white);
    to[i] = float(idx.values[i]) / white;
  }
  return images;
}

Tensor read_labels(const std::string& path, int64_t images, const std::string& hint) {
  const Bytes idx = read_idx(path, 1, hint);
  if (idx.sizes[0] != images) fail(ErrorCode::mismatch, path, ": ", idx.sizes[0], " labels for ", images, " images");
  const Tensor labels = empty({images}, i64);
  int64_t* to = labels.mutable_data<int64_t>();
  for (size_t i = 0; i < idx.values.size(); ++i) {
    if (idx.values[i] > 9) fail(ErrorCode::mismatch, path, ": label ", int(idx.values[i]), " is none of 0 to 9");
    to[i] = idx.values[i];
  }
  return labels;
}

// `white`: the value of the brightest pixel.
Images load(const std::string& folder, float white, const std::string& hint) {
  const auto path = [&](const char* name) { return (std::filesystem::path(folder) / name).string(); };
  Images out;
  out.train_images = read_images(path("train-images-idx3-ubyte.gz"), white, hint);
  out.train_labels = read_labels(path("train-labels-idx1-ubyte.gz"), out.train_images.size(0), hint);
  out.test_images = read_images(path("t10k-images-idx3-ubyte.gz"), white, hint);
  out.test_labels = read_labels(path("t10k-labels-idx1-ubyte.gz"), out.test_images.size(0), hint);
  return out;
}

}  // namespace

Images load_digits(const std::string& folder) {
  return load(folder.empty() ? GRAFT_DATA_DIR "/digits" : folder, 16, "the project keeps the digits in data/digits");
}

Images load_fashion(const std::string& folder) {
  return load(folder.empty() ? "/usr/share/datasets/fashion-mnist" : folder, 255,
              "install it with: apt-get install dataset-fashion-mnist");
}

}  // namespace graft::datasets
