#include "placement.h"

namespace repkit {
namespace {

// Edges are at most 2^31 and products of two fit, so nothing here overflows.
bool lies_within(const Box& box, int64_t width, int64_t height) {
  return box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 && box.left + box.width <= width &&
         box.top + box.height <= height;
}

}  // namespace

Placement Placement::from(const int32_t* f) {
  return {{f[0], f[1], f[2], f[3]}, f[4], f[5], {f[6], f[7], f[8], f[9]}, f[10] != 0};
}

const char* Placement::problem() const {
  if (box.left < 0 || box.top < 0 || box.width <= 0 || box.height <= 0) return "box: expected one of at least a pixel";
  if (width <= 0 || height <= 0) return "width and height: expected positive numbers";
  if (!lies_within(window, width, height)) return "window: expected one within width x height";
  return nullptr;
}

bool Placement::fits(int64_t image_width, int64_t image_height) const {
  return lies_within(box, image_width, image_height);
}

}  // namespace repkit
