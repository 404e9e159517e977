#include "executor.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "batch_norm.h"
#include "ops.h"
#include "profile.h"

namespace repkit {
namespace {

constexpr auto channels_last = at::MemoryFormat::ChannelsLast;

// Values for the caller: on the CPU, row-major, bfloat16 widened, and nobody else's memory.
at::Tensor exported(const at::Tensor& tensor) {
  auto wide = tensor.detach();
  if (wide.scalar_type() == at::kBFloat16) wide = wide.to(at::kFloat);
  return wide.to(at::kCPU).clone(at::MemoryFormat::Contiguous);
}

void run_weight_steps(const std::vector<Step>& steps, std::vector<at::Tensor>& slots) {
  for (const auto& step : steps) {
    std::vector<at::Tensor> inputs;
    for (const auto input : step.inputs) inputs.push_back(slots[input]);
    slots[step.output] = run_weight(step, inputs);
    for (const auto slot : step.release) slots[slot].reset();
  }
}

// The values of buffers (running statistics, counters) at one time, to go back to.
class Snapshot {
 public:
  explicit Snapshot(const std::vector<Parameter>& parameters) {
    for (const auto& parameter : parameters) {
      if (!parameter.trainable) buffers_.push_back(parameter.value), values_.push_back(parameter.value.clone());
    }
  }
  void restore() {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < buffers_.size(); i++) buffers_[i].copy_(values_[i]);
  }

