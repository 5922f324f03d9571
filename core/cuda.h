// Device cuda: whether there is one, streams, events, pinned memory, statistics. A GPU is named by its number, as in
// Device("cuda:1"); work of a thread goes to the stream that is current for that GPU in this thread.
#pragma once
#include <memory>
#include <string>
#include <vector>
#include "graft/core/tensor.h"

namespace graft::inline v1::cuda {

bool available();
int device_count();                 // 0 where it is not available
std::string why_not_available();    // "there is no NVIDIA driver, ..."; empty where it is
// Fails (ErrorCode::device_unavailable) unless `d` can be used by this process; `who` begins the text.
void need(std::string_view who, Device d);
// cuBLAS and cuDNN are asked before graft's own kernels where they are installed; a trace (core/profile.h) shows what ran, and why nothing else did.
void use_vendor_libraries(bool);    // for all threads; false: own kernels
struct VendorLibrary {
  std::string name, state;          // "cuBLAS", "13.1.0 (libcublas.so.13)" or why it is not used
  bool loaded = false;
};
std::vector<VendorLibrary> vendor_libraries();
void synchronize(int device = 0);   // waits for all work of the device; a kernel that failed is reported here

// ---- streams: work of one stream runs in order, work of two at the same time ------------------------------------

class Event;
class Stream {
 public:
  explicit Stream(int device = 0);  // a new one; copies are the same stream
  int device() const { return state_->device; }
  void* handle() const { return state_->handle; }  // cudaStream_t
  void synchronize() const;
  void wait(const Event&) const;    // later work waits for what the event was recorded after
  friend bool operator==(const Stream& a, const Stream& b) { return a.state_ == b.state_; }

 private:
  friend const Stream& current_stream(int device);
  struct State {
    int device;
    void* handle;
    ~State();
  };
  std::shared_ptr<State> state_;
};
const Stream& current_stream(int device = 0);  // of this thread; at first one that all threads share

// Makes a stream current for a scope. A tensor belongs to the stream that was current when it was made: one that is used
// on another stream and may end before that has run needs record_use().
class UseStream {
 public:
  explicit UseStream(Stream);
  ~UseStream();
  UseStream(const UseStream&) = delete;
  UseStream& operator=(const UseStream&) = delete;

 private:
  Stream before_;
};
void record_use(const Tensor&, const Stream&);

class Event {
 public:
  explicit Event(bool timing = false, int device = 0);
  void record(const Stream& = current_stream()) const;
  bool reached() const;
  void synchronize() const;
  double milliseconds_until(const Event& later) const;  // both with timing, both reached

 private:
  friend class Stream;
  struct State {
    void* handle;
    ~State();
  };
  std::shared_ptr<State> state_;
};

// ---- memory ---------------------------------------------------------------------------------------------------

// Copies to and from pinned memory run beside the program: to(device, true) returns at once.
Tensor pin(const Tensor&);  // a copy on cpu, in pinned memory
bool is_pinned(const Tensor&);

// Memory of a device is kept for later tensors of the same stream. Before an allocation fails, what is cached goes back and
// the device is asked again; then it is Error{device_out_of_memory}, and the device can be used on.
struct MemoryStats {
  int64_t in_use = 0;         // bytes of tensors, rounded up
  int64_t from_device = 0;    // bytes held, in use or cached
  int64_t peak_in_use = 0;    // since reset_peak()
  int64_t allocations = 0;
  int64_t device_calls = 0;   // allocations that the cache could not serve
};
MemoryStats memory_stats(int device = 0);
void reset_peak(int device = 0);
void empty_cache();

namespace detail {
memory::Source& memory_of(int device);          // for storages; fails where the device cannot be used
void* begin_launch(int device);                 // makes the device current; the stream for a launch
bool launch_failed(std::string& why);           // the one that was just made, or a kernel before it
void download(void* to, const void* from, size_t bytes, int device);  // waits
void join(int device, int with);                // both devices' current streams wait for each other
}  // namespace detail

}  // namespace graft::cuda
