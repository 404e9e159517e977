#include "batch_norm_passes.h"

#include <algorithm>
#include <limits>

#include <ATen/Parallel.h>

namespace repkit::kernels {
namespace {

constexpr int64_t kChunkElements = 65536;  // a thread's smallest share: 256 KiB of float32, within L2
constexpr int64_t kMaxChunks = 512;
constexpr int64_t kMinChunkRows = 128;     // keeps partial sums small next to the data
constexpr int64_t kMinWidth = 256;         // elements: narrower rows are processed several at a time
constexpr int64_t kShiftRows = 128;        // rows sampled for the shift of the moments

// How [N, H, W, C] memory is walked. Unpadded tensors are N*H*W gapless rows; beside a padded one, each
// image line of W rows is a run of its own.
struct Walk {
  int64_t rows, channels, line, height, chunks, chunk_rows;
  int64_t group;  // rows processed as one
  int64_t width;  // = group * channels
  Pad pad;
  bool padded;

  Walk(const at::Tensor& x, const Pad& border)
      : channels(x.size(1)), line(x.size(3)), height(x.size(2)), pad(border),
        padded(std::any_of(border.begin(), border.end(), [](int64_t p) { return p != 0; })) {
    rows = x.size(0) * height * line;
    group = std::max<int64_t>(1, (kMinWidth + channels - 1) / std::max<int64_t>(1, channels));
    width = group * channels;
    const int64_t elements = rows * channels;
    const int64_t target = std::max({kChunkElements, elements / kMaxChunks, kMinChunkRows * channels});
    const int64_t wanted = std::max<int64_t>(1, (elements + target - 1) / target);
    chunk_rows = (rows + wanted - 1) / wanted;
    chunk_rows = std::max<int64_t>(1, (chunk_rows + group - 1) / group) * group;
    chunks = (rows + chunk_rows - 1) / chunk_rows;
  }

  // body(chunk) in parallel.
  template <typename F>
  void for_each_chunk(const F& body) const {
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) body(chunk);
    });
  }

  // body(row, padded_row, count, width) for gapless runs of `count` rows of `width` elements.
  template <typename F>
  void for_each_run(int64_t chunk, const F& body) const {
    const int64_t end = std::min(rows, (chunk + 1) * chunk_rows);
    for (int64_t row = chunk * chunk_rows; row < end;) {
      const int64_t count = padded ? std::min(end, (row / line + 1) * line) - row : end - row;
      const int64_t wide = count / group * group;
      const int64_t to = padded_row(row);
      if (wide > 0) body(row, to, wide / group, width);
      if (wide < count) body(row + wide, to + wide, count - wide, channels);
      row += count;
    }
  }

  int64_t padded_row(int64_t row) const {
    if (!padded) return row;
    const int64_t image = row / (height * line), h = row / line % height, w = row % line;
    const int64_t padded_height = height + pad[0] + pad[1], padded_line = line + pad[2] + pad[3];
    return (image * padded_height + h + pad[0]) * padded_line + w + pad[2];
  }
};

template <typename T>
T* data(const at::Tensor& t) {
  return t.defined() ? static_cast<T*>(t.data_ptr()) : nullptr;
}

// Per-channel arrays in the arithmetic type, repeated for each row of a group.
template <typename A>
class Arrays {
 public:
  explicit Arrays(const Walk& walk) : walk_(walk) {}

  const A* add(const Channels& values) {
    std::vector<A> wide(walk_.width);
    for (int64_t i = 0; i < walk_.width; ++i) wide[i] = static_cast<A>(values[i % walk_.channels]);
    arrays_.push_back(std::move(wide));
    return arrays_.back().data();
  }

 private:
  const Walk& walk_;
  std::vector<std::vector<A>> arrays_;
};

template <typename T>
std::vector<Input<T>> make_inputs(const std::vector<Term>& terms, Arrays<Accumulate<T>>& arrays) {
  TORCH_CHECK(terms.size() <= kMaxInputs, "a sum of batch norms takes at most ", kMaxInputs,
              " branches and residuals, got ", terms.size());
  std::vector<Input<T>> inputs;
  for (const Term& term : terms) {
    inputs.push_back({data<T>(term.x), arrays.add(term.mean), arrays.add(term.scale)});
  }
  return inputs;
}

template <typename T>
std::vector<Input<T>> advance(std::vector<Input<T>> inputs, int64_t elements) {
  for (Input<T>& input : inputs) input.x += elements;
  return inputs;
}

