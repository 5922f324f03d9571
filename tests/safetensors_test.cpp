// Files of the safetensors format: what a valid one gives, and every malformed one of the contract, really built.
// Oracle: tests/data/safetensors/reference.safetensors, written by the reference implementation (Python, 0.8.0).
#include "graft/io/safetensors.h"
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include "graft/core/error.h"
#include "graft/core/memory.h"
#include "graft/core/ops.h"

using namespace graft;
namespace fs = std::filesystem;

namespace {

const fs::path kReference = fs::path(GRAFT_TESTS_DIR) / "data/safetensors/reference.safetensors";
const std::string kOddName = "é\"\\\n\x01/../a";

// A directory of its own, gone after the test.
class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "graft-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(path_)) out.push_back(e.path().filename().string());
    return out;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string with_length(uint64_t length, const std::string& rest) {
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[size_t(i)] = char(length >> (8 * i) & 255);
  return out + rest;
}
std::string file_of(const std::string& header, const std::string& data = "") {
  return with_length(header.size(), header + data);
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return '"' + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]}";
}
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t data_bytes) {
  return file_of('{' + entry("a", dtype, shape, offsets) + '}', std::string(data_bytes, '\0'));
}
std::span<const std::byte> bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

void write_file(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
std::string text_of(std::span<const std::byte> b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

void expect_error(const std::function<void()>& f, ErrorCode code, const std::string& text = "") {
  try {
    f();
    ADD_FAILURE() << "no error; expected one with " << text;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
  }
}
// Refused alike from memory and from a file, whose path the text names.
void expect_refused(const std::string& bytes, ErrorCode code, const std::string& text = "") {
  SCOPED_TRACE(bytes.substr(0, 200));
  expect_error([&] { io::load_safetensors(bytes_of(bytes)); }, code, text);
  const Directory dir;
  write_file(dir / "bad.safetensors", bytes);
  expect_error([&] { io::load_safetensors(dir / "bad.safetensors"); }, code, text);
  expect_error([&] { io::load_safetensors(dir / "bad.safetensors"); }, code, "bad.safetensors");
  expect_error([&] { io::load_safetensors(dir / "bad.safetensors", {.map = true, .device = {}}); }, code, text);
}

// Of the processor, not of the clock: other work on the machine does not count. Sanitizers slow it about fivefold.
double seconds_of(const std::function<void()>& f) {
#ifdef __SANITIZE_ADDRESS__
  constexpr double kSlower = 5;
#else
  constexpr double kSlower = 1;
#endif
  const std::clock_t start = std::clock();
  f();
  return double(std::clock() - start) / CLOCKS_PER_SEC / kSlower;
}

// Bytes asked for while it lives.
class AllocationCount {
 public:
  AllocationCount() {
    memory::set_hook([](size_t n, void* to) { *static_cast<size_t*>(to) += n; }, &bytes_);
  }
  AllocationCount(const AllocationCount&) = delete;
  AllocationCount& operator=(const AllocationCount&) = delete;
  ~AllocationCount() { memory::set_hook(nullptr); }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

io::NamedTensors small_model() {
  return {{"layer.weight", tensor({1., 2., 3., 4., 5., 6.}, {2, 3}, f32)},
          {"layer.bias", tensor({-1., 0.5}, f64)},
          {"steps", scalar_tensor(7, i64)},
          {"mask", tensor({true, false, true})}};
}

}  // namespace

TEST(Safetensors, reads_every_dtype_of_the_reference_implementation) {
  for (const bool map : {false, true}) {
    const auto file = io::SafetensorsFile::open(kReference.string(), {.map = map, .device = {}});
    EXPECT_EQ(file.metadata(), (io::Metadata{{"made by", "safetensors 0.8.0 \"é\n"}}));
    EXPECT_EQ(file.entries().size(), 14u);
    const auto value = [&](const std::string& name, std::initializer_list<int64_t> at) {
      return file.tensor(name).at(at);
    };
    EXPECT_EQ(file.tensor("f32").shape(), Shape({2, 3}));
    EXPECT_EQ(value("f32", {1, 2}), 2.5);
    EXPECT_EQ(value("f64", {0}), 1. / 3);
    EXPECT_EQ(value("f64", {1}), -1e300);
    EXPECT_EQ(value("f16", {1}), 65504.);
    EXPECT_EQ(value("f16", {2}), -std::ldexp(1, -24));
    EXPECT_EQ(value("bf16", {1}), -3.140625);
    EXPECT_EQ(file.tensor("i64").data<int64_t>()[0], int64_t{1} << 62);
    EXPECT_EQ(value("i32", {1, 0}), -8);
    EXPECT_EQ(value("i16", {0}), -300);
    EXPECT_EQ(value("i8", {0}), -128);
    EXPECT_EQ(value("u8", {1}), 255);
    EXPECT_EQ(file.tensor("bool").dtype(), boolean);
    EXPECT_EQ(value("bool", {0}), 1);
    EXPECT_EQ(value("bool", {1}), 0);
    EXPECT_EQ(file.tensor("c64").data<std::complex<float>>()[0], std::complex<float>(1, -2));
    EXPECT_EQ(file.tensor("scalar").dim(), 0);
    EXPECT_EQ(value("scalar", {}), 42);
    EXPECT_EQ(file.tensor("empty").shape(), Shape({0, 3}));
    EXPECT_EQ(value(kOddName, {0}), 9);
  }
}

TEST(Safetensors, writes_the_bytes_of_the_reference_implementation) {
  const std::string bytes = read_file(kReference.string());
  auto loaded = io::load_safetensors(bytes_of(bytes));
  std::reverse(loaded.tensors.begin(), loaded.tensors.end());  // the order given does not matter
  EXPECT_EQ(text_of(io::safetensors_bytes(loaded.tensors, loaded.metadata)), bytes);
  const Directory dir;
  io::save_safetensors(dir / "copy", loaded.tensors, loaded.metadata);
  EXPECT_EQ(read_file(dir / "copy"), bytes);
}

TEST(Safetensors, writes_strided_tensors_in_row_major_order) {
  const Tensor t = tensor({1., 2., 3., 4., 5., 6.}, {2, 3}, f32).transpose(0, 1);
  const auto loaded = io::load_safetensors(io::safetensors_bytes({{"t", t}}));
  EXPECT_EQ(loaded.tensors[0].second.shape(), Shape({3, 2}));
  EXPECT_EQ(loaded.tensors[0].second.at({2, 0}), 3);
}

TEST(Safetensors, a_mapped_tensor_outlives_the_file_object_and_writes_stay_private) {
  const Directory dir;
  io::save_safetensors(dir / "m", small_model());
  const std::string before = read_file(dir / "m");
  Tensor w = io::SafetensorsFile::open(dir / "m", {.map = true, .device = {}}).tensor("layer.weight");
  w.mutable_data<float>()[5] = 60;
  EXPECT_EQ(w.at({1, 2}), 60);
  EXPECT_EQ(w.at({0, 0}), 1);
  EXPECT_EQ(read_file(dir / "m"), before);
}

TEST(Safetensors, what_cannot_be_written_is_refused_before_the_file_is_touched) {
  const Directory dir;
  write_file(dir / "f", "old");
  const Tensor t = tensor({1.}, f32);
  const auto save = [&](const io::NamedTensors& tensors, const io::Metadata& metadata = {}) {
    return [&dir, tensors, metadata] { io::save_safetensors(dir / "f", tensors, metadata); };
  };
  expect_error(save({{"a", t}, {"a", t}}), ErrorCode::key_error, "two tensors are named a");
  expect_error(save({{"__metadata__", t}}), ErrorCode::key_error);
  expect_error(save({{"a", Tensor()}}), ErrorCode::invalid_argument, "undefined");
  expect_error(save({{"a", empty({2}, Device::meta)}}), ErrorCode::unsupported);
  expect_error(save({{"a", empty({2}, c128)}}), ErrorCode::unsupported, "c128");
  expect_error(save({{"\xff", t}}), ErrorCode::malformed, "UTF-8");
  expect_error(save({{"a", t}}, {{"k", "\xc3"}}), ErrorCode::malformed, "UTF-8");
  EXPECT_EQ(read_file(dir / "f"), "old");
  EXPECT_EQ(dir.names(), std::vector<std::string>{"f"});
}

TEST(Contract, FS1_file_of_less_than_8_bytes) {
  expect_refused("", ErrorCode::too_small);
  expect_refused("1234567", ErrorCode::too_small, "at least 8");
}

TEST(Contract, FS2_header_length_is_checked_before_any_allocation) {
  for (const uint64_t length : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{100'000'001}, uint64_t{3}}) {
    const AllocationCount count;
    expect_refused(with_length(length, "{}"), ErrorCode::too_large);
    EXPECT_EQ(count.bytes(), 0u);
  }
}

TEST(Contract, FS3_header_that_is_not_utf8_names_the_byte) {
  expect_refused(file_of("{\"ab\xff\":1}"), ErrorCode::malformed, "at byte 4 of the header");
  expect_refused(file_of("{\"\xc0\x80\":1}"), ErrorCode::malformed, "at byte 2 of the header");      // overlong NUL
  expect_refused(file_of("{\"\xed\xa0\x80\":1}"), ErrorCode::malformed, "at byte 3 of the header");  // a surrogate
  expect_refused(file_of("{\"\xf4\x90\x80\x80\":1}"), ErrorCode::malformed,
                 "at byte 3 of the header");  // above U+10FFFF
  expect_refused(file_of("{\"\\ud800\":1}"), ErrorCode::malformed);
}

TEST(Contract, FS4_what_is_not_one_json_object) {
  for (const std::string header :
       {"", " {}", "[]", "1", "null", "\xef\xbb\xbf{}", "{", "{}}", "{} x", "{}{}", "{\"a\":NaN}", "{\"a\":Infinity}",
        "{\"a\":-Infinity}", "{\"a\":}", "{,}", "{}//", "{'a':1}", "{\"a\":1,}"})
    expect_refused(file_of(header), ErrorCode::malformed);
  expect_refused(file_of(std::string("{}\0garbage", 10)), ErrorCode::malformed, "NUL");
  expect_refused(file_of(R"({"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,0]}})"), ErrorCode::malformed);
  expect_refused(file_of(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":null})"), ErrorCode::malformed);
  EXPECT_EQ(io::load_safetensors(bytes_of(file_of("{}    "))).tensors.size(), 0u);  // padding is no garbage
}

