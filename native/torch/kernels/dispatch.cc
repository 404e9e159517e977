// Chooses the instruction set of the loops once per process.
#include <cstdlib>
#include <cstring>

#include "batch_norm_kernels.h"
#include "kernel_sum_kernels.h"

namespace repkit::kernels {
namespace {

enum class Isa { baseline, avx2, avx512 };

#if defined(__x86_64__)
Isa choose() {
  const char* limit = std::getenv("REPKIT_ISA");
  const auto allowed = [limit](const char* isa) {
    return limit == nullptr || *limit == '\0' || std::strcmp(limit, isa) == 0;
  };
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512 && allowed("avx512")) return Isa::avx512;
  if (avx2 && (allowed("avx2") || allowed("avx512"))) return Isa::avx2;
  return Isa::baseline;
}
#else
Isa choose() { return Isa::baseline; }
#endif

Isa chosen() {
  static const Isa isa = choose();
  return isa;
}

}  // namespace

#if defined(__x86_64__)
const KernelSet& batch_norm_kernels() {
  if (chosen() == Isa::avx512) return isa_avx512::kernel_set;
  return chosen() == Isa::avx2 ? isa_avx2::kernel_set : isa_default::kernel_set;
}

const KernelSumSet& kernel_sum_kernels() {
  if (chosen() == Isa::avx512) return isa_avx512::kernel_sum_set;
  return chosen() == Isa::avx2 ? isa_avx2::kernel_sum_set : isa_default::kernel_sum_set;
}
#else
const KernelSet& batch_norm_kernels() { return isa_default::kernel_set; }
const KernelSumSet& kernel_sum_kernels() { return isa_default::kernel_sum_set; }
#endif

}  // namespace repkit::kernels
