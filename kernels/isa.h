// Instruction sets of this processor. Kernels that exist for several are chosen by cpu::isa() at run time.
#pragma once
#include <cstdint>
#include <string_view>

namespace graft::inline v1::cpu {

// baseline is what the library as a whole is compiled for (x86-64-v2 on x86); avx2 includes FMA and F16C; avx512 is
// F, VL, DQ and BW.
enum class Isa : uint8_t { baseline, avx2, avx512 };

Isa best_isa();      // what processor and operating system support
Isa isa();           // what kernels use: best_isa() unless set otherwise
Isa set_isa(Isa);    // returns the one before; one that is not supported changes nothing
std::string_view name_of(Isa);

}  // namespace graft
