#include "optimizer.h"

#include <algorithm>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

namespace repkit {

Sgd::Sgd(std::vector<SgdParameter> parameters, SgdOptions options)
    : parameters_(std::move(parameters)), velocities_(parameters_.size()), options_(options) {
  for (size_t i = 0; i < parameters_.size(); i++) {
    const auto& [value, multiplier, decay] = parameters_[i];
    auto group = groups_.begin();
    while (group != groups_.end() && (group->lr_multiplier != multiplier || group->weight_decay != decay)) ++group;
    if (group == groups_.end()) group = groups_.insert(group, {multiplier, decay, {}});
    group->members.push_back(i);
  }
}

void Sgd::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  const double factor = options_.clip_norm ? clip_factor() : 1;
  for (const auto& group : groups_) {
    const Rates rates{learning_rate * group.lr_multiplier, options_.momentum, group.weight_decay, factor,
                      options_.nesterov};
    std::vector<size_t> members;
    for (const size_t i : group.members) {
      if (parameters_[i].value.grad().defined()) members.push_back(i);
    }
    if (!members.empty()) update(members, rates);
  }
  for (auto& parameter : parameters_) parameter.value.mutable_grad().reset();
}

namespace {

// One pass over a parameter of n values: reads value, gradient and velocity, writes value and velocity.
template <typename T>
void update_values(T* value, const T* gradient, T* velocity, int64_t n, const Sgd::Rates& rates, bool first) {
  const T lr = static_cast<T>(rates.learning_rate), momentum = static_cast<T>(first ? 0 : rates.momentum),
          decay = static_cast<T>(rates.weight_decay), factor = static_cast<T>(rates.gradient_factor);
  // Nesterov steps along g + m*v, plain momentum along v.
  const T from_gradient = rates.nesterov ? 1 : 0;
  const T from_velocity = rates.nesterov ? static_cast<T>(rates.momentum) : 1;
  at::parallel_for(0, n, 32768, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const T g = gradient[i] * factor + decay * value[i];
      const T v = momentum * velocity[i] + g;
      velocity[i] = v;
      value[i] -= lr * (from_gradient * g + from_velocity * v);
    }
  });
}

bool is_flat(const at::Tensor& a, const at::Tensor& b) {
  return a.is_non_overlapping_and_dense() && a.strides() == b.strides() && a.scalar_type() == b.scalar_type();
}

}  // namespace

void Sgd::update(const std::vector<size_t>& members, const Rates& rates) {
  std::vector<at::Tensor> values, gradients, velocities;
  for (const size_t i : members) {
    const auto& value = parameters_[i].value;
    auto gradient = value.grad();
    auto& velocity = velocities_[i];
    const bool first = !velocity.defined();
    if (first) velocity = at::zeros_like(value);
    if (value.is_cpu() && is_flat(value, gradient) && is_flat(value, velocity)) {
      AT_DISPATCH_FLOATING_TYPES(value.scalar_type(), "sgd", [&] {
        update_values(value.data_ptr<scalar_t>(), gradient.data_ptr<scalar_t>(), velocity.data_ptr<scalar_t>(),
                      value.numel(), rates, first);
      });
      continue;
    }
    values.push_back(value);
    gradients.push_back(gradient);
    velocities.push_back(velocity);
  }
  if (values.empty()) return;
  // Not in place: two gradients may be views of one tensor.
  if (rates.gradient_factor != 1) gradients = at::_foreach_mul(gradients, rates.gradient_factor);
  if (rates.weight_decay != 0) gradients = at::_foreach_add(gradients, values, rates.weight_decay);
  at::_foreach_mul_(velocities, rates.momentum);
  at::_foreach_add_(velocities, gradients, 1);
  if (rates.nesterov) gradients = at::_foreach_add(gradients, velocities, rates.momentum);
  at::_foreach_add_(values, rates.nesterov ? gradients : velocities, -rates.learning_rate);
}

// torch.nn.utils.clip_grad_norm_, its 1e-6 included.
double Sgd::clip_factor() const {
  std::vector<at::Tensor> norms;
  for (const auto& parameter : parameters_) {
    if (parameter.value.grad().defined()) norms.push_back(parameter.value.grad().norm().to(at::kDouble));
  }
  if (norms.empty()) return 1;
  const double norm = at::stack(norms).norm().item<double>();
  return std::min(1.0, *options_.clip_norm / (norm + 1e-6));
}

}  // namespace repkit
