#include "passes.h"

namespace repkit::kernels {

#if defined(__x86_64__)
const Passes& best_passes() {
  return __builtin_cpu_supports("avx2") ? isa_avx2::passes : isa_default::passes;
}
#else
const Passes& best_passes() { return isa_default::passes; }
#endif

}  // namespace repkit::kernels
