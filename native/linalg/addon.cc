// What JavaScript calls (src/linalg/native.ts). Each thread that loads the addon has an instance of its own;
// nothing is shared but the arrays that are handed in.
#include <napi.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/sums.h"

namespace repkit {
namespace {

using kernels::Lines;
using kernels::Numbers;

[[noreturn]] void refuse(Napi::Env env, const std::string& message) { throw Napi::RangeError::New(env, message); }

Napi::TypedArray array_of(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray()) throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected an array");
  return value.As<Napi::TypedArray>();
}

Napi::Float64Array doubles_of(const Napi::Value& value, const char* name) {
  const auto array = array_of(value, name);
  if (array.TypedArrayType() == napi_float64_array) return array.As<Napi::Float64Array>();
  throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected a Float64Array");
}

Napi::Float32Array singles_of(const Napi::Value& value, const char* name) {
  const auto array = array_of(value, name);
  if (array.TypedArrayType() == napi_float32_array) return array.As<Napi::Float32Array>();
  throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected a Float32Array");
}

Numbers numbers_of(const Napi::Value& value, const char* name) {
  const auto array = array_of(value, name);
  switch (array.TypedArrayType()) {
    case napi_float32_array:
      return {array.As<Napi::Float32Array>().Data(), nullptr};
    case napi_float64_array:
      return {nullptr, array.As<Napi::Float64Array>().Data()};
    default:
      throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected a Float32Array or a Float64Array");
  }
}

Numbers from(Numbers numbers, size_t first) {
  if (numbers.singles != nullptr) return {numbers.singles + first, nullptr};
  return {nullptr, numbers.doubles + first};
}

int64_t integer_of(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0.5;
  if (!(number >= -9007199254740991 && number <= 9007199254740991) || number != static_cast<int64_t>(number)) {
    refuse(value.Env(), std::string(name) + ": expected an integer");
  }
  return static_cast<int64_t>(number);
}

// Every line of `count` numbers lies inside an array of `length`.
void require_inside(Napi::Env env, const char* name, const Napi::Float64Array& starts, int64_t step, int64_t count,
                    size_t length) {
  const double reach = static_cast<double>(step) * static_cast<double>(count - 1);
  const double low = reach < 0 ? -reach : 0, high = static_cast<double>(length) - (reach > 0 ? reach : 0);
  const double* start = starts.Data();
  for (size_t i = 0; i < starts.ElementLength(); i++) {
    // NaN fails as well.
    if (!(start[i] >= low && start[i] < high) || start[i] != static_cast<double>(static_cast<int64_t>(start[i]))) {
      refuse(env, std::string(name) + ": line " + std::to_string(i) + " leaves its array");
    }
  }
}

// Starting a thread takes as long as so many multiply-adds; rows are shared by whole tiles.
constexpr double kThreadWork = 4 << 20;
constexpr int64_t kThreadRows = 8;
constexpr int64_t kMostThreads = 64;

struct Free {
  void operator()(double* memory) const { std::free(memory); }
};

class Linalg : public Napi::Addon<Linalg> {
 public:
  Linalg(Napi::Env, Napi::Object exports) {
    DefineAddon(exports, {InstanceMethod("multiplyAdd", &Linalg::multiply_add),
                          InstanceMethod("addScaled", &Linalg::add_scaled),
                          InstanceMethod("addOuter", &Linalg::add_outer),
                          InstanceMethod("roundScaled", &Linalg::round_scaled),
                          InstanceMethod("round", &Linalg::round), InstanceMethod("use", &Linalg::use),
                          InstanceMethod("setThreads", &Linalg::set_threads),
                          InstanceMethod("describe", &Linalg::describe)});
  }

