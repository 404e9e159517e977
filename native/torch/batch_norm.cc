// The algebra and the gradient of the fused sum; the passes over memory are in kernels/.
//
// [C] arrays are float64 from the sums to the coefficients. Each mean is split, mean = high + low with
// high in the kernels' type: x - high is then nearly exact where |mean| >> std, and low goes into the
// offset, so the normalised values keep float32's precision for any mean.
#include "batch_norm.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <torch/csrc/autograd/custom_function.h>

#include "kernels/batch_norm_passes.h"

namespace repkit {
namespace {

using kernels::Activation;
using kernels::Channels;
using kernels::Mask;
using kernels::Moments;
using kernels::Term;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr size_t kPerBranch = 3;  // differentiable inputs: x, gamma, beta
constexpr size_t kRecomputed = 4;  // up to so many branches, reading y costs more than computing its sign again

at::Tensor channels_last(const at::Tensor& t) { return t.contiguous(at::MemoryFormat::ChannelsLast); }

bool has_border(const BatchNormOptions& options) {
  return std::any_of(options.pad.begin(), options.pad.end(), [](int64_t width) { return width != 0; });
}

Channels to_channels(const at::Tensor& t) {  // float32 or float64
  const at::Tensor dense = t.contiguous();
  Channels values(dense.numel());
  if (dense.scalar_type() == at::kDouble) {
    std::copy_n(static_cast<const double*>(dense.data_ptr()), values.size(), values.begin());
  } else {
    std::copy_n(static_cast<const float*>(dense.data_ptr()), values.size(), values.begin());
  }
  return values;
}

at::Tensor to_tensor(const Channels& values, at::ScalarType dtype) {
  at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, dtype);
  if (dtype == at::kDouble) {
    std::copy(values.begin(), values.end(), static_cast<double*>(t.data_ptr()));
  } else {
    std::copy(values.begin(), values.end(), static_cast<float*>(t.data_ptr()));
  }
  return t;
}

void check(const std::vector<BatchNormBranch>& branches, const std::vector<at::Tensor>& residuals,
           const BatchNormOptions& options) {
  TORCH_CHECK(!branches.empty(), "a sum of batch norms needs at least one branch");
  const at::Tensor& first = branches[0].x;
  TORCH_CHECK(first.defined() && first.dim() == 4, "batch norm: x must be [N, C, H, W], got ", first.sizes());
  const int64_t channels = first.size(1), rows = first.size(0) * first.size(2) * first.size(3);
  const at::ScalarType dtype = first.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto check_addend = [&](const at::Tensor& x, const char* name) {
    TORCH_CHECK(x.defined() && x.sizes() == first.sizes() && x.scalar_type() == first.scalar_type() &&
                    x.device() == first.device(),
                "batch norm: every ", name, " must match the first branch's x, ", first.toString(), first.sizes(),
                ", got ", x.toString(), x.sizes());
  };
  for (const BatchNormBranch& branch : branches) {
    check_addend(branch.x, "x");
    for (const at::Tensor& t : {branch.gamma, branch.beta, branch.running_mean, branch.running_var}) {
      TORCH_CHECK(t.defined() && t.dim() == 1 && t.size(0) == channels && t.scalar_type() == dtype,
                  "batch norm: parameters and running statistics must be [", channels, "] of ", dtype, ", got ",
                  t.toString(), t.sizes());
    }
  }
  for (const at::Tensor& residual : residuals) check_addend(residual, "residual");
  TORCH_CHECK(!options.training || rows > 1, "Expected more than 1 value per channel when training, got input size ",
              first.sizes());
  for (int64_t width : options.pad) {
    TORCH_CHECK(width >= 0, "batch norm: pad must not be negative, got ", at::IntArrayRef(options.pad));
  }
  TORCH_CHECK(!has_border(options) || (branches.size() == 1 && residuals.empty()),
              "batch norm: pad takes one branch and no residuals, got ", branches.size(), " and ", residuals.size());
}

// running = (1 - momentum) * running + momentum * (mean, unbiased variance), rounded once.
void update_running_statistics(const BatchNormBranch& branch, const Moments& moments, int64_t rows) {
  Channels mean = to_channels(branch.running_mean), variance = to_channels(branch.running_var);
  const double keep = 1 - branch.momentum;
  const double unbiased = static_cast<double>(rows) / static_cast<double>(rows - 1);
  for (size_t c = 0; c < mean.size(); ++c) {
    mean[c] = keep * mean[c] + branch.momentum * moments.mean[c];
    variance[c] = keep * variance[c] + branch.momentum * moments.variance[c] * unbiased;
  }
  at::Tensor running_mean = branch.running_mean, running_var = branch.running_var;
  running_mean.copy_(to_tensor(mean, running_mean.scalar_type()));
  running_var.copy_(to_tensor(variance, running_var.scalar_type()));
}

// BN(0) of the running statistics, after this step's update: [1, C, 1, 1] without gradient.
at::Tensor border_value(const BatchNormBranch& branch, bool relu) {
  const auto in_double = [](const at::Tensor& t) { return t.detach().to(at::kDouble); };
  const at::Tensor scale = in_double(branch.gamma) / (in_double(branch.running_var) + branch.eps).sqrt();
  const at::Tensor value = in_double(branch.beta) - in_double(branch.running_mean) * scale;
  return (relu ? value.relu() : value).view({1, -1, 1, 1});
}

std::vector<int64_t> padded_sizes(const at::Tensor& x, const kernels::Pad& pad) {
  return {x.size(0), x.size(1), x.size(2) + pad[0] + pad[1], x.size(3) + pad[2] + pad[3]};
}

void fill_border(const at::Tensor& y, const at::Tensor& value, const kernels::Pad& pad) {
  const auto fill = [&](int64_t dim, int64_t start, int64_t length) {
    if (length > 0) y.narrow(dim, start, length).copy_(value);
  };
  fill(2, 0, pad[0]);
  fill(2, y.size(2) - pad[1], pad[1]);
  fill(3, 0, pad[2]);
  fill(3, y.size(3) - pad[3], pad[3]);
}

// What forward hands to backward about a branch, in rows of one [3 * branches + 1, C] tensor; last the offset.
struct BranchState {
  Channels mean, inverse_std, scale;  // scale = gamma / std
};

at::Tensor pack(const std::vector<BranchState>& states, const Channels& offset) {
  const int64_t rows = 3 * static_cast<int64_t>(states.size()) + 1;
  at::Tensor packed = at::empty({rows, static_cast<int64_t>(offset.size())}, at::kDouble);
  double* to = packed.data_ptr<double>();
  for (const BranchState& state : states) {
    for (const Channels* values : {&state.mean, &state.inverse_std, &state.scale}) {
      to = std::copy(values->begin(), values->end(), to);
    }
  }
  std::copy(offset.begin(), offset.end(), to);
  return packed;
}

std::vector<BranchState> unpack(const at::Tensor& packed, size_t branches, Channels& offset) {
  const double* from = packed.data_ptr<double>();
  const auto next = [&] {
    const double* begin = from;
    return Channels(begin, from += packed.size(1));
  };
  std::vector<BranchState> states(branches);
  for (BranchState& state : states) {
    state.mean = next();
    state.inverse_std = next();
    state.scale = next();
  }
  offset = next();
  return states;
}

// The kernels' term of a branch; `low` receives what its mean lacks.
Term make_term(const at::Tensor& x, const BranchState& state, Channels& low) {
  Term term{x, state.mean, state.scale};
  low.resize(state.mean.size());
  for (size_t c = 0; c < low.size(); ++c) {
    term.mean[c] = kernels::round_to_accumulate(state.mean[c], x.scalar_type());
    low[c] = std::isfinite(term.mean[c]) ? state.mean[c] - term.mean[c] : 0;
  }
  return term;
}

class SumOfBatchNorms : public torch::autograd::Function<SumOfBatchNorms> {
 public:
  // inputs: x, gamma, beta of each branch, then the residuals.
  static at::Tensor forward(AutogradContext* ctx, at::TensorList inputs, const std::vector<BatchNormBranch>& branches,
                            const BatchNormOptions& options) {
    const size_t count = branches.size();
    const int64_t channels = inputs[0].size(1), rows = inputs[0].numel() / std::max<int64_t>(1, channels);
    std::vector<BranchState> states;
    std::vector<Term> terms;
    Channels offset(channels);
    variable_list saved;
    for (size_t b = 0; b < count; ++b) {
      saved.push_back(channels_last(inputs[kPerBranch * b]));
      states.push_back(branch_state(branches[b], saved[b], options.training, rows));
      Channels low;
      terms.push_back(make_term(saved[b], states[b], low));
      const Channels beta = to_channels(branches[b].beta);
      for (int64_t c = 0; c < channels; ++c) offset[c] += beta[c] - low[c] * states[b].scale[c];
    }
    for (size_t i = kPerBranch * count; i < inputs.size(); ++i) {
      terms.push_back({channels_last(inputs[i]), Channels(channels, 0.0), Channels(channels, 1.0)});
    }

    at::Tensor y = at::empty(padded_sizes(saved[0], options.pad),
                             saved[0].options().memory_format(at::MemoryFormat::ChannelsLast));
    if (has_border(options)) fill_border(y, border_value(branches[0], options.relu), options.pad);
    kernels::normalize_sum(terms, offset, options.relu, options.pad, y);

    Mask mask = Mask::kNone;
    if (options.relu) mask = terms.size() == count && count <= kRecomputed ? Mask::kRecompute : Mask::kOutput;
    saved.push_back(pack(states, offset));
    if (mask == Mask::kOutput) saved.push_back(y);
    ctx->save_for_backward(saved);
    ctx->saved_data["branches"] = static_cast<int64_t>(count);
    ctx->saved_data["inputs"] = static_cast<int64_t>(inputs.size());
    ctx->saved_data["training"] = options.training;
    ctx->saved_data["mask"] = static_cast<int64_t>(mask);
    ctx->saved_data["pad"] = std::vector<int64_t>(options.pad.begin(), options.pad.end());
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad_outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "a sum of batch norms cannot be differentiated twice");
    const variable_list saved = ctx->get_saved_variables();
    const size_t count = ctx->saved_data["branches"].toInt(), inputs = ctx->saved_data["inputs"].toInt();
    const bool training = ctx->saved_data["training"].toBool();
    const std::vector<int64_t> pad_values = ctx->saved_data["pad"].toIntVector();
    kernels::Pad pad;
    std::copy(pad_values.begin(), pad_values.end(), pad.begin());

