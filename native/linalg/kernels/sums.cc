// The sums of sums.h for one instruction set, named by the macro REPKIT_KERNEL_ISA. Nothing comes from the
// standard library: its inline functions, compiled here with wider instructions, could be linked into all.
#include "sums.h"

#ifndef REPKIT_KERNEL_ISA
#define REPKIT_KERNEL_ISA isa_default
#endif

namespace repkit::kernels::REPKIT_KERNEL_ISA {
namespace {

// A tile's sums stay in registers: kTileRows x kTileVectors of them, one row of columns, and one factor.
#if defined(__AVX512F__)
constexpr const char* kInstructions = "avx512";
constexpr int kWidth = 8;  // doubles in a register
constexpr int kTileRows = 8, kTileVectors = 3;
constexpr int kDots = 8;  // columns of which the sums of two rows stay in registers
#elif defined(__AVX2__)
constexpr const char* kInstructions = "avx2";
constexpr int kWidth = 4;
constexpr int kTileRows = 4, kTileVectors = 3;
constexpr int kDots = 4;
#else
constexpr const char* kInstructions = "default";
constexpr int kWidth = 2;
constexpr int kTileRows = 4, kTileVectors = 2;
constexpr int kDots = 4;
#endif
constexpr int kTileColumns = kTileVectors * kWidth;

// What is packed at a time: rows for the second cache, columns for the third.
constexpr int64_t kInner = 512;
constexpr int64_t kRows = 6 * kTileRows;
constexpr int64_t kColumns = 10 * kTileColumns;
// Columns that are not worth packing rows for, and what of them stays in the first cache.
constexpr int64_t kMostDots = 16;
constexpr int64_t kDotsInner = 512;
// Columns that lie a power of two apart would push each other out of the cache.
constexpr int64_t kDotsStride = kDotsInner + 8;

typedef double Vector __attribute__((vector_size(kWidth * sizeof(double)), may_alias));

// Copies inner numbers `from`..`from + depth` of `lanes` lines into a panel, interleaved; lanes up to
// `width` beyond them are zero.
template <typename T>
void pack_panel(const T* data, const double* starts, int64_t step, int64_t from, int64_t depth, int lanes, int width,
                double* panel) {
  const T* lines[kTileColumns];
  bool adjacent = true;
  for (int lane = 0; lane < lanes; lane++) {
    lines[lane] = data + static_cast<int64_t>(starts[lane]) + from * step;
    adjacent = adjacent && lines[lane] == lines[0] + lane;
  }
  if (adjacent) {
    for (int64_t k = 0; k < depth; k++, panel += width) {
      const T* line = lines[0] + k * step;
      for (int lane = 0; lane < lanes; lane++) panel[lane] = line[lane];
      for (int lane = lanes; lane < width; lane++) panel[lane] = 0;
    }
    return;
  }
  // A few numbers of each line at a time: the part of the panel that they go to stays near.
  for (int64_t begin = 0; begin < depth; begin += 16) {
    const int64_t end = begin + 16 < depth ? begin + 16 : depth;
    for (int lane = 0; lane < lanes; lane++) {
      const T* line = lines[lane];
      for (int64_t k = begin; k < end; k++) panel[k * width + lane] = line[k * step];
    }
    for (int lane = lanes; lane < width; lane++) {
      for (int64_t k = begin; k < end; k++) panel[k * width + lane] = 0;
    }
  }
}

// Packs `count` lines from `first` on as panels of `width` lines.
void pack(const Lines& lines, int64_t first, int64_t count, int64_t from, int64_t depth, int width, double* panels) {
  for (int64_t line = 0; line < count; line += width, panels += depth * width) {
    const int lanes = static_cast<int>(count - line < width ? count - line : width);
    const double* starts = lines.starts + first + line;
    if (lines.data.singles != nullptr) {
      pack_panel(lines.data.singles, starts, lines.step, from, depth, lanes, width, panels);
    } else {
      pack_panel(lines.data.doubles, starts, lines.step, from, depth, lanes, width, panels);
    }
  }
}

// tile[row][column] = sum over k of rows[k][row] * columns[k][column], for `vectors` vectors of columns.
template <int vectors>
void multiply_tile(const double* rows, const double* columns, int64_t depth, double* tile) {
  Vector sums[kTileRows][vectors] = {};
  for (int64_t k = 0; k < depth; k++, rows += kTileRows, columns += vectors * kWidth) {
    Vector column[vectors];
    for (int v = 0; v < vectors; v++) column[v] = reinterpret_cast<const Vector*>(columns)[v];
#pragma GCC unroll 8
    for (int row = 0; row < kTileRows; row++) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sums[row][v] += rows[row] * column[v];
    }
  }
  for (int row = 0; row < kTileRows; row++) {
    for (int v = 0; v < vectors; v++) {
      reinterpret_cast<Vector*>(tile)[row * vectors + v] = sums[row][v];
    }
  }
}

template <int vectors>
void multiply_add_panels(const Product& product, double* scratch) {
  constexpr int width = vectors * kWidth;
  double* tile = scratch;
  double* row_panels = tile + kTileRows * kTileColumns;
  double* column_panels = row_panels + kRows * kInner;
  const auto smaller = [](int64_t a, int64_t b) { return a < b ? a : b; };
  constexpr int64_t most_columns = kColumns / width * width;
  for (int64_t column = 0; column < product.column_count; column += most_columns) {
    const int64_t columns = smaller(most_columns, product.column_count - column);
    for (int64_t k = 0; k < product.inner; k += kInner) {
      const int64_t depth = smaller(kInner, product.inner - k);
      pack(product.columns, column, columns, k, depth, width, column_panels);
      for (int64_t row = 0; row < product.row_count; row += kRows) {
        const int64_t rows = smaller(kRows, product.row_count - row);
        pack(product.rows, row, rows, k, depth, kTileRows, row_panels);
        for (int64_t x = 0; x < columns; x += width) {
          const int64_t tile_columns = smaller(width, columns - x);
          for (int64_t y = 0; y < rows; y += kTileRows) {
            multiply_tile<vectors>(row_panels + y * depth, column_panels + x * depth, depth, tile);
            const int64_t tile_rows = smaller(kTileRows, rows - y);
            for (int64_t r = 0; r < tile_rows; r++) {
              const double factor = product.factors == nullptr ? 1 : product.factors[row + y + r];
              double* to = product.out + static_cast<int64_t>(product.out_starts[row + y + r]) +
                           (column + x) * product.out_step;
              const double* from = tile + r * width;
              for (int64_t c = 0; c < tile_columns; c++, to += product.out_step) *to += factor * from[c];
            }
          }
        }
      }
    }
  }
}

typedef int64_t Places __attribute__((vector_size(kWidth * sizeof(int64_t))));

// Numbers of two vectors, one after the other, by their places.
inline Vector picked(Vector first, Vector second, Places places) {
#if defined(__clang__)
  Vector result;
  for (int i = 0; i < kWidth; i++) result[i] = places[i] < kWidth ? first[places[i]] : second[places[i] - kWidth];
  return result;
#else
  return __builtin_shuffle(first, second, places);
#endif
}

constexpr int power_below(int count) { return count < 2 ? 1 : 2 * power_below(count / 2); }

// sums[i] = all lanes of vector i; of as many vectors as a power of two at a time, by a tree.
template <int count>
inline void add_lanes(const Vector* lanes, double* sums) {
  if constexpr (count == 1) {
    double sum = 0;
    for (int i = 0; i < kWidth; i++) sum += lanes[0][i];
    sums[0] = sum;
  } else if constexpr (count > kWidth || count != power_below(count)) {
    constexpr int some = count > kWidth ? kWidth : power_below(count);
    add_lanes<some>(lanes, sums);
    add_lanes<count - some>(lanes + some, sums + some);
  } else {
    Vector level[count];
    for (int i = 0; i < count; i++) level[i] = lanes[i];
    // After each step a vector holds twice as many vectors' parts, each in half as many lanes.
#pragma GCC unroll 4
    for (int half = 1; half < count; half *= 2) {
      Places even, odd;
      for (int i = 0; i < kWidth; i++) {
        const int from = i / half % 2 == 0 ? i : i - half + kWidth;  // the first's part, then the second's
        even[i] = from;
        odd[i] = from + half;
      }
      for (int i = 0; i + half < count; i += 2 * half) {
        level[i] = picked(level[i], level[i + half], even) + picked(level[i], level[i + half], odd);
      }
    }
    for (int i = 0; i < count; i++) {
      double sum = 0;
      for (int part = i; part < kWidth; part += count) sum += level[0][part];
      sums[i] = sum;
    }
  }
}

typedef float Singles __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));
typedef double Doubles __attribute__((vector_size(kWidth * sizeof(double)), aligned(8), may_alias));

