// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/workers.h"

#include <pthread.h>
#include <signal.h>

#include <memory>
#include <system_error>

#include "runtime/src/base/inside.h"

namespace godwit {

Workers::~Workers() {
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Workers::abandon() noexcept {
  // Not detached: the C library has unmapped the stack of a thread that ended before the fork.
  std::construct_at(&helpers_);
  std::construct_at(&mutex_);
  std::construct_at(&busy_);
  // To destroy a condition variable that a thread of the parent waits on would wait for that thread.
  std::construct_at(&wake_);
  std::construct_at(&idle_);
  threads_ = 1;
}

void Workers::start() {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    while (helpers_.size() + 1 < threads_) {
      helpers_.emplace_back([this] { help(); });
      ::pthread_setname_np(helpers_.back().native_handle(), "godwit-move");
    }
  } catch (const std::system_error&) {
    threads_ = static_cast<unsigned>(helpers_.size() + 1);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Workers::for_each(std::size_t count, const std::function<void(std::size_t)>& work) {
  const std::unique_lock job(busy_, std::try_to_lock);
  if (threads_ == 1 || count < 2 || !job.owns_lock()) {
    for (std::size_t index = 0; index < count; ++index) work(index);
    return;
  }
  start();
  {
    const std::lock_guard guard(mutex_);
    work_ = &work;
    count_ = count;
    next_ = 0;
    ++job_;
  }
  wake_.notify_all();
  for (std::size_t index = next_++; index < count; index = next_++) work(index);
  std::unique_lock guard(mutex_);
  work_ = nullptr;  // a helper that wakes only now finds nothing
  idle_.wait(guard, [this] { return active_ == 0; });
}

void Workers::help() {
  const InsideScope inside;
  std::uint64_t seen = 0;
  std::unique_lock guard(mutex_);
  while (true) {
    wake_.wait(guard, [&] { return stop_ || (job_ != seen && work_ != nullptr); });
    if (stop_) return;
    seen = job_;
    const auto* work = work_;
    const std::size_t count = count_;
    ++active_;
    guard.unlock();
    for (std::size_t index = next_++; index < count; index = next_++) (*work)(index);
    guard.lock();
    if (--active_ == 0) idle_.notify_one();
  }
}

}  // namespace godwit
