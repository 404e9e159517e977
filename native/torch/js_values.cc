#include "js_values.h"

#include <cstring>
#include <map>

namespace repkit {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& expected) {
  throw std::invalid_argument(what + ": expected " + expected);
}

Napi::Object object_of(const Napi::Value& value, const std::string& what) {
  if (!value.IsObject()) refuse(what, "an object");
  return value.As<Napi::Object>();
}

Napi::Array array_of(const Napi::Value& value, const std::string& what) {
  if (!value.IsArray()) refuse(what, "an array");
  return value.As<Napi::Array>();
}

double number_of(const Napi::Value& value, const std::string& what) {
  if (!value.IsNumber()) refuse(what, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer_of(const Napi::Value& value, const std::string& what) {
  if (!value.IsNumber()) refuse(what, "a whole number");
  return value.As<Napi::Number>().Int64Value();
}

bool boolean_of(const Napi::Value& value, const std::string& what) {
  if (!value.IsBoolean()) refuse(what, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string string_of(const Napi::Value& value, const std::string& what) {
  if (!value.IsString()) refuse(what, "a string");
  return value.As<Napi::String>().Utf8Value();
}

// The attributes of one JavaScript object, each read into a variable; absent ones leave it as it is.
class Fields {
 public:
  Fields(const Napi::Value& value, std::string what) : object_(object_of(value, what)), what_(std::move(what)) {}

  Napi::Value operator[](const char* name) const { return object_.Get(name); }
  std::string path(const char* name) const { return what_ + "." + name; }

  void read(const char* name, int64_t& target) const { read_with(name, target, integer_of); }
  void read(const char* name, int& target) const {
    int64_t wide = target;
    read(name, wide);
    target = static_cast<int>(wide);
  }
  void read(const char* name, double& target) const { read_with(name, target, number_of); }
  void read(const char* name, bool& target) const { read_with(name, target, boolean_of); }
  void read(const char* name, std::string& target) const { read_with(name, target, string_of); }
  void read(const char* name, std::vector<int64_t>& target) const { read_with(name, target, to_integers); }
  void read(const char* name, std::optional<double>& target) const {
    if (has(name)) target = number_of((*this)[name], path(name));
  }
  void read(const char* name, std::vector<double>& target) const {
    if (!has(name)) return;
    const auto entries = array_of((*this)[name], path(name));
    target.clear();
    for (uint32_t i = 0; i < entries.Length(); i++) target.push_back(number_of(entries[i], path(name)));
  }
  template <size_t count>
  void read(const char* name, std::array<int64_t, count>& target) const {
    if (!has(name)) return;
    const auto values = to_integers((*this)[name], path(name));
    if (values.size() != count) refuse(path(name), std::to_string(count) + " numbers");
    std::copy(values.begin(), values.end(), target.begin());
  }

 private:
  bool has(const char* name) const { return !(*this)[name].IsUndefined(); }

  template <typename T>
  void read_with(const char* name, T& target, T (*reader)(const Napi::Value&, const std::string&)) const {
    if (has(name)) target = reader((*this)[name], path(name));
  }

  Napi::Object object_;
  std::string what_;
};

const std::map<std::string, StepKind>& step_kinds() {
  static const std::map<std::string, StepKind> kinds = {
      {"input", StepKind::input},
      {"conv2d", StepKind::conv2d},
      {"batchNorms", StepKind::batch_norms},
      {"relu", StepKind::relu},
      {"silu", StepKind::silu},
      {"sigmoid", StepKind::sigmoid},
      {"maxPool", StepKind::max_pool},
      {"avgPool", StepKind::avg_pool},
      {"globalAvgPool", StepKind::global_avg_pool},
      {"flatten", StepKind::flatten},
      {"linear", StepKind::linear},
      {"add", StepKind::add},
      {"mul", StepKind::mul},
      {"concat", StepKind::concat},
      {"sub", StepKind::sub},
      {"inverseStd", StepKind::inverse_std},
      {"scale", StepKind::scale},
      {"einsum", StepKind::einsum},
      {"embed", StepKind::embed},
      {"composeKernels", StepKind::compose_kernels},
      {"reshape", StepKind::reshape},
      {"select", StepKind::select},
      {"detach", StepKind::detach},
      {"kernelSum", StepKind::kernel_sum},
  };
  return kinds;
}

BranchSlots to_branch(const Napi::Value& value) {
  const Fields fields(value, "branch");
  BranchSlots branch{-1, -1, -1, -1, -1, -1, 0, 0};
  fields.read("x", branch.x);
  fields.read("gamma", branch.gamma);
  fields.read("beta", branch.beta);
  fields.read("runningMean", branch.running_mean);
  fields.read("runningVar", branch.running_var);
  fields.read("counter", branch.counter);
  fields.read("eps", branch.eps);
  fields.read("momentum", branch.momentum);
  return branch;
}

Step to_step(const Napi::Value& value) {
  const Fields fields(value, "step");
  std::string kind;
  fields.read("kind", kind);
  const auto found = step_kinds().find(kind);
  if (found == step_kinds().end()) refuse("step.kind", "a known kind, received \"" + kind + "\"");
  Step step;
  step.kind = found->second;
  fields.read("output", step.output);
  fields.read("inputs", step.inputs);
  fields.read("release", step.release);
  fields.read("kernel", step.kernel);
  fields.read("stride", step.stride);
  fields.read("dilation", step.dilation);
  fields.read("offset", step.offset);
  fields.read("padding", step.padding);
  if (step.kind == StepKind::embed) {
    const Fields groups(fields["groups"], "step.groups");
    groups.read("from", step.groups_from);
    groups.read("to", step.groups_to);
  } else {
    fields.read("groups", step.groups);
  }
  fields.read("index", step.index);
  fields.read("eps", step.eps);
  fields.read("relu", step.relu);
  fields.read("countIncludePad", step.count_include_pad);
  fields.read("correlate", step.correlate);
  fields.read("shape", step.shape);
  fields.read("mean", step.mean);
  fields.read("std", step.std);
  fields.read("equation", step.equation);
  fields.read("denseTerms", step.dense_terms);
  fields.read("outerTerms", step.outer_terms);
  if (step.kind == StepKind::batch_norms) {
    const auto branches = array_of(fields["branches"], "step.branches");
    for (uint32_t i = 0; i < branches.Length(); i++) step.branches.push_back(to_branch(branches[i]));
  }
  return step;
}

std::vector<Step> to_steps(const Napi::Value& value, const std::string& what) {
  const auto entries = array_of(value, what);
  std::vector<Step> steps;
  for (uint32_t i = 0; i < entries.Length(); i++) steps.push_back(to_step(entries[i]));
  return steps;
}

// Slots are indices into memory: none may point outside.
void check_slots(const Plan& plan) {
  const auto check = [&](int64_t slot, bool optional = false) {
    if (slot < (optional ? -1 : 0) || slot >= plan.slots) refuse("plan", "slots below " + std::to_string(plan.slots));
  };
  for (const auto* steps : {&plan.weights, &plan.activations, &plan.penalties}) {
    for (const auto& step : *steps) {
      check(step.output);
      for (const auto slot : step.inputs) check(slot);
      for (const auto slot : step.release) check(slot);
      for (const auto& b : step.branches) {
        for (const auto slot : {b.x, b.gamma, b.beta, b.running_mean, b.running_var}) check(slot);
        check(b.counter, true);
      }
    }
  }
  for (const auto slot : plan.parameter_slots) check(slot, true);
  for (const auto& constant : plan.constants) check(constant.first);
  for (const auto slot : plan.boundaries) check(slot);
  for (const auto& output : plan.outputs) check(output.slot);
}

}  // namespace

std::vector<int64_t> to_integers(const Napi::Value& value, const std::string& what) {
  const auto entries = array_of(value, what);
  std::vector<int64_t> result;
  for (uint32_t i = 0; i < entries.Length(); i++) result.push_back(integer_of(entries[i], what));
  return result;
}

at::Tensor to_tensor(const Napi::Value& value, const std::string& what) {
  const Fields fields(value, what);
  std::vector<int64_t> shape;
  fields.read("shape", shape);
  if (!fields["data"].IsTypedArray()) refuse(what + ".data", "a typed array");
  const auto array = fields["data"].As<Napi::TypedArray>();
  at::ScalarType type;
  switch (array.TypedArrayType()) {
    case napi_uint8_array:
      type = at::kByte;
      break;
    case napi_int32_array:
      type = at::kInt;
      break;
    case napi_float32_array:
      type = at::kFloat;
      break;
    case napi_float64_array:
      type = at::kDouble;
      break;
    case napi_bigint64_array:
      type = at::kLong;
      break;
    default:
      refuse(what + ".data", "bytes, int32, int64, float32 or float64");
  }
  auto tensor = at::empty(shape, type);
  if (tensor.nbytes() != array.ByteLength()) refuse(what + ".data", std::to_string(tensor.nbytes()) + " bytes");
  // Not by way of array.ArrayBuffer(), which refuses memory that threads share.
  void* bytes = nullptr;
  const auto status = napi_get_typedarray_info(value.Env(), array, nullptr, nullptr, &bytes, nullptr, nullptr);
  if (status != napi_ok || (bytes == nullptr && tensor.nbytes() > 0)) refuse(what + ".data", "readable memory");
  if (tensor.nbytes() > 0) std::memcpy(tensor.data_ptr(), bytes, tensor.nbytes());
  return tensor;
}

Napi::Value to_js(Napi::Env env, const at::Tensor& tensor) {
  auto buffer = Napi::ArrayBuffer::New(env, tensor.nbytes());
  if (tensor.nbytes() > 0) std::memcpy(buffer.Data(), tensor.data_ptr(), tensor.nbytes());
  auto shape = Napi::Array::New(env, tensor.dim());
  for (int64_t i = 0; i < tensor.dim(); i++) shape[static_cast<uint32_t>(i)] = Napi::Number::New(env, tensor.size(i));
  auto result = Napi::Object::New(env);
  result["shape"] = shape;
  const size_t count = tensor.numel();
  switch (tensor.scalar_type()) {
    case at::kFloat:
      result["data"] = Napi::Float32Array::New(env, count, buffer, 0);
      break;
    case at::kDouble:
      result["data"] = Napi::Float64Array::New(env, count, buffer, 0);
      break;
    case at::kLong:
      result["data"] = Napi::BigInt64Array::New(env, count, buffer, 0);
      break;
    default:
      refuse("result", "float32, float64 or int64");
  }
  return result;
}

Napi::Value to_js(Napi::Env env, const NamedTensors& tensors) {
  auto result = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); i++) {
    auto entry = Napi::Array::New(env, 2);
    entry[0u] = Napi::String::New(env, tensors[i].first);
    entry[1u] = to_js(env, tensors[i].second);
    result[i] = entry;
  }
  return result;
}

NamedTensors to_named_tensors(const Napi::Value& value, const std::string& what) {
  const auto entries = array_of(value, what);
  NamedTensors result;
  for (uint32_t i = 0; i < entries.Length(); i++) {
    const auto entry = array_of(entries[i], what);
    auto name = string_of(entry[0u], what);
    auto tensor = to_tensor(entry[1u], name);
    result.emplace_back(std::move(name), std::move(tensor));
  }
  return result;
}

Plan to_plan(const Napi::Value& value) {
  const Fields fields(value, "plan");
  Plan plan;
  fields.read("slots", plan.slots);
  fields.read("parameterSlots", plan.parameter_slots);
  fields.read("boundaries", plan.boundaries);
  const auto constants = array_of(fields["constants"], "plan.constants");
  for (uint32_t i = 0; i < constants.Length(); i++) {
    const Napi::Value entry = constants[i];
    int64_t slot = -1;
    Fields(entry, "constant").read("slot", slot);
    plan.constants.emplace_back(slot, to_tensor(entry, "constant"));
  }
  plan.weights = to_steps(fields["weights"], "plan.weights");
  plan.activations = to_steps(fields["activations"], "plan.activations");
  plan.penalties = to_steps(fields["penalties"], "plan.penalties");
  const auto outputs = array_of(fields["outputs"], "plan.outputs");
  for (uint32_t i = 0; i < outputs.Length(); i++) {
    const Fields entry(outputs[i], "output");
    Output output{"", -1, false};
    entry.read("name", output.name);
    entry.read("slot", output.slot);
    entry.read("weight", output.weight);
    plan.outputs.push_back(output);
  }
  check_slots(plan);
  return plan;
}

std::vector<Parameter> to_parameters(const Napi::Value& value) {
  const auto entries = array_of(value, "parameters");
  std::vector<Parameter> result;
  for (uint32_t i = 0; i < entries.Length(); i++) {
    const Napi::Value entry = entries[i];
    const Fields fields(entry, "parameter");
    Parameter parameter{"", false, {}};
    fields.read("name", parameter.name);
    fields.read("trainable", parameter.trainable);
    fields.read("lrMultiplier", parameter.lr_multiplier);
    fields.read("weightDecay", parameter.weight_decay);
    parameter.value = to_tensor(entry, parameter.name);
    result.push_back(std::move(parameter));
  }
  return result;
}

ExecutorOptions to_options(const Napi::Value& value) {
  const Fields fields(value, "options");
  ExecutorOptions options;
  std::string precision = "fp32";
  fields.read("device", options.device);
  fields.read("precision", precision);
  static const std::map<std::string, Precision> precisions = {
      {"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}, {"fp64", Precision::fp64}};
  const auto found = precisions.find(precision);
  if (found == precisions.end()) refuse("options.precision", "fp32, tf32, bf16 or fp64");
  options.precision = found->second;
  fields.read("threads", options.threads);
  fields.read("deterministic", options.deterministic);
  fields.read("checkFinite", options.check_finite);
  fields.read("momentum", options.sgd.momentum);
  fields.read("nesterov", options.sgd.nesterov);
  fields.read("clipNorm", options.sgd.clip_norm);
  fields.read("labelSmoothing", options.label_smoothing);
  fields.read("auxiliaryWeight", options.auxiliary_weight);
  fields.read("penaltyWeight", options.penalty_weight);
  fields.read("emaDecay", options.ema_decay);
  return options;
}

}  // namespace repkit