 private:
  // (out, out starts, out step, rows, row starts, row step, columns, column starts, column step, inner, factors)
  Napi::Value multiply_add(const Napi::CallbackInfo& info) {
    const auto env = info.Env();
    auto out = doubles_of(info[0], "out");
    const auto out_starts = doubles_of(info[1], "out starts");
    const auto row_starts = doubles_of(info[4], "row starts");
    const auto column_starts = doubles_of(info[7], "column starts");
    kernels::Product product{};
    product.rows = {numbers_of(info[3], "rows"), row_starts.Data(), integer_of(info[5], "row step")};
    product.columns = {numbers_of(info[6], "columns"), column_starts.Data(), integer_of(info[8], "column step")};
    product.row_count = static_cast<int64_t>(row_starts.ElementLength());
    product.column_count = static_cast<int64_t>(column_starts.ElementLength());
    product.inner = integer_of(info[9], "inner");
    product.out = out.Data();
    product.out_starts = out_starts.Data();
    product.out_step = integer_of(info[2], "out step");
    if (out_starts.ElementLength() != row_starts.ElementLength()) refuse(env, "out starts: one for each row");
    if (!info[10].IsUndefined()) {
      const auto factors = doubles_of(info[10], "factors");
      if (factors.ElementLength() != row_starts.ElementLength()) refuse(env, "factors: one for each row");
      product.factors = factors.Data();
    }
    if (product.row_count == 0 || product.column_count == 0 || product.inner <= 0) return env.Undefined();
    require_inside(env, "out", out_starts, product.out_step, product.column_count, out.ElementLength());
    require_inside(env, "rows", row_starts, product.rows.step, product.inner,
                   array_of(info[3], "rows").ElementLength());
    require_inside(env, "columns", column_starts, product.columns.step, product.inner,
                   array_of(info[6], "columns").ElementLength());
    run(env, product);
    return env.Undefined();
  }

  // (target, data, factors)
  Napi::Value add_scaled(const Napi::CallbackInfo& info) {
    const auto env = info.Env();
    auto target = doubles_of(info[0], "target");
    const auto data = numbers_of(info[1], "data");
    const size_t count = target.ElementLength();
    if (array_of(info[1], "data").ElementLength() != count) refuse(env, "data: as many numbers as the target has");
    const double* factors = nullptr;
    size_t row = count;
    if (!info[2].IsUndefined()) {
      const auto array = doubles_of(info[2], "factors");
      const size_t rows = array.ElementLength();
      if (rows == 0 ? count != 0 : count % rows != 0) refuse(env, "factors: one for each row");
      factors = array.Data();
      row = rows == 0 ? 0 : count / rows;
    }
    if (count > 0) {
      sums_->add_scaled(target.Data(), data, factors, static_cast<int64_t>(row), static_cast<int64_t>(count));
    }
    return env.Undefined();
  }

  // (target, weights, taps, factors)
  Napi::Value add_outer(const Napi::CallbackInfo& info) {
    const auto env = info.Env();
    auto target = doubles_of(info[0], "target");
    const auto weights = numbers_of(info[1], "weights");
    const auto taps = numbers_of(info[2], "taps");
    const auto factors = doubles_of(info[3], "factors");
    const size_t rows = factors.ElementLength();
    const size_t weight_count = array_of(info[1], "weights").ElementLength();
    const size_t tap_count = array_of(info[2], "taps").ElementLength();
    if (rows == 0 ? weight_count + tap_count > 0 : weight_count % rows + tap_count % rows > 0) {
      refuse(env, "weights and taps: as many for each factor");
    }
    const size_t row = rows == 0 ? 0 : weight_count / rows, taps_of_row = rows == 0 ? 0 : tap_count / rows;
    if (target.ElementLength() != rows * row * taps_of_row) refuse(env, "target: a number for each product");
    for (size_t r = 0; r < rows; r++) {
      sums_->add_outer(target.Data() + r * row * taps_of_row, from(weights, r * row), factors[r],
                       from(taps, r * taps_of_row), static_cast<int64_t>(row), static_cast<int64_t>(taps_of_row));
    }
    return env.Undefined();
  }

  // (data, factors, out)
  Napi::Value round_scaled(const Napi::CallbackInfo& info) {
    const auto env = info.Env();
    const auto data = numbers_of(info[0], "data");
    const auto factors = doubles_of(info[1], "factors");
    auto out = singles_of(info[2], "out");
    const size_t count = array_of(info[0], "data").ElementLength(), rows = factors.ElementLength();
    if (out.ElementLength() != count) refuse(env, "out: as many numbers as are rounded");
    if (rows == 0 ? count != 0 : count % rows != 0) refuse(env, "factors: one for each row");
    if (count > 0) {
      sums_->round_scaled(data, factors.Data(), out.Data(), static_cast<int64_t>(count / rows),
                          static_cast<int64_t>(count));
    }
    return env.Undefined();
  }

