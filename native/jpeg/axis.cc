#include "axis.h"

#include <algorithm>
#include <cmath>

namespace repkit {
namespace {

struct Range {
  int64_t low, high;
};

}  // namespace

void Axis::plan(int64_t in, int64_t out, int64_t first, int64_t count) {
  outputs = count;
  is_identity = in == out;
  if (is_identity) {
    begin = first;
    end = first + count;
    return;
  }
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = std::max(scale, 1.0);
  const double inverse = 1 / support;  // Pillow multiplies by it: the same doubles
  const auto center_of = [&](int64_t i) { return (static_cast<double>(first + i) + 0.5) * scale; };
  const auto inputs_of = [&](int64_t i) {
    const double center = center_of(i);
    return Range{std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5)),
                 std::min(in, static_cast<int64_t>(center + support + 0.5))};
  };

  begin = inputs_of(0).low;
  end = inputs_of(count - 1).high;
  taps = 0;
  for (int64_t i = 0; i < count; i++) {
    const auto [low, high] = inputs_of(i);
    taps = std::max(taps, high - low);
  }
  starts.resize(count);
  weights.assign(count * taps, 0);
  scratch.resize(taps);
  for (int64_t i = 0; i < count; i++) {
    const double center = center_of(i);
    const auto [low, high] = inputs_of(i);
    double sum = 0;
    for (int64_t k = low; k < high; k++) {
      const double distance = std::abs((static_cast<double>(k) - center + 0.5) * inverse);
      sum += scratch[k - low] = distance < 1 ? 1 - distance : 0;
    }
    const int64_t start = std::min(low, end - taps);
    starts[i] = start - begin;
    int32_t* row = weights.data() + i * taps + (low - start);
    for (int64_t k = 0; k < high - low; k++) {
      row[k] = static_cast<int32_t>(0.5 + scratch[k] / sum * (1 << kPrecisionBits));
    }
  }
}

}  // namespace repkit
