// Ops over weights: kernels that are expressions over parameters (OREPA).
#include "kernel_sum.h"
#include "ops.h"

namespace repkit {
namespace {

at::Tensor per_row(const at::Tensor& scale, int64_t dimensions) {
  std::vector<int64_t> shape(dimensions, 1);
  shape[0] = -1;
  return scale.view(shape);
}

// first [T, I/g, 1, 1], second [O, T/g, K, K] -> [O, I/g, K, K]: in each group the taps of `second` are pixels of
// T/g channels, which a 1x1 convolution maps to I/g. In channels_last and without groups that is one GEMM, by
// oneDNN: how its rows are called images is free, and a few images of many pixels are fastest.
at::Tensor compose_pointwise(const at::Tensor& first, const at::Tensor& second, int64_t groups) {
  constexpr int64_t images = 16;  // fewer, and one thread would go through im2col (activations.cc)
  const int64_t outputs = second.size(0) / groups, inner = second.size(1), inputs = first.size(1);
  const int64_t height = second.size(2), width = second.size(3);
  const auto by_group = second.reshape({groups, outputs, inner, height, width});
  const int64_t count = outputs * height * width % images == 0 ? images : 1;
  const auto rows = by_group.permute({1, 3, 4, 0, 2}).reshape({count, 1, -1, groups * inner});
  const auto kernel = first.reshape({groups, inner, inputs}).transpose(1, 2).reshape({groups * inputs, inner, 1, 1});
  const auto y = at::conv2d(rows.permute({0, 3, 1, 2}), kernel, {}, {1, 1}, at::IntArrayRef{0, 0}, {1, 1}, groups);
  const auto mapped = y.permute({0, 2, 3, 1}).reshape({outputs, height, width, groups, inputs});
  return mapped.permute({3, 0, 4, 1, 2}).reshape({groups * outputs, inputs, height, width});
}

// first [T, I/g, h, w], second [O, T/g, H, W] -> [O, I/g, h+H-1, w+W-1] of one group.
at::Tensor compose(const at::Tensor& first, const at::Tensor& second, bool correlate) {
  const auto kernel = correlate ? second : second.flip({2, 3});
  const auto images = first.transpose(0, 1);
  const Pair padding{second.size(2) - 1, second.size(3) - 1};
  return at::conv2d(images, kernel, {}, {1, 1}, padding).transpose(0, 1);
}

at::Tensor compose_kernels(const at::Tensor& first, const at::Tensor& second, const Step& step) {
  if (first.size(2) == 1 && first.size(3) == 1) return compose_pointwise(first, second, step.groups);
  if (step.groups == 1) return compose(first, second, step.correlate);
  const auto firsts = first.chunk(step.groups, 0);
  const auto seconds = second.chunk(step.groups, 0);
  std::vector<at::Tensor> parts;
  for (int64_t group = 0; group < step.groups; group++) {
    parts.push_back(compose(firsts[group], seconds[group], step.correlate));
  }
  return at::cat(parts, 0);
}

// A kernel [O, I, h, w] at an offset of a larger one, and of `from` groups in one of `to` groups.
at::Tensor embed(const at::Tensor& w, const Step& step) {
  const auto [height, width] = step.kernel;
  at::Tensor kernel = w;
  const Pair room = {height - w.size(2), width - w.size(3)};
  if (step.dilation == Pair{1, 1}) {
    const auto [top, left] = step.offset;
    if (room != Pair{0, 0}) kernel = at::constant_pad_nd(w, {left, room[1] - left, top, room[0] - top});
  } else {
    auto larger = at::zeros({w.size(0), w.size(1), height, width}, w.options());
    larger.slice(2, step.offset[0], step.offset[0] + (w.size(2) - 1) * step.dilation[0] + 1, step.dilation[0])
        .slice(3, step.offset[1], step.offset[1] + (w.size(3) - 1) * step.dilation[1] + 1, step.dilation[1])
        .copy_(w);
    kernel = larger;
  }
  if (step.groups_from == step.groups_to) return kernel;
  // Group g of `from` sees its own inputs among those of the wider group it falls into.
  const int64_t merged = step.groups_from / step.groups_to, per_group = w.size(1);
  auto wider = at::zeros({w.size(0), per_group * merged, height, width}, w.options());
  const int64_t rows = w.size(0) / step.groups_from;
  for (int64_t group = 0; group < step.groups_from; group++) {
    const int64_t column = (group % merged) * per_group;
    wider.narrow(0, group * rows, rows).narrow(1, column, per_group).copy_(kernel.narrow(0, group * rows, rows));
  }
  return wider;
}

// Inputs of each dense term: kernel, scale; of each outer term: points, pattern, scale; of each separable term:
// points [O, 1, I, T], depth [1, I, T, h, w], scale.
at::Tensor kernel_sum(const Step& step, const std::vector<at::Tensor>& inputs) {
  const size_t outer_begin = 2 * step.dense_terms, separable_begin = outer_begin + 3 * step.outer_terms;
  TORCH_CHECK(separable_begin <= inputs.size() && (inputs.size() - separable_begin) % 3 == 0,
              "internal: a sum of kernels with ", inputs.size(), " inputs");
  KernelTerms terms;
  for (size_t i = 0; i < outer_begin; i += 2) terms.dense.push_back({inputs[i], inputs[i + 1]});
  for (size_t i = outer_begin; i < separable_begin; i += 3) {
    terms.outer.push_back({inputs[i].flatten(1), inputs[i + 1], inputs[i + 2]});
  }
  for (size_t i = separable_begin; i < inputs.size(); i += 3) {
    terms.separable.push_back({inputs[i].squeeze(1), inputs[i + 1].squeeze(0), inputs[i + 2]});
  }
  return sum_of_kernels(terms);
}

}  // namespace

at::Tensor run_weight(const Step& step, const std::vector<at::Tensor>& inputs) {
  const auto& x = inputs[0];
  switch (step.kind) {
    case StepKind::add:
      return sum_of(inputs);
    case StepKind::sub:
      return x - inputs[1];
    case StepKind::mul:
      return x * inputs[1];
    case StepKind::concat:
      return at::cat(inputs, 0);
    case StepKind::inverse_std:
      return (x + step.eps).rsqrt();
    case StepKind::scale:
      return x * per_row(inputs[1], x.dim());
    case StepKind::einsum:
      return at::einsum(step.equation, inputs);
    case StepKind::embed:
      return embed(x, step);
    case StepKind::compose_kernels:
      return compose_kernels(x, inputs[1], step);
    case StepKind::reshape:
      return x.reshape(step.shape);
    case StepKind::select:
      return x.select(0, step.index);
    case StepKind::detach:
      return x.detach();
    case StepKind::kernel_sum:
      return kernel_sum(step, inputs);
    default:
      TORCH_CHECK(false, "internal: no weight op of this kind");
  }
}

}  // namespace repkit