inline Vector widened(const float* numbers) {
  return __builtin_convertvector(*reinterpret_cast<const Singles*>(numbers), Vector);
}
inline Vector widened(const double* numbers) { return *reinterpret_cast<const Doubles*>(numbers); }

// sums[row][column] of two rows, which are read as they lie, and of columns that lie `kDotsStride` apart.
template <int columns, typename T>
void multiply_two_rows(const T* first, const T* second, const double* packed, int64_t depth, double (*sums)[kDots]) {
  // Each sum waits for the one before it: of a few columns there are several at a time.
  constexpr int chains = columns >= 4 ? 1 : 4 / columns;
  Vector lanes[chains][2][columns] = {};
  int64_t k = 0;
  for (; k + chains * kWidth <= depth; k += chains * kWidth) {
#pragma GCC unroll 4
    for (int chain = 0; chain < chains; chain++) {
      const int64_t at = k + chain * kWidth;
      const Vector a = widened(first + at), b = widened(second + at);
#pragma GCC unroll 8
      for (int c = 0; c < columns; c++) {
        const Vector column = *reinterpret_cast<const Vector*>(packed + c * kDotsStride + at);
        lanes[chain][0][c] += a * column;
        lanes[chain][1][c] += b * column;
      }
    }
  }
  for (int row = 0; row < 2; row++) {
    for (int chain = 1; chain < chains; chain++) {
      for (int c = 0; c < columns; c++) lanes[0][row][c] += lanes[chain][row][c];
    }
    add_lanes<columns>(lanes[0][row], sums[row]);
  }
  for (; k < depth; k++) {
    for (int c = 0; c < columns; c++) {
      sums[0][c] += first[k] * packed[c * kDotsStride + k];
      sums[1][c] += second[k] * packed[c * kDotsStride + k];
    }
  }
}

