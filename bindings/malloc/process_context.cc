// SPDX-License-Identifier: MIT
#include "bindings/malloc/process_context.h"

#include <errno.h>
#include <mimalloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bindings/malloc/chaos.h"
#include "bindings/malloc/region_cache.h"
#include "bindings/malloc/report.h"

namespace godwit::preload {

constinit ManagedBounds managed_bounds;

namespace {

enum class State : int {
  kNotStarted,  // before the library's constructor: libgodwit.so may not be initialised
  kNone,        // the next large request makes the context
  kCreating,    // a thread makes it; requests of all threads go to the small heap
  kReady,
  kFailed,    // said so once; requests go to the small heap for good
  kDetached,  // a forked child: managed blocks are plain memory, new ones are not made
};

constinit std::atomic<State> state{State::kNotStarted};
// Written before state becomes kReady; stays in a forked child, for blocks that are freed there.
constinit std::atomic<godwit_context*> context{nullptr};
constinit bool chaos_wanted = false;

// Held from prepare to parent or child of a fork, so that no context appears in between. Also taken
// to publish one. Nothing allocates while it is held.
constinit pthread_mutex_t publication_lock = PTHREAD_MUTEX_INITIALIZER;
// Under publication_lock: godwit_fork_prepare() was called and waits for its counterpart.
constinit bool fork_prepared = false;

[[gnu::tls_model("initial-exec")]] constinit thread_local int busy = 0;

// Blocks that inside threads freed.
struct Deferred {
  void* block;
  Deferred* next;
};
constinit std::atomic<Deferred*> deferred{nullptr};

// Lost races with a migration or an eviction; each try waits for the one that was lost to.
constexpr int kRetries = 64;

template <typename Call>
int retry(Call call) noexcept {
  int code = GODWIT_RETRY;
  for (int attempt = 0; attempt < kRetries && code == GODWIT_RETRY; ++attempt) {
    if (attempt > 0) sched_yield();
    code = call();
  }
  return code;
}

void fork_prepare() noexcept {
  pthread_mutex_lock(&publication_lock);
  if (state.load(std::memory_order_acquire) != State::kReady || thread_is_inside()) return;
  ++busy;
  fork_prepared = true;
  godwit_fork_prepare(context.load(std::memory_order_relaxed));
  region_cache_fork_prepare();
}

void fork_parent() noexcept {
  if (fork_prepared) {
    region_cache_fork_parent();
    godwit_fork_parent(context.load(std::memory_order_relaxed));
    fork_prepared = false;
    --busy;
  }
  pthread_mutex_unlock(&publication_lock);
}

void fork_child() noexcept {
  chaos_after_fork_in_child();
  region_cache_fork_child();
  if (fork_prepared) {
    godwit_fork_child(context.load(std::memory_order_relaxed));
    fork_prepared = false;
    --busy;
  }
  switch (state.load(std::memory_order_relaxed)) {
    case State::kReady:
      state.store(State::kDetached, std::memory_order_relaxed);
      break;
    case State::kCreating:
      // The thread that did it is not here.
      state.store(State::kFailed, std::memory_order_relaxed);
      break;
    default:
      break;
  }
  publication_lock = PTHREAD_MUTEX_INITIALIZER;
}

// From kCreating to what came of it. A forked child has nobody to wait for it.
void settle(State made) noexcept {
  state.store(made, std::memory_order_release);
  state.notify_all();
}

godwit_context* create() noexcept {
  State expected = State::kNone;
  if (!state.compare_exchange_strong(expected, State::kCreating, std::memory_order_acq_rel)) {
    return nullptr;
  }
  const int saved = errno;
  const BusyScope scope;
  godwit_context* made = nullptr;
  const int code = godwit_context_create_from_environment(&made);
  if (code != GODWIT_OK || made == nullptr) {
    report_line("memory stays in RAM: %s", godwit_last_error());
    settle(State::kFailed);
    errno = saved;
    return nullptr;
  }
  const void* base = nullptr;
  size_t bytes = 0;
  godwit_bounds(made, &base, &bytes);
  pthread_mutex_lock(&publication_lock);
  managed_bounds.base.store(reinterpret_cast<uintptr_t>(base), std::memory_order_relaxed);
  managed_bounds.bytes.store(bytes, std::memory_order_release);
  context.store(made, std::memory_order_relaxed);
  settle(State::kReady);
  pthread_mutex_unlock(&publication_lock);
  errno = saved;
  return made;
}

[[noreturn]] void die_of_free(const void* block) noexcept {
  report_line("free(): %p is no block: freed twice, or not its start", block);
  abort();
}

void free_now(void* block) noexcept {
  godwit_context* owner = context.load(std::memory_order_acquire);
  const int code = retry([&] { return godwit_free(owner, block); });
  if (code == GODWIT_OK || state.load(std::memory_order_acquire) == State::kDetached) return;
  if (code == GODWIT_INVALID_ARGUMENT) die_of_free(block);
  // Pinned or held: its owner is done with it, so it is only a leak.
  report_line("free(): a block at %p stays allocated: %s", block, godwit_last_error());
}

// True where every page of the block is in RAM, or nowhere. Pages that are on their way, or have a
// copy in VRAM, are for the engine to give up.
bool in_ram(godwit_context* owner, const void* block, size_t bytes) noexcept {
  constexpr size_t kPage = 4096;
  uint8_t states[4096];
  const char* at = static_cast<const char*>(block);
  for (size_t left = bytes / kPage; left != 0;) {
    const size_t pages = left < sizeof(states) ? left : sizeof(states);
    if (godwit_residency(owner, at, pages * kPage, states, pages) != GODWIT_OK) return false;
    for (size_t page = 0; page < pages; ++page) {
      if (states[page] != GODWIT_PAGE_UNTOUCHED && states[page] != GODWIT_PAGE_HOST) return false;
    }
    at += pages * kPage;
    left -= pages;
  }
  return true;
}

// Free for its next use, or for good.
void free_or_keep(void* block) noexcept {
  if (state.load(std::memory_order_acquire) == State::kReady) {
    godwit_context* owner = context.load(std::memory_order_relaxed);
    const size_t bytes = godwit_size_of(owner, block);
    if (bytes != 0 && region_cache_holds(block)) die_of_free(block);
    void* victims[kMostVictims];
    // What is lent to a peer goes only when the peer has let go; only the engine asks it.
    if (bytes != 0 && !godwit_peer_lent(owner, block, bytes) && in_ram(owner, block, bytes)) {
      (void)godwit_advise(owner, block, bytes, GODWIT_ADVICE_NORMAL);
      const int gone = region_cache_put(block, bytes, victims);
      for (int index = 0; index < gone; ++index) free_now(victims[index]);
      if (gone >= 0) return;
    }
  }
  free_now(block);
}

void defer(void* block) noexcept {
  auto* node = static_cast<Deferred*>(mi_malloc(sizeof(Deferred)));
  if (node == nullptr) return;
  node->block = block;
  node->next = deferred.load(std::memory_order_relaxed);
  while (!deferred.compare_exchange_weak(node->next, node, std::memory_order_release,
                                         std::memory_order_relaxed)) {
  }
}

}  // namespace

BusyScope::BusyScope() noexcept { ++busy; }
BusyScope::~BusyScope() { --busy; }

bool thread_is_inside() noexcept { return busy != 0 || godwit_inside() != 0; }

void process_context_start(bool chaos) noexcept {
  chaos_wanted = chaos;
  // Early, so that ours is the last of the prepare handlers and the first of the others: the
  // program's own handlers may use managed memory.
  if (pthread_atfork(fork_prepare, fork_parent, fork_child) != 0) {
    report_line("memory stays in RAM: fork handlers cannot be set up");
    state.store(State::kFailed, std::memory_order_release);
    return;
  }
  state.store(State::kNone, std::memory_order_release);
}

godwit_context* process_context_get(bool create_it) noexcept {
  switch (state.load(std::memory_order_acquire)) {
    case State::kReady:
      return context.load(std::memory_order_relaxed);
    case State::kNone:
      return create_it && !thread_is_inside() ? create() : nullptr;
    default:
      return nullptr;
  }
}

godwit_context* process_context_wait() noexcept {
  if (!thread_is_inside()) state.wait(State::kCreating, std::memory_order_acquire);
  return process_context_get(true);
}

void* managed_allocate(size_t bytes, size_t alignment, bool* kept) noexcept {
  if (thread_is_inside()) return nullptr;
  godwit_context* owner = process_context_get(true);
  if (owner == nullptr) return nullptr;
  managed_free_deferred();
  void* block = region_cache_take(bytes, alignment);
  if (block != nullptr) {
    if (kept != nullptr) *kept = true;
    return block;
  }
  int code = retry([&] { return godwit_allocate(owner, bytes, alignment, &block); });
  if (code == GODWIT_OUT_OF_MEMORY && managed_trim()) {
    code = retry([&] { return godwit_allocate(owner, bytes, alignment, &block); });
  }
  if (code != GODWIT_OK) return nullptr;
  if (chaos_wanted) chaos_start(owner);
  return block;
}

void* managed_allocate_zeroed(size_t bytes) noexcept {
  bool kept = false;
  void* block = managed_allocate(bytes, 0, &kept);
  if (!kept) return block;  // new regions are zero-filled
  // In RAM a store to each byte costs less than new pages do; in VRAM (it was moved since) it would
  // first bring the old bytes home.
  if (!in_ram(context.load(std::memory_order_relaxed), block, managed_size(block)) &&
      managed_discard(block, managed_size(block)) == 0) {
    return block;
  }
  return memset(block, 0, bytes);
}

bool managed_trim() noexcept {
  bool any = false;
  while (void* block = region_cache_take_any()) {
    free_now(block);
    any = true;
  }
  return any;
}

size_t managed_size(const void* block) noexcept {
  return godwit_size_of(context.load(std::memory_order_acquire), block);
}

void managed_free(void* block) noexcept {
  if (thread_is_inside()) {
    defer(block);
    return;
  }
  managed_free_deferred();
  free_or_keep(block);
}

void managed_free_deferred() noexcept {
  if (deferred.load(std::memory_order_relaxed) == nullptr) [[likely]]
    return;
  if (thread_is_inside()) return;
  Deferred* node = deferred.exchange(nullptr, std::memory_order_acquire);
  while (node != nullptr) {
    Deferred* next = node->next;
    free_or_keep(node->block);
    mi_free(node);
    node = next;
  }
}

int managed_discard(void* base, size_t bytes) noexcept {
  godwit_context* owner = context.load(std::memory_order_acquire);
  const int code = retry([&] { return godwit_discard(owner, base, bytes); });
  if (code == GODWIT_OK) return 0;
  if (state.load(std::memory_order_acquire) == State::kDetached) {
    return syscall(SYS_madvise, base, bytes, MADV_DONTNEED) == 0 ? 0 : errno;
  }
  switch (code) {
    case GODWIT_RETRY:
    case GODWIT_BUSY:
      return EAGAIN;
    case GODWIT_OUT_OF_MEMORY:
      return ENOMEM;
    case GODWIT_IO:
    case GODWIT_DEVICE_LOST:
      return EIO;
    default:
      return EINVAL;
  }
}

}  // namespace godwit::preload
