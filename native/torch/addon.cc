// The module that Node loads: `describe()` and the class `Executable` (src/engine/torch/native.ts types them).
// Calls read their arguments on the JavaScript thread, run on the executable's own, and settle a promise.
#include <cstdlib>
#include <memory>
#include <string>

#include <ATen/Config.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include "allocator.h"
#include "calls.h"
#include "executor.h"
#include "group_object.h"
#include "js_values.h"
#include "worker.h"

namespace repkit {
namespace {

using Job = std::function<Result(Executor&)>;

class Executable : public Napi::ObjectWrap<Executable> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Executable",
                       {
                           InstanceMethod<&Executable::load>("load"),
                           InstanceMethod<&Executable::add_plan>("addPlan"),
                           InstanceMethod<&Executable::infer>("infer"),
                           InstanceMethod<&Executable::evaluate>("evaluate"),
                           InstanceMethod<&Executable::train_step>("trainStep"),
                           InstanceMethod<&Executable::differentiate>("differentiate"),
                           InstanceMethod<&Executable::profile>("profile"),
                           InstanceMethod<&Executable::state>("state"),
                           InstanceMethod<&Executable::restore>("restore"),
                           InstanceMethod<&Executable::dispose>("dispose"),
                       });
  }

  explicit Executable(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Executable>(info), env_(info.Env()) {
    try {
      worker_ = std::make_unique<Worker>();
    } catch (...) {
      throw Napi::Error(info.Env(), to_error(info.Env(), current_failure()));
    }
    // An environment that ends (a worker thread's) takes its thread-safe functions with it, before it
    // finalizes objects: the thread must have stopped by then.
    napi_add_env_cleanup_hook(env_, &Executable::stop, this);
  }

  ~Executable() override {
    napi_remove_env_cleanup_hook(env_, &Executable::stop, this);
    worker_.reset();  // waits for the call under way
    executor_.reset();
    release_cached_memory();
  }

 private:
  // Runs `work` on the worker and settles the promise on the JavaScript thread.
  Napi::Value schedule(Napi::Env env, std::function<Result()> work) {
    Ref();  // nobody collects an executable at work
    const auto post = [this](std::function<void()> job) { worker_->post(std::move(job)); };
    return repkit::schedule(env, post, std::move(work), [this] { Unref(); });
  }

  Napi::Value run(Napi::Env env, Job job) {
    return schedule(env, [this, job = std::move(job)]() -> Result {
      if (!executor_) throw std::invalid_argument("this executable has been disposed of");
      return job(*executor_);
    });
  }

  Napi::Value load(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      auto parameters = to_parameters(info[0]);
      auto options = to_options(info[1]);
      if (!info[2].IsUndefined()) options.group = group_of(info[2]);
      return schedule(info.Env(), [this, parameters, options]() -> Result {
        executor_ = std::make_unique<Executor>(parameters, options);
        return nullptr;
      });
    });
  }

  Napi::Value add_plan(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      return run(info.Env(), [index = plan_index(info[0]), plan = to_plan(info[1])](Executor& executor) -> Result {
        executor.add_plan(index, plan);
        return nullptr;
      });
    });
  }

  Napi::Value infer(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      const auto plan = plan_index(info[0]);
      const auto images = images_of(info[1]);
      const auto wanted = to_integers(info[2], "values");
      return run(info.Env(), [=](Executor& executor) -> Result {
        auto inference = std::make_shared<Inference>(executor.infer(plan, images, wanted));
        return [inference](Napi::Env env) {
          auto result = Napi::Object::New(env);
          result["outputs"] = to_js(env, inference->outputs);
          auto values = Napi::Array::New(env);
          for (const auto& [slot, value] : inference->values) {
            auto entry = Napi::Array::New(env, 2);
            entry[0u] = Napi::Number::New(env, slot);
            entry[1u] = to_js(env, value);
            values[values.Length()] = entry;
          }
          result["values"] = values;
          return result;
        };
      });
    });
  }

  Napi::Value evaluate(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      const auto plan = plan_index(info[0]);
      const auto images = images_of(info[1]);
      const auto labels = labels_of(info[2]);
      return run(info.Env(),
                 [=](Executor& executor) -> Result { return batch_result(executor.evaluate(plan, images, labels)); });
    });
  }

  Napi::Value train_step(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      const auto plan = plan_index(info[0]);
      const auto images = images_of(info[1]);
      const auto labels = labels_of(info[2]);
      const double learning_rate = info[3].ToNumber().DoubleValue();
      const bool update = info[4].ToBoolean().Value();
      const double scale = info[5].ToNumber().DoubleValue();
      return run(info.Env(), [=](Executor& executor) -> Result {
        return batch_result(executor.train_step(plan, images, labels, learning_rate, update, scale));
      });
    });
  }

  Napi::Value differentiate(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      const auto plan = plan_index(info[0]);
      const auto images = info[1].IsUndefined() ? at::Tensor() : images_of(info[1]);
      const auto given = info[2].ToObject();
      Objective objective;
      if (given.Has("labels")) objective.labels = labels_of(given.Get("labels"));
      if (given.Has("outputGradient")) objective.output_gradient = to_tensor(given.Get("outputGradient"), "outputGradient");
      if (given.Has("output")) objective.output = given.Get("output").ToString().Utf8Value();
      return run(info.Env(), [=](Executor& executor) -> Result {
        auto found = std::make_shared<Differentiation>(executor.differentiate(plan, images, objective));
        return [found](Napi::Env env) {
          auto result = Napi::Object::New(env);
          result["outputs"] = to_js(env, found->outputs);
          if (found->loss) result["loss"] = Napi::Number::New(env, *found->loss);
          result["gradients"] = to_js(env, found->gradients);
          result["updates"] = to_js(env, found->updates);
          if (found->image_gradient.defined()) result["imageGradient"] = to_js(env, found->image_gradient);
          return result;
        };
      });
    });
  }

  Napi::Value profile(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      const auto plan = plan_index(info[0]);
      const auto images = images_of(info[1]);
      const auto labels = labels_of(info[2]);
      const bool training = info[3].ToBoolean().Value();
      return run(info.Env(), [=](Executor& executor) -> Result {
        const auto rows = executor.profile(plan, images, labels, training);
        return [rows](Napi::Env env) {
          auto result = Napi::Array::New(env);
          for (const auto& row : rows) {
            auto entry = Napi::Object::New(env);
            entry["name"] = Napi::String::New(env, row.name);
            entry["calls"] = Napi::Number::New(env, row.calls);
            entry["seconds"] = Napi::Number::New(env, row.seconds);
            result[result.Length()] = entry;
          }
          return result;
        };
      });
    });
  }

  Napi::Value state(const Napi::CallbackInfo& info) {
    return run(info.Env(), [](Executor& executor) -> Result {
      auto state = std::make_shared<ExecutorState>(executor.state());
      return [state](Napi::Env env) {
        auto result = Napi::Object::New(env);
        result["state"] = to_js(env, state->state);
        result["momentum"] = to_js(env, state->momentum);
        result["ema"] = to_js(env, state->ema);
        return result;
      };
    });
  }

  Napi::Value restore(const Napi::CallbackInfo& info) {
    return reading(info.Env(), [&] {
      const auto given = [](const Napi::Value& value, const char* what) {
        return value.IsUndefined() ? std::nullopt : std::make_optional(to_named_tensors(value, what));
      };
      const auto state = given(info[0], "state");
      const auto momentum = given(info[1], "momentum");
      const auto ema = given(info[2], "ema");
      return run(info.Env(), [=](Executor& executor) -> Result {
        executor.restore(state, momentum, ema);
        return nullptr;
      });
    });
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    return schedule(info.Env(), [this]() -> Result {
      executor_.reset();
      release_cached_memory();
      return nullptr;
    });
  }

  static size_t plan_index(const Napi::Value& value) { return value.ToNumber().Int64Value(); }
  static at::Tensor images_of(const Napi::Value& value) { return to_tensor(value, "images"); }
  static at::Tensor labels_of(const Napi::Value& value) {
    const auto labels = to_tensor(value, "labels");
    return labels.is_floating_point() ? labels : labels.to(at::kLong);
  }

  static Result batch_result(const BatchResult& batch) {
    return [batch](Napi::Env env) {
      auto result = Napi::Object::New(env);
      result["loss"] = Napi::Number::New(env, batch.loss);
      result["top1"] = Napi::Number::New(env, batch.top1);
      result["top5"] = Napi::Number::New(env, batch.top5);
      return result;
    };
  }

  static void stop(void* executable) { static_cast<Executable*>(executable)->worker_->stop(); }

  napi_env env_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Worker> worker_;
};