template <int columns, typename T>
void multiply_two_rows_of(int wanted, const T* first, const T* second, const double* packed, int64_t depth,
                          double (*sums)[kDots]) {
  if (wanted == columns) return multiply_two_rows<columns>(first, second, packed, depth, sums);
  if constexpr (columns > 1) multiply_two_rows_of<columns - 1>(wanted, first, second, packed, depth, sums);
}

// For a few columns: rows are read once, as they lie in memory, and not packed.
template <typename T>
void multiply_add_dots(const Product& product, const T* data, double* scratch) {
  const auto smaller = [](int64_t a, int64_t b) { return a < b ? a : b; };
  const int64_t passes = (product.column_count + kDots - 1) / kDots;
  const int64_t at_once = (product.column_count + passes - 1) / passes;
  for (int64_t k = 0; k < product.inner; k += kDotsInner) {
    const int64_t depth = smaller(kDotsInner, product.inner - k);
    for (int64_t c = 0; c < product.column_count; c++) {
      pack(product.columns, c, 1, k, depth, 1, scratch + c * kDotsStride);
    }
    for (int64_t row = 0; row < product.row_count; row += 2) {
      const int rows = product.row_count - row > 1 ? 2 : 1;
      const T* first = data + static_cast<int64_t>(product.rows.starts[row]) + k;
      const T* second = rows == 1 ? first : data + static_cast<int64_t>(product.rows.starts[row + 1]) + k;
      for (int64_t column = 0; column < product.column_count; column += at_once) {
        double sums[2][kDots];
        const int64_t columns = smaller(at_once, product.column_count - column);
        multiply_two_rows_of<kDots>(static_cast<int>(columns), first, second, scratch + column * kDotsStride, depth,
                                    sums);
        for (int r = 0; r < rows; r++) {
          const double factor = product.factors == nullptr ? 1 : product.factors[row + r];
          double* to =
              product.out + static_cast<int64_t>(product.out_starts[row + r]) + column * product.out_step;
          for (int64_t c = 0; c < columns; c++, to += product.out_step) *to += factor * sums[r][c];
        }
      }
    }
  }
}

