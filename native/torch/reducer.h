// Means of gradients over the processes of a group, computed while backward still runs, as
// torch.nn.parallel.DistributedDataParallel does it: buckets of gradients in about the order in which they
// come, each added up over the processes as soon as it is full.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include "group.h"

namespace repkit {

// How a process came out of a step.
enum class Outcome { good, diverged, failed };

struct ReducedParameter {
  at::Tensor value;
  // Some of its gradient comes after the loss's own backward pass, from the kernels it makes (plan.h).
  bool late = false;
};

class Reducer {
 public:
  Reducer(const std::vector<ReducedParameter>& parameters, std::shared_ptr<Communicator> communicator,
          CommunicationClock& clock);
  ~Reducer();
  Reducer(const Reducer&) = delete;

  // Before the loss's backward pass of an update, and before that of the kernels.
  void begin();
  void begin_late();
  // Waits until every gradient is the mean over the processes. Returns how the processes came out of the step,
  // the worst of them, and sets `ranks` to who that was.
  Outcome finish(std::string& ranks);
  // In place of an update: zeros for the sums that have not begun, so that the others learn of it.
  Outcome give_up(Outcome outcome, std::string& ranks);
  // Throws where a step cannot be made any more.
  void check() const { communicator_->check(); }

 private:
  enum class Phase { idle, loss, late };
  struct Bucket {
    at::Tensor flat;
    std::vector<size_t> members;
    size_t missing = 0;
    Communicator::Pending sum;
  };
  // A shared or an intrusive pointer, by the version of libtorch.
  using Accumulator = decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()));
  struct Member {
    at::Tensor value, view;  // the view is the bucket's part, laid out as the parameter
    bool late;
    size_t bucket;
    bool ready = false;
    Accumulator accumulator;
    uintptr_t hook = 0;
  };

  void fill_buckets();
  void on_gradient(size_t member);
  void take(size_t member);
  // All full buckets in their order, which is the same in all processes.
  void launch();
  Outcome wait(std::string& ranks);

  std::shared_ptr<Communicator> communicator_;
  CommunicationClock& clock_;
  std::vector<Member> members_;
  std::vector<Bucket> buckets_;
  at::Tensor status_;  // the last bucket's end
  Phase phase_ = Phase::idle;
  size_t launched_ = 0;
};

}  // namespace repkit