TEST(Contract, FS5_duplicate_names) {
  const std::string a = entry("a", "U8", "1", "0,1"), b = entry("a", "U8", "1", "1,2");
  expect_refused(file_of('{' + a + ',' + b + '}', "xy"), ErrorCode::malformed, "\"a\" occurs twice");
  expect_refused(file_of('{' + a + ',' + entry("\\u0061", "U8", "1", "1,2") + '}', "xy"), ErrorCode::malformed,
                 "twice");
  expect_refused(file_of(R"({"__metadata__":{},"__metadata__":{}})"), ErrorCode::malformed, "twice");
  expect_refused(file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), ErrorCode::malformed, "twice");
  expect_refused(file_of(R"({"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}})"), ErrorCode::malformed,
                 "twice");
}

TEST(Contract, FS6_offsets_that_do_not_tile_the_data) {
  const auto two = [](const std::string& first, const std::string& second, size_t bytes) {
    return file_of('{' + entry("a", "F8_E4M3", "4", first) + ',' + entry("b", "F8_E4M3", "4", second) + '}',
                   std::string(bytes, 'x'));
  };
  expect_refused(one("U8", "4", "4,0", 4), ErrorCode::malformed, "end before they begin");
  expect_refused(one("U8", "4", "0,4", 3), ErrorCode::malformed, "past the end");
  expect_refused(one("U8", "4", "18446744073709551612,18446744073709551615", 4), ErrorCode::malformed, "past the end");
  expect_refused(two("0,4", "2,6", 6), ErrorCode::malformed, "inside the tensor before it");
  expect_refused(two("0,4", "0,4", 4), ErrorCode::malformed, "inside the tensor before it");
  expect_refused(two("0,4", "5,9", 9), ErrorCode::malformed, "leaves a hole");
  expect_refused(one("U8", "4", "1,5", 5), ErrorCode::malformed, "leaves a hole");
  expect_refused(one("U8", "4", "0,4", 5), ErrorCode::malformed, "the last tensor ends at byte 4");
  expect_refused(file_of("{}", "x"), ErrorCode::malformed);
  expect_refused(file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", "x"), ErrorCode::malformed,
                 "1 data_offsets");
  expect_refused(file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}})", "x"), ErrorCode::malformed,
                 "3 data_offsets");
}

