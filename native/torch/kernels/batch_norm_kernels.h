// Loops of the fused sum of batch norms over channels_last rows, without any dependency on ATen.
//
// A row is `width` contiguous elements: the C channels of one position, or those of several positions
// when C is small (the per-channel arrays are then repeated). Rows follow each other without gaps. Each
// loop is single-threaded and does not allocate. batch_norm_kernels.cc is compiled once per instruction
// set; dispatch.cc picks one at run time.
#pragma once

#include <cstdint>

namespace repkit::kernels {

using bfloat16 = uint16_t;  // the upper half of a float32's bits

// Arithmetic is in float32, for double in double.
template <typename T>
struct AccumulateOf {
  using type = float;
};
template <>
struct AccumulateOf<double> {
  using type = double;
};
template <typename T>
using Accumulate = typename AccumulateOf<T>::type;

constexpr int kMaxInputs = 16;  // branches and residuals of one sum

// One addend of v = offset + sum_i (x_i - mean_i) * scale_i. A residual has mean 0 and scale 1.
template <typename T>
struct Input {
  const T* x;                   // [rows, width]
  const Accumulate<T>* mean;    // [width]
  const Accumulate<T>* scale;   // [width]
};

// G = dy where the activation passes, else 0.
enum class Mask {
  kNone,       // no activation
  kOutput,     // y > 0, from the saved y
  kRecompute,  // v > 0, from the inputs: without residuals this saves reading y
};

template <typename T>
struct OutputGradient {
  Mask mask;
  const T* dy;                   // [rows, width]
  const T* y;                    // [rows, width], for kOutput
  const Accumulate<T>* offset;   // [width], for kRecompute
};

// dx = scale * G + slope * (x - mean) + intercept
template <typename T>
struct InputGradient {
  T* dx;                            // [rows, width]
  const Accumulate<T>* slope;       // [width]
  const Accumulate<T>* intercept;   // [width]
};

template <typename T>
struct BatchNormKernels {
  using A = Accumulate<T>;

  // sums[0, c] += sum_r (x - shift), sums[1, c] += sum_r (x - shift)^2; sums' rows are `stride` apart.
  void (*moments)(const T* x, const A* shift, int64_t rows, int64_t width, double* sums, int64_t stride);

  // y = max(v, floor): floor 0 is ReLU, -infinity the identity.
  void (*normalize)(const Input<T>* inputs, int count, const A* offset, A floor, int64_t rows, int64_t width, T* y);

  // sums[0, c] += sum_r G, sums[1 + b, c] += sum_r G * (x_b - mean_b).
  void (*reduce)(const Input<T>* inputs, int count, const OutputGradient<T>& output, int64_t rows, int64_t width,
                 double* sums, int64_t stride);

  // Writes every dx_b and, unless `g` is null, G.
  void (*apply)(const Input<T>* inputs, const InputGradient<T>* gradients, int count, const OutputGradient<T>& output,
                int64_t rows, int64_t width, T* g);
};

struct KernelSet {
  BatchNormKernels<float> f32;
  BatchNormKernels<bfloat16> bf16;
  BatchNormKernels<double> f64;
};

// One per compilation of batch_norm_kernels.cc.
namespace isa_default {
extern const KernelSet kernel_set;
}
#if defined(__x86_64__)
namespace isa_avx2 {
extern const KernelSet kernel_set;
}
namespace isa_avx512 {
extern const KernelSet kernel_set;
}
#endif

// The best set that this CPU can run. REPKIT_ISA=default|avx2|avx512, read once, lowers the choice.
const KernelSet& batch_norm_kernels();

}  // namespace repkit::kernels