Napi::Value describe(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  auto result = Napi::Object::New(env);
  result["version"] = Napi::String::New(env, TORCH_VERSION);
  const bool cuda = at::globalContext().hasCUDA();
  result["cudaDevices"] = Napi::Number::New(env, cuda ? at::getNumGPUs() : 0);
  result["threads"] = Napi::Number::New(env, at::get_num_threads());
  result["build"] = Napi::String::New(env, at::show_config());
  return result;
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  const auto use = memory_use();
  auto result = Napi::Object::New(info.Env());
  result["inUse"] = Napi::Number::New(info.Env(), use.in_use);
  result["cached"] = Napi::Number::New(info.Env(), use.cached);
  return result;
}

// Ends every thread after the job in hand: before the process exits, since oneDNN's statics, made by the first
// convolution, are gone by the time that handlers of std::atexit run that were there earlier.
Napi::Value stop_all(const Napi::CallbackInfo& info) {
  AbortFlag::raise_all();
  Worker::stop_all();
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  install_caching_allocator();
  static const int registered = std::atexit([] {
    AbortFlag::raise_all();
    Worker::stop_all();
  });
  (void)registered;
  exports["describe"] = Napi::Function::New(env, describe);
  exports["memory"] = Napi::Function::New(env, memory);
  exports["stopAll"] = Napi::Function::New(env, stop_all);
  exports["Executable"] = Executable::define(env);
  exports["ProcessGroup"] = define_process_group(env);
  return exports;
}

}  // namespace

NODE_API_MODULE(repkit_torch, init)

}  // namespace repkit
