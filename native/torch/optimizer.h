// SGD as torch.optim.SGD defines it, with a learning-rate multiplier and weight decay per parameter.
#pragma once

#include <optional>
#include <vector>

#include <ATen/ATen.h>

namespace repkit {

struct SgdOptions {
  double momentum = 0.9;
  bool nesterov = false;
  std::optional<double> clip_norm;
};

struct SgdParameter {
  at::Tensor value;
  double lr_multiplier = 1;
  double weight_decay = 0;
};

class Sgd {
 public:
  Sgd(std::vector<SgdParameter> parameters, SgdOptions options);

  // What one update of a group of parameters depends on.
  struct Rates {
    double learning_rate, momentum, weight_decay, gradient_factor;
    bool nesterov;
  };

  // Updates every parameter that has a gradient, and clears the gradients.
  void step(double learning_rate);

  // Per parameter; undefined before its first update.
  std::vector<at::Tensor>& velocities() { return velocities_; }

 private:
  // Parameters of equal multiplier and decay, which ATen updates together.
  struct Group {
    double lr_multiplier, weight_decay;
    std::vector<size_t> members;
  };

  void update(const std::vector<size_t>& members, const Rates& rates);
  double clip_factor() const;

  std::vector<SgdParameter> parameters_;
  std::vector<at::Tensor> velocities_;
  std::vector<Group> groups_;
  SgdOptions options_;
};

}  // namespace repkit
