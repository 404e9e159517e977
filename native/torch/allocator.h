// Keeps the memory of large CPU tensors for the next step. A training step asks for the same sizes every
// time; from malloc each would be fresh pages, zeroed by the kernel on first touch, which takes longer
// than many an op that fills them.
#pragma once

#include <cstddef>

namespace repkit {

// Makes it ATen's CPU allocator; once per process.
void install_caching_allocator();

// Gives unused blocks back to the system.
void release_cached_memory();

struct MemoryUse {
  size_t in_use, cached;  // bytes of large blocks
};
MemoryUse memory_use();

}  // namespace repkit
