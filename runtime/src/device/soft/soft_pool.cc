// SPDX-License-Identifier: MIT
#include "runtime/src/device/soft/soft_pool.h"

#include <signal.h>

#include <cerrno>
#include <memory>

namespace godwit {

int start_quiet_thread(pthread_t* thread, const char* name, void* (*body)(void*),
                       void* argument) noexcept {
  // The mask is inherited: blocked before the thread exists, no signal can slip in.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(thread, nullptr, body, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return -ENOMEM;
  (void)pthread_setname_np(*thread, name);
  return 0;
}

int SoftPool::start() noexcept {
  const int error = scratch_.map(threads_ * kScratchBytes);
  if (error != 0) return error;
  for (unsigned worker = 1; worker < threads_; ++worker) {
    starts_[worker] = {this, worker};
    const auto body = [](void* argument) -> void* {
      auto* start = static_cast<Start*>(argument);
      start->pool->work(start->worker);
      return nullptr;
    };
    if (start_quiet_thread(&handles_[started_], "godwit-soft", body, &starts_[worker]) != 0) break;
    ++started_;
  }
  return 0;
}

void SoftPool::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  begin_.notify_all();
  for (unsigned i = 0; i < started_; ++i) pthread_join(handles_[i], nullptr);
  started_ = 0;
  stop_ = false;
  scratch_.release();
}

void SoftPool::abandon() noexcept {
  started_ = 0;
  std::construct_at(&begin_);  // see SoftQueue::abandon
  std::construct_at(&end_);
  scratch_.forget();
}

void SoftPool::run(std::size_t parts, Call call, void* context) noexcept {
  if (started_ == 0 || parts <= 1) {
    for (std::size_t part = 0; part < parts; ++part) call(context, part, 0);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    call_ = call;
    context_ = context;
    parts_ = parts;
    next_.store(0, std::memory_order_relaxed);
    busy_ = started_;
    ++job_;
  }
  begin_.notify_all();
  take_parts(0);
  // Every worker must leave before the next job may overwrite this one, and before `context`, which
  // is the caller's, goes away.
  std::unique_lock lock(mutex_);
  end_.wait(lock, [this] { return busy_ == 0; });
}

void SoftPool::work(unsigned worker) noexcept {
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    begin_.wait(lock, [&] { return stop_ || job_ != seen; });
    if (stop_) return;
    seen = job_;
    lock.unlock();
    take_parts(worker);
    lock.lock();
    if (--busy_ == 0) end_.notify_one();
  }
}

void SoftPool::take_parts(unsigned worker) noexcept {
  for (;;) {
    const std::size_t part = next_.fetch_add(1, std::memory_order_relaxed);
    if (part >= parts_) return;
    call_(context_, part, worker);
  }
}

}  // namespace godwit
