// SPDX-License-Identifier: MIT
#include "bindings/malloc/region_cache.h"

#include <pthread.h>
#include <stdint.h>

namespace godwit::preload {
namespace {

struct Kept {
  void* block;
  size_t bytes;
};

// In the order of their frees, the oldest first. Few enough that a walk costs less than the lock.
constinit pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
constinit Kept kept[kMostVictims] = {};
constinit int count = 0;
constinit size_t kept_bytes = 0;
constinit size_t limit = 0;

class Guard {
 public:
  Guard() noexcept { pthread_mutex_lock(&lock); }
  ~Guard() { pthread_mutex_unlock(&lock); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
};

void* remove(int index) noexcept {
  void* block = kept[index].block;
  kept_bytes -= kept[index].bytes;
  --count;
  for (int at = index; at < count; ++at) kept[at] = kept[at + 1];
  return block;
}

}  // namespace

void region_cache_start(size_t bytes) noexcept { limit = bytes; }

void* region_cache_take(size_t bytes, size_t alignment) noexcept {
  const size_t mask = alignment == 0 ? 0 : alignment - 1;
  const Guard guard;
  int best = -1;
  for (int index = 0; index < count; ++index) {
    const Kept& entry = kept[index];
    if (entry.bytes < bytes || entry.bytes - bytes > bytes / 4) continue;
    if ((reinterpret_cast<uintptr_t>(entry.block) & mask) != 0) continue;
    // Of equals the youngest: its pages are the likeliest to be in the caches.
    if (best < 0 || entry.bytes <= kept[best].bytes) best = index;
  }
  return best < 0 ? nullptr : remove(best);
}

int region_cache_put(void* block, size_t bytes, void* (&victims)[kMostVictims]) noexcept {
  // One block must not drive out all others.
  if (bytes > limit / 2) return -1;
  const Guard guard;
  int gone = 0;
  while (count == kMostVictims || kept_bytes + bytes > limit) victims[gone++] = remove(0);
  kept[count++] = {block, bytes};
  kept_bytes += bytes;
  return gone;
}

bool region_cache_holds(const void* block) noexcept {
  const Guard guard;
  for (int index = 0; index < count; ++index) {
    if (kept[index].block == block) return true;
  }
  return false;
}

void* region_cache_take_any() noexcept {
  const Guard guard;
  return count == 0 ? nullptr : remove(count - 1);
}

void region_cache_fork_prepare() noexcept { pthread_mutex_lock(&lock); }
void region_cache_fork_parent() noexcept { pthread_mutex_unlock(&lock); }
void region_cache_fork_child() noexcept {
  lock = PTHREAD_MUTEX_INITIALIZER;
  // The child's requests are not for managed memory, so nobody would take them.
  count = 0;
  kept_bytes = 0;
  limit = 0;
}

}  // namespace godwit::preload
