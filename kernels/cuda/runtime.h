// What the library needs of the CUDA runtime, in plain types. runtime.cpp has it over NVIDIA's runtime or the emulated
// one; a build without CUDA has unavailable.cpp. Nothing here throws.
#pragma once
#include <cstddef>
#include <string>

namespace graft::inline v1::cuda::runtime {

using Stream = void*;
using Event = void*;

struct Status {
  int code = 0;  // a cudaError_t
  bool ok() const { return code == 0; }
  bool out_of_memory() const { return code == 2; }
};
std::string describe(Status);

// Devices that can be used; where there are none, why. May be called without a driver.
int count_devices(std::string& why_none);
inline constexpr int kMostDevices = 16;  // more of them are not used
Status use_device(int device);  // of the calling thread: everything below refers to it
Status synchronize_device();
int multiprocessors(int device);
int capability(int device);  // 90: compute capability 9.0
int version();               // of the runtime this was built with: 13000
Status last_error();  // of launches since the last call; a failed kernel's stays for good

Status allocate(size_t bytes, void** out);
Status release(void* p);
Status memory_info(size_t& free, size_t& total);
Status allocate_pinned(size_t bytes, void** out);
Status release_pinned(void* p);
bool is_pinned(const void* p);

// Between any two places, in stream order. What is not pinned has been read, or written, when the call returns.
Status copy(void* to, const void* from, size_t bytes, Stream);
Status set_bytes(void* p, int value, size_t bytes, Stream);

Status make_stream(Stream* out);
void destroy_stream(Stream);
Status synchronize(Stream);
Status make_event(bool timing, Event* out);
void destroy_event(Event);
Status record(Event, Stream);
Status wait(Stream, Event);
Status synchronize_event(Event);
bool reached(Event);
float milliseconds(Event from, Event to);

// What an allocator tells the checker of the emulated device, in stream order: these bytes begin or cease to belong to a
// tensor. On a GPU they do nothing.
void mark_allocated(Stream, void* p, size_t bytes);
void mark_released(Stream, void* p, size_t bytes);

}  // namespace graft::cuda::runtime
