// Sums in float64 over numbers of float32 or float64. sums.cc is compiled once per instruction set;
// dispatch.cc picks one at run time.
#pragma once

#include <cstdint>

namespace repkit::kernels {

// Float32 or float64: the one that is not null.
struct Numbers {
  const float* singles;
  const double* doubles;
};

// Rows (or columns) inside an array: number k of line n is at starts[n] + k * step.
struct Lines {
  Numbers data;
  const double* starts;
  int64_t step;
};

struct Product {
  Lines rows, columns;
  int64_t row_count, column_count, inner;
  const double* factors;  // [row_count], or null for ones
  double* out;            // number of row r, column c: out_starts[r] + c * out_step
  const double* out_starts;
  int64_t out_step;
};

struct Sums {
  const char* instructions;

  // out[row][column] += factors[row] * sum over k of rows[row][k] * columns[column][k].
  // `scratch` has room for `scratch_size` doubles and begins at a multiple of 64 bytes.
  void (*multiply_add)(const Product& product, double* scratch);
  int64_t scratch_size;

  // target[i] += data[i] * factors[i / row], or without factors target[i] += data[i]; `count` numbers.
  void (*add_scaled)(double* target, Numbers data, const double* factors, int64_t row, int64_t count);

  // target[i][p] += weights[i] * factor * taps[p]; `count` weights, `tap_count` taps.
  void (*add_outer)(double* target, Numbers weights, double factor, Numbers taps, int64_t count, int64_t tap_count);

  // out[i] = data[i] * factors[i / row], rounded to the nearest float32; `count` numbers.
  void (*round_scaled)(Numbers data, const double* factors, float* out, int64_t row, int64_t count);

  // Rounds to the nearest float32.
  void (*round)(const double* numbers, float* out, int64_t count);
};

// One per compilation of sums.cc.
namespace isa_default {
extern const Sums sums;
}
#if defined(__x86_64__)
namespace isa_avx2 {
extern const Sums sums;
}
namespace isa_avx512 {
extern const Sums sums;
}
#endif

// The best that this CPU can run comes first; the list ends with null.
const Sums* const* usable_sums();

}  // namespace repkit::kernels
