// The emulated CUDA device, for tests: how it schedules, what it looks for, what it found. Kernels run as fibers on the
// CPU; the CUDA runtime's functions are defined in runtime.cpp with the prototypes of NVIDIA's headers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace graft::inline v1::cuda::emulation {

enum class Order : uint8_t { forward, reverse, random };  // in which threads and blocks get their turn
// When queued work runs: at once; when something waits for it, and then only what that needs; now and then, anywhere.
enum class Streams : uint8_t { eager, lazy, random };

struct Settings {
  Order order = Order::forward;
  Streams streams = Streams::lazy;
  uint64_t seed = 1;            // of everything random
  int devices = 2;              // at most kMaxDevices
  size_t memory = size_t{4} << 30;  // of each device
  int fail_allocation = 0;      // the n-th cudaMalloc from now reports that memory is out; 0: none
  bool legacy_stream = true;    // false: work on the default stream is an error of the host
  bool races = true;            // look for them
  bool uninitialised = true;    // look for reads of memory that nothing has written
  bool vendor_libraries = false;  // stand-ins for cuBLAS and cuDNN are there; graft's kernels are what is to be tested
  bool early_exit = false;      // threads may return while others still come to a barrier (hardware allows it)
  bool traffic = false;         // count what kernels move (traffic.h)
};
inline constexpr int kMaxDevices = 4;
Settings& settings();

// What the first fault of a kernel was, "race on global memory: ... (softmax/cuda.cu:41) ..."; empty: none. From then on
// every call of the runtime fails, as on a GPU, until reset().
std::string fault();
// Misuse by the host that real CUDA would let pass or punish by chance: one line each; cleared by the call.
std::vector<std::string> take_host_errors();
void reset();          // forgets a fault; device memory and streams stay
size_t launches();     // kernels run so far
std::vector<std::string> launched_kernels();  // their names, demangled, each once
// Dereferencing device memory on the host then ends the program with a line that says so, not with a bare signal.
void explain_segmentation_faults();

// For an allocator that hands out parts of one cudaMalloc: in the order of `stream`, these bytes come into being
// (uninitialised), or may no longer be touched. What lies between is found by the checker.
int allocate_unmarked(size_t bytes, void** out);  // cudaMalloc of memory that nobody may touch yet; a cudaError_t
void mark_allocated(void* stream, void* p, size_t bytes);
void mark_released(void* stream, void* p, size_t bytes);

// Work of a vendor library's stand-in, in stream order.
void enqueue(void* stream, std::function<void()> work);
void* vendor_function(std::string_view name);  // of a stand-in; null: none has that name
size_t algorithm_searches();                   // how often that of cuDNN was asked for algorithms

}  // namespace graft::cuda::emulation
