#include "profile.h"

#include <algorithm>
#include <chrono>
#include <map>

#include <ATen/record_function.h>

namespace repkit {
namespace {

using Clock = std::chrono::steady_clock;

struct Open {
  std::string name;
  Clock::time_point start;
  double children = 0;
};

struct Recording {
  std::vector<Open> open;
  std::map<std::string, ProfileRow> rows;
};

// ATen calls back through plain function pointers.
thread_local Recording* recording = nullptr;

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& function) {
  if (recording != nullptr) recording->open.push_back({function.name(), Clock::now()});
  return nullptr;
}

void leave(const at::RecordFunction&, at::ObserverContext*) {
  if (recording == nullptr || recording->open.empty()) return;
  const auto op = std::move(recording->open.back());
  recording->open.pop_back();
  const double seconds = std::chrono::duration<double>(Clock::now() - op.start).count();
  auto& row = recording->rows.emplace(op.name, ProfileRow{op.name, 0, 0}).first->second;
  row.calls++;
  row.seconds += seconds - op.children;
  if (!recording->open.empty()) recording->open.back().children += seconds;
}

}  // namespace

std::vector<ProfileRow> profile(const std::function<void()>& work) {
  Recording result;
  struct Listening {
    explicit Listening(Recording& target) {
      recording = &target;
      handle = at::addThreadLocalCallback(at::RecordFunctionCallback(&enter, &leave));
    }
    ~Listening() {
      at::removeCallback(handle);
      recording = nullptr;
    }
    at::CallbackHandle handle;
  };
  {
    const Listening listening(result);
    work();
  }
  std::vector<ProfileRow> rows;
  for (auto& [name, row] : result.rows) rows.push_back(row);
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace repkit