 private:
  std::vector<at::Tensor> buffers_, values_;
};

// A failure that all processes of a group have come to.
struct CommonFailure {};
struct CommonDivergence : Diverged, CommonFailure {
  using Diverged::Diverged;
};
struct CommonError : EnvironmentError, CommonFailure {
  using EnvironmentError::EnvironmentError;
};

void throw_outcome(Outcome outcome, const std::string& ranks) {
  if (outcome == Outcome::diverged) throw CommonDivergence("loss is not finite (" + ranks + ")");
  if (outcome == Outcome::failed) throw CommonError("the step failed in " + ranks);
}

// Of the exception under way: the others know, or cannot be told.
bool is_common_failure() {
  try {
    throw;
  } catch (const CommonFailure&) {
    return true;
  } catch (const EnvironmentError&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

Executor::Executor(std::vector<Parameter> parameters, ExecutorOptions options)
    : parameters_(std::move(parameters)), options_(std::move(options)), device_(options_.device) {
  const auto lock = prepare_thread();
  const auto floating = options_.precision == Precision::fp64 ? at::kDouble : at::kFloat;
  std::vector<SgdParameter> trained;
  for (auto& parameter : parameters_) {
    if (parameter.value.is_floating_point()) parameter.value = parameter.value.to(floating);
  }
  if (options_.group) {
    communicator_ = options_.group->communicator(device_);
    share_state();
  }
  for (auto& parameter : parameters_) {
    auto& value = parameter.value;
    value = to_device(value);
    if (value.dim() == 4) value = value.contiguous(channels_last);
    if (options_.ema_decay) ema_.push_back(value.clone());
    if (!parameter.trainable) continue;
    value.requires_grad_(true);
    trained.push_back({value, parameter.lr_multiplier, parameter.weight_decay});
  }
  sgd_ = std::make_unique<Sgd>(std::move(trained), options_.sgd);
}

void Executor::add_plan(size_t index, Plan plan) {
  TORCH_CHECK(plan.parameter_slots.size() == parameters_.size(), "internal: a plan of another graph");
  const auto floating = options_.precision == Precision::fp64 ? at::kDouble : at::kFloat;
  for (auto& [slot, value] : plan.constants) value = to_device(value.to(floating));
  plans_[index] = std::move(plan);
}

std::unique_lock<std::mutex> Executor::prepare_thread() const {
  // Setting it empties a cache of oneDNN's.
  if (options_.threads > 0 && at::get_num_threads() != options_.threads) at::set_num_threads(options_.threads);
  if (!device_.is_cuda()) return {};
  static std::mutex switches;
  std::unique_lock<std::mutex> lock(switches);
  auto& context = at::globalContext();
  const bool tf32 = options_.precision == Precision::tf32;
  context.setAllowTF32CuBLAS(tf32);
  context.setAllowTF32CuDNN(tf32);
  context.setDeterministicCuDNN(options_.deterministic);
  context.setBenchmarkCuDNN(!options_.deterministic);
  context.setDeterministicAlgorithms(options_.deterministic, /*warn_only=*/false);
  return lock;
}

at::Tensor Executor::to_device(const at::Tensor& tensor) const {
  return device_.is_cpu() ? tensor : tensor.to(device_);
}

at::ScalarType Executor::activation_type() const {
  if (options_.precision == Precision::bf16) return at::kBFloat16;
  return options_.precision == Precision::fp64 ? at::kDouble : at::kFloat;
}

at::Tensor Executor::images_of(const Step& step, const at::Tensor& images) const {
  const auto moved = to_device(images);
  if (images.scalar_type() == at::kByte) return normalise(moved, step, activation_type());
  return moved.to(activation_type()).contiguous(channels_last);
}

Executor::Slots Executor::run_weights(const Plan& plan) const {
  Slots slots(plan.slots);
  for (size_t i = 0; i < parameters_.size(); i++) {
    if (plan.parameter_slots[i] >= 0) slots[plan.parameter_slots[i]] = parameters_[i].value;
  }
  for (const auto& [slot, value] : plan.constants) slots[slot] = value;
  run_weight_steps(plan.weights, slots);
  return slots;
}

const Executor::Slots& Executor::cached_weights(size_t plan) {
  if (!weight_cache_ || weight_cache_->first != plan) {
    weight_cache_.reset();
    weight_cache_.emplace(plan, run_weights(plans_.at(plan)));
  }
  return weight_cache_->second;
}

at::Tensor Executor::run_step(const Step& step, const Slots& slots, bool training) {
  if (step.kind == StepKind::batch_norms) {
    std::vector<BatchNormBranch> branches;
    std::vector<at::Tensor> residuals;
    for (const auto& b : step.branches) {
      branches.push_back({slots[b.x], slots[b.gamma], slots[b.beta], slots[b.running_mean], slots[b.running_var], b.eps,
                          b.momentum});
      if (training && b.counter >= 0) at::Tensor(slots[b.counter]).add_(1);
    }
    for (const auto input : step.inputs) residuals.push_back(slots[input]);
    return sum_of_batch_norms(branches, residuals, {training, step.relu, step.padding});
  }
  std::vector<at::Tensor> inputs;
  for (const auto input : step.inputs) inputs.push_back(slots[input]);
  if (step.kind != StepKind::conv2d && step.kind != StepKind::linear) return run_activation(step, inputs);
  const auto type = inputs[0].scalar_type();
  const auto weight = inputs[1].to(type);
  const auto bias = inputs.size() > 2 ? inputs[2].to(type) : at::Tensor();
  return step.kind == StepKind::conv2d ? convolve(inputs[0], weight, bias, step) : at::linear(inputs[0], weight, bias);
}

void Executor::run_activations(const Plan& plan, Slots& slots, const at::Tensor& images, bool training) {
  for (const auto& step : plan.activations) {
    slots[step.output] = step.kind == StepKind::input ? images_of(step, images) : run_step(step, slots, training);
    for (const auto slot : step.release) slots[slot].reset();
  }
  run_weight_steps(plan.penalties, slots);
}

at::Tensor Executor::penalty_of(const Plan& plan, const Slots& slots) const {
  at::Tensor sum;
  if (options_.penalty_weight == 0) return sum;
  for (const auto& output : plan.outputs) {
    if (!output.weight || slots[output.slot].dim() != 0) continue;
    const auto term = slots[output.slot] * options_.penalty_weight;
    sum = sum.defined() ? sum + term : term;
  }
  return sum;
}

at::Tensor Executor::cross_entropy(const Output& output, const Slots& slots, const at::Tensor& labels,
                                   double smoothing) const {
  auto logits = slots[output.slot];
  if (logits.scalar_type() == at::kBFloat16) logits = logits.to(at::kFloat);
  TORCH_CHECK(logits.dim() == 2, "output \"", output.name, "\" is no table of logits");
  const auto target = labels.is_floating_point() ? to_device(labels).to(logits.scalar_type()) : to_device(labels);
  return at::cross_entropy_loss(logits, target, {}, at::Reduction::Mean, -100, smoothing);
}

at::Tensor Executor::training_loss(const Plan& plan, const Slots& slots, const at::Tensor& labels) const {
  at::Tensor loss;
  for (const auto& output : plan.outputs) {
    if (output.weight) continue;
    const auto term = cross_entropy(output, slots, labels, options_.label_smoothing);
    loss = loss.defined() ? loss + term * options_.auxiliary_weight : term;
  }
  TORCH_CHECK(loss.defined(), "the graph has no activation output");
  return loss;
}

Inference Executor::infer(size_t plan_index, const at::Tensor& images, const std::vector<int64_t>& wanted) {
  const auto lock = prepare_thread();
  const at::NoGradGuard no_grad;
  const auto& plan = plans_.at(plan_index);
  Slots slots = cached_weights(plan_index);
  run_activations(plan, slots, images, false);
  Inference result;
  for (const auto& output : plan.outputs) result.outputs.emplace_back(output.name, exported(slots[output.slot]));
  for (const auto slot : wanted) result.values.emplace_back(slot, exported(slots.at(slot)));
  return result;
}

BatchResult Executor::evaluate(size_t plan_index, const at::Tensor& images, const at::Tensor& labels) {
  const auto lock = prepare_thread();
  const at::NoGradGuard no_grad;
  const auto& plan = plans_.at(plan_index);
  Slots slots = cached_weights(plan_index);
  run_activations(plan, slots, images, false);
  BatchResult result;
  result.loss = cross_entropy(plan.outputs.at(0), slots, labels, 0).item<double>();
  count_hits(slots[plan.outputs[0].slot], labels, result);
  return result;
}

BatchResult Executor::train_step(size_t plan_index, const at::Tensor& images, const at::Tensor& labels,
                                 double learning_rate, bool update, double gradient_scale) try {
  const auto lock = prepare_thread();
  const auto& plan = plans_.at(plan_index);
  TORCH_CHECK(!pending_ || pending_->plan == plan_index, "internal: gradients of another plan are pending");
  if (options_.group) {
    if (!reducer_) {
      reducer_ = std::make_unique<Reducer>(reduced_parameters(plan), communicator_, options_.group->clock());
    }
    reducer_->check();
  }
  if (!pending_) {
    pending_ = Pending{plan_index, run_weights(plan), {}, 0};
    for (const auto slot : plan.boundaries) {
      const auto& weight = pending_->weights[slot];
      pending_->leaves.push_back(weight.detach().requires_grad_(weight.requires_grad()));
    }
  }
  std::optional<Snapshot> before;
  if (options_.check_finite) before.emplace(parameters_);
  Slots slots = pending_->weights;
  for (size_t i = 0; i < plan.boundaries.size(); i++) slots[plan.boundaries[i]] = pending_->leaves[i];
  forget_weights();
  run_activations(plan, slots, images, true);

  auto loss = training_loss(plan, slots, labels);
  const auto penalty = penalty_of(plan, slots);
  BatchResult result;
  result.loss = loss.item<double>() + (penalty.defined() ? penalty.item<double>() : 0);
  count_hits(slots[plan.outputs[0].slot], labels, result);
  slots.clear();
  if (options_.check_finite && !std::isfinite(result.loss)) {
    before->restore();
    if (!reducer_) throw Diverged("loss is not finite");
    accumulated_ = std::max(accumulated_, Outcome::diverged);
  }
  if (accumulated_ != Outcome::good) {
    if (!update) return result;
    tell_others(std::exchange(accumulated_, Outcome::good));
  }

  pending_->scale += gradient_scale;
  if (gradient_scale != 1) loss = loss * gradient_scale;
  // A penalty on the weights belongs to the update, not to each of its batches.
  if (update && penalty.defined()) loss = loss + penalty * pending_->scale;
  if (update && reducer_) reducer_->begin();
  loss.backward();
  if (!update) return result;

  std::vector<at::Tensor> roots, gradients;
  for (size_t i = 0; i < plan.boundaries.size(); i++) {
    if (!pending_->leaves[i].grad().defined()) continue;
    roots.push_back(pending_->weights[plan.boundaries[i]]);
    gradients.push_back(pending_->leaves[i].grad());
  }
  if (reducer_) reducer_->begin_late();
  if (!roots.empty()) torch::autograd::backward(roots, gradients);
  if (reducer_) {
    std::string ranks;
    const auto outcome = reducer_->finish(ranks);
    if (outcome != Outcome::good && before) before->restore();
    throw_outcome(outcome, ranks);
  }
  pending_.reset();
  sgd_->step(learning_rate);
  if (options_.ema_decay) update_average();
  return result;
} catch (...) {
  const bool is_common = is_common_failure();
  if (reducer_ && !is_common && update) {
    try {
      tell_others(Outcome::failed);
    } catch (const std::exception&) {
      // This process's own failure is the one to report.
    }
  } else if (reducer_ && !is_common) {
    accumulated_ = Outcome::failed;
  }
  // Half a gradient is none.
  pending_.reset();
  for (auto& parameter : parameters_) parameter.value.mutable_grad().reset();
  throw;
}

void Executor::tell_others(Outcome outcome) {
  std::string ranks;
  throw_outcome(reducer_->give_up(outcome, ranks), ranks);
}

void Executor::share_state() {
  std::string layout;
  for (const auto& parameter : parameters_) layout += parameter.name + " " + c10::str(parameter.value.sizes()) + "\n";
  const double digest = static_cast<double>(std::hash<std::string>()(layout) >> 12);  // exact in a double
  // NCCL sends nothing that is on the CPU.
  const auto number = at::TensorOptions(device_).dtype(at::kDouble);
  // Equal in all processes where it is rank 0's in each.
  auto first = at::full({1}, digest, number);
  communicator_->broadcast(first, 0);
  auto strangers = at::full({1}, first.item<double>() == digest ? 0. : 1., number);
  communicator_->all_reduce(strangers);
  if (strangers.item<double>() > 0) throw std::invalid_argument("the processes of the group load different graphs");

  // A few large messages instead of one per tensor.
  constexpr int64_t most = 1 << 23;  // values
  for (const bool floating : {true, false}) {
    std::vector<at::Tensor> part;
    int64_t count = 0;
    const auto send = [&] {
      if (part.empty()) return;
      std::vector<at::Tensor> flat;
      for (const auto& value : part) flat.push_back(value.reshape(-1));
      const auto message = to_device(at::cat(flat));
      communicator_->broadcast(message, 0);
      int64_t offset = 0;
      for (auto& value : part) {
        value.copy_(message.narrow(0, offset, value.numel()).view_as(value));
        offset += value.numel();
      }
      part.clear(), count = 0;
    };
    for (const auto& parameter : parameters_) {
      if (parameter.value.is_floating_point() != floating) continue;
      part.push_back(parameter.value);
      if ((count += parameter.value.numel()) >= most) send();
    }
    send();
  }
}

// Those that the loss depends on.
std::vector<ReducedParameter> Executor::reduced_parameters(const Plan& plan) const {
  const auto mark = [&](const std::vector<const std::vector<Step>*>& phases, std::vector<bool>& needed) {
    for (const auto* steps : phases) {
      for (auto step = steps->rbegin(); step != steps->rend(); ++step) {
        if (!needed[step->output] || step->kind == StepKind::detach) continue;
        for (const auto input : step->inputs) needed[input] = true;
        for (const auto& branch : step->branches) {
          for (const auto input : {branch.x, branch.gamma, branch.beta}) {
            if (input >= 0) needed[input] = true;
          }
        }
      }
    }
  };
  std::vector<bool> used(plan.slots), late(plan.slots);
  for (const auto& output : plan.outputs) used[output.slot] = !output.weight || options_.penalty_weight != 0;
  mark({&plan.penalties, &plan.activations, &plan.weights}, used);
  for (const auto slot : plan.boundaries) late[slot] = used[slot];
  mark({&plan.weights}, late);
  std::vector<ReducedParameter> result;
  for (size_t i = 0; i < parameters_.size(); i++) {
    const auto slot = plan.parameter_slots[i];
    if (parameters_[i].trainable && slot >= 0 && used[slot]) result.push_back({parameters_[i].value, late[slot]});
  }
  return result;
}

void Executor::update_average() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); i++) {
    const auto& value = parameters_[i].value;
    if (value.is_floating_point()) {
      ema_[i].lerp_(value, 1 - *options_.ema_decay);
    } else {
      ema_[i].copy_(value);
    }
  }
}

