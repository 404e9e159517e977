#include "calls.h"

#include <c10/util/Exception.h>

#include "executor.h"

namespace repkit {
namespace {

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

struct Call {
  Napi::Promise::Deferred deferred;
  Result result;
  std::optional<Failure> failure;
};

void settle(Napi::Env env, Call& call) {
  const Napi::HandleScope scope(env);
  try {
    if (!call.failure) return call.deferred.Resolve(call.result ? call.result(env) : env.Undefined());
  } catch (...) {
    call.failure = current_failure();
  }
  call.deferred.Reject(to_error(env, *call.failure));
}

}  // namespace


Failure current_failure() {
  try {
    throw;
  } catch (const Diverged& error) {
    return {"diverged", error.what()};
  } catch (const EnvironmentError& error) {
    return {"environment", error.what()};
  } catch (const std::bad_alloc&) {
    return {"environment", "out of memory"};
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    const bool memory = contains(message, "out of memory") || contains(message, "can't allocate memory") ||
                        contains(message, "ALLOC_FAILED");
    return {memory ? "environment" : "internal", message.substr(0, message.find('\n'))};
  } catch (const std::invalid_argument& error) {
    return {"usage", error.what()};
  } catch (const std::exception& error) {
    const std::string message = error.what();
    return {contains(message, "could not create a memory") ? "environment" : "internal", message};
  } catch (...) {
    return {"internal", "unknown failure in the torch engine"};
  }
}

Napi::Value to_error(Napi::Env env, const Failure& failure) {
  auto error = Napi::Error::New(env, failure.message).Value();
  error.Set("kind", failure.kind);
  return error;
}

void Gate::close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
}

void Gate::pass(const std::function<void()>& deliver) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!closed_) deliver();
}

Napi::Value schedule(Napi::Env env, const std::function<void(std::function<void()>)>& post,
                     std::function<Result()> work, std::function<void()> settled, std::shared_ptr<Gate> gate) {
  auto call = std::make_shared<Call>(Call{Napi::Promise::Deferred::New(env), nullptr, std::nullopt});
  auto nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  auto back = Napi::ThreadSafeFunction::New(env, nothing, "repkit torch engine", 0, 1);
  const auto promise = call->deferred.Promise();
  post([call, back, gate, work = std::move(work), settled = std::move(settled)]() mutable {
    try {
      call->result = work();
    } catch (...) {
      call->failure = current_failure();
    }
    work = nullptr;
    const auto deliver = [&] {
      const auto status = back.BlockingCall([call, settled](Napi::Env env, Napi::Function) {
        settle(env, *call);
        settled();
      });
      if (status != napi_closing) back.Release();
    };
    if (gate) return gate->pass(deliver);
    deliver();
  });
  return promise;
}

}  // namespace repkit
