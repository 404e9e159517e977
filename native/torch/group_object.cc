#include "group_object.h"

#include <cstring>

#include "calls.h"
#include "detachable_worker.h"

namespace repkit {
namespace {

class ProcessGroup : public Napi::ObjectWrap<ProcessGroup> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "ProcessGroup",
                       {
                           InstanceMethod<&ProcessGroup::connect>("connect"),
                           InstanceMethod<&ProcessGroup::all_reduce>("allReduce"),
                           InstanceMethod<&ProcessGroup::broadcast>("broadcast"),
                           InstanceMethod<&ProcessGroup::barrier>("barrier"),
                           InstanceMethod<&ProcessGroup::set>("set"),
                           InstanceMethod<&ProcessGroup::get>("get"),
                           InstanceMethod<&ProcessGroup::add>("add"),
                           InstanceMethod<&ProcessGroup::statistics>("statistics"),
                           InstanceMethod<&ProcessGroup::close>("close"),
                       });
  }

  explicit ProcessGroup(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ProcessGroup>(info), env_(info.Env()) {
    napi_add_env_cleanup_hook(env_, &ProcessGroup::stop, this);
  }

  ~ProcessGroup() override {
    napi_remove_env_cleanup_hook(env_, &ProcessGroup::stop, this);
    stop(this);
  }

  std::shared_ptr<Group> group() const { return shared_->get(); }

 private:
  // What outlives this object on a thread that hangs.
  struct Shared {
    std::shared_ptr<AbortFlag> abort = std::make_shared<AbortFlag>();
    std::mutex mutex;
    std::shared_ptr<Group> group;

    std::shared_ptr<Group> get() {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!group) throw std::invalid_argument("this process group is not connected");
      return group;
    }
  };
  using Job = std::function<Result(Group&)>;

  Napi::Value schedule(Napi::Env env, DetachableWorker& worker, std::function<Result()> work) {
    Ref();
    const auto post = [&](std::function<void()> job) { worker.post(std::move(job)); };
    return repkit::schedule(env, post, std::move(work), [this] { Unref(); }, gate_);
  }

  Napi::Value run(const Napi::CallbackInfo& info, DetachableWorker& worker, Job job) {
    return schedule(info.Env(), worker, [shared = shared_, job = std::move(job)]() -> Result {
      return job(*shared->get());
    });
  }

  Napi::Value connect(const Napi::CallbackInfo& info) {
    const auto given = info[0].ToObject();
    const auto text = [&](const char* name) { return given.Get(name).ToString().Utf8Value(); };
    const auto number = [&](const char* name) { return given.Get(name).ToNumber().DoubleValue(); };
    GroupOptions options;
    options.host = text("host");
    options.port = static_cast<int>(number("port"));
    options.rank = static_cast<int>(number("rank"));
    options.world_size = static_cast<int>(number("worldSize"));
    options.backend = text("backend");
    options.timeout = number("timeoutSeconds");
    options.collective_timeout = number("collectiveTimeoutSeconds");
    if (!given.Get("interface").IsUndefined()) options.interface = text("interface");
    return schedule(info.Env(), collectives_, [options, shared = shared_]() -> Result {
      auto group = Group::connect(options, shared->abort);
      const std::lock_guard<std::mutex> lock(shared->mutex);
      shared->group = std::move(group);
      return nullptr;
    });
  }

  Napi::Value all_reduce(const Napi::CallbackInfo& info) {
    const auto given = info[0].As<Napi::Float64Array>();
    auto values = at::empty({static_cast<int64_t>(given.ElementLength())}, at::kDouble);
    std::memcpy(values.data_ptr(), given.Data(), given.ByteLength());
    return run(info, collectives_, [values](Group& group) -> Result {
      if (values.numel() > 0) group.control().all_reduce(values);
      return [values](Napi::Env env) -> Napi::Value {
        auto result = Napi::Float64Array::New(env, values.numel());
        std::memcpy(result.Data(), values.data_ptr(), result.ByteLength());
        return result;
      };
    });
  }

  Napi::Value broadcast(const Napi::CallbackInfo& info) {
    const auto given = info[0].As<Napi::Uint8Array>();
    const int root = info[1].ToNumber().Int32Value();
    auto bytes = at::empty({static_cast<int64_t>(given.ElementLength())}, at::kByte);
    std::memcpy(bytes.data_ptr(), given.Data(), given.ByteLength());
    return run(info, collectives_, [bytes, root](Group& group) -> Result {
      if (bytes.numel() > 0) group.control().broadcast(bytes, root);
      return [bytes](Napi::Env env) -> Napi::Value {
        auto result = Napi::Uint8Array::New(env, bytes.numel());
        std::memcpy(result.Data(), bytes.data_ptr(), result.ByteLength());
        return result;
      };
    });
  }

  Napi::Value barrier(const Napi::CallbackInfo& info) {
    return run(info, collectives_, [](Group& group) -> Result {
      group.control().barrier();
      return nullptr;
    });
  }

  Napi::Value set(const Napi::CallbackInfo& info) {
    const auto key = info[0].ToString().Utf8Value(), value = info[1].ToString().Utf8Value();
    return run(info, store_, [key, value](Group& group) -> Result {
      group.set(key, value);
      return nullptr;
    });
  }

  Napi::Value get(const Napi::CallbackInfo& info) {
    const auto key = info[0].ToString().Utf8Value();
    return run(info, store_, [key](Group& group) -> Result {
      const auto value = group.get(key);
      return [value](Napi::Env env) -> Napi::Value {
        return value ? Napi::String::New(env, *value) : env.Undefined();
      };
    });
  }

  Napi::Value add(const Napi::CallbackInfo& info) {
    const auto key = info[0].ToString().Utf8Value();
    const int64_t amount = info[1].ToNumber().Int64Value();
    return run(info, store_, [key, amount](Group& group) -> Result {
      const auto sum = static_cast<double>(group.add(key, amount));
      return [sum](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, sum); };
    });
  }

  Napi::Value statistics(const Napi::CallbackInfo& info) {
    const auto env = info.Env();
    return reading(env, [&] {
      const auto reading = shared_->get()->clock().read();
      auto result = Napi::Object::New(env);
      result["steps"] = Napi::Number::New(env, static_cast<double>(reading.steps));
      result["buckets"] = Napi::Number::New(env, static_cast<double>(reading.buckets));
      result["bytes"] = Napi::Number::New(env, static_cast<double>(reading.bytes));
      result["communicationSeconds"] = Napi::Number::New(env, reading.communication);
      result["waitedSeconds"] = Napi::Number::New(env, reading.waited);
      return result;
    });
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    shared_->abort->raise();
    return schedule(info.Env(), collectives_, [shared = shared_]() -> Result {
      const std::lock_guard<std::mutex> lock(shared->mutex);
      if (shared->group) shared->group->close();
      return nullptr;
    });
  }

  static void stop(void* object) {
    auto& self = *static_cast<ProcessGroup*>(object);
    self.shared_->abort->raise();
    self.collectives_.stop();
    self.store_.stop();
    self.gate_->close();
  }

  napi_env env_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  DetachableWorker collectives_, store_;
};

}  // namespace

Napi::Function define_process_group(Napi::Env env) { return ProcessGroup::define(env); }

std::shared_ptr<Group> group_of(const Napi::Value& value) {
  return ProcessGroup::Unwrap(value.As<Napi::Object>())->group();
}

}  // namespace repkit
