// Threaded passes over channels_last tensors: the loops of batch_norm_kernels.h applied to a whole batch.
//
// Work is cut into chunks of rows that depend on the shape only, and partial sums are added in the order
// of the chunks, so results are the same bits whatever the number of threads.
#pragma once

#include <array>
#include <vector>

#include <ATen/ATen.h>

#include "batch_norm_kernels.h"

namespace repkit::kernels {

using Channels = std::vector<double>;  // a value per channel

struct Moments {
  Channels mean, variance;  // biased
};

// One addend (x - mean) * scale; a mean has been rounded to the kernels' arithmetic type by its maker.
struct Term {
  at::Tensor x;  // channels_last
  Channels mean, scale;
};

struct Activation {
  Mask mask = Mask::kNone;
  at::Tensor y;     // for Mask::kOutput, channels_last
  Channels offset;  // for Mask::kRecompute
};

using Pad = std::array<int64_t, 4>;  // top, bottom, left, right

// value rounded to the type in which tensors of this dtype are computed (float32 or float64).
double round_to_accumulate(double value, at::ScalarType dtype);

Moments channel_moments(const at::Tensor& x);

// Writes act(offset + sum_i (x_i - mean_i) * scale_i) into y inside its border of width `pad`.
void normalize_sum(const std::vector<Term>& terms, const Channels& offset, bool relu, const Pad& pad,
                   const at::Tensor& y);

// [sum G, sum G * (x_0 - mean_0), ...] over all rows. dy is channels_last and may have a border, which is skipped.
std::vector<Channels> reduce_gradient(const std::vector<Term>& terms, const Activation& activation, const Pad& pad,
                                      const at::Tensor& dy);

// dx_b = scale_b * G + slope_b * (x_b - mean_b) + intercept_b into dx[b] and, where `g` is defined, G into g.
void apply_gradient(const std::vector<Term>& terms, const std::vector<Channels>& slope,
                    const std::vector<Channels>& intercept, const Activation& activation, const Pad& pad,
                    const at::Tensor& dy, const std::vector<at::Tensor>& dx, const at::Tensor& g);

}  // namespace repkit::kernels
