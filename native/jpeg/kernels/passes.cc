// The passes of passes.h for one instruction set, named by the macro REPKIT_KERNEL_ISA. Nothing comes from the
// standard library: its inline functions, compiled here with wider instructions, could be linked into all.
#include "passes.h"

#include <cstring>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#ifndef REPKIT_KERNEL_ISA
#define REPKIT_KERNEL_ISA isa_default
#endif

namespace repkit::kernels::REPKIT_KERNEL_ISA {
namespace {

constexpr int kBits = 22;
constexpr int32_t kHalf = 1 << (kBits - 1);

inline uint8_t to_byte(int32_t sum) {
  const int32_t value = sum >> kBits;
  return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// One pixel from `taps` neighbours.
#if defined(__SSE4_1__)
inline void weigh_pixels(const uint8_t* in, const int32_t* weights, int64_t taps, uint8_t* out) {
  __m128i sum = _mm_set1_epi32(kHalf);  // R, G, B, and the next pixel's R
  for (int64_t k = 0; k < taps; k++) {
    int32_t pixel;
    std::memcpy(&pixel, in + 3 * k, sizeof pixel);
    const __m128i wide = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(pixel));
    sum = _mm_add_epi32(sum, _mm_mullo_epi32(wide, _mm_set1_epi32(weights[k])));
  }
  sum = _mm_srai_epi32(sum, kBits);
  sum = _mm_packus_epi32(sum, sum);
  const int32_t pixel = _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
  std::memcpy(out, &pixel, 2);
  out[2] = static_cast<uint8_t>(pixel >> 16);
}
#else
inline void weigh_pixels(const uint8_t* in, const int32_t* weights, int64_t taps, uint8_t* out) {
  int32_t red = kHalf, green = kHalf, blue = kHalf;
  for (int64_t k = 0; k < taps; k++, in += 3) {
    red += weights[k] * in[0];
    green += weights[k] * in[1];
    blue += weights[k] * in[2];
  }
  out[0] = to_byte(red);
  out[1] = to_byte(green);
  out[2] = to_byte(blue);
}
#endif

// `fixed` taps, known to the compiler; 0 for any number.
template <int fixed>
void filter_row(const uint8_t* row, const int64_t* starts, const int32_t* weights, int64_t any, int64_t outputs,
                uint8_t* out, ptrdiff_t step) {
  const int64_t taps = fixed == 0 ? any : fixed;
  for (int64_t i = 0; i < outputs; i++) weigh_pixels(row + 3 * starts[i], weights + i * taps, taps, out + i * step);
}

template <int taps>
void add_rows(const uint8_t* const* rows, const int32_t* weights, int64_t, int64_t bytes, uint8_t* __restrict out) {
  for (int64_t i = 0; i < bytes; i++) {
    int32_t sum = kHalf;
    for (int k = 0; k < taps; k++) sum += rows[k][i] * weights[k];
    out[i] = to_byte(sum);
  }
}

// Any number of taps: a stretch of the row at a time, so that its sums stay in the nearest cache.
void add_many_rows(const uint8_t* const* rows, const int32_t* weights, int64_t taps, int64_t bytes, uint8_t* out) {
  constexpr int64_t kStretch = 512;
  int32_t sums[kStretch];
  for (int64_t from = 0; from < bytes; from += kStretch) {
    const int64_t count = bytes - from < kStretch ? bytes - from : kStretch;
    for (int64_t i = 0; i < count; i++) sums[i] = kHalf;
    for (int64_t k = 0; k < taps; k++) {
      const uint8_t* row = rows[k] + from;
      const int32_t weight = weights[k];
      for (int64_t i = 0; i < count; i++) sums[i] += row[i] * weight;
    }
    for (int64_t i = 0; i < count; i++) out[from + i] = to_byte(sums[i]);
  }
}

void horizontal(const uint8_t* row, const int64_t* starts, const int32_t* weights, int64_t taps, int64_t outputs,
                uint8_t* out, ptrdiff_t step) {
  constexpr decltype(&filter_row<0>) by_taps[] = {
      filter_row<0>, filter_row<1>, filter_row<2>, filter_row<3>, filter_row<4>,
      filter_row<5>, filter_row<6>, filter_row<7>, filter_row<8>,
  };
  by_taps[taps <= 8 ? taps : 0](row, starts, weights, taps, outputs, out, step);
}

void vertical(const uint8_t* const* rows, const int32_t* weights, int64_t taps, int64_t bytes, uint8_t* out) {
  constexpr decltype(&add_many_rows) by_taps[] = {
      add_many_rows, add_rows<1>, add_rows<2>, add_rows<3>, add_rows<4>,
      add_rows<5>,   add_rows<6>, add_rows<7>, add_rows<8>,
  };
  by_taps[taps <= 8 ? taps : 0](rows, weights, taps, bytes, out);
}

}  // namespace

const Passes passes = {horizontal, vertical};

}  // namespace repkit::kernels::REPKIT_KERNEL_ISA
