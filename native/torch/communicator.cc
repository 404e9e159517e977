// What of a group does not depend on c10d: waiting, failures, time.
#include <set>

#include "group.h"

namespace repkit {
namespace {

struct Flags {
  std::mutex mutex;
  std::set<AbortFlag*> all;
};

Flags& flags() {
  static auto* all = new Flags();  // outlives static destructors
  return *all;
}

// gloo's and c10d's messages, without the place in their sources and what follows the first line.
std::string essence(const std::string& message) {
  auto line = message.substr(0, message.find('\n'));
  if (!line.empty() && line[0] == '[') {
    if (const auto end = line.find("] "); end != std::string::npos) line = line.substr(end + 2);
  }
  if (const auto end = line.find(". This may indicate"); end != std::string::npos) line = line.substr(0, end);
  return line;
}

std::string message_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const c10::Error& e) {
    return essence(e.what_without_backtrace());
  } catch (const std::exception& e) {
    return essence(e.what());
  } catch (...) {
    return "unknown failure";
  }
}

}  // namespace

AbortFlag::AbortFlag() {
  const std::lock_guard<std::mutex> lock(flags().mutex);
  flags().all.insert(this);
}

AbortFlag::~AbortFlag() {
  const std::lock_guard<std::mutex> lock(flags().mutex);
  flags().all.erase(this);
}

void AbortFlag::raise_all() {
  const std::lock_guard<std::mutex> lock(flags().mutex);
  for (auto* flag : flags().all) flag->raise();
}

void AbortFlag::check() const {
  if (raised_) throw EnvironmentError("the process group is closed");
}

void Communicator::Operation::finish(std::exception_ptr error) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
    error_ = std::move(error);
  }
  if (on_done_) on_done_();
  changed_.notify_all();
}

Communicator::Communicator(const GroupOptions& options, std::shared_ptr<AbortFlag> abort)
    : rank_(options.rank), world_size_(options.world_size), timeout_(options.collective_timeout), abort_(std::move(abort)) {}

void Communicator::check() const {
  abort_->check();
  if (!broken_.empty()) throw EnvironmentError(broken_);
}

Communicator::Pending Communicator::start_all_reduce(const at::Tensor& tensor, std::function<void()> on_done) {
  check();
  auto operation = std::make_shared<Operation>(std::move(on_done));
  run_all_reduce(tensor, operation);
  return operation;
}

void Communicator::broadcast(const at::Tensor& tensor, int root) {
  check();
  auto operation = std::make_shared<Operation>(nullptr);
  run_broadcast(tensor, root, operation);
  wait(operation);
}

void Communicator::barrier() {
  check();
  auto operation = std::make_shared<Operation>(nullptr);
  run_barrier(operation);
  wait(operation);
}

void Communicator::wait(const Pending& operation) {
  using namespace std::chrono_literals;
  // The backend's own limit comes first, unless it hangs itself.
  const auto deadline = std::chrono::steady_clock::now() + timeout_ + 5s;
  try {
    std::unique_lock<std::mutex> lock(operation->mutex_);
    while (!operation->done_) {
      abort_->check();
      if (std::chrono::steady_clock::now() > deadline) throw EnvironmentError("timed out");
      operation->changed_.wait_for(lock, 50ms);
    }
    if (operation->error_) std::rethrow_exception(operation->error_);
    if (operation->synchronize_) operation->synchronize_();
  } catch (...) {
    abort_->check();
    broken_ = "another process has ended, or is late by more than " + std::to_string(std::lround(timeout_.count())) +
              " s: " + message_of(std::current_exception());
    throw EnvironmentError(broken_);
  }
}

void CommunicationClock::start(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (under_way_++ == 0) since_ = Clock::now();
  total_.buckets++;
  total_.bytes += bytes;
}

void CommunicationClock::end() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (--under_way_ > 0) return;
  total_.communication += std::chrono::duration<double>(Clock::now() - since_).count();
}

void CommunicationClock::step(double waited) {
  const std::lock_guard<std::mutex> lock(mutex_);
  total_.steps++;
  total_.waited += waited;
}

CommunicationClock::Reading CommunicationClock::read() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return total_;
}

}  // namespace repkit
