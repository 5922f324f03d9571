// The examples' data sets: what is in data/, and what a missing or damaged file says.
#include "graft/examples/datasets.h"
#include <unistd.h>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <gtest/gtest.h>

using namespace graft;
namespace fs = std::filesystem;

namespace {

const fs::path kDigits = fs::path(GRAFT_TESTS_DIR).parent_path() / "data" / "digits";

// A copy of data/digits, for damaging; gone with the test.
class Datasets : public testing::Test {
 protected:
  Datasets() : folder_(fs::temp_directory_path() / ("graft_datasets_" + std::to_string(getpid()))) {
    fs::copy(kDigits, folder_);
  }
  ~Datasets() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  std::string read(const char* name) const {
    std::ifstream in(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const char* name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  // Loading fails with this code, and the text names the file.
  void expect_error(ErrorCode code, const std::string& file) const {
    try {
      datasets::load_digits(folder_.string());
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(name_of(e.code()), name_of(code)) << e.what();
      EXPECT_NE(std::string(e.what()).find(file), std::string::npos) << e.what();
    }
  }

  fs::path folder_;
};

constexpr const char* kImages = "train-images-idx3-ubyte.gz";
constexpr const char* kLabels = "t10k-labels-idx1-ubyte.gz";

}  // namespace

// The sizes, the sums and the first rows were read from the original digits.csv.gz by other means.
TEST_F(Datasets, digits_are_1437_and_360_images_with_36_tests_of_each_class) {
  const datasets::Images digits = datasets::load_digits();
  EXPECT_EQ(digits.train_images.shape(), Shape({1437, 1, 8, 8}));
  EXPECT_EQ(digits.test_images.shape(), Shape({360, 1, 8, 8}));
  EXPECT_EQ(digits.train_images.dtype(), f32);
  EXPECT_EQ(digits.train_labels.dtype(), i64);
  std::array<int, 10> train{}, test{};
  for (int64_t i = 0; i < 1437; ++i) ++train.at(size_t(digits.train_labels.data<int64_t>()[i]));
  for (int64_t i = 0; i < 360; ++i) ++test.at(size_t(digits.test_labels.data<int64_t>()[i]));
  const std::array<int, 10> of_class = {178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
  for (size_t c = 0; c < 10; ++c) {
    EXPECT_EQ(test.at(c), 36);
    EXPECT_EQ(train.at(c) + test.at(c), of_class.at(c));
  }
  double sum = 0;
  for (int64_t i = 0; i < digits.train_images.numel(); ++i) sum += double(digits.train_images.data<float>()[i]) * 16;
  for (int64_t i = 0; i < digits.test_images.numel(); ++i) sum += double(digits.test_images.data<float>()[i]) * 16;
  EXPECT_EQ(sum, 561718);
  // The first sample of the file is a zero, and for testing.
  EXPECT_EQ(digits.test_labels.at({0}), 0);
  const std::array<int, 8> row = {0, 0, 13, 15, 10, 15, 5, 0};
  for (int64_t x = 0; x < 8; ++x) EXPECT_EQ(digits.test_images.at({0, 0, 1, x}) * 16, row.at(size_t(x)));
}

TEST_F(Datasets, a_missing_file_is_named_and_for_fashion_the_package_to_install) {
  fs::remove(folder_ / kLabels);
  expect_error(ErrorCode::io, kLabels);
  try {
    datasets::load_fashion((folder_ / "nowhere").string());
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("apt-get install dataset-fashion-mnist"), std::string::npos) << e.what();
  }
}

TEST_F(Datasets, a_file_cut_at_any_length_is_an_error) {
  const std::string whole = read(kLabels);
  for (size_t length = 0; length < whole.size(); length += 13) {
    write(kLabels, whole.substr(0, length));
    EXPECT_THROW(datasets::load_digits(folder_.string()), Error) << length;
  }
}

TEST_F(Datasets, a_changed_byte_is_an_error) {
  std::string bytes = read(kImages);
  bytes[bytes.size() / 2] = char(bytes[bytes.size() / 2] ^ 0x10);
  write(kImages, bytes);
  EXPECT_THROW(datasets::load_digits(folder_.string()), Error);
}

TEST_F(Datasets, a_file_of_another_kind_is_malformed) {
  write(kLabels, "0,0,5,13,9,1,0,0");
  expect_error(ErrorCode::malformed, kLabels);
  fs::copy_file(kDigits / kImages, folder_ / kLabels, fs::copy_options::overwrite_existing);
  expect_error(ErrorCode::malformed, kLabels);
}

TEST_F(Datasets, labels_that_do_not_fit_the_images_are_a_mismatch) {
  fs::copy_file(kDigits / "train-labels-idx1-ubyte.gz", folder_ / kLabels, fs::copy_options::overwrite_existing);
  expect_error(ErrorCode::mismatch, kLabels);
}

TEST_F(Datasets, fashion_where_it_is_installed_has_60000_and_10000_images) {
  if (!fs::exists("/usr/share/datasets/fashion-mnist")) GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const datasets::Images fashion = datasets::load_fashion();
  EXPECT_EQ(fashion.train_images.shape(), Shape({60000, 1, 28, 28}));
  EXPECT_EQ(fashion.test_images.shape(), Shape({10000, 1, 28, 28}));
  EXPECT_EQ(fashion.test_labels.at({0}), 9);  // an ankle boot
}