template <typename T>
OutputGradient<T> make_output(const Activation& activation, const at::Tensor& dy, Arrays<Accumulate<T>>& arrays) {
  return {activation.mask, data<T>(dy), data<T>(activation.y),
          activation.mask == Mask::kRecompute ? arrays.add(activation.offset) : nullptr};
}

template <typename T>
OutputGradient<T> advance(OutputGradient<T> output, int64_t elements, int64_t padded_elements) {
  output.dy += padded_elements;
  if (output.y != nullptr) output.y += elements;
  return output;
}

// `count` per-channel sums over all rows. body(chunk, sums, stride) adds a chunk's; sums has `count` rows.
template <typename F>
std::vector<Channels> sum_over_chunks(const Walk& walk, int64_t count, const F& body) {
  const int64_t channels = walk.channels;
  std::vector<double> partial(walk.chunks * count * channels);
  walk.for_each_chunk([&](int64_t chunk) {
    std::vector<double> sums(count * walk.width);
    body(chunk, sums.data(), walk.width);
    double* to = partial.data() + chunk * count * channels;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t g = 0; g < walk.group; ++g) {
        const double* from = sums.data() + i * walk.width + g * channels;
        for (int64_t c = 0; c < channels; ++c) to[i * channels + c] += from[c];
      }
    }
  });
  std::vector<Channels> total(count, Channels(channels));
  const double* from = partial.data();
  for (int64_t chunk = 0; chunk < walk.chunks; ++chunk) {
    for (Channels& sum : total) {
      for (int64_t c = 0; c < channels; ++c) sum[c] += *from++;
    }
  }
  return total;
}

// The mean of rows spread evenly over x: close enough to the mean that var = E[(x - shift)^2] -
// (mean - shift)^2 cancels nothing, wherever in the batch the values differ.
template <typename T>
Channels sample_shift(const Walk& walk, const BatchNormKernels<T>& kernels, const T* x) {
  const int64_t samples = std::min(walk.rows, kShiftRows);
  const std::vector<Accumulate<T>> zeros(walk.channels);
  Channels sums(2 * walk.channels);
  for (int64_t i = 0; i < samples; ++i) {
    kernels.moments(x + walk.rows * i / samples * walk.channels, zeros.data(), 1, walk.channels, sums.data(),
                    walk.channels);
  }
  sums.resize(walk.channels);
  for (double& sum : sums) sum = static_cast<double>(static_cast<Accumulate<T>>(sum / samples));
  return sums;
}

template <typename T>
Moments moments(const BatchNormKernels<T>& kernels, const at::Tensor& x) {
  const Walk walk(x, {0, 0, 0, 0});
  Arrays<Accumulate<T>> arrays(walk);
  const Channels shift = sample_shift(walk, kernels, data<T>(x));
  const Accumulate<T>* wide_shift = arrays.add(shift);
  const auto sums = sum_over_chunks(walk, 2, [&](int64_t chunk, double* to, int64_t stride) {
    walk.for_each_run(chunk, [&](int64_t row, int64_t, int64_t rows, int64_t width) {
      kernels.moments(data<T>(x) + row * walk.channels, wide_shift, rows, width, to, stride);
    });
  });
  Moments result{Channels(walk.channels), Channels(walk.channels)};
  for (int64_t c = 0; c < walk.channels; ++c) {
    const double shifted_mean = sums[0][c] / walk.rows;
    result.mean[c] = shift[c] + shifted_mean;
    result.variance[c] = sums[1][c] / walk.rows - shifted_mean * shifted_mean;
    if (result.variance[c] < 0) result.variance[c] = 0;  // by rounding only; a NaN stays
  }
  return result;
}

template <typename T>
void normalize(const BatchNormKernels<T>& kernels, const std::vector<Term>& terms, const Channels& offset, bool relu,
               const Pad& pad, const at::Tensor& y) {
  using A = Accumulate<T>;
  const Walk walk(terms[0].x, pad);
  Arrays<A> arrays(walk);
  const std::vector<Input<T>> inputs = make_inputs<T>(terms, arrays);
  const A* wide_offset = arrays.add(offset);
  const A floor = relu ? A(0) : -std::numeric_limits<A>::infinity();
  walk.for_each_chunk([&](int64_t chunk) {
    walk.for_each_run(chunk, [&](int64_t row, int64_t to, int64_t rows, int64_t width) {
      const auto from = advance(inputs, row * walk.channels);
      kernels.normalize(from.data(), static_cast<int>(from.size()), wide_offset, floor, rows, width,
                        data<T>(y) + to * walk.channels);
    });
  });
}

