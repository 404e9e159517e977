#include "reducer.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace repkit {
namespace {

// DistributedDataParallel's: the first is small so that the network is busy early.
constexpr int64_t kFirstBucketBytes = 1 << 20, kBucketBytes = 25 << 20;
// How many processes diverged, how many failed, and the sum of their ranks plus one.
constexpr int64_t kStatus = 3;

class Hook : public torch::autograd::FunctionPostHook {
 public:
  explicit Hook(std::function<void()> call) : call_(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

std::string name_ranks(int64_t count, int64_t sum_of_ranks, int64_t count_of_all) {
  if (count == 1) return "rank " + std::to_string(sum_of_ranks - 1);
  return std::to_string(count) + " of " + std::to_string(count_of_all) + " ranks";
}

}  // namespace

Reducer::Reducer(const std::vector<ReducedParameter>& parameters, std::shared_ptr<Communicator> communicator,
                 CommunicationClock& clock)
    : communicator_(std::move(communicator)), clock_(clock) {
  // The last layers' gradients come first; late ones after all others.
  for (const bool late : {false, true}) {
    for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
      if (parameter->late == late) members_.push_back({parameter->value, {}, late, 0, false, nullptr, 0});
    }
  }
  fill_buckets();
  for (size_t i = 0; i < members_.size(); i++) {
    auto& member = members_[i];
    member.accumulator = torch::autograd::impl::grad_accumulator(member.value);
    member.hook = member.accumulator->add_post_hook(std::make_unique<Hook>([this, i] { on_gradient(i); }));
  }
}

Reducer::~Reducer() {
  for (auto& member : members_) member.accumulator->del_post_hook(member.hook);
}

void Reducer::fill_buckets() {
  std::vector<int64_t> sizes;  // bytes
  const auto add_bucket = [&] { buckets_.emplace_back(), sizes.push_back(0); };
  add_bucket();
  for (size_t i = 0; i < members_.size(); i++) {
    if (sizes.back() >= (sizes.size() == 1 ? kFirstBucketBytes : kBucketBytes)) add_bucket();
    const auto& value = members_[i].value;
    buckets_.back().members.push_back(i);
    sizes.back() += value.numel() * static_cast<int64_t>(value.element_size());
    members_[i].bucket = buckets_.size() - 1;
  }
  const auto options = members_.empty() ? at::TensorOptions(at::kFloat) : members_[0].value.options().requires_grad(false);
  for (size_t b = 0; b < buckets_.size(); b++) {
    const bool last = b + 1 == buckets_.size();
    const int64_t count = sizes[b] / static_cast<int64_t>(options.dtype().itemsize());
    auto& flat = buckets_[b].flat = at::zeros({count + (last ? kStatus : 0)}, options);
    int64_t offset = 0;
    for (const size_t i : buckets_[b].members) {
      auto& [value, view, late, bucket, ready, accumulator, hook] = members_[i];
      view = flat.narrow(0, offset, value.numel()).as_strided(value.sizes(), value.strides(), offset);
      offset += value.numel();
    }
    if (last) status_ = flat.narrow(0, count, kStatus);
  }
}

void Reducer::begin() {
  for (auto& bucket : buckets_) bucket.missing = bucket.members.size(), bucket.sum.reset();
  for (auto& member : members_) member.ready = false;
  status_.zero_();
  launched_ = 0;
  phase_ = Phase::loss;
}

void Reducer::begin_late() { phase_ = Phase::late; }

void Reducer::on_gradient(size_t i) {
  if (phase_ == Phase::idle || (phase_ == Phase::loss && members_[i].late)) return;
  take(i);
  launch();
}

void Reducer::take(size_t i) {
  const at::NoGradGuard no_grad;
  auto& member = members_[i];
  auto& gradient = member.value.mutable_grad();
  if (gradient.defined()) {
    at::mul_out(member.view, gradient, at::scalar_tensor(1.0 / communicator_->world_size(), gradient.options()));
  } else {
    member.view.zero_();
  }
  gradient = member.view;  // frees the other; the mean will be here
  member.ready = true;
  buckets_[member.bucket].missing--;
}

void Reducer::launch() {
  while (launched_ < buckets_.size() && buckets_[launched_].missing == 0) {
    auto& bucket = buckets_[launched_];
    clock_.start(bucket.flat.numel() * bucket.flat.element_size());
    bucket.sum = communicator_->start_all_reduce(bucket.flat, [&clock = clock_] { clock.end(); });
    launched_++;
  }
}

Outcome Reducer::finish(std::string& ranks) {
  for (size_t i = 0; i < members_.size(); i++) {
    if (!members_[i].ready) take(i);  // nothing in this step depends on it
  }
  launch();
  return wait(ranks);
}

Outcome Reducer::give_up(Outcome outcome, std::string& ranks) {
  if (phase_ == Phase::idle) begin();
  const at::NoGradGuard no_grad;
  if (launched_ < buckets_.size()) {
    for (size_t b = launched_; b < buckets_.size(); b++) buckets_[b].flat.zero_(), buckets_[b].missing = 0;
    status_[outcome == Outcome::diverged ? 0 : 1] = 1;
    status_[2] = communicator_->rank() + 1;
    launch();
  }
  return wait(ranks);
}

Outcome Reducer::wait(std::string& ranks) {
  phase_ = Phase::idle;
  const auto started = std::chrono::steady_clock::now();
  for (const auto& bucket : buckets_) communicator_->wait(bucket.sum);
  clock_.step(std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
  const auto status = status_.to(at::kCPU, at::kDouble);
  const auto at = [&](int64_t i) { return std::llround(status[i].item<double>()); };
  const auto diverged = at(0), failed = at(1);
  if (diverged + failed > 0) ranks = name_ranks(diverged + failed, at(2), communicator_->world_size());
  if (failed > 0) return Outcome::failed;
  return diverged > 0 ? Outcome::diverged : Outcome::good;
}

}  // namespace repkit