TEST(Contract, FS7_shape_product_overflow) {
  expect_refused(one("F32", "4294967296,4294967296,2", "0,4", 4), ErrorCode::overflow);
  expect_refused(one("F32", "4294967296,4294967296", "0,0", 0), ErrorCode::overflow);  // 2^64 wraps to 0
  expect_refused(one("F32", "4611686018427387904,4", "0,0", 0), ErrorCode::overflow);
  expect_refused(one("F64", "2305843009213693952", "0,0", 0), ErrorCode::overflow);      // 2^61 x 8 bytes
  expect_refused(one("F32", "4294967296,4294967296,0", "0,0", 0), ErrorCode::overflow);  // its strides overflow
  expect_refused(one("F8_E4M3", "4294967296,4294967296,2", "0,4", 4), ErrorCode::overflow);
}

TEST(Contract, FS8_shape_times_dtype_is_not_the_span) {
  expect_refused(one("F32", "2,2", "0,15", 15), ErrorCode::mismatch, "need 16");
  expect_refused(one("F64", "2,2", "0,16", 16), ErrorCode::mismatch, "need 32");
  expect_refused(one("F32", "", "0,8", 8), ErrorCode::mismatch, "need 4");
  expect_refused(one("F32", "0,7", "0,4", 4), ErrorCode::mismatch, "need 0");
}

