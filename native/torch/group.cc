#include "group.h"

#include <cstdlib>
#include <thread>

#if __has_include(<torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>) && !defined(REPKIT_WITHOUT_C10D)
#define REPKIT_HAS_C10D 1
#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO
#endif
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL  // by src/engine/torch/target.ts, where the headers are
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#endif

#include "rendezvous.h"

namespace repkit {

#ifndef REPKIT_HAS_C10D

std::shared_ptr<Group> Group::connect(const GroupOptions&, const std::shared_ptr<AbortFlag>&) {
  throw EnvironmentError(
      "this libtorch was built without c10d, so it trains in one process alone; install Debian's libtorch-dev or a "
      "torch from PyPI, and run: repkit build torch");
}

#else

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000) + 1);
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// c10d's failures as ours.
template <typename Call>
auto asking(const char* what, Call call) -> decltype(call()) {
  try {
    return call();
  } catch (const EnvironmentError&) {
    throw;
  } catch (const c10::Error& error) {
    throw EnvironmentError(std::string(what) + ": " + first_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    throw EnvironmentError(std::string(what) + ": " + first_line(error.what()));
  }
}

#if !defined(REPKIT_WITH_CUDA)
constexpr auto kNoNccl = "backend nccl: this libtorch has no CUDA; use gloo";
#elif !defined(USE_C10D_NCCL)
constexpr auto kNoNccl =
    "backend nccl: the addon was built without the headers of CUDA and NCCL (a torch from PyPI also takes "
    "nvidia-cuda-crt of the same CUDA version), see docs/engines.md; use gloo";
#endif

// Before anybody waits for anybody.
void require_nccl() {
#ifdef USE_C10D_NCCL
  if (!at::globalContext().hasCUDA()) throw EnvironmentError("backend nccl: libtorch finds no CUDA device; use gloo");
#else
  throw EnvironmentError(kNoNccl);
#endif
}

// `Backend` is c10d::ProcessGroupGloo or ProcessGroupNCCL: their base class has another name since libtorch 2.0.
template <typename Backend>
class C10dCommunicator : public Communicator {
 public:
  C10dCommunicator(c10::intrusive_ptr<Backend> backend, const GroupOptions& options, std::shared_ptr<AbortFlag> abort)
      : Communicator(options, std::move(abort)), backend_(std::move(backend)) {}
  ~C10dCommunicator() override { close(); }

  void close() override {
    c10::intrusive_ptr<Backend> backend;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      backend.swap(backend_);
    }
    if (!backend || *under_way_ == 0) return;
    // Its destructor waits for what is under way, which may last until the backend's own limit of time.
    std::thread([backend = std::move(backend)]() mutable { backend.reset(); }).detach();
  }

 private:
  using Work = c10::intrusive_ptr<c10d::Work>;

  void run_all_reduce(const at::Tensor& tensor, const Pending& operation) override {
    std::vector<at::Tensor> tensors{tensor};
    track(backend()->allreduce(tensors), tensor, operation);
  }

  void run_broadcast(const at::Tensor& tensor, int root, const Pending& operation) override {
    std::vector<at::Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    track(backend()->broadcast(tensors, options), tensor, operation);
  }

  void run_barrier(const Pending& operation) override { track(backend()->barrier(), {}, operation); }

  c10::intrusive_ptr<Backend> backend() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!backend_) throw EnvironmentError("the process group is closed");
    return backend_;
  }

  void track(const Work& work, const at::Tensor& tensor, const Pending& operation) {
    // On a device the future is done once the work is in a stream's queue; then streams wait for each other.
    if (tensor.defined() && !tensor.is_cpu()) set_synchronize(operation, [work] { work->wait(); });
    ++*under_way_;
    work->getFuture()->addCallback([operation, tensor, count = under_way_](c10::ivalue::Future& future) {
      --*count;
      operation->finish(future.hasError() ? future.exception_ptr() : nullptr);
    });
  }

  std::mutex mutex_;
  c10::intrusive_ptr<Backend> backend_;
  std::shared_ptr<std::atomic<int>> under_way_ = std::make_shared<std::atomic<int>>(0);
};

class C10dGroup : public Group {
 public:
  C10dGroup(const GroupOptions& options, std::shared_ptr<AbortFlag> abort) : Group(options), abort_(std::move(abort)) {
    const auto deadline = Clock::now() + milliseconds(options.timeout);
    open_store();
    meet(deadline);
    control_ = gloo();
  }

  std::shared_ptr<Communicator> communicator(const at::Device& device) override {
    auto made = options().backend == "nccl" && device.is_cuda() ? nccl() : gloo();
    const std::lock_guard<std::mutex> lock(mutex_);
    others_.push_back(made);
    return made;
  }

  Communicator& control() override { return *control_; }

  void set(const std::string& key, const std::string& value) override {
    asking("store", [&] { store()->set(key, std::vector<uint8_t>(value.begin(), value.end())); });
  }

  std::optional<std::string> get(const std::string& key) override {
    return asking("store", [&]() -> std::optional<std::string> {
      const auto store = this->store();
      if (!store->check({key})) return std::nullopt;
      const auto bytes = store->get(key);
      return std::string(bytes.begin(), bytes.end());
    });
  }

  int64_t add(const std::string& key, int64_t amount) override {
    return asking("store", [&] { return store()->add(key, amount); });
  }

  void close() override {
    abort_->raise();
    std::vector<std::weak_ptr<Communicator>> others;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      others.swap(others_);
    }
    if (control_) control_->close();
    for (const auto& other : others) {
      if (const auto communicator = other.lock()) communicator->close();
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    store_.reset();
  }

