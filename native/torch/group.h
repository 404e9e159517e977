// The processes of a training job, by c10d (torch/csrc/distributed/c10d): gloo or NCCL for collectives, a
// TCPStore for the rest. group.cc alone includes its headers, which move between versions of libtorch.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace repkit {

// What another process, the network or a build of libtorch does not do.
struct EnvironmentError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Once raised, whatever waits for other processes gives up within a tenth of a second.
class AbortFlag {
 public:
  AbortFlag();
  ~AbortFlag();
  void raise() { raised_ = true; }
  // Throws where it is raised.
  void check() const;
  // For the end of the process.
  static void raise_all();

 private:
  std::atomic<bool> raised_{false};
};

struct GroupOptions {
  std::string host;
  int port = 0, rank = 0, world_size = 1;
  std::string backend = "gloo";
  double timeout = 0, collective_timeout = 0;  // seconds
  std::string interface;                       // empty: the one that reaches the host
};

// One set of connections to all other processes. Collectives start in the order of the calls, the same in
// every process; one thread at a time calls.
class Communicator {
 public:
  // A collective under way, and the tensor that it works on.
  class Operation {
   public:
    explicit Operation(std::function<void()> on_done) : on_done_(std::move(on_done)) {}
    void finish(std::exception_ptr error);

   private:
    friend class Communicator;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    std::exception_ptr error_;
    std::function<void()> on_done_;
    // Orders what comes after on a device.
    std::function<void()> synchronize_;
  };
  using Pending = std::shared_ptr<Operation>;

  virtual ~Communicator() = default;
  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  // In place. `on_done` is called from another thread.
  Pending start_all_reduce(const at::Tensor& tensor, std::function<void()> on_done = nullptr);
  // Throws EnvironmentError where another process does not do its part; all later calls then do too.
  void wait(const Pending& operation);

  void all_reduce(const at::Tensor& tensor) { wait(start_all_reduce(tensor)); }
  void broadcast(const at::Tensor& tensor, int root);
  void barrier();
  // Throws where a collective has failed, or the group is closed.
  void check() const;
  // Lets go of the connections; later calls throw.
  virtual void close() = 0;

 protected:
  Communicator(const GroupOptions& options, std::shared_ptr<AbortFlag> abort);
  virtual void run_all_reduce(const at::Tensor& tensor, const Pending& operation) = 0;
  virtual void run_broadcast(const at::Tensor& tensor, int root, const Pending& operation) = 0;
  virtual void run_barrier(const Pending& operation) = 0;
  static void set_synchronize(const Pending& operation, std::function<void()> synchronize) {
    operation->synchronize_ = std::move(synchronize);
  }

 private:
  const int rank_, world_size_;
  const std::chrono::duration<double> timeout_;
  const std::shared_ptr<AbortFlag> abort_;
  std::string broken_;
};

// How long gradients were under way, from when the first bucket is to when none is.
class CommunicationClock {
 public:
  struct Reading {
    int64_t steps = 0, buckets = 0, bytes = 0;
    double communication = 0, waited = 0;  // seconds
  };
  void start(int64_t bytes);
  void end();
  void step(double waited);
  Reading read() const;

 private:
  using Clock = std::chrono::steady_clock;
  mutable std::mutex mutex_;
  Reading total_;
  int under_way_ = 0;
  Clock::time_point since_;
};

class Group {
 public:
  // Returns when all processes are there.
  static std::shared_ptr<Group> connect(const GroupOptions& options, const std::shared_ptr<AbortFlag>& abort);
  virtual ~Group() = default;

  const GroupOptions& options() const { return options_; }
  CommunicationClock& clock() { return clock_; }

  // New connections, on the device by the backend of the options, else over gloo; all processes call together.
  virtual std::shared_ptr<Communicator> communicator(const at::Device& device) = 0;
  // For small things on the CPU.
  virtual Communicator& control() = 0;

  virtual void set(const std::string& key, const std::string& value) = 0;
  virtual std::optional<std::string> get(const std::string& key) = 0;
  virtual int64_t add(const std::string& key, int64_t amount) = 0;
  // Lets go of the store and of all connections.
  virtual void close() = 0;

 protected:
  explicit Group(GroupOptions options) : options_(std::move(options)) {}

 private:
  const GroupOptions options_;
  CommunicationClock clock_;
};

}  // namespace repkit
