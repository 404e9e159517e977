// Between JavaScript values and C++: tensors, plans, options. Reading refuses what is missing or of another
// type with a message that names it; src/engine/torch/ has checked shapes and ranges before.
#pragma once

#include <string>
#include <vector>

#include <napi.h>

#include "executor.h"

namespace repkit {

// {shape, data}; the data is copied.
at::Tensor to_tensor(const Napi::Value& value, const std::string& what);
// Of CPU tensors in float32, float64 or int64.
Napi::Value to_js(Napi::Env env, const at::Tensor& tensor);
// [[name, tensor], ...]
Napi::Value to_js(Napi::Env env, const NamedTensors& tensors);

std::vector<int64_t> to_integers(const Napi::Value& value, const std::string& what);
Plan to_plan(const Napi::Value& value);
std::vector<Parameter> to_parameters(const Napi::Value& value);
ExecutorOptions to_options(const Napi::Value& value);
NamedTensors to_named_tensors(const Napi::Value& value, const std::string& what);

}  // namespace repkit