Differentiation Executor::differentiate(size_t plan_index, const at::Tensor& images, const Objective& objective) {
  const auto lock = prepare_thread();
  const auto& plan = plans_.at(plan_index);
  std::vector<at::Tensor> sources;
  std::vector<size_t> trained;
  for (size_t i = 0; i < parameters_.size(); i++) {
    if (!parameters_[i].trainable) continue;
    trained.push_back(i);
    sources.push_back(parameters_[i].value);
  }
  struct Undo {
    Snapshot before;
    ~Undo() {
      try {
        before.restore();
      } catch (const std::exception&) {
        // A device that has failed: the error under way says so.
      }
    }
  } undo{Snapshot(parameters_)};

  Slots slots = run_weights(plan);
  at::Tensor input;
  if (images.defined()) {
    input = to_device(images);
    if (input.is_floating_point()) {
      input = input.to(options_.precision == Precision::fp64 ? at::kDouble : at::kFloat).requires_grad_(true);
      sources.push_back(input);
    }
    run_activations(plan, slots, input, true);
  } else {
    run_weight_steps(plan.penalties, slots);
  }

  at::Tensor root, gradient;
  if (objective.labels.defined()) {
    root = training_loss(plan, slots, objective.labels);
    const auto penalty = penalty_of(plan, slots);
    if (penalty.defined()) root = root + penalty;
  } else if (objective.output_gradient.defined()) {
    root = slots[plan.outputs.at(0).slot];
    gradient = to_device(objective.output_gradient).to(root.scalar_type());
    TORCH_CHECK(gradient.sizes() == root.sizes(), "output gradient: expected ", root.sizes(), ", received ",
                gradient.sizes());
  } else {
    const auto found = std::find_if(plan.outputs.begin(), plan.outputs.end(),
                                    [&](const Output& output) { return output.name == objective.output; });
    TORCH_CHECK(found != plan.outputs.end(), "no output \"", objective.output, "\"");
    root = slots[found->slot];
  }
  std::vector<at::Tensor> seeds;
  if (gradient.defined()) seeds.push_back(gradient);
  const auto gradients = torch::autograd::grad({root}, sources, seeds, c10::nullopt, false, /*allow_unused=*/true);

  Differentiation result;
  if (!gradient.defined()) result.loss = root.item<double>();
  for (const auto& output : plan.outputs) {
    if (slots[output.slot].defined()) result.outputs.emplace_back(output.name, exported(slots[output.slot]));
  }
  for (size_t i = 0; i < trained.size(); i++) {
    if (gradients[i].defined()) result.gradients.emplace_back(parameters_[trained[i]].name, exported(gradients[i]));
  }
  if (sources.size() > trained.size() && gradients.back().defined()) result.image_gradient = exported(gradients.back());
  for (const auto& parameter : parameters_) {
    if (!parameter.trainable) result.updates.emplace_back(parameter.name, exported(parameter.value));
  }
  return result;
}

