// A thread of our own that runs jobs in order. Node's pool belongs to files and images.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

namespace repkit {

class Worker {
 public:
  Worker() : thread_([this] { run(); }) {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    registry().workers.insert(this);
  }

  ~Worker() {
    {
      const std::lock_guard<std::mutex> lock(registry().mutex);
      registry().workers.erase(this);
    }
    stop();
  }

  // Finishes the job under way and drops the others; jobs posted later never run.
  void stop() {
    std::deque<std::function<void()>> dropped;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      dropped.swap(jobs_);
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  // For the end of the process: what libtorch tears down must not be in use.
  static void stop_all() {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    for (auto* worker : registry().workers) worker->stop();
  }

  // Jobs must not throw.
  void post(std::function<void()> job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

 private:
  struct Registry {
    std::mutex mutex;
    std::set<Worker*> workers;
  };
  static Registry& registry() {
    static auto* all = new Registry();  // outlives static destructors
    return *all;
  }

  void run() {
    while (true) {
      std::function<void()> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (stopping_) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace repkit
