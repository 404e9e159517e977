// The loops of batch_norm_kernels.h for one instruction set, named by the macro REPKIT_KERNEL_ISA.
//
// Everything here vectorizes over channels and needs no reassociation, so no -ffast-math. Work goes in
// tiles of channels whose intermediate values stay in the L1 cache: memory is read once whatever the
// number of inputs. No function of the standard library is used: an inline one compiled here with wide
// vectors could be the copy that the linker keeps for the whole program.
#include "batch_norm_kernels.h"

#ifndef REPKIT_KERNEL_ISA
#define REPKIT_KERNEL_ISA isa_default
#endif

namespace repkit::kernels::REPKIT_KERNEL_ISA {
namespace {

constexpr int64_t kTile = 512;       // channels
constexpr int64_t kBlockRows = 128;  // rows summed in float32 before they are added to the doubles

inline float load(float value) { return value; }
inline double load(double value) { return value; }
inline float load(bfloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}

inline void store(float value, float* to) { *to = value; }
inline void store(double value, double* to) { *to = value; }
inline void store(float value, bfloat16* to) {  // round to nearest even; NaN stays NaN
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  *to = static_cast<bfloat16>(value != value ? 0x7fc0u : rounded);
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// v = offset + (x - mean) * scale
template <typename T, typename A>
inline void set_normalized(const T* __restrict x, const A* __restrict mean, const A* __restrict scale,
                           const A* __restrict offset, int64_t n, A* __restrict v) {
  for (int64_t c = 0; c < n; ++c) v[c] = offset[c] + (load(x[c]) - mean[c]) * scale[c];
}

// v += (x - mean) * scale
template <typename T, typename A>
inline void add_normalized(const T* __restrict x, const A* __restrict mean, const A* __restrict scale, int64_t n,
                           A* __restrict v) {
  for (int64_t c = 0; c < n; ++c) v[c] += (load(x[c]) - mean[c]) * scale[c];
}

// The tile of n channels from channel c0 of the row starting at element `row`.
template <typename T, typename A>
inline void sum_inputs(const Input<T>* inputs, int count, const A* offset, int64_t row, int64_t c0, int64_t n, A* v) {
  set_normalized(inputs[0].x + row + c0, inputs[0].mean + c0, inputs[0].scale + c0, offset + c0, n, v);
  for (int i = 1; i < count; ++i) {
    add_normalized(inputs[i].x + row + c0, inputs[i].mean + c0, inputs[i].scale + c0, n, v);
  }
}

// g = 0 where v <= 0; as in ATen a NaN passes.
template <typename M, typename A>
inline void mask_gradient(const M* __restrict v, int64_t n, A* __restrict g) {
  for (int64_t c = 0; c < n; ++c) g[c] = load(v[c]) <= A(0) ? A(0) : g[c];
}

// dy is copied before it is masked: in one loop GCC makes the load conditional, which the CPU does not prefetch.
template <typename T, typename A>
inline void gradient_tile(const Input<T>* inputs, int count, const OutputGradient<T>& output, int64_t row, int64_t c0,
                          int64_t n, A* __restrict g) {
  const T* __restrict dy = output.dy + row + c0;
  for (int64_t c = 0; c < n; ++c) g[c] = load(dy[c]);
  if (output.mask == Mask::kOutput) {
    mask_gradient(output.y + row + c0, n, g);
  } else if (output.mask == Mask::kRecompute) {
    alignas(64) A v[kTile];
    sum_inputs(inputs, count, output.offset, row, c0, n, v);
    mask_gradient(v, n, g);
  }
}

template <typename T, typename A>
inline void add_moments(const T* __restrict x, const A* __restrict shift, int64_t n, A* __restrict sum,
                        A* __restrict squares) {
  for (int64_t c = 0; c < n; ++c) {
    const A d = load(x[c]) - shift[c];
    sum[c] += d;
    squares[c] += d * d;
  }
}

template <typename T, typename A>
inline void add_product(const A* __restrict g, const T* __restrict x, const A* __restrict mean, int64_t n,
                        A* __restrict sum) {
  for (int64_t c = 0; c < n; ++c) sum[c] += g[c] * (load(x[c]) - mean[c]);
}

template <typename A>
inline void add(const A* __restrict g, int64_t n, A* __restrict sum) {
  for (int64_t c = 0; c < n; ++c) sum[c] += g[c];
}

template <typename A>
inline void flush(const A* __restrict block, int64_t n, double* __restrict sum) {
  for (int64_t c = 0; c < n; ++c) sum[c] += static_cast<double>(block[c]);
}

template <typename A>
inline void clear(A* block, int64_t n) {
  for (int64_t c = 0; c < n; ++c) block[c] = A(0);
}

template <typename T, typename A>
inline void input_gradient(const A* __restrict g, const T* __restrict x, const A* __restrict mean,
                           const A* __restrict scale, const A* __restrict slope, const A* __restrict intercept,
                           int64_t n, T* __restrict dx) {
  for (int64_t c = 0; c < n; ++c) {
    store(scale[c] * g[c] + (slope[c] * (load(x[c]) - mean[c]) + intercept[c]), dx + c);
  }
}

template <typename T>
void moments(const T* x, const Accumulate<T>* shift, int64_t rows, int64_t width, double* sums, int64_t stride) {
  using A = Accumulate<T>;
  for (int64_t r0 = 0; r0 < rows; r0 += kBlockRows) {
    const int64_t r1 = smaller(rows, r0 + kBlockRows);
    for (int64_t c0 = 0; c0 < width; c0 += kTile) {
      const int64_t n = smaller(kTile, width - c0);
      alignas(64) A sum[kTile], squares[kTile];
      clear(sum, n);
      clear(squares, n);
      for (int64_t r = r0; r < r1; ++r) add_moments(x + r * width + c0, shift + c0, n, sum, squares);
      flush(sum, n, sums + c0);
      flush(squares, n, sums + stride + c0);
    }
  }
}

template <typename T>
void normalize(const Input<T>* inputs, int count, const Accumulate<T>* offset, Accumulate<T> floor, int64_t rows,
               int64_t width, T* y) {
  using A = Accumulate<T>;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c0 = 0; c0 < width; c0 += kTile) {
      const int64_t n = smaller(kTile, width - c0);
      alignas(64) A v[kTile];
      sum_inputs(inputs, count, offset, r * width, c0, n, v);
      T* __restrict to = y + r * width + c0;
      for (int64_t c = 0; c < n; ++c) store(v[c] < floor ? floor : v[c], to + c);  // a NaN stays
    }
  }
}

template <typename T>
void reduce(const Input<T>* inputs, int count, const OutputGradient<T>& output, int64_t rows, int64_t width,
            double* sums, int64_t stride) {
  using A = Accumulate<T>;
  for (int64_t r0 = 0; r0 < rows; r0 += kBlockRows) {
    const int64_t r1 = smaller(rows, r0 + kBlockRows);
    for (int64_t c0 = 0; c0 < width; c0 += kTile) {
      const int64_t n = smaller(kTile, width - c0);
      alignas(64) A g[kTile], block[1 + kMaxInputs][kTile];
      for (int b = 0; b <= count; ++b) clear(block[b], n);
      for (int64_t r = r0; r < r1; ++r) {
        gradient_tile(inputs, count, output, r * width, c0, n, g);
        add(g, n, block[0]);
        for (int b = 0; b < count; ++b) {
          add_product(g, inputs[b].x + r * width + c0, inputs[b].mean + c0, n, block[1 + b]);
        }
      }
      for (int b = 0; b <= count; ++b) flush(block[b], n, sums + b * stride + c0);
    }
  }
}

template <typename T>
void apply(const Input<T>* inputs, const InputGradient<T>* gradients, int count, const OutputGradient<T>& output,
           int64_t rows, int64_t width, T* gradient) {
  using A = Accumulate<T>;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c0 = 0; c0 < width; c0 += kTile) {
      const int64_t n = smaller(kTile, width - c0);
      const int64_t at = r * width + c0;
      alignas(64) A g[kTile];
      gradient_tile(inputs, count, output, r * width, c0, n, g);
      if (gradient != nullptr) {
        T* __restrict to = gradient + at;
        for (int64_t c = 0; c < n; ++c) store(g[c], to + c);
      }
      for (int b = 0; b < count; ++b) {
        input_gradient(g, inputs[b].x + at, inputs[b].mean + c0, inputs[b].scale + c0, gradients[b].slope + c0,
                       gradients[b].intercept + c0, n, gradients[b].dx + at);
      }
    }
  }
}

template <typename T>
constexpr BatchNormKernels<T> kernels_of() {
  return {moments<T>, normalize<T>, reduce<T>, apply<T>};
}

}  // namespace

const KernelSet kernel_set = {kernels_of<float>(), kernels_of<bfloat16>(), kernels_of<double>()};

}  // namespace repkit::kernels::REPKIT_KERNEL_ISA
