#include "resampler.h"

#include <cstring>

namespace repkit {

void Resampler::begin(const Placement& placement, uint8_t* out) {
  const auto& [box, width, height, window, flip] = placement;
  columns_.plan(box.width, width, window.left, window.width);
  rows_.plan(box.height, height, window.top, window.height);
  flip_ = flip;
  row_bytes_ = window.width * 3;
  arrived_ = finished_ = 0;
  out_ = out;
  if (rows_.is_identity) return;
  ring_.resize(rows_.taps * row_bytes_);
  taps_.resize(rows_.taps);
}

Box Resampler::needed() const {
  return {columns_.begin, rows_.begin, columns_.end - columns_.begin, rows_.end - rows_.begin};
}

void Resampler::next(const uint8_t* row) noexcept {
  const int64_t index = arrived_++;
  if (rows_.is_identity) {
    filter(row, out_ + index * row_bytes_);
    return;
  }
  const int64_t taps = rows_.taps;
  filter(row, ring_.data() + index % taps * row_bytes_);
  // Enlarging, several outputs end with the same row.
  for (; finished_ < rows_.outputs && rows_.starts[finished_] + taps == arrived_; finished_++) {
    for (int64_t k = 0; k < taps; k++) taps_[k] = ring_.data() + (arrived_ + k) % taps * row_bytes_;
    passes_->vertical(taps_.data(), rows_.weights.data() + finished_ * taps, taps, row_bytes_,
                      out_ + finished_ * row_bytes_);
  }
}

void Resampler::filter(const uint8_t* row, uint8_t* out) const noexcept {
  uint8_t* first = flip_ ? out + row_bytes_ - 3 : out;
  const ptrdiff_t step = flip_ ? -3 : 3;
  if (!columns_.is_identity) {
    passes_->horizontal(row, columns_.starts.data(), columns_.weights.data(), columns_.taps, columns_.outputs, first,
                        step);
  } else if (flip_) {
    for (int64_t i = 0; i < columns_.outputs; i++) std::memcpy(first + i * step, row + 3 * i, 3);
  } else {
    std::memcpy(out, row, row_bytes_);
  }
}

}  // namespace repkit