void multiply_add(const Product& product, double* scratch) {
  const auto& [data, starts, step] = product.rows;
  if (product.column_count <= kMostDots && step == 1) {
    return data.singles != nullptr ? multiply_add_dots(product, data.singles, scratch)
                                   : multiply_add_dots(product, data.doubles, scratch);
  }
  // Few columns take narrow panels, so that little is multiplied by nothing.
  if (product.column_count <= kWidth) return multiply_add_panels<1>(product, scratch);
  if (product.column_count <= 2 * kWidth) return multiply_add_panels<2>(product, scratch);
  return multiply_add_panels<kTileVectors>(product, scratch);
}

template <typename T>
void add_rows(double* target, const T* data, const double* factors, int64_t row, int64_t count) {
  if (factors == nullptr) {
    for (int64_t i = 0; i < count; i++) target[i] += data[i];
    return;
  }
  for (int64_t i = 0; i < count; i += row, factors++) {
    const double factor = *factors;
    for (int64_t k = 0; k < row; k++) target[i + k] += data[i + k] * factor;
  }
}

void add_scaled(double* target, Numbers data, const double* factors, int64_t row, int64_t count) {
  if (data.singles != nullptr) {
    add_rows(target, data.singles, factors, row, count);
  } else {
    add_rows(target, data.doubles, factors, row, count);
  }
}

template <typename T>
void add_products(double* target, const T* weights, double factor, Numbers taps, int64_t count, int64_t tap_count) {
  for (int64_t i = 0; i < count; i++, target += tap_count) {
    const double weight = weights[i] * factor;
    if (taps.singles != nullptr) {
      for (int64_t p = 0; p < tap_count; p++) target[p] += weight * taps.singles[p];
    } else {
      for (int64_t p = 0; p < tap_count; p++) target[p] += weight * taps.doubles[p];
    }
  }
}

void add_outer(double* target, Numbers weights, double factor, Numbers taps, int64_t count, int64_t tap_count) {
  if (weights.singles != nullptr) {
    add_products(target, weights.singles, factor, taps, count, tap_count);
  } else {
    add_products(target, weights.doubles, factor, taps, count, tap_count);
  }
}

template <typename T>
void round_rows(const T* data, const double* factors, float* out, int64_t row, int64_t count) {
  for (int64_t i = 0; i < count; i += row, factors++) {
    const double factor = *factors;
    // As a sum of one term: of -0 it makes 0.
    for (int64_t k = 0; k < row; k++) out[i + k] = static_cast<float>(0 + data[i + k] * factor);
  }
}

void round_scaled(Numbers data, const double* factors, float* out, int64_t row, int64_t count) {
  if (data.singles != nullptr) {
    round_rows(data.singles, factors, out, row, count);
  } else {
    round_rows(data.doubles, factors, out, row, count);
  }
}

void round_all(const double* numbers, float* out, int64_t count) {
  for (int64_t i = 0; i < count; i++) out[i] = static_cast<float>(numbers[i]);
}

}  // namespace

extern const Sums sums = {
    kInstructions,
    multiply_add,
    kTileRows * kTileColumns + (kRows + kColumns) * kInner,
    add_scaled,
    add_outer,
    round_scaled,
    round_all,
};

}  // namespace repkit::kernels::REPKIT_KERNEL_ISA
