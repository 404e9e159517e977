// Calls from JavaScript: arguments are read on its thread, the work is done on another one, and its outcome
// settles a promise.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <napi.h>

namespace repkit {

// Makes the result of a call, on the JavaScript thread.
using Result = std::function<Napi::Value(Napi::Env)>;

struct Failure {
  std::string kind, message;
};

// The exception under way; kinds are those of src/errors.ts.
Failure current_failure();
Napi::Value to_error(Napi::Env env, const Failure& failure);

// Where the results of a thread go that may outlive the JavaScript side.
class Gate {
 public:
  void close();
  // Not while it is closed.
  void pass(const std::function<void()>& deliver);

 private:
  std::mutex mutex_;
  bool closed_ = false;
};

// Returns a promise of what `work` returns. `post` takes what is to run on another thread; `settled` runs on
// the JavaScript thread, after the promise is settled.
Napi::Value schedule(Napi::Env env, const std::function<void(std::function<void()>)>& post,
                     std::function<Result()> work, std::function<void()> settled, std::shared_ptr<Gate> gate = nullptr);

// Reads arguments; a bad one is thrown as a JavaScript error of kind usage.
template <typename Read>
auto reading(Napi::Env env, Read read) -> decltype(read()) {
  try {
    return read();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, to_error(env, current_failure()));
  }
}

}  // namespace repkit
