// Decodes a region of a JPEG file: the bytes that decoding all of it would give there, in less time.
//
// Settings are libjpeg's defaults, which are Pillow's: accurate integer transform, fancy upsampling, and block
// smoothing of progressive files that lack scans. Warnings (damaged data that libjpeg conceals) are no errors,
// as in Pillow; the end of the data is one, where libjpeg alone would go on in gray.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs it
#include <vector>

#include <jpeglib.h>

#include "placement.h"

namespace repkit {

enum class Failure {
  kNone,
  kTruncated,    // the data ends before the pixels do
  kCorrupt,      // libjpeg gives up
  kUnsupported,  // neither gray nor three components of 8 bits, or what this libjpeg cannot decode
  kTooLarge,     // more pixels, scans or memory than a photograph takes
};

// libjpeg reports errors by longjmp. Each function that calls it sets its own mark, and holds nothing that has a
// destructor; whatever must be freed belongs to the object.
class JpegReader {
 public:
  explicit JpegReader(std::vector<uint8_t>& row) : row_(row) {}
  ~JpegReader();
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Reads the header. `data` has to stay.
  [[nodiscard]] Failure open(const uint8_t* data, size_t size);
  int64_t width() const { return decoder_.image_width; }
  int64_t height() const { return decoder_.image_height; }

  // Goes to the region's first row. The region lies within the image.
  [[nodiscard]] Failure start(const Box& region);

  // Decodes the next row of the region.
  [[nodiscard]] Failure next();

  // R, G, B of the region's columns of that row; four bytes beyond them are readable.
  const uint8_t* row() const { return row_.data() + skipped_columns_ * 3; }

  // Whether the pixels' data has ended: they are all there, or a damaged file pretends so.
  bool has_ended() const;

  // Decodes what is left of the image and looks at what follows, to find out what is wrong with it. As in
  // Pillow, a file without an end is whole if all pixels are there.
  [[nodiscard]] Failure finish();

 private:
  struct Errors : jpeg_error_mgr {
    std::jmp_buf mark;
    Failure failure;
  };

  Failure look_at_the_end();
  [[noreturn]] static void fail(j_common_ptr decoder, Failure failure);
  static void on_error(j_common_ptr decoder);
  static void on_progress(j_common_ptr decoder);
  static boolean on_end_of_data(j_decompress_ptr decoder);

  jpeg_decompress_struct decoder_{};
  Errors errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::vector<uint8_t>& row_;
  int64_t skipped_columns_ = 0;  // decoded left of the region
};

}  // namespace repkit
