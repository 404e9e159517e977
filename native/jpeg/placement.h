// What becomes of an image: a box of it is resized to width x height, and a window of that is kept,
// mirrored on request (`Placement` in src/data/types.ts).
#pragma once

#include <cstddef>
#include <cstdint>

namespace repkit {

// In pixels.
struct Box {
  int64_t left, top, width, height;
};

struct Placement {
  Box box;                // of the image
  int64_t width, height;  // that the box is resized to
  Box window;             // of the resized box
  bool flip;

  static constexpr size_t kFields = 11;  // numbers that describe one, in this order

  static Placement from(const int32_t* fields);

  // Why it makes no sense for any image, else null.
  const char* problem() const;

  bool fits(int64_t image_width, int64_t image_height) const;

  // Of the window: height x width x 3.
  int64_t bytes() const { return window.width * window.height * 3; }
};

}  // namespace repkit
