// OREPA's kernel: a sum of scaled kernel expressions in one pass over memory.
//
//   K[o] = sum_d s_d[o] W_d[o] + sum_u s_u[o] A_u[o] (x) D_u[o] + sum_v s_v[o] sum_t P_v[o, t] (.) Q_v[t]
//
// Term by term with ATen it moves about 290 floats per element of the kernel, forward and backward; here it
// is 9 per term and direction. On CUDA it is composed of ATen's ops.
#pragma once

#include <vector>

#include <ATen/ATen.h>

namespace repkit {

struct DenseTerm {
  at::Tensor kernel;  // W [O, I, h, w]
  at::Tensor scale;   // s [O]
};

// Every tap of a 1x1 kernel's pattern: an average, a frequency prior, the centre alone.
struct OuterTerm {
  at::Tensor points;   // A [O, I]
  at::Tensor pattern;  // D [h, w] or [O, h, w]; a constant, receives no gradient
  at::Tensor scale;    // s [O]
};

// A depthwise convolution and then a 1x1.
struct SeparableTerm {
  at::Tensor points;  // P [O, I, T]
  at::Tensor depth;   // Q [I, T, h, w]
  at::Tensor scale;   // s [O]
};

struct KernelTerms {
  std::vector<DenseTerm> dense;
  std::vector<OuterTerm> outer;
  std::vector<SeparableTerm> separable;
};

// -> [O, I, h, w], channels_last on CPU. Differentiable in everything but the patterns. Needs a dense term.
at::Tensor sum_of_kernels(const KernelTerms& terms);

}  // namespace repkit