    Activation activation;
    activation.mask = static_cast<Mask>(ctx->saved_data["mask"].toInt());
    const std::vector<BranchState> states = unpack(saved[count], count, activation.offset);
    if (activation.mask == Mask::kOutput) activation.y = saved[count + 1];
    const at::Tensor dy = channels_last(grad_outputs[0].to(saved[0].scalar_type()));

    bool any_x = false, any_parameter = false, any_residual = false;
    for (size_t i = 0; i < inputs; ++i) {
      if (!ctx->needs_input_grad(i)) continue;
      (i >= kPerBranch * count ? any_residual : i % kPerBranch == 0 ? any_x : any_parameter) = true;
    }

    std::vector<Term> terms;
    std::vector<Channels> lows(count), slopes, intercepts;
    for (size_t b = 0; b < count; ++b) terms.push_back(make_term(saved[b], states[b], lows[b]));
    const size_t channels = states[0].mean.size();
    std::vector<Channels> sums(1 + count, Channels(channels));
    if (any_parameter || (any_x && training)) sums = kernels::reduce_gradient(terms, activation, pad, dy);

    variable_list result(inputs + 2);  // and nothing for forward's two plain arguments
    const auto parameter_type = dy.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const double rows = static_cast<double>(saved[0].numel() / std::max<int64_t>(1, saved[0].size(1)));
    for (size_t b = 0; b < count; ++b) {
      const BranchState& state = states[b];
      Channels dgamma(channels), slope(channels), intercept(channels);
      for (size_t c = 0; c < channels; ++c) {
        const double g = sums[0][c], g_x = sums[1 + b][c] - lows[b][c] * g;  // S and S_b
        dgamma[c] = g_x * state.inverse_std[c];
        if (!training) continue;
        // dx = gamma/std * (G - S/m - (x - mean) * S_b / (m std^2))
        slope[c] = -state.scale[c] * dgamma[c] * state.inverse_std[c] / rows;
        intercept[c] = -state.scale[c] * g / rows - slope[c] * lows[b][c];
      }
      if (any_parameter) {
        result[kPerBranch * b + 1] = to_tensor(dgamma, parameter_type);
        result[kPerBranch * b + 2] = to_tensor(sums[0], parameter_type);
      }
      slopes.push_back(std::move(slope));
      intercepts.push_back(std::move(intercept));
    }

