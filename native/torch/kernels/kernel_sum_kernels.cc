// The loops of kernel_sum_kernels.h for one instruction set, named by the macro REPKIT_KERNEL_ISA. As in
// batch_norm_kernels.cc, nothing needs reassociation and nothing comes from the standard library.
#include "kernel_sum_kernels.h"

#ifndef REPKIT_KERNEL_ISA
#define REPKIT_KERNEL_ISA isa_default
#endif

namespace repkit::kernels::REPKIT_KERNEL_ISA {
namespace {

template <typename T>
void set_scaled(const T* __restrict w, T s, int64_t n, T* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = s * w[i];
}

template <typename T>
void add_scaled(const T* __restrict w, T s, int64_t n, T* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] += s * w[i];
}

template <typename T>
void add_outer(const T* points, const T* pattern, T s, int64_t taps, int64_t inputs, T* out) {
  for (int64_t k = 0; k < taps; ++k) {
    if (pattern[k] != 0) add_scaled(points, s * pattern[k], inputs, out + k * inputs);
  }
}

template <typename T>
inline void add_scaled_product(const T* __restrict a, const T* __restrict b, T s, int64_t n, T* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] += s * a[i] * b[i];
}

template <typename T>
void add_separable(const T* point, const T* depth, T s, int64_t expansion, int64_t taps, int64_t inputs, T* out) {
  for (int64_t k = 0; k < taps; ++k) {
    for (int64_t t = 0; t < expansion; ++t) {
      add_scaled_product(point + t * inputs, depth + (k * expansion + t) * inputs, s, inputs, out + k * inputs);
    }
  }
}

template <typename T>
void dense_gradient(const T* __restrict g, const T* __restrict w, T s, int64_t taps, int64_t inputs, T* __restrict dw,
                    T* __restrict sums) {
  for (int64_t k = 0; k < taps; ++k) {
    const T* __restrict gk = g + k * inputs;
    const T* __restrict wk = w + k * inputs;
    T* __restrict dwk = dw + k * inputs;
    for (int64_t i = 0; i < inputs; ++i) {
      dwk[i] = s * gk[i];
      sums[i] += gk[i] * wk[i];
    }
  }
}

template <typename T>
void outer_gradient(const T* g, const T* pattern, int64_t taps, int64_t inputs, T* q) {
  for (int64_t i = 0; i < inputs; ++i) q[i] = 0;
  for (int64_t k = 0; k < taps; ++k) {
    if (pattern[k] != 0) add_scaled(g + k * inputs, pattern[k], inputs, q);
  }
}

template <typename T>
void separable_gradient(const T* g, const T* point, const T* depth, T s, int64_t expansion, int64_t taps,
                        int64_t inputs, T* q, T* ddepth) {
  for (int64_t i = 0; i < expansion * inputs; ++i) q[i] = 0;
  for (int64_t k = 0; k < taps; ++k) {
    const T* gk = g + k * inputs;
    for (int64_t t = 0; t < expansion; ++t) {
      const int64_t at = (k * expansion + t) * inputs;
      add_scaled_product(gk, depth + at, T(1), inputs, q + t * inputs);
      add_scaled_product(point + t * inputs, gk, s, inputs, ddepth + at);
    }
  }
}

template <typename T>
constexpr KernelSumKernels<T> kernels_of() {
  return {set_scaled<T>,     add_scaled<T>,     add_outer<T>,         add_separable<T>,
          dense_gradient<T>, outer_gradient<T>, separable_gradient<T>};
}

}  // namespace

extern const KernelSumSet kernel_sum_set{kernels_of<float>(), kernels_of<double>()};

}  // namespace repkit::kernels::REPKIT_KERNEL_ISA