TEST(Contract, FS9_dimensions_that_are_no_sizes) {
  for (const std::string dim :
       {"-1", "-0", "1.5", "1.0", "1e30", "1e2", "36893488147419103232", "\"1\"", "null", "true", "[1]", "{}"})
    expect_refused(one("U8", dim, "0,1", 1), ErrorCode::malformed);
  expect_refused(one("U8", "9223372036854775808", "0,1", 1), ErrorCode::overflow);
  expect_refused(one("U8", "1", "-0,1", 1), ErrorCode::malformed);
  expect_refused(one("U8", "1", "0,1.0", 1), ErrorCode::malformed);
}

TEST(Contract, FS10_unknown_dtype_leaves_the_others_readable) {
  const std::string bytes = file_of('{' + entry("f8", "F8_E5M2", "2", "0,2") + ',' + entry("big", "I128", "1", "2,18") +
                                        ',' + entry("fine", "U8", "2", "18,20") + '}',
                                    std::string(18, 'x') + "\x05\x06");
  const auto file = io::SafetensorsFile::of_bytes(bytes_of(bytes));
  ASSERT_EQ(file.entries().size(), 3u);
  EXPECT_EQ(file.entry("big").dtype, "I128");
  EXPECT_EQ(file.entry("f8").shape, std::vector<int64_t>{2});
  EXPECT_EQ(file.tensor("fine").at({1}), 6);
  expect_error([&] { file.tensor("f8"); }, ErrorCode::unsupported, "F8_E5M2");
  expect_error([&] { file.tensor("big"); }, ErrorCode::unsupported, "I128");
  expect_error([&] { file.tensor("none"); }, ErrorCode::key_error, "none");
  expect_refused(bytes, ErrorCode::unsupported, "f8");
}

