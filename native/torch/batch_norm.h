// Sums of batch norms with an activation, for training and inference.
//
//   y = act(sum_b BN_b(x_b) + sum_j r_j)
//
// One branch is BN + ReLU; two branches and a residual an ACB block's tail; RepVGG has three. On CPU
// the whole sum is two passes over memory (statistics, then y) and two backward, in channels_last, with
// statistics blocked in float32 and totalled in float64: ATen's own channels_last statistics are a plain
// float32 running sum, wrong by up to 5e-3. On CUDA it is composed of ATen's ops.
#pragma once

#include <array>
#include <vector>

#include <ATen/ATen.h>

namespace repkit {

struct BatchNormBranch {
  at::Tensor x;             // [N, C, H, W]: float32, float64 or bfloat16
  at::Tensor gamma, beta;   // [C], float32 (float64 with a float64 x)
  at::Tensor running_mean;  // [C], updated in place in training, biased/unbiased as in PyTorch
  at::Tensor running_var;   // [C]
  double eps;
  double momentum;
};

struct BatchNormOptions {
  bool training = false;
  bool relu = false;
  // top, bottom, left, right: border of width >= 0 filled with BN(0) of the running statistics *after*
  // this step's update, without gradient (DBB's BNAndPad). Only with one branch and no residuals.
  std::array<int64_t, 4> pad = {0, 0, 0, 0};
};

// Differentiable in x, gamma, beta and the residuals. Inputs of any strides; the result is channels_last.
// Residuals have y's shape and x's dtype. The result has x's dtype. At most 16 branches and residuals on CPU.
// Differentiable once.
at::Tensor sum_of_batch_norms(const std::vector<BatchNormBranch>& branches,
                              const std::vector<at::Tensor>& residuals,
                              const BatchNormOptions& options);

}  // namespace repkit
