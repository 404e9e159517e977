// A thread that runs jobs in order, for jobs that may hang in a network: its owner does not wait for them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace repkit {

class DetachableWorker {
 public:
  DetachableWorker() {
    std::thread([state = state_] { run(*state); }).detach();
  }
  ~DetachableWorker() { stop(); }
  DetachableWorker(const DetachableWorker&) = delete;

  // Jobs must not throw, and own what they use.
  void post(std::function<void()> job) {
    {
      const std::lock_guard<std::mutex> lock(state_->mutex);
      if (state_->stopping) return;
      state_->jobs.push_back(std::move(job));
    }
    state_->changed.notify_all();
  }

  // Drops the jobs that have not begun, and waits a little for the one that has.
  void stop() {
    std::deque<std::function<void()>> dropped;
    std::unique_lock<std::mutex> lock(state_->mutex);
    state_->stopping = true;
    dropped.swap(state_->jobs);
    state_->changed.notify_all();
    state_->changed.wait_for(lock, std::chrono::milliseconds(300), [this] { return state_->ended; });
    lock.unlock();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> jobs;
    bool stopping = false, ended = false;
  };

  static void run(State& state) {
    std::unique_lock<std::mutex> lock(state.mutex);
    while (true) {
      state.changed.wait(lock, [&] { return state.stopping || !state.jobs.empty(); });
      if (state.stopping) break;
      {
        const auto job = std::move(state.jobs.front());
        state.jobs.pop_front();
        lock.unlock();
        job();
      }
      lock.lock();
    }
    state.ended = true;
    state.changed.notify_all();
  }

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace repkit