std::vector<ProfileRow> Executor::profile(size_t plan, const at::Tensor& images, const at::Tensor& labels,
                                          bool training) {
  return repkit::profile([&] {
    if (training) {
      train_step(plan, images, labels, 0, true, 1);
    } else {
      evaluate(plan, images, labels);
    }
  });
}

ExecutorState Executor::state() const {
  ExecutorState result;
  size_t trained = 0;
  for (size_t i = 0; i < parameters_.size(); i++) {
    const auto& parameter = parameters_[i];
    result.state.emplace_back(parameter.name, exported(parameter.value));
    if (options_.ema_decay) result.ema.emplace_back(parameter.name, exported(ema_[i]));
    if (!parameter.trainable) continue;
    const auto& velocity = sgd_->velocities()[trained++];
    if (velocity.defined()) result.momentum.emplace_back(parameter.name, exported(velocity));
  }
  return result;
}

void Executor::restore(const std::optional<NamedTensors>& state, const std::optional<NamedTensors>& momentum,
                       const std::optional<NamedTensors>& ema) {
  const at::NoGradGuard no_grad;
  const auto by_name = [](const std::optional<NamedTensors>& tensors) {
    return tensors ? std::map<std::string, at::Tensor>(tensors->begin(), tensors->end())
                   : std::map<std::string, at::Tensor>();
  };
  const auto values = by_name(state), velocities = by_name(momentum), averages = by_name(ema);
  size_t trained = 0;
  for (size_t i = 0; i < parameters_.size(); i++) {
    auto& [name, trainable, value, multiplier, decay] = parameters_[i];
    if (const auto found = values.find(name); found != values.end()) value.copy_(found->second);
    if (const auto found = averages.find(name); found != averages.end() && options_.ema_decay) ema_[i].copy_(found->second);
    if (!trainable) continue;
    auto& velocity = sgd_->velocities()[trained++];
    if (const auto found = velocities.find(name); found != velocities.end()) {
      velocity = at::empty_like(value).copy_(found->second);
    } else if (momentum) {
      velocity.reset();
    }
  }
  pending_.reset();
  accumulated_ = Outcome::good;
  for (auto& parameter : parameters_) parameter.value.mutable_grad().reset();
  forget_weights();
}

void count_hits(const at::Tensor& logits, const at::Tensor& labels, BatchResult& result) {
  const auto scores = logits.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto targets = (labels.is_floating_point() ? labels.argmax(1) : labels).to(at::kCPU, at::kLong).contiguous();
  const int64_t classes = scores.size(1);
  for (int64_t n = 0; n < scores.size(0); n++) {
    const double* row = scores.data_ptr<double>() + n * classes;
    const int64_t label = targets.data_ptr<int64_t>()[n];
    if (std::isnan(row[label])) continue;
    int64_t above = 0;
    for (int64_t c = 0; c < classes; c++) above += row[c] > row[label] || (row[c] == row[label] && c < label);
    result.top1 += above < 1;
    result.top5 += above < 5;
  }
}

}  // namespace repkit
