#include "allocator.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace repkit {
namespace {

constexpr size_t alignment = 64;
constexpr size_t page = 4096;
constexpr size_t huge_page = size_t{2} << 20;
// Below this, malloc's own free lists do as well.
constexpr size_t smallest_cached = size_t{256} << 10;
// A cached block may serve a request that leaves an eighth of it unused.
constexpr size_t slack = 8;

class BlockCache {
 public:
  void* take(size_t bytes) {
    const size_t size = rounded(bytes);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = free_.lower_bound(size);
      if (found != free_.end() && found->first <= size + size / slack) {
        void* block = found->second;
        used_.emplace(block, found->first);
        in_use_ += found->first;
        cached_ -= found->first;
        free_.erase(found);
        return block;
      }
    }
    // Sizes that no longer come back (another batch size) would pile up.
    if (holds_too_much(size)) release();
    void* block = allocate(size);
    if (block == nullptr) {
      release();
      block = allocate(size);
    }
    TORCH_CHECK(block != nullptr, "out of memory: no ", bytes, " bytes to be had");
    const std::lock_guard<std::mutex> lock(mutex_);
    used_.emplace(block, size);
    in_use_ += size;
    peak_ = std::max(peak_, in_use_);
    return block;
  }

  // False where the block is not one of these.
  bool give_back(void* block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = used_.find(block);
    if (found == used_.end()) return false;
    free_.emplace(found->second, block);
    in_use_ -= found->second;
    cached_ += found->second;
    used_.erase(found);
    return true;
  }

  void release() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [size, block] : free_) std::free(block);
    free_.clear();
    cached_ = 0;
    peak_ = in_use_;
  }

  MemoryUse use() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return {in_use_, cached_};
  }

 private:
  // In a steady state nothing is missed, and all blocks together are what was in use at once.
  bool holds_too_much(size_t more) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return cached_ > 0 && in_use_ + cached_ + more > peak_ + peak_ / 4;
  }

  static size_t rounded(size_t bytes) {
    const size_t unit = bytes >= 2 * huge_page ? huge_page : size_t{64} << 10;
    return (bytes + unit - 1) / unit * unit;
  }

  static void* allocate(size_t size) {
    void* block = nullptr;
    if (posix_memalign(&block, size >= 2 * huge_page ? huge_page : page, size) != 0) return nullptr;
#ifdef __linux__
    if (size >= 2 * huge_page) madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> free_;
  std::unordered_map<void*, size_t> used_;
  size_t in_use_ = 0, cached_ = 0, peak_ = 0;
};

BlockCache& cache() {
  // Never destroyed: tensors may outlive static objects.
  static auto* blocks = new BlockCache();
  return *blocks;
}

// Large blocks lie on page boundaries, which spares most small ones the search.
void free_block(void* block) {
  if (reinterpret_cast<uintptr_t>(block) % page == 0 && cache().give_back(block)) return;
  std::free(block);
}

c10::DataPtr allocate_block(size_t bytes) {
  void* block = nullptr;
  if (bytes >= smallest_cached) {
    block = cache().take(bytes);
  } else if (bytes > 0) {
    TORCH_CHECK(posix_memalign(&block, alignment, bytes) == 0, "out of memory: no ", bytes, " bytes to be had");
  }
  return {block, block, &free_block, c10::Device(c10::DeviceType::CPU)};
}

// `allocate` is const in libtorch 1.13 and is not in later versions, which also ask for copy_data; so one
// of these overrides nothing, and `override` cannot be written.
template <typename Method>
class CachingAllocator;

template <>
class CachingAllocator<c10::DataPtr (c10::Allocator::*)(size_t) const> : public c10::Allocator {
  c10::DataPtr allocate(size_t bytes) const { return allocate_block(bytes); }
  c10::DeleterFnPtr raw_deleter() const { return &free_block; }
};

template <>
class CachingAllocator<c10::DataPtr (c10::Allocator::*)(size_t)> : public c10::Allocator {
  c10::DataPtr allocate(size_t bytes) { return allocate_block(bytes); }
  c10::DeleterFnPtr raw_deleter() const { return &free_block; }
  virtual void copy_data(void* to, const void* from, size_t bytes) const { std::memcpy(to, from, bytes); }
};

}  // namespace

void install_caching_allocator() {
  static const bool once = [] {
    c10::SetCPUAllocator(new CachingAllocator<decltype(&c10::Allocator::allocate)>(), 1);
    return true;
  }();
  (void)once;
}

void release_cached_memory() { cache().release(); }

MemoryUse memory_use() { return cache().use(); }

}  // namespace repkit
