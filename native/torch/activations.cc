// Activation ops. Everything stays channels_last: [N, C, H, W] with strides of N, H, W, C.
#include "ops.h"

#include <limits>

#include <ATen/Parallel.h>

namespace repkit {
namespace {

constexpr auto channels_last = at::MemoryFormat::ChannelsLast;

bool symmetric(const Padding& p) { return p[0] == p[1] && p[2] == p[3] && p[0] >= 0 && p[2] >= 0; }

// ATen takes pads from the last axis on: left, right, top, bottom.
at::Tensor pad(const at::Tensor& x, const Padding& p, double value) {
  return at::constant_pad_nd(x, {p[2], p[3], p[0], p[1]}, value);
}

// With one thread and a batch under 16, ATen 1.13 computes 1x1 convolutions by im2col and BLAS, 10-16 %
// of a DBB step. A 1x1 convolution does not care how pixels are divided among images, so they are
// presented as 16 or more. Returns 0 where there is nothing to gain.
int64_t images_for_pointwise(const at::Tensor& x) {
  constexpr int64_t enough = 16;
  if (!x.device().is_cpu() || x.scalar_type() != at::kFloat || x.size(0) >= enough || at::get_num_threads() > 1) return 0;
  const int64_t pixels = x.size(0) * x.size(2) * x.size(3);
  for (int64_t images = enough; images <= 2 * enough; images++) {
    if (pixels % images == 0) return images;
  }
  return 0;
}

at::Tensor convolve_pointwise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t groups) {
  const auto convolution = [&](const at::Tensor& input) {
    return at::conv2d(input, weight, bias, {1, 1}, at::IntArrayRef{0, 0}, {1, 1}, groups);
  };
  const int64_t images = images_for_pointwise(x);
  if (images == 0) return convolution(x);
  const auto rows = x.permute({0, 2, 3, 1}).reshape({images, 1, -1, x.size(1)}).permute({0, 3, 1, 2});
  const auto y = convolution(rows).permute({0, 2, 3, 1});
  return y.reshape({x.size(0), x.size(2), x.size(3), weight.size(0)}).permute({0, 3, 1, 2});
}

at::Tensor avg_pool(const at::Tensor& x, const Step& step) {
  const auto [kernel_h, kernel_w] = step.kernel;
  const auto& p = step.padding;
  const bool native = symmetric(p) && p[0] <= kernel_h / 2 && p[2] <= kernel_w / 2;
  const auto pool = [&](const at::Tensor& input, Pair padding) {
    return at::avg_pool2d(input, step.kernel, step.stride, padding, false, step.count_include_pad);
  };
  if (native) return pool(x, {p[0], p[2]});
  const auto sums = pool(pad(x, p, 0), {0, 0});
  if (step.count_include_pad) return sums;
  const auto ones = at::ones({1, 1, x.size(2), x.size(3)}, x.options());
  return sums / pool(pad(ones, p, 0), {0, 0});
}

at::Tensor max_pool(const at::Tensor& x, const Step& step) {
  const auto& p = step.padding;
  const bool native = symmetric(p) && p[0] <= step.kernel[0] / 2 && p[2] <= step.kernel[1] / 2;
  if (native) return at::max_pool2d(x, step.kernel, step.stride, {p[0], p[2]});
  const auto padded = pad(x, p, -std::numeric_limits<double>::infinity());
  return at::max_pool2d(padded, step.kernel, step.stride);
}

}  // namespace

at::Tensor normalise(const at::Tensor& pixels, const Step& step, at::ScalarType dtype) {
  const int64_t channels = pixels.size(3);
  if (!pixels.device().is_cpu()) {
    const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const auto row = [&](const std::vector<double>& values) {
      return at::tensor(values, at::kDouble).to(pixels.device(), wide).view({1, channels, 1, 1});
    };
    const auto x = pixels.permute({0, 3, 1, 2}).to(wide, false, false, channels_last);
    return x.div_(255).sub_(row(step.mean)).div_(row(step.std)).to(dtype);
  }
  // Only 256 values per channel: each is rounded once.
  auto table = at::empty({256, channels}, at::kDouble);
  for (int64_t value = 0; value < 256; value++) {
    for (int64_t c = 0; c < channels; c++) {
      table.data_ptr<double>()[value * channels + c] = (value / 255.0 - step.mean[c]) / step.std[c];
    }
  }
  const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  table = table.to(wide);
  const auto bytes = pixels.contiguous();
  auto result = at::empty(bytes.sizes(), bytes.options().dtype(wide));
  const uint8_t* source = bytes.data_ptr<uint8_t>();
  const auto look_up = [&](auto* target, const auto* values) {
    at::parallel_for(0, bytes.numel() / channels, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * channels; i < end * channels; i += channels) {
        for (int64_t c = 0; c < channels; c++) target[i + c] = values[source[i + c] * channels + c];
      }
    });
  };
  if (wide == at::kDouble) {
    look_up(result.data_ptr<double>(), table.data_ptr<double>());
  } else {
    look_up(result.data_ptr<float>(), table.data_ptr<float>());
  }
  return result.to(dtype).permute({0, 3, 1, 2});
}

at::Tensor convolve(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const Step& step) {
  const bool simple = symmetric(step.padding);
  at::Tensor x = simple ? input : pad(input, step.padding, 0);
  const Pair padding = simple ? Pair{step.padding[0], step.padding[2]} : Pair{0, 0};
  const bool pointwise = weight.size(2) == 1 && weight.size(3) == 1 && padding == Pair{0, 0};
  const bool strided = step.stride != Pair{1, 1};
  // oneDNN's channels_last weight gradient of a strided 1x1 convolution overruns its workspace where it
  // has fewer than 16 input channels (oneDNN issue 6035): take the pixels out first.
  constexpr int64_t safe_channels = 16;
  if (pointwise && strided && weight.size(1) < safe_channels) {
    x = x.slice(2, 0, INT64_MAX, step.stride[0]).slice(3, 0, INT64_MAX, step.stride[1]).contiguous(channels_last);
    return convolve_pointwise(x, weight, bias, step.groups);
  }
  if (pointwise && !strided) return convolve_pointwise(x, weight, bias, step.groups);
  return at::conv2d(x, weight, bias, step.stride, padding, step.dilation, step.groups);
}

at::Tensor run_activation(const Step& step, const std::vector<at::Tensor>& inputs) {
  const auto& x = inputs[0];
  switch (step.kind) {
    case StepKind::relu:
      return at::relu(x);
    case StepKind::silu:
      return at::silu(x);
    case StepKind::sigmoid:
      return at::sigmoid(x);
    case StepKind::max_pool:
      return max_pool(x, step);
    case StepKind::avg_pool:
      return avg_pool(x, step);
    case StepKind::global_avg_pool:
      return x.mean({2, 3}, true);
    case StepKind::flatten:
      return x.flatten(1);
    case StepKind::add:
      return sum_of(inputs);
    case StepKind::mul:
      return x * inputs[1];
    case StepKind::concat:
      return at::cat(inputs, 1);
    default:
      TORCH_CHECK(false, "internal: no activation op of this kind");
  }
}

}  // namespace repkit