TEST(Contract, FS11_empty_tensors_and_scalars_are_valid) {
  const std::string bytes =
      file_of('{' + entry("zero", "F32", "0", "0,0") + ',' + entry("inner", "I64", "3,0,2", "0,0") + ',' +
                  entry("scalar", "F32", "", "0,4") + ',' + entry("last", "BOOL", "0", "4,4") + '}',
              std::string("\0\0\x80\x3f", 4));
  const auto loaded = io::load_safetensors(bytes_of(bytes)).tensors;
  EXPECT_EQ(io::find(loaded, "zero")->shape(), Shape({0}));
  EXPECT_EQ(io::find(loaded, "inner")->shape(), Shape({3, 0, 2}));
  EXPECT_EQ(io::find(loaded, "scalar")->item<float>(), 1.f);
  EXPECT_EQ(io::find(loaded, "last")->numel(), 0);
}

TEST(Contract, FS12_many_tensors_long_names_and_deep_nesting_are_fast) {
  std::string many = "{";
  for (int i = 0; i < 100'000; ++i) many += (i ? "," : "") + entry("t" + std::to_string(i), "F32", "0", "0,0");
  const std::string file = file_of(many + '}');
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(io::load_safetensors(bytes_of(file)).tensors.size(), 100'000u); }), 1);

  const std::string name(1'000'000, 'n');
  const std::string long_name = file_of('{' + entry(name, "U8", "1", "0,1") + '}', "x");
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(io::load_safetensors(bytes_of(long_name)).tensors[0].first, name); }), 1);
  const std::string bad_name = file_of('{' + entry(name, "U8", "1", "0,2") + '}', "xx");
  try {
    io::load_safetensors(bytes_of(bad_name));
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_LT(std::string(e.what()).size(), 1000u) << "an error does not repeat a name of a megabyte";
  }
  for (const char open : {'[', '{'}) {
    std::string deep = "{\"a\":";
    for (int i = 0; i < 10'000; ++i) deep += open == '[' ? "[" : "{\"a\":";
    EXPECT_LT(seconds_of([&] { expect_refused(file_of(deep), ErrorCode::malformed); }), 1);
    EXPECT_LT(seconds_of([&] { expect_refused(file_of("{\"a\":{\"shape\":" + deep.substr(5)), ErrorCode::malformed); }),
              1);
  }
  std::string dims = "1";
  for (int i = 0; i < 8; ++i) dims += ",1";
  const auto nine = one("U8", dims, "0,1", 1);
  expect_refused(nine, ErrorCode::unsupported, "9 dimensions");
  EXPECT_EQ(io::SafetensorsFile::of_bytes(bytes_of(nine)).entries()[0].shape.size(), 9u);
  for (int i = 0; i < 100'000; ++i) dims += ",1";
  expect_refused(one("U8", dims, "0,1", 1), ErrorCode::too_large);
}

TEST(Contract, FS13_names_are_data_and_never_paths) {
  const std::vector<std::string> names{
      std::string("a\0b", 3), "../../etc/passwd", "/absolute", "a/b", "", std::string(100'000, 'x'), "é\n"};
  io::NamedTensors tensors;
  for (const auto& n : names) tensors.emplace_back(n, tensor({double(n.size())}, f32));
  const Directory dir;
  io::save_safetensors(dir / "names", tensors);
  EXPECT_EQ(dir.names(), std::vector<std::string>{"names"});
  const auto file = io::SafetensorsFile::open(dir / "names");
  for (const auto& n : names) EXPECT_EQ(file.tensor(n).item<float>(), float(n.size()));
}

TEST(Contract, FS14_a_file_truncated_while_open_is_an_error_when_reading) {
  const Directory dir;
  io::save_safetensors(dir / "f", {{"big", zeros({1000}, f32)}, {"small", zeros({1}, u8)}});
  const auto file = io::SafetensorsFile::open(dir / "f");  // the default reads and does not map
  EXPECT_EQ(file.tensor("big").numel(), 1000);
  fs::resize_file(dir / "f", 1000);
  expect_error([&] { file.tensor("big"); }, ErrorCode::too_small, "was shortened");
  io::save_safetensors(dir / "g", {{"big", ones({1000}, f32)}});
  const auto before = io::SafetensorsFile::open(dir / "g", {.map = true, .device = {}});
  io::save_safetensors(dir / "g", {{"big", zeros({1}, f32)}});  // our own writer never touches a file in use
  EXPECT_EQ(before.tensor("big").at({999}), 1);
}

TEST(Contract, FS15_misaligned_data_is_copied) {
  const double value = -0.1;
  std::string header = '{' + entry("a", "U8", "1", "0,1") + ',' + entry("d", "F64", "2", "1,17") + '}';
  std::string data = "x";
  data.append(reinterpret_cast<const char*>(&value), 8).append(reinterpret_cast<const char*>(&value), 8);
  for (int pad = 0; pad < 8; ++pad) {
    const Directory dir;
    write_file(dir / "f", file_of(header, data));
    for (const bool map : {false, true}) {
      const Tensor d = io::SafetensorsFile::open(dir / "f", {.map = map, .device = {}}).tensor("d");
      EXPECT_EQ(reinterpret_cast<uintptr_t>(d.data<double>()) % alignof(double), 0u);
      EXPECT_EQ(d.data<double>()[1], value);
    }
    EXPECT_EQ(io::load_safetensors(bytes_of(file_of(header, data))).tensors[1].second.at({0}), value);
    header += ' ';
  }
}

TEST(Contract, FS16_metadata_holds_strings_only) {
  for (const std::string value : {"1", "null", "true", "[\"a\"]", "{\"a\":\"b\"}", "1.5", "-1"})
    expect_refused(file_of(R"({"__metadata__":{"k":)" + value + "}}"), ErrorCode::malformed, "__metadata__");
  for (const std::string value : {"1", "null", "\"text\"", "[]"})
    expect_refused(file_of("{\"__metadata__\":" + value + "}"), ErrorCode::malformed);
  EXPECT_EQ(io::load_safetensors(bytes_of(file_of(R"({"__metadata__":{"k":"v","":""}})"))).metadata,
            (io::Metadata{{"k", "v"}, {"", ""}}));
}

TEST(Contract, FS17_a_failed_write_leaves_the_old_file) {
  expect_error([] { io::save_safetensors("/dev/full", small_model()); }, ErrorCode::io, "No space left");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));  // not replaced by a file
  expect_error([] { io::save_safetensors("/nowhere/at/all", small_model()); }, ErrorCode::io, "/nowhere/at/all");

  const Directory dir;
  expect_error([&] { io::save_safetensors(dir.path().string(), small_model()); }, ErrorCode::io, "directory");
  const std::string path = dir / "f";
  io::save_safetensors(path, small_model());
  const std::string old = read_file(path);

  // A disk that fills up in the middle: the system refuses to write beyond 4000 bytes.
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4000;
  ::setrlimit(RLIMIT_FSIZE, &small);
  expect_error([&] { io::save_safetensors(path, {{"big", zeros({100'000}, f32)}}); }, ErrorCode::io, "cannot write");
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_file(path), old);
  EXPECT_EQ(dir.names(), std::vector<std::string>{"f"});

  fs::permissions(dir.path(),
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  const bool root = ::geteuid() == 0;  // root may write anywhere
  ASSERT_TRUE(!root || ::seteuid(65534) == 0);
  expect_error([&] { io::save_safetensors(path, {{"a", zeros({1})}}); }, ErrorCode::io, "ermission denied");
  ASSERT_TRUE(!root || ::seteuid(0) == 0);
  fs::permissions(dir.path(), fs::perms::owner_all);
  EXPECT_EQ(read_file(path), old);
  EXPECT_EQ(dir.names(), std::vector<std::string>{"f"});
}

TEST(Safetensors, replacing_keeps_permissions_and_follows_a_link) {
  const Directory dir;
  io::save_safetensors(dir / "real", small_model());
  fs::permissions(dir / "real", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real", dir / "link");
  io::save_safetensors(dir / "link", {{"a", zeros({1})}});
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  EXPECT_EQ(io::load_safetensors(dir / "real").tensors.size(), 1u);
  EXPECT_EQ(fs::status(dir / "real").permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST(Safetensors, a_pipe_or_directory_is_refused_without_waiting) {
  const Directory dir;
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  expect_error([&] { io::load_safetensors(dir / "pipe"); }, ErrorCode::io, "not a regular file");
  expect_error([&] { io::load_safetensors(dir.path().string()); }, ErrorCode::io, "not a regular file");
  expect_error([&] { io::load_safetensors(dir / "absent"); }, ErrorCode::io, "No such file");
}

TEST(Safetensors, a_bool_of_any_byte_is_true_or_false) {
  const auto loaded =
      io::load_safetensors(bytes_of(file_of('{' + entry("b", "BOOL", "3", "0,3") + '}', std::string("\x02\0\xff", 3))));
  const Tensor& b = loaded.tensors[0].second;
  EXPECT_EQ(b.view().data[0], std::byte{1});
  EXPECT_EQ(b.view().data[1], std::byte{0});
  EXPECT_EQ(b.view().data[2], std::byte{1});
}

// C1 and the whole of FS at once: whatever the bytes, an Error or a valid file, and little memory.
TEST(Contract, C1_mutated_safetensors_are_read_or_refused) {
  const std::string valid = read_file(kReference.string());
  const std::array<std::string, 12> tokens{
      "{", "}", "[", "]", ",", "\"", "4294967296", "-1", "1e30", "\"__metadata__\":", "\xff", "NaN"};
  std::mt19937_64 random(17);
  const auto pick = [&](size_t n) { return size_t(random() % n); };
  size_t accepted = 0, refused = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < 20'000 && std::chrono::steady_clock::now() - start < std::chrono::seconds(2); ++round) {
    std::string s = valid;
    const size_t header = 8 + size_t(uint8_t(s[0])) + 256 * size_t(uint8_t(s[1]));
    for (size_t edits = 1 + pick(3); edits > 0 && !s.empty(); --edits) {
      const size_t at = pick(4) ? pick(std::min(header, s.size())) : pick(s.size());
      switch (pick(6)) {
        case 0:
          s[at] = char(random());
          break;
        case 1:
          s[at] = char(s[at] ^ (1 << pick(8)));
          break;
        case 2:
          s.erase(at, 1 + pick(8));
          break;
        case 3:
          s.insert(at, tokens[pick(tokens.size())]);
          break;
        case 4:
          s.resize(at);
          break;
        default:
          s.insert(at, s.substr(pick(s.size()), pick(200)));
          break;
      }
    }
    if (pick(2) && s.size() >= 8) {  // a length that fits, so that the edit is looked at
      const size_t end = s.rfind('}');
      if (end != s.npos && end >= 8) s = with_length(end - 7, s.substr(8));
    }
    const AllocationCount count;
    try {
      for (const auto& [name, t] : io::load_safetensors(bytes_of(s)).tensors) (void)t.numel();
      ++accepted;
    } catch (const Error&) {
      ++refused;
    }
    ASSERT_LE(count.bytes(), s.size() * 4 + (16 << 20)) << round;
  }
  EXPECT_GT(refused, 100u);
  EXPECT_GT(accepted, 10u);  // edits of names and values
}
