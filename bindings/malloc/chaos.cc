// SPDX-License-Identifier: MIT
#include "bindings/malloc/chaos.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <atomic>

#include "bindings/malloc/process_context.h"
#include "bindings/malloc/report.h"
#include "bindings/malloc/thread_calls.h"

namespace godwit::preload {
namespace {

constexpr int kRegionsAtOnce = 8;
constexpr int64_t kPauseNanoseconds = 1'000'000;
// A program that exits waits that long for a move to end; the kernel ends it in any case.
constexpr int kStopSeconds = 5;

constinit std::atomic<bool> started{false};
constinit pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
constinit pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
// Under lock.
constinit bool running = false;
constinit bool stopping = false;

timespec deadline_after(int64_t nanoseconds) noexcept {
  timespec deadline{};
  clock_gettime(CLOCK_REALTIME, &deadline);
  nanoseconds += deadline.tv_nsec;
  deadline.tv_sec += static_cast<time_t>(nanoseconds / 1'000'000'000);
  deadline.tv_nsec = static_cast<decltype(deadline.tv_nsec)>(nanoseconds % 1'000'000'000);
  return deadline;
}

// Sleeps for a pause; false when the thread is to end.
bool pause_a_moment() noexcept {
  const timespec deadline = deadline_after(kPauseNanoseconds);
  pthread_mutex_lock(&lock);
  while (!stopping && pthread_cond_timedwait(&changed, &lock, &deadline) != ETIMEDOUT) {
  }
  const bool go_on = !stopping;
  pthread_mutex_unlock(&lock);
  return go_on;
}

// Moves in flight at exit would use a device whose driver has ended.
void stop_at_exit() noexcept {
  const timespec deadline = deadline_after(int64_t{kStopSeconds} * 1'000'000'000);
  pthread_mutex_lock(&lock);
  stopping = true;
  pthread_cond_broadcast(&changed);
  while (running && pthread_cond_timedwait(&changed, &lock, &deadline) != ETIMEDOUT) {
  }
  pthread_mutex_unlock(&lock);
}

void* run(void* argument) noexcept {
  auto* context = static_cast<godwit_context*>(argument);
  godwit_inside_enter();
  bool device_made = false;
  const void* from = nullptr;
  while (pause_a_moment()) {
    for (int count = 0; count < kRegionsAtOnce; ++count) {
      void* base = nullptr;
      size_t bytes = 0;
      if (godwit_next_region(context, from, &base, &bytes) != GODWIT_OK || bytes == 0) {
        from = nullptr;
        break;
      }
      from = static_cast<const char*>(base) + bytes;
      // The region may be gone by now: that is an error code, and no concern of ours.
      const int code = godwit_prefetch(context, base, bytes, GODWIT_DEVICE, nullptr);
      if (!device_made && code == GODWIT_OK) {
        device_made = true;
        // Handlers run last in, first out: this one precedes those that the device's driver set.
        atexit(stop_at_exit);
      }
    }
  }
  pthread_mutex_lock(&lock);
  running = false;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return nullptr;
}

}  // namespace

void chaos_start(godwit_context* context) noexcept {
  if (started.load(std::memory_order_relaxed)) [[likely]]
    return;
  if (started.exchange(true, std::memory_order_acq_rel)) return;
  const int saved = errno;
  const BusyScope busy;
  atexit(stop_at_exit);
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_mutex_lock(&lock);
  pthread_t thread;
  running = next_pthread_create(&thread, &attributes, run, context) == 0;
  if (!running) report_line("GODWIT_CHAOS=evict: no thread can be started; there is no chaos");
  pthread_mutex_unlock(&lock);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  errno = saved;
}

void chaos_after_fork_in_child() noexcept {
  lock = PTHREAD_MUTEX_INITIALIZER;
  changed = PTHREAD_COND_INITIALIZER;
  running = false;
}

}  // namespace godwit::preload