  // (numbers, out)
  Napi::Value round(const Napi::CallbackInfo& info) {
    const auto numbers = doubles_of(info[0], "numbers");
    auto out = singles_of(info[1], "out");
    if (out.ElementLength() != numbers.ElementLength()) refuse(info.Env(), "out: as many numbers as are rounded");
    sums_->round(numbers.Data(), out.Data(), static_cast<int64_t>(numbers.ElementLength()));
    return info.Env().Undefined();
  }

  // (instructions)
  Napi::Value use(const Napi::CallbackInfo& info) {
    const std::string wanted = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
    for (auto sums = kernels::usable_sums(); *sums != nullptr; sums++) {
      if (wanted != (*sums)->instructions) continue;
      sums_ = *sums;
      scratch_.clear();
      return info.Env().Undefined();
    }
    refuse(info.Env(), "instructions: this CPU has no \"" + wanted + "\"");
  }

  // (count)
  Napi::Value set_threads(const Napi::CallbackInfo& info) {
    const int64_t count = integer_of(info[0], "threads");
    if (count < 1) refuse(info.Env(), "threads: at least one");
    threads_ = count < kMostThreads ? count : kMostThreads;
    return info.Env().Undefined();
  }

  Napi::Value describe(const Napi::CallbackInfo& info) {
    const auto env = info.Env();
    const auto description = Napi::Object::New(env);
    const auto usable = Napi::Array::New(env);
    for (auto sums = kernels::usable_sums(); *sums != nullptr; sums++) {
      usable.Set(usable.Length(), (*sums)->instructions);
    }
    description.Set("instructions", sums_->instructions);
    description.Set("usable", usable);
    return description;
  }

  // Threads share the rows: each number of the product is the same sum, whoever computes it.
  void run(Napi::Env env, const kernels::Product& product) {
    const double work = static_cast<double>(product.row_count) * static_cast<double>(product.column_count) *
                        static_cast<double>(product.inner);
    const auto wanted = std::min({threads_, static_cast<int64_t>(work / kThreadWork), product.row_count / kThreadRows});
    const int64_t parts = std::max<int64_t>(1, wanted);
    reserve(env, parts);
    const int64_t tiles = (product.row_count + kThreadRows - 1) / kThreadRows;
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(parts - 1));
    for (int64_t part = parts - 1; part >= 0; part--) {
      const int64_t first = tiles * part / parts * kThreadRows;
      const int64_t end = std::min(tiles * (part + 1) / parts * kThreadRows, product.row_count);
      kernels::Product share = product;
      share.row_count = end - first;
      share.rows.starts += first;
      share.out_starts += first;
      if (share.factors != nullptr) share.factors += first;
      const auto work_on = [sums = sums_, share, scratch = scratch_[static_cast<size_t>(part)].get()] {
        sums->multiply_add(share, scratch);
      };
      try {
        if (part > 0) {
          threads.emplace_back(work_on);
          continue;
        }
      } catch (const std::exception&) {  // no more threads are to be had
      }
      work_on();
    }
    for (auto& thread : threads) thread.join();
  }

  // What is packed of one product after the other shares its memory, which costs more fresh than the packing.
  void reserve(Napi::Env env, int64_t parts) {
    while (scratch_.size() < static_cast<size_t>(parts)) {
      const size_t bytes = static_cast<size_t>(sums_->scratch_size) * sizeof(double);
      std::unique_ptr<double, Free> scratch(static_cast<double*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
      if (scratch == nullptr) refuse(env, "out of memory");
      scratch_.push_back(std::move(scratch));
    }
  }

  const kernels::Sums* sums_ = *kernels::usable_sums();
  std::vector<std::unique_ptr<double, Free>> scratch_;
  int64_t threads_ = 1;
};

NODE_API_ADDON(Linalg)

}  // namespace
}  // namespace repkit
