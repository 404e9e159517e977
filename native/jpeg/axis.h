// Pillow's BILINEAR filter along one axis (src/libImaging/Resample.c: precompute_coeffs and
// normalize_coeffs_8bpc): a triangle that widens with the reduction, in fixed point.
#pragma once

#include <cstdint>
#include <vector>

namespace repkit {

// Output i is the sum over `taps` of weights[i * taps + k] * input[starts[i] + k]. All outputs have as many
// taps, some of weight 0, so that the loops over them are of one length; they stay within [begin, end).
struct Axis {
  int64_t begin = 0, end = 0;  // inputs that the outputs depend on
  int64_t outputs = 0;
  int64_t taps = 0;
  bool is_identity = false;       // nothing is resampled; starts and weights are empty
  std::vector<int64_t> starts;    // [outputs], counted from `begin`
  std::vector<int32_t> weights;   // [outputs, taps], multiplied by 2^22
  std::vector<double> scratch;

  // Outputs first, first + 1, ... (`count` of them) of `in` pixels resized to `out`.
  void plan(int64_t in, int64_t out, int64_t first, int64_t count);
};

constexpr int kPrecisionBits = 22;  // of a weight: 32 less 8 of a pixel and 2 of headroom

}  // namespace repkit
