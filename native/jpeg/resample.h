// From a file or an image to the window that a placement asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg_reader.h"
#include "placement.h"
#include "resampler.h"

namespace repkit {

// Belongs to one thread. Its memory is kept from one image to the next.
class ImageResampler {
 public:
  // Decodes and resamples. `placement` makes sense and `out` has `placement.bytes()`.
  Failure resample_jpeg(const uint8_t* data, size_t size, const Placement& placement, uint8_t* out) noexcept;

  // Of `image_width` x ... x 3 decoded pixels, in which the box lies.
  Failure resample(const uint8_t* pixels, int64_t image_width, const Placement& placement, uint8_t* out) noexcept;

 private:
  Resampler resampler_;
  std::vector<uint8_t> row_;
};

}  // namespace repkit
