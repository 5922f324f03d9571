// The table of expected times: for each GPU what memory and arithmetic alone would take, calculated.
#include <cstdio>
#include <algorithm>
#include "measured.h"

namespace graft::traffic_test {
namespace {

struct Gpu { double memory, f32, tensor_cores; };  // bytes and operations per second, of dense bf16 in the last; of data sheets
constexpr Gpu kH100{3.35e12, 66.9e12, 989e12}, kH200{4.8e12, 66.9e12, 989e12};

struct Arithmetic {
  const char *name, *size;
  DType dtype;
  double bytes, operations;
};
std::vector<Arithmetic> products() {
  const auto linear = [](DType t, double m, double n, double k, const char* size) {
    return Arithmetic{"linear", size, t, double(size_of(t)) * (m * k + n * k + m * n), 2 * m * n * k};
  };
  const auto attention = [](double batch, double n, double d, const char* size) {
    return Arithmetic{"attention", size, bf16, 2 * 4 * batch * n * d, 4 * batch * n * n * d};
  };
  const auto conv = [](DType t, double n, double side, double in, double out, double k, const char* size) {
    const double points = n * side * side;
    return Arithmetic{"conv2d", size, t, double(size_of(t)) * (points * (in + out) + out * in * k * k), 2 * points * out * in * k * k};
  };
  return {linear(f32, 8192, 1024, 1024, "8192 rows, 1024 to 1024"), linear(bf16, 8192, 1024, 1024, "8192 rows, 1024 to 1024"),
          linear(bf16, 8192, 4096, 4096, "8192 rows, 4096 to 4096"), linear(bf16, 8, 4096, 4096, "8 rows, 4096 to 4096"),
          attention(8 * 16, 1024, 64, "8 x 16 heads, 1024 x 64"), attention(16, 8192, 128, "1 x 16 heads, 8192 x 128"),
          conv(f32, 64, 56, 64, 64, 3, "64 images of 56 x 56, 64 to 64, 3 x 3"), conv(bf16, 64, 56, 64, 64, 3, "64 images of 56 x 56, 64 to 64, 3 x 3"),
          conv(bf16, 64, 14, 1024, 256, 1, "64 images of 14 x 14, 1024 to 256, 1 x 1")};
}

std::string line(const char* name, const char* size, DType t, double bytes, double operations) {
  const auto peak = [&](const Gpu& g) { return t == bf16 ? g.tensor_cores : g.f32; };
  const auto microseconds = [&](const Gpu& g) { return 1e6 * std::max(bytes / g.memory, operations / peak(g)); };
  const bool memory = bytes / kH100.memory > operations / peak(kH100);
  char text[256];
  std::snprintf(text, sizeof text, "| %s | %s | %s | %.1f | %.2f | %s | %.1f | %.1f |\n", name, std::string(name_of(t)).c_str(), size, bytes / 1e6,
                operations / 1e9, memory ? "memory" : t == bf16 ? "tensor cores" : "arithmetic", microseconds(kH100), microseconds(kH200));
  return text;
}

}  // namespace

std::string table_of_expected_times() {
  std::string text = "| kernel | dtype | size | MB | Gflop | bound by | H100 \xc2\xb5s | H200 \xc2\xb5s |\n|---|---|---|---:|---:|---|---:|---:|\n";
  for (const MemoryBound& k : memory_bound()) {
    const bool steps = k.read + k.written >= 20;  // an optimizer
    const double n = steps ? 124e6 : 8192. * 4096;
    text += line(k.name, steps ? "124 million parameters" : "8192 x 4096", k.dtype, n * (k.read + k.written), 0);
  }
  for (const Arithmetic& k : products()) text += line(k.name, k.size, k.dtype, k.bytes, k.operations);
  return text;
}

}  // namespace graft::traffic_test
