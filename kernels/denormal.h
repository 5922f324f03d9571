// Numbers too small for a normalised mantissa (below 1.2e-38 in f32) cost a processor some hundred cycles each. A program
// that does not need them can have them treated as zero.
#pragma once

namespace graft::inline v1 {

// For the calling thread, and for what parallel_for runs on its behalf. Off at first, as results would otherwise differ from
// IEEE 754. Returns false, and does nothing, where the processor has no such mode.
bool set_flush_denormal(bool on);
bool flush_denormal();

namespace detail {
unsigned float_mode();  // of this thread; parallel_for hands it to its workers
void set_float_mode(unsigned);
}  // namespace detail

}  // namespace graft
