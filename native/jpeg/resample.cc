#include "resample.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace repkit {
namespace {

constexpr size_t kTail = 4096;  // bytes; some cameras append something

// Whether the file's end is there, be it before a few bytes of something else.
bool ends(const uint8_t* data, size_t size) {
  static constexpr uint8_t kEndOfImage[] = {0xff, 0xd9};
  const uint8_t* tail = data + size - std::min(size, kTail);
  return std::search(tail, data + size, kEndOfImage, kEndOfImage + 2) != data + size;
}

}  // namespace

Failure ImageResampler::resample_jpeg(const uint8_t* data, size_t size, const Placement& placement,
                                      uint8_t* out) noexcept try {
  JpegReader reader(row_);
  Failure failure = reader.open(data, size);
  if (failure != Failure::kNone) return failure;
  // Whoever chose the box has read another size than libjpeg has.
  if (!placement.fits(reader.width(), reader.height())) return Failure::kUnsupported;

  resampler_.begin(placement, out);
  Box region = resampler_.needed();
  region.left += placement.box.left;
  region.top += placement.box.top;
  failure = reader.start(region);
  for (int64_t y = 0; failure == Failure::kNone && y < region.height; y++) {
    failure = reader.next();
    if (failure == Failure::kNone) resampler_.next(reader.row());
  }
  // Truncated is truncated whichever box is asked for: where no end is, only all of the pixels tell.
  const bool is_suspicious = reader.has_ended() || !ends(data, size);
  return failure == Failure::kNone && is_suspicious ? reader.finish() : failure;
} catch (const std::bad_alloc&) {
  return Failure::kTooLarge;
}

Failure ImageResampler::resample(const uint8_t* pixels, int64_t image_width, const Placement& placement,
                                 uint8_t* out) noexcept try {
  resampler_.begin(placement, out);
  const Box needed = resampler_.needed();
  const size_t bytes = needed.width * 3;
  row_.resize(bytes + 1);  // the passes read one beyond
  for (int64_t y = 0; y < needed.height; y++) {
    const int64_t top = placement.box.top + needed.top + y;
    const int64_t left = placement.box.left + needed.left;
    std::memcpy(row_.data(), pixels + (top * image_width + left) * 3, bytes);
    resampler_.next(row_.data());
  }
  return Failure::kNone;
} catch (const std::bad_alloc&) {
  return Failure::kTooLarge;
}

}  // namespace repkit
