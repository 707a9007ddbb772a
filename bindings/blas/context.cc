// SPDX-License-Identifier: MIT
#include "bindings/blas/context.h"

#include <pthread.h>

#include <atomic>
#include <mutex>

#include "bindings/blas/settings.h"

extern "C" {
// Exported by libgodwit_malloc.so where that is loaded.
godwit_context* godwit_malloc_context(int create) __attribute__((weak));
}

namespace godwit::blas {
namespace {

// Never destroyed: other threads may multiply matrices until the process is gone.
constinit std::atomic<godwit_context*> own_context{nullptr};
constinit std::atomic<bool> forked{false};
constinit std::mutex making;
constinit bool failed = false;  // under making
// Set by the thread that forks, for the two handlers after it.
constinit godwit_context* prepared = nullptr;

// A driver may fork while the device is made, on the thread that holds what preparing would wait
// for. That child is for a helper program; in a child of a child nothing is left to prepare.
bool forks_unprepared() noexcept { return godwit_inside() != 0 || forked.load(); }

void before_fork() noexcept {
  if (forks_unprepared()) return;
  making.lock();
  prepared = own_context.load();
  if (prepared != nullptr) godwit_fork_prepare(prepared);
}

void after_fork_in_parent() noexcept {
  if (forks_unprepared()) return;
  if (prepared != nullptr) godwit_fork_parent(prepared);
  making.unlock();
}

void after_fork_in_child() noexcept {
  if (!forks_unprepared()) {
    if (prepared != nullptr) godwit_fork_child(prepared);
    making.unlock();
  }
  forked.store(true);
}

[[gnu::constructor]] void watch_forks() {
  (void)::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

godwit_context* make_own(const char** why) noexcept {
  const std::lock_guard lock(making);
  godwit_context* existing = own_context.load();
  if (existing != nullptr) return existing;
  if (failed) {
    *why = "no context could be made";
    return nullptr;
  }
  godwit_context* made = nullptr;
  if (godwit_context_create_from_environment(&made) != GODWIT_OK) {
    failed = true;
    *why = godwit_last_error();
    say("matrix products are left to the BLAS that is loaded: %s", *why);
    return nullptr;
  }
  own_context.store(made);
  return made;
}

}  // namespace

godwit_context* context(bool create, const char** why) noexcept {
  if (forked.load(std::memory_order_relaxed)) {
    *why = "this process is a child of fork and has no device";
    return nullptr;
  }
  if (&godwit_malloc_context != nullptr) {
    godwit_context* theirs = godwit_malloc_context(create ? 1 : 0);
    if (theirs == nullptr) *why = "the malloc replacement has no context";
    return theirs;
  }
  godwit_context* own = own_context.load(std::memory_order_acquire);
  if (own == nullptr && create) own = make_own(why);
  if (own == nullptr && !create) *why = "no context has been made";
  return own;
}

}  // namespace godwit::blas