template <typename T>
std::vector<Channels> reduce(const BatchNormKernels<T>& kernels, const std::vector<Term>& terms,
                             const Activation& activation, const Pad& pad, const at::Tensor& dy) {
  const Walk walk(terms[0].x, pad);
  Arrays<Accumulate<T>> arrays(walk);
  const std::vector<Input<T>> inputs = make_inputs<T>(terms, arrays);
  const OutputGradient<T> output = make_output<T>(activation, dy, arrays);
  return sum_over_chunks(walk, 1 + static_cast<int64_t>(terms.size()), [&](int64_t chunk, double* to, int64_t stride) {
    walk.for_each_run(chunk, [&](int64_t row, int64_t padded_row, int64_t rows, int64_t width) {
      const auto from = advance(inputs, row * walk.channels);
      kernels.reduce(from.data(), static_cast<int>(from.size()),
                     advance(output, row * walk.channels, padded_row * walk.channels), rows, width, to, stride);
    });
  });
}

template <typename T>
void apply(const BatchNormKernels<T>& kernels, const std::vector<Term>& terms, const std::vector<Channels>& slope,
           const std::vector<Channels>& intercept, const Activation& activation, const Pad& pad, const at::Tensor& dy,
           const std::vector<at::Tensor>& dx, const at::Tensor& g) {
  const Walk walk(terms[0].x, pad);
  Arrays<Accumulate<T>> arrays(walk);
  const std::vector<Input<T>> inputs = make_inputs<T>(terms, arrays);
  const OutputGradient<T> output = make_output<T>(activation, dy, arrays);
  std::vector<InputGradient<T>> gradients;
  for (size_t b = 0; b < terms.size(); ++b) {
    gradients.push_back({data<T>(dx[b]), arrays.add(slope[b]), arrays.add(intercept[b])});
  }
  walk.for_each_chunk([&](int64_t chunk) {
    walk.for_each_run(chunk, [&](int64_t row, int64_t padded_row, int64_t rows, int64_t width) {
      const int64_t at = row * walk.channels;
      const auto from = advance(inputs, at);
      auto to = gradients;
      for (InputGradient<T>& gradient : to) gradient.dx += at;
      kernels.apply(from.data(), to.data(), static_cast<int>(from.size()),
                    advance(output, at, padded_row * walk.channels), rows, width,
                    g.defined() ? data<T>(g) + at : nullptr);
    });
  });
}

// f(kernels of the dtype's element type)
template <typename F>
auto with_kernels(at::ScalarType dtype, const F& f) {
  const KernelSet& set = batch_norm_kernels();
  if (dtype == at::kDouble) return f(set.f64);
  if (dtype == at::kBFloat16) return f(set.bf16);
  TORCH_CHECK(dtype == at::kFloat, "a sum of batch norms takes float32, float64 or bfloat16, got ", dtype);
  return f(set.f32);
}

}  // namespace

double round_to_accumulate(double value, at::ScalarType dtype) {
  return dtype == at::kDouble ? value : static_cast<double>(static_cast<float>(value));
}

Moments channel_moments(const at::Tensor& x) {
  return with_kernels(x.scalar_type(), [&](const auto& kernels) { return moments(kernels, x); });
}

void normalize_sum(const std::vector<Term>& terms, const Channels& offset, bool relu, const Pad& pad,
                   const at::Tensor& y) {
  with_kernels(y.scalar_type(), [&](const auto& kernels) { normalize(kernels, terms, offset, relu, pad, y); });
}

std::vector<Channels> reduce_gradient(const std::vector<Term>& terms, const Activation& activation, const Pad& pad,
                                      const at::Tensor& dy) {
  return with_kernels(dy.scalar_type(),
                      [&](const auto& kernels) { return reduce(kernels, terms, activation, pad, dy); });
}

void apply_gradient(const std::vector<Term>& terms, const std::vector<Channels>& slope,
                    const std::vector<Channels>& intercept, const Activation& activation, const Pad& pad,
                    const at::Tensor& dy, const std::vector<at::Tensor>& dx, const at::Tensor& g) {
  with_kernels(dy.scalar_type(), [&](const auto& kernels) {
    apply(kernels, terms, slope, intercept, activation, pad, dy, dx, g);
  });
}

}  // namespace repkit::kernels
