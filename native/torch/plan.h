// What the executor runs: a graph lowered by src/engine/torch/lower.ts into a list of steps, each of
// which computes one slot (the id of the graph node whose value it is) from slots before it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace repkit {

enum class StepKind {
  input,
  conv2d,
  batch_norms,  // sum of batch norms and residuals, maybe with ReLU
  relu,
  silu,
  sigmoid,
  max_pool,
  avg_pool,
  global_avg_pool,
  flatten,
  linear,
  add,
  mul,
  concat,
  sub,
  inverse_std,
  scale,
  einsum,
  embed,
  compose_kernels,
  reshape,
  select,
  detach,
  kernel_sum,  // sum of scaled kernel expressions
};

using Pair = std::array<int64_t, 2>;     // vertical, horizontal
using Padding = std::array<int64_t, 4>;  // top, bottom, left, right; negative sides crop

// One batch norm of a `batch_norms` step; slots of its inputs, counter -1 where it has none.
struct BranchSlots {
  int64_t x, gamma, beta, running_mean, running_var, counter;
  double eps, momentum;
};

// A step with the attributes of every kind; which ones count, its kind says (src/graph/types.ts).
struct Step {
  StepKind kind;
  int64_t output = -1;
  std::vector<int64_t> inputs;
  // Slots that nothing after this step reads.
  std::vector<int64_t> release;

  Pair kernel{1, 1}, stride{1, 1}, dilation{1, 1}, offset{0, 0};
  Padding padding{0, 0, 0, 0};
  int64_t groups = 1, groups_from = 1, groups_to = 1, index = 0;
  double eps = 0;
  bool relu = false, count_include_pad = true, correlate = false;
  std::vector<int64_t> shape;
  std::vector<double> mean, std;
  std::string equation;
  std::vector<BranchSlots> branches;
  int64_t dense_terms = 0, outer_terms = 0;
};

struct Output {
  std::string name;
  int64_t slot;
  bool weight;  // a scalar over weights (a penalty), not an activation
};

struct Plan {
  int64_t slots = 0;
  // Parameter i of the executor lives in slot parameter_slots[i], or nowhere (-1).
  std::vector<int64_t> parameter_slots;
  std::vector<std::pair<int64_t, at::Tensor>> constants;  // float64
  std::vector<Step> weights;                              // over parameters alone, once per update
  std::vector<Step> activations;
  // Weights that only outputs need (penalties), after the activations: running statistics are this step's, as
  // in the reference, which evaluates its penalty after the forward pass.
  std::vector<Step> penalties;
  // Computed weights that activations read: gradients gather there, over several batches.
  std::vector<int64_t> boundaries;
  std::vector<Output> outputs;
};

}  // namespace repkit
