// Where the time of a call goes, by ATen op.
#pragma once

#include <functional>
#include <vector>

#include "executor.h"

namespace repkit {

// Runs `work` on this thread and times the ops that it and its backward pass call. A row's seconds leave out
// the ops that it calls. Longest first.
std::vector<ProfileRow> profile(const std::function<void()>& work);

}  // namespace repkit
