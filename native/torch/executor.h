// A loaded graph: its parameters, its plans, and what training keeps. One thread uses it at a time.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "group.h"
#include "optimizer.h"
#include "plan.h"
#include "reducer.h"

namespace repkit {

struct Parameter {
  std::string name;
  bool trainable;
  at::Tensor value;
  double lr_multiplier = 1;
  double weight_decay = 0;
};

enum class Precision { fp32, tf32, bf16, fp64 };

struct ExecutorOptions {
  std::string device = "cpu";
  Precision precision = Precision::fp32;
  int threads = 0;  // 0: ATen's own choice
  bool deterministic = false;
  bool check_finite = false;
  SgdOptions sgd;
  double label_smoothing = 0;
  double auxiliary_weight = 0.1;
  double penalty_weight = 0;
  std::optional<double> ema_decay;
  // Trains together with the other processes' executors.
  std::shared_ptr<Group> group;
};

struct BatchResult {
  double loss = 0;
  int64_t top1 = 0, top5 = 0;
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct Inference {
  NamedTensors outputs;
  std::vector<std::pair<int64_t, at::Tensor>> values;
};

struct Differentiation {
  NamedTensors outputs;
  std::optional<double> loss;
  NamedTensors gradients, updates;
  at::Tensor image_gradient;
};

// What a gradient is of; one of them.
struct Objective {
  at::Tensor labels;
  at::Tensor output_gradient;
  std::string output;
};

struct ProfileRow {
  std::string name;
  int64_t calls;
  double seconds;  // without the ops that it calls
};

// The state beside the optimizer's velocities, and the averaged state where one is kept.
struct ExecutorState {
  NamedTensors state, momentum, ema;
};

// A loss that is not finite, found before the update.
struct Diverged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Executor {
 public:
  Executor(std::vector<Parameter> parameters, ExecutorOptions options);

  void add_plan(size_t index, Plan plan);

  Inference infer(size_t plan, const at::Tensor& images, const std::vector<int64_t>& slots);
  BatchResult evaluate(size_t plan, const at::Tensor& images, const at::Tensor& labels);
  BatchResult train_step(size_t plan, const at::Tensor& images, const at::Tensor& labels, double learning_rate,
                         bool update, double gradient_scale);
  Differentiation differentiate(size_t plan, const at::Tensor& images, const Objective& objective);
  // Of a training step at learning rate 0, or of an evaluation. On CUDA it would see launches alone.
  std::vector<ProfileRow> profile(size_t plan, const at::Tensor& images, const at::Tensor& labels, bool training);

  ExecutorState state() const;
  // Values by name. A parameter that given velocities do not name has none; otherwise what is not named stays.
  void restore(const std::optional<NamedTensors>& state, const std::optional<NamedTensors>& momentum,
               const std::optional<NamedTensors>& ema);

 private:
  using Slots = std::vector<at::Tensor>;
  // Sets what belongs to a thread (their number) and, on CUDA, what belongs to the process (precision): held
  // for the length of a call, so that no other executable changes it.
  std::unique_lock<std::mutex> prepare_thread() const;
  at::Tensor to_device(const at::Tensor& tensor) const;
  at::ScalarType activation_type() const;
  at::Tensor images_of(const Step& step, const at::Tensor& images) const;
  Slots run_weights(const Plan& plan) const;
  // The weighted sum of the penalties, undefined where there is none.
  at::Tensor penalty_of(const Plan& plan, const Slots& slots) const;
  const Slots& cached_weights(size_t plan);
  at::Tensor run_step(const Step& step, const Slots& slots, bool training);
  void run_activations(const Plan& plan, Slots& slots, const at::Tensor& images, bool training);
  at::Tensor cross_entropy(const Output& output, const Slots& slots, const at::Tensor& labels, double smoothing) const;
  // Of the first activation output, and by their weight of the auxiliary heads after it.
  at::Tensor training_loss(const Plan& plan, const Slots& slots, const at::Tensor& labels) const;
  void forget_weights() { weight_cache_.reset(); }
  void update_average();
  // Every process begins with the state of rank 0.
  void share_state();
  std::vector<ReducedParameter> reduced_parameters(const Plan& plan) const;
  // The others learn what became of a step that ends without an update, and wait for it no longer.
  void tell_others(Outcome outcome);

  std::vector<Parameter> parameters_;
  std::vector<at::Tensor> ema_;
  ExecutorOptions options_;
  at::Device device_;
  std::map<size_t, Plan> plans_;
  std::unique_ptr<Sgd> sgd_;
  // Of evaluation with one plan: kernels stay the same until the parameters change.
  std::optional<std::pair<size_t, Slots>> weight_cache_;
  // Of training: the plan whose boundaries gather gradients for the next update.
  struct Pending {
    size_t plan;
    Slots weights;                   // with their autograd history
    std::vector<at::Tensor> leaves;  // per boundary, cut off from it
    double scale = 0;                // sum of the batches' gradient scales
  };
  std::optional<Pending> pending_;
  // Of training in a group. What went wrong in batches before the update comes out with it, in all processes.
  std::shared_ptr<Communicator> communicator_;
  std::unique_ptr<Reducer> reducer_;
  Outcome accumulated_ = Outcome::good;
};

// Counts labels that are the highest logit, and among the five highest; ties go to the lower class.
void count_hits(const at::Tensor& logits, const at::Tensor& labels, BatchResult& result);

}  // namespace repkit
