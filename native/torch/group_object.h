// The class `ProcessGroup` of the addon.
#pragma once

#include <memory>

#include <napi.h>

#include "group.h"

namespace repkit {

Napi::Function define_process_group(Napi::Env env);
// Of an object of that class; throws std::invalid_argument where it is not connected.
std::shared_ptr<Group> group_of(const Napi::Value& value);

}  // namespace repkit
