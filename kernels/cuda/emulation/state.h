// What the parts of the emulation share. Everything here is guarded by one mutex; kernels run under it, on whichever
// thread waits for them.
#pragma once
#include <mutex>
#include <utility>
#include "graft/kernels/cuda/emulation/device.h"
#include "graft/kernels/cuda/emulation/emulation.h"

namespace graft::inline v1::cuda::emulation {

std::recursive_mutex& mutex();
using Lock = std::lock_guard<std::recursive_mutex>;
uint32_t random_bits();  // from settings().seed

// ---- the running kernel (scheduler.cpp) --------------------------------------------------------------------------

struct Fiber;
enum class State : uint8_t { fresh, running, at_barrier, in_warp, done };

// Times are counted, not measured: `epoch` in barriers of the block, `warp_time` in memory-ordering operations of the warp.
struct Thread {
  State state = State::fresh;
  bool fenced = false;  // has called __threadfence()
  int index = 0;        // in the block
  uint32_t epoch = 0, warp_time = 0;
  Fiber* fiber = nullptr;
  uint3 id{};
  Site site{};          // where it waits
};
struct Meeting { uint32_t time; unsigned lanes; };  // of lanes, by __syncwarp
struct Warp {
  Post posts[32];
  unsigned arrived = 0, alive = 0;
  uint32_t time = 0;
  std::vector<Meeting> log;  // since the last one of all lanes
};
struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  uint32_t epoch = 0;
  int size = 0, index = 0;
  bool acquired = false;              // has done an atomic: may have seen what other blocks released
};
struct Running {
  Block block;
  Thread* thread = nullptr;           // whose turn it is
  const LaunchConfig* launch = nullptr;
  int device = 0;
  uint32_t serial = 0;                // of the launch
  uint32_t block_serial = 0;          // over all launches
  std::vector<uint8_t> released;      // blocks that did an atomic after a fence
};
extern Running running;

// True only while code of a kernel runs on this thread, and not while the emulation itself works for it: functions that
// both use (of the standard library, say) may be linked from either side.
extern constinit thread_local bool t_in_kernel;
class OutsideKernel {
 public:
  OutsideKernel() : before_(std::exchange(t_in_kernel, false)) {}
  ~OutsideKernel() { t_in_kernel = before_; }
  OutsideKernel(const OutsideKernel&) = delete;
  OutsideKernel& operator=(const OutsideKernel&) = delete;

 private:
  bool before_;
};
void run_kernel(const LaunchConfig&, int device);
std::string kernel_name(const void* kernel);   // demangled (symbols.cpp)
void record_launched(const void* kernel);      // for tools/cuda_coverage.py, where it asks for that
std::string source_line(const void* code);     // "kernels/softmax/cuda.cu:41"
// The same for many, without what was inlined there: the lines of the functions that exist.
std::vector<std::string> source_lines(const std::vector<const void*>& code);

// ---- memory (memory.cpp) -------------------------------------------------------------------------------------

inline constexpr size_t kDeviceBytes = size_t{16} << 30;  // of addresses; never used twice
inline constexpr size_t kSharedBytes = size_t{1} << 20;   // more than a block may have: red zones lie between arrays
extern char* const global_memory;  // kMaxDevices times kDeviceBytes
extern char* const shared_arena;

inline bool is_device_memory(const void* p) {
  return size_t(static_cast<const char*>(p) - global_memory) < kDeviceBytes * kMaxDevices;
}
inline int device_of(const void* p) { return int(size_t(static_cast<const char*>(p) - global_memory) / kDeviceBytes); }
cudaError_t allocate_global(int device, size_t bytes, void** out);
cudaError_t release_global(void* p);
size_t global_in_use(int device);
std::string why_not_valid(const void* p, size_t bytes);  // as the range of one live allocation; empty: it is one
void begin_block_shared(size_t dynamic_bytes);
inline constexpr size_t kSharedDefault = 48 << 10, kSharedMost = 227 << 10;

// Device memory can be read and written by this process only inside such a scope.
class DeviceScope {
 public:
  DeviceScope();
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
};

// ---- errors (stream.cpp) -------------------------------------------------------------------------------------

void host_error(const std::string& line);
void set_fault(cudaError_t, const std::string& text);
cudaError_t fault_code();
cudaError_t remember(cudaError_t e);  // for cudaGetLastError

// ---- streams (stream.cpp) ------------------------------------------------------------------------------------

struct Stream;
Stream* find_stream(void* handle);  // null is the default stream of the current device; a destroyed one gives null
int device_of(const Stream*);
void push(Stream*, std::function<void()> work);
void drain(Stream*);
void drain_all();
int& current_device();

// ---- the checker (checker.cpp): bytes of global and shared memory, what may be done with them --------------------

inline constexpr size_t kMostThreads = size_t{1} << 27;  // of a launch

void mark_global(const void* p, size_t bytes, bool initialised);  // they belong to somebody
void forget_global(const void* p, size_t bytes);  // from now on nobody may touch them
bool is_marked(const void* p, size_t bytes);      // all of it allocated
bool is_initialised(const void* p, size_t bytes);
void forget_shared();
void mark_shared(const void* p, size_t bytes);
void check_atomic(const void* p, unsigned bytes, void* pc);
void allow_arguments(const void* p, size_t bytes);  // of the kernel that comes

// ---- what is moved (traffic.cpp), where settings().traffic --------------------------------------------------------

void begin_traffic(const LaunchConfig&);
void note_access(const void* p, unsigned bytes, bool write, bool shared, const void* pc);
void end_block_traffic();
void end_traffic();

}  // namespace graft::cuda::emulation
