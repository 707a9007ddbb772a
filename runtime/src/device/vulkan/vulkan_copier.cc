// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_copier.h"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <new>
#include <utility>

namespace godwit::vulkan {

Copier::Copier(Gpu& gpu, Transfer& transfer, TicketCounter& tickets)
    : gpu_(gpu), transfer_(transfer), tickets_(tickets) {
  // The thread inherits the mask: the application's signals are not for it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Copier::~Copier() {
  {
    const std::lock_guard guard(lock_);
    stop_ = true;
  }
  queued_.notify_one();
  thread_.join();
}

int Copier::copy(Direction direction, std::span<const CopyOp> ops, Ticket* ticket) noexcept {
  const int error = transfer_.check(ops);
  if (error != 0) return error;
  try {
    Job job{.ticket = 0, .direction = direction, .ops = {ops.begin(), ops.end()}};
    std::unique_lock guard(lock_);
    const Clock::time_point deadline = Clock::now() + kCopyBound;
    while (jobs_.size() >= kQueue) {
      if (gpu_.lost()) return -ENODEV;
      if (Clock::now() >= deadline) return -ETIMEDOUT;
      finished_.wait_for(guard, kWaitSlice);
    }
    jobs_.push_back(std::move(job));
    jobs_.back().ticket = tickets_.next(TicketKind::kCopy);
    if (ticket != nullptr) *ticket = jobs_.back().ticket;
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
  queued_.notify_one();
  return 0;
}

void Copier::run() noexcept {
  std::unique_lock guard(lock_);
  for (;;) {
    queued_.wait(guard, [this] { return stop_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    guard.unlock();
    const int error = transfer_.copy(job.direction, job.ops);
    guard.lock();
    completed_ = job.ticket;
    if (error != 0) {
      try {
        if (failures_.size() >= kFailures) failures_.pop_front();
        failures_.push_back({.ticket = job.ticket, .error = error});
      } catch (const std::bad_alloc&) {
        gpu_.lose();  // an error must not pass for success
      }
    }
    finished_.notify_all();
  }
}

int Copier::result_locked(Ticket ticket) const noexcept {
  for (const Failure& failure : failures_) {
    if (failure.ticket == ticket) return failure.error;
  }
  return gpu_.lost() ? -ENODEV : 0;
}

int Copier::wait(Ticket ticket, Clock::time_point deadline) noexcept {
  std::unique_lock guard(lock_);
  const bool complete =
      finished_.wait_until(guard, deadline, [&] { return completed_ >= ticket; });
  return complete ? result_locked(ticket) : -ETIMEDOUT;
}

bool Copier::done(Ticket ticket) noexcept {
  const std::lock_guard guard(lock_);
  return completed_ >= ticket;
}

}  // namespace godwit::vulkan
