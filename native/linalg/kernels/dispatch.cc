#include "sums.h"

namespace repkit::kernels {

const Sums* const* usable_sums() {
#if defined(__x86_64__)
  static const Sums* const all[] = {&isa_avx512::sums, &isa_avx2::sums, &isa_default::sums, nullptr};
  if (__builtin_cpu_supports("avx512f")) return all;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? all + 1 : all + 2;
#else
  static const Sums* const all[] = {&isa_default::sums, nullptr};
  return all;
#endif
}

}  // namespace repkit::kernels
