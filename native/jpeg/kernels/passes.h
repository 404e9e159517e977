// The two passes of resampling over bytes: 32-bit sums of weights times pixels, rounded to 8 bits after each
// pass as Pillow does. passes.cc is compiled once per instruction set; dispatch.cc picks one at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace repkit::kernels {

struct Passes {
  // `outputs` pixels of 3 bytes, `step` bytes apart (negative to mirror), from the pixels of one row.
  // Reads one byte beyond the last pixel.
  void (*horizontal)(const uint8_t* row, const int64_t* starts, const int32_t* weights, int64_t taps, int64_t outputs,
                     uint8_t* out, ptrdiff_t step);

  // `bytes` of one output row from as many of `taps` rows.
  void (*vertical)(const uint8_t* const* rows, const int32_t* weights, int64_t taps, int64_t bytes, uint8_t* out);
};

// One per compilation of passes.cc.
namespace isa_default {
extern const Passes passes;
}
#if defined(__x86_64__)
namespace isa_avx2 {
extern const Passes passes;
}
#endif

// The best that this CPU can run.
const Passes& best_passes();

}  // namespace repkit::kernels
