#include "jpeg_reader.h"

#include <algorithm>

#include <jerror.h>

namespace repkit {
namespace {

constexpr int64_t kMaxPixels = 178956970;  // Pillow's limit against decompression bombs
constexpr int kMaxScans = 500;             // a progressive file has about ten; each is a pass over all pixels
constexpr long kMaxMemory = 768L << 20;    // of a progressive file's coefficients: 6 bytes a pixel, 3 with 4:2:0

// Columns beside the region that its own depend on: fancy upsampling looks at the neighbouring chroma sample.
constexpr int64_t kMargin = 2;

Failure failure_of(int code) {
  switch (code) {
    case JERR_INPUT_EOF:
    case JERR_INPUT_EMPTY:
      return Failure::kTruncated;
    case JERR_IMAGE_TOO_BIG:
    case JERR_OUT_OF_MEMORY:
    case JERR_NO_BACKING_STORE:
    case JERR_TFILE_CREATE:
      return Failure::kTooLarge;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_LIB_VERSION:
    case JERR_BAD_PRECISION:
    case JERR_BAD_STRUCT_SIZE:
    case JERR_CCIR601_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NO_SOI:
    case JERR_NOT_COMPILED:
    case JERR_NOTIMPL:
    case JERR_SOF_UNSUPPORTED:
      return Failure::kUnsupported;
    default:
      return Failure::kCorrupt;
  }
}

void do_nothing(j_decompress_ptr) {}
void say_nothing(j_common_ptr) {}
void emit_nothing(j_common_ptr, int) {}

void skip(j_decompress_ptr decoder, long count) {
  auto& source = *decoder->src;
  const size_t bytes = std::min(source.bytes_in_buffer, static_cast<size_t>(std::max(count, 0L)));
  source.next_input_byte += bytes;
  source.bytes_in_buffer -= bytes;
}

}  // namespace

JpegReader::~JpegReader() { jpeg_destroy_decompress(&decoder_); }

void JpegReader::fail(j_common_ptr decoder, Failure failure) {
  auto& errors = *static_cast<Errors*>(decoder->err);
  errors.failure = failure;
  std::longjmp(errors.mark, 1);
}

void JpegReader::on_error(j_common_ptr decoder) { fail(decoder, failure_of(decoder->err->msg_code)); }

void JpegReader::on_progress(j_common_ptr decoder) {
  const auto scans = reinterpret_cast<j_decompress_ptr>(decoder)->input_scan_number;
  if (scans > kMaxScans) fail(decoder, Failure::kTooLarge);
}

// Where Pillow would wait for more of the file.
boolean JpegReader::on_end_of_data(j_decompress_ptr decoder) {
  fail(reinterpret_cast<j_common_ptr>(decoder), Failure::kTruncated);
}

Failure JpegReader::open(const uint8_t* data, size_t size) {
  decoder_.err = jpeg_std_error(&errors_);
  errors_.error_exit = on_error;
  errors_.emit_message = emit_nothing;
  errors_.output_message = say_nothing;
  if (setjmp(errors_.mark) != 0) return errors_.failure;
  jpeg_create_decompress(&decoder_);

  source_.next_input_byte = data;
  source_.bytes_in_buffer = size;
  source_.init_source = do_nothing;
  source_.fill_input_buffer = on_end_of_data;
  source_.skip_input_data = skip;
  source_.resync_to_restart = jpeg_resync_to_restart;
  source_.term_source = do_nothing;
  decoder_.src = &source_;
  progress_.progress_monitor = on_progress;
  decoder_.progress = &progress_;
  decoder_.mem->max_memory_to_use = kMaxMemory;

  jpeg_read_header(&decoder_, TRUE);
  if (decoder_.data_precision != 8) return Failure::kUnsupported;
  if (decoder_.num_components != 1 && decoder_.num_components != 3) return Failure::kUnsupported;
  if (width() * height() > kMaxPixels) return Failure::kTooLarge;
  decoder_.out_color_space = JCS_RGB;
  return Failure::kNone;
}

Failure JpegReader::start(const Box& region) {
  if (setjmp(errors_.mark) != 0) return errors_.failure;
  jpeg_start_decompress(&decoder_);
  if (decoder_.output_components != 3) return Failure::kUnsupported;

  // Block smoothing, which only progressive files may need, looks further than the margin does.
  const int64_t left = decoder_.progressive_mode ? 0 : std::max<int64_t>(0, region.left - kMargin);
  const int64_t right =
      decoder_.progressive_mode ? width() : std::min(width(), region.left + region.width + kMargin);
  auto offset = static_cast<JDIMENSION>(left);  // becomes that of a block's edge
  auto columns = static_cast<JDIMENSION>(right - left);
  if (columns < decoder_.output_width) jpeg_crop_scanline(&decoder_, &offset, &columns);
  skipped_columns_ = region.left - offset;
  if (region.top > 0) jpeg_skip_scanlines(&decoder_, static_cast<JDIMENSION>(region.top));
  row_.resize(static_cast<size_t>(decoder_.output_width) * 3 + 4);
  return Failure::kNone;
}

Failure JpegReader::next() {
  if (setjmp(errors_.mark) != 0) return errors_.failure;
  JSAMPROW row = row_.data();
  return jpeg_read_scanlines(&decoder_, &row, 1) == 1 ? Failure::kNone : Failure::kTruncated;
}

bool JpegReader::has_ended() const {
  const int marker = decoder_.unread_marker;
  return marker != 0 && (marker < JPEG_RST0 || marker > JPEG_RST0 + 7);
}

Failure JpegReader::finish() {
  while (decoder_.output_scanline < decoder_.output_height) {
    const Failure failure = next();
    if (failure != Failure::kNone) return failure;
  }
  const Failure failure = look_at_the_end();
  return failure == Failure::kTruncated ? Failure::kNone : failure;
}

Failure JpegReader::look_at_the_end() {
  if (setjmp(errors_.mark) != 0) return errors_.failure;
  jpeg_finish_decompress(&decoder_);
  return Failure::kNone;
}

}  // namespace repkit
