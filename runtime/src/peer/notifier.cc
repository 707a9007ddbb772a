// SPDX-License-Identifier: MIT
// The peer thread: callbacks run there, so that a peer which does not return makes its own pages
// stay and no mover hang.
#include <pthread.h>
#include <signal.h>

#include <cstring>
#include <memory>
#include <string>

#include "runtime/src/base/inside.h"
#include "runtime/src/peer/registry.h"

namespace godwit::peer {
namespace {

// For a callback that is still running when the context goes; then the thread is left to itself.
constexpr std::chrono::seconds kLastPatience{10};

}  // namespace

/// With the lock.
Result<> Registry::start_thread() {
  if (thread_started_) return {};
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // The thread keeps what it works on, also where it is left to itself.
  auto self = std::make_unique<std::shared_ptr<Registry>>(shared_from_this());
  thread_stops_ = false;
  const int error = ::pthread_create(
      &thread_, nullptr,
      [](void* registry) -> void* {
        const std::unique_ptr<std::shared_ptr<Registry>> mine(
            static_cast<std::shared_ptr<Registry>*>(registry));
        (*mine)->run();
        return nullptr;
      },
      self.get());
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    return fail(Code::kOutOfMemory, std::string("no thread for peers: ") + std::strerror(error));
  }
  (void)self.release();
  (void)::pthread_setname_np(thread_, "godwit-peers");
  thread_started_ = true;
  return {};
}

void Registry::stop_thread(Guard& guard) noexcept {
  if (!thread_started_) return;
  thread_stops_ = true;
  work_.notify_all();
  const bool returned = changed_.wait_for(guard, kLastPatience, [&] { return !thread_calls_; });
  thread_started_ = false;
  const pthread_t thread = thread_;
  guard.unlock();
  if (returned) {
    (void)::pthread_join(thread, nullptr);
  } else {
    (void)::pthread_detach(thread);
  }
  guard.lock();
}

void Registry::run() noexcept {
  const InsideScope inside;
  Guard guard(mutex_);
  while (!thread_stops_) {
    std::shared_ptr<Entry> entry;
    for (const auto& candidate : entries_) {
      if (candidate->telling || candidate->wanted) {
        entry = candidate;
        break;
      }
    }
    if (entry == nullptr) {
      work_.wait(guard);
      continue;
    }
    thread_calls_ = true;
    if (entry->wanted) {
      guard.unlock();
      entry->options.on_wanted();
      guard.lock();
      entry->wanted = false;
    } else {
      run_invalidate(entry, guard);
    }
    thread_calls_ = false;
    changed_.notify_all();
  }
  for (const auto& entry : entries_) entry->telling = entry->wanted = false;
  changed_.notify_all();
}

void Registry::run_invalidate(const std::shared_ptr<Entry>& entry, Guard& guard) noexcept {
  const std::span<std::byte> pages{reinterpret_cast<std::byte*>(entry->part.first),
                                   entry->part.end - entry->part.first};
  guard.unlock();
  const bool let_go = entry->options.on_invalidate(pages);
  guard.lock();
  // It may have been freed, or the context have gone, while it took its time.
  if (!entry->gone && (let_go || entry->options.standing)) drop(*entry);
  entry->telling = false;
  entry->overdue = false;
}

}  // namespace godwit::peer