    const bool masked = activation.mask != Mask::kNone;
    at::Tensor g = masked && any_residual ? at::empty_like(saved[0]) : at::Tensor();
    if (any_x || g.defined()) {
      std::vector<at::Tensor> dx;
      for (size_t b = 0; b < count; ++b) dx.push_back(at::empty_like(saved[b]));
      kernels::apply_gradient(terms, slopes, intercepts, activation, pad, dy, dx, g);
      for (size_t b = 0; b < count; ++b) result[kPerBranch * b] = dx[b];
    }
    for (size_t i = kPerBranch * count; i < inputs; ++i) result[i] = masked ? g : dy;
    return result;
  }

 private:
  // The statistics to normalise with; in training those of x, which also update the running ones.
  static BranchState branch_state(const BatchNormBranch& branch, const at::Tensor& x, bool training, int64_t rows) {
    Moments moments;
    if (training) {
      moments = kernels::channel_moments(x);
      update_running_statistics(branch, moments, rows);
    } else {
      moments = {to_channels(branch.running_mean), to_channels(branch.running_var)};
    }
    const Channels gamma = to_channels(branch.gamma);
    BranchState state{moments.mean, Channels(gamma.size()), Channels(gamma.size())};
    for (size_t c = 0; c < gamma.size(); ++c) {
      state.inverse_std[c] = 1 / std::sqrt(moments.variance[c] + branch.eps);
      state.scale[c] = gamma[c] * state.inverse_std[c];
    }
    return state;
  }
};

