// The ops that are not batch norm, on ATen tensors, differentiable.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "plan.h"

namespace repkit {

// Pixels [N, H, W, C] in bytes -> (x/255 - mean)/std as [N, C, H, W], channels_last.
at::Tensor normalise(const at::Tensor& pixels, const Step& step, at::ScalarType dtype);

inline at::Tensor sum_of(const std::vector<at::Tensor>& terms) {
  auto total = terms[0];
  for (size_t i = 1; i < terms.size(); i++) total = total + terms[i];
  return total;
}

at::Tensor convolve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Step& step);

// Every other step over activations.
at::Tensor run_activation(const Step& step, const std::vector<at::Tensor>& inputs);

// Every step over weights.
at::Tensor run_weight(const Step& step, const std::vector<at::Tensor>& inputs);

}  // namespace repkit
