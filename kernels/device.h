// Where memory lives.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace graft::inline v1 {

struct Device {
  enum Type : uint8_t { cpu, cuda, meta };  // meta: shapes only, no memory
  Type type = cpu;
  uint8_t index = 0;

  constexpr Device() = default;
  constexpr Device(Type t, int i = 0) : type(t), index(uint8_t(i)) {}  // NOLINT(google-explicit-constructor)
  Device(std::string_view text);  // NOLINT(google-explicit-constructor): "cpu", "cuda", "cuda:1", "meta"; else Error
  Device(const char* text) : Device(std::string_view(text)) {}  // NOLINT(google-explicit-constructor)
  friend constexpr bool operator==(Device a, Device b) { return a.type == b.type && a.index == b.index; }
};
inline constexpr int kDevices = 3;

std::string_view name_of(Device::Type);
std::string to_string(Device);  // "cpu", "cuda:1"

}  // namespace graft