// The same sum of ATen's ops, for devices without kernels of ours.
at::Tensor composed(const std::vector<BatchNormBranch>& branches, const std::vector<at::Tensor>& residuals,
                    const BatchNormOptions& options) {
  at::Tensor y;
  for (const BatchNormBranch& branch : branches) {
    const at::Tensor z =
        at::batch_norm(channels_last(branch.x), branch.gamma, branch.beta, branch.running_mean, branch.running_var,
                       options.training, branch.momentum, branch.eps, /*cudnn_enabled=*/true);
    y = y.defined() ? y + z : z;
  }
  for (const at::Tensor& residual : residuals) y = y + residual;
  if (options.relu) y = y.relu();
  if (!has_border(options)) return channels_last(y);

  const kernels::Pad& pad = options.pad;
  at::Tensor padded = at::empty(padded_sizes(y, pad), y.options().memory_format(at::MemoryFormat::ChannelsLast));
  fill_border(padded, border_value(branches[0], options.relu), pad);
  padded.narrow(2, pad[0], y.size(2)).narrow(3, pad[2], y.size(3)).copy_(y);
  return padded;
}

}  // namespace

at::Tensor sum_of_batch_norms(const std::vector<BatchNormBranch>& branches, const std::vector<at::Tensor>& residuals,
                              const BatchNormOptions& options) {
  check(branches, residuals, options);
  if (!branches[0].x.is_cpu()) return composed(branches, residuals, options);
  std::vector<at::Tensor> inputs;
  for (const BatchNormBranch& branch : branches) {
    inputs.insert(inputs.end(), {branch.x, branch.gamma, branch.beta});
  }
  inputs.insert(inputs.end(), residuals.begin(), residuals.end());
  return SumOfBatchNorms::apply(at::TensorList(inputs), branches, options);
}

}  // namespace repkit
