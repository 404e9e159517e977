// Resamples rows as they come: each goes through the horizontal pass into a ring of as many rows as the
// vertical pass takes, so that what is in between stays in the nearest cache.
#pragma once

#include <cstdint>
#include <vector>

#include "axis.h"
#include "kernels/passes.h"
#include "placement.h"

namespace repkit {

// Its memory is kept from one image to the next.
class Resampler {
 public:
  // For an image of `placement.bytes()` at `out`. Throws std::bad_alloc.
  void begin(const Placement& placement, uint8_t* out);

  // What of the box is needed: `next` is called once for each of its rows, from the top.
  Box needed() const;

  // `row` is the first needed pixel's R; one byte beyond the last needed pixel is readable.
  void next(const uint8_t* row) noexcept;

 private:
  void filter(const uint8_t* row, uint8_t* out) const noexcept;

  const kernels::Passes* passes_ = &kernels::best_passes();
  Axis columns_, rows_;
  bool flip_ = false;
  int64_t row_bytes_ = 0;
  int64_t arrived_ = 0;   // rows
  int64_t finished_ = 0;  // outputs
  uint8_t* out_ = nullptr;
  std::vector<uint8_t> ring_;                // [rows_.taps, row_bytes_]
  std::vector<const uint8_t*> taps_;         // [rows_.taps], rows of the ring in order
};

}  // namespace repkit
