// Loops of the fused sum of kernel expressions, one output channel at a time, without any dependency on
// ATen. Kernels lie channels_last, as [taps, inputs] of each output channel: every loop vectorizes over
// the input channels.
#pragma once

#include <cstdint>

namespace repkit::kernels {

// out[k, i] = sum_d s dense_d[k, i] + sum_u s points_u[i] pattern_u[k] + sum_v s sum_t point_v[t, i] depth_v[k, t, i]
template <typename T>
struct KernelSumKernels {
  // out[n] = s * w[n]
  void (*set_scaled)(const T* w, T s, int64_t n, T* out);
  // out[n] += s * w[n]
  void (*add_scaled)(const T* w, T s, int64_t n, T* out);
  // out[k, i] += s * pattern[k] * points[i]
  void (*add_outer)(const T* points, const T* pattern, T s, int64_t taps, int64_t inputs, T* out);
  // out[k, i] += s * sum_t point[t, i] * depth[k, t, i]
  void (*add_separable)(const T* point, const T* depth, T s, int64_t expansion, int64_t taps, int64_t inputs, T* out);

  // dw = s * g; sums[i] += sum_k g[k, i] * w[k, i]
  void (*dense_gradient)(const T* g, const T* w, T s, int64_t taps, int64_t inputs, T* dw, T* sums);
  // q[i] = sum_k g[k, i] * pattern[k]
  void (*outer_gradient)(const T* g, const T* pattern, int64_t taps, int64_t inputs, T* q);
  // q[t, i] = sum_k g[k, i] * depth[k, t, i]; ddepth[k, t, i] += s * point[t, i] * g[k, i]
  void (*separable_gradient)(const T* g, const T* point, const T* depth, T s, int64_t expansion, int64_t taps,
                             int64_t inputs, T* q, T* ddepth);
};

struct KernelSumSet {
  KernelSumKernels<float> f32;
  KernelSumKernels<double> f64;
};

namespace isa_default {
extern const KernelSumSet kernel_sum_set;
}
#if defined(__x86_64__)
namespace isa_avx2 {
extern const KernelSumSet kernel_sum_set;
}
namespace isa_avx512 {
extern const KernelSumSet kernel_sum_set;
}
#endif

// The best set that this CPU can run.
const KernelSumSet& kernel_sum_kernels();

}  // namespace repkit::kernels