 private:
  c10::intrusive_ptr<c10d::Store> store() {
    abort_->check();
    const std::lock_guard<std::mutex> lock(mutex_);
    return store_;
  }

  void open_store() {
    const auto& given = options();
    if (given.rank != 0) await_listener(given.host, given.port, given.timeout, *abort_);
    c10d::TCPStoreOptions settings;
    settings.port = static_cast<uint16_t>(given.port);
    settings.isServer = given.rank == 0;
    settings.waitWorkers = false;
    // In whole seconds within; something listens already.
    settings.timeout = std::max<std::chrono::milliseconds>(milliseconds(given.timeout), 2s);
    const auto what = "store at " + given.host + ":" + std::to_string(given.port);
    store_ = asking(what.c_str(), [&] { return c10::make_intrusive<c10d::TCPStore>(given.host, settings); });
  }

  // All processes say what they take the job to be, and compare.
  void meet(Clock::time_point deadline) {
    const auto& options = this->options();
    const int size = options.world_size, own = options.rank;
    if (add("repkit/rank/" + std::to_string(own), 1) > 1) {
      throw std::invalid_argument("rank " + std::to_string(own) + " is there already: two processes were given the same rank");
    }
    const auto facts = std::to_string(size) + " processes with backend " + options.backend;
    set("repkit/hello/" + std::to_string(own), facts);
    for (int rank = 0; rank < size; rank++) {
      const auto key = "repkit/hello/" + std::to_string(rank);
      std::optional<std::string> said;
      for (auto pause = 5ms; !(said = get(key)); pause = std::min(2 * pause, 200ms)) {
        abort_->check();
        if (Clock::now() > deadline) throw EnvironmentError(missing(rank));
        std::this_thread::sleep_for(pause);
      }
      if (*said == facts) continue;
      // The store lives in rank 0: long enough that the other sees the same.
      if (own == 0) std::this_thread::sleep_for(500ms);
      throw std::invalid_argument("rank " + std::to_string(rank) + " expects " + *said + ", rank " +
                                  std::to_string(own) + " expects " + facts);
    }
    // A process of a larger job that came before.
    if (get("repkit/hello/" + std::to_string(size))) {
      throw std::invalid_argument("rank " + std::to_string(size) + " is there too, and rank " + std::to_string(own) +
                                  " expects " + facts);
    }
  }

  std::string missing(int first) {
    std::string ranks;
    for (int rank = first; rank < options().world_size; rank++) {
      if (get("repkit/hello/" + std::to_string(rank))) continue;
      ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
    }
    return "not all processes came within " + std::to_string(std::lround(options().timeout)) + " s; missing: rank " + ranks;
  }

  // The connections of one communicator find each other by names of their own.
  c10::intrusive_ptr<c10d::Store> next_store() {
    const auto name = "repkit/communicator/" + std::to_string(count_++);
    return c10::make_intrusive<c10d::PrefixStore>(name, store());
  }

  std::shared_ptr<Communicator> gloo() {
    const auto& options = this->options();
    return asking("gloo", [&]() -> std::shared_ptr<Communicator> {
      const auto settings = c10d::ProcessGroupGloo::Options::create(milliseconds(options.collective_timeout));
      settings->threads = 2;
      std::string interface = options.interface;
      if (const char* given = std::getenv("GLOO_SOCKET_IFNAME"); interface.empty() && given != nullptr) {
        interface = std::string(given).substr(0, std::string(given).find(','));
      }
      settings->devices.push_back(
          interface.empty()
              ? c10d::ProcessGroupGloo::createDeviceForHostname(address_towards(options.host, options.port))
              : c10d::ProcessGroupGloo::createDeviceForInterface(interface));
      auto backend = c10::make_intrusive<c10d::ProcessGroupGloo>(next_store(), options.rank, options.world_size, settings);
      return std::make_shared<C10dCommunicator<c10d::ProcessGroupGloo>>(std::move(backend), options, abort_);
    });
  }

#ifdef USE_C10D_NCCL
  std::shared_ptr<Communicator> nccl() {
    const auto& options = this->options();
    return asking("nccl", [&]() -> std::shared_ptr<Communicator> {
      // Failures come out of wait(), instead of ending the process.
      for (const char* name : {"TORCH_NCCL_BLOCKING_WAIT", "NCCL_BLOCKING_WAIT"}) ::setenv(name, "1", 0);
      for (const char* name : {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "NCCL_ASYNC_ERROR_HANDLING"}) ::setenv(name, "0", 0);
      const auto settings = c10d::ProcessGroupNCCL::Options::create();
      settings->timeout = milliseconds(options.collective_timeout);
      auto backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(next_store(), options.rank, options.world_size, settings);
      return std::make_shared<C10dCommunicator<c10d::ProcessGroupNCCL>>(std::move(backend), options, abort_);
    });
  }
#else
  std::shared_ptr<Communicator> nccl() { throw EnvironmentError(kNoNccl); }
#endif

  const std::shared_ptr<AbortFlag> abort_;
  std::mutex mutex_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<Communicator> control_;
  std::vector<std::weak_ptr<Communicator>> others_;
  int count_ = 0;
};

}  // namespace

std::shared_ptr<Group> Group::connect(const GroupOptions& options, const std::shared_ptr<AbortFlag>& abort) {
  if (options.backend == "nccl") require_nccl();
  return std::make_shared<C10dGroup>(options, abort);
}

#endif

}  // namespace repkit
