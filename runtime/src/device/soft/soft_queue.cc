// SPDX-License-Identifier: MIT
#include "runtime/src/device/soft/soft_queue.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include "runtime/src/device/soft/soft_gemm.h"
#include "runtime/src/device/soft/soft_walk.h"
#include "runtime/src/device/soft/soft_words.h"

namespace godwit {
namespace {

using Clock = std::chrono::steady_clock;

/// A longer wait than this is one without end: now + timeout would overflow.
constexpr std::chrono::hours kForever{24 * 365};

/// A smaller GEMM says more about overhead than about the rate.
constexpr std::uint64_t kTellingSize = 128;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

SoftQueue::~SoftQueue() {
  if (!started_.load(std::memory_order_acquire)) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  pthread_join(thread_, nullptr);
  pool_.stop();
}

void SoftQueue::abandon() noexcept {
  started_.store(false, std::memory_order_relaxed);
  // Threads of the parent sleep on these, as far as they know, and destroying them would wait for
  // those threads.
  std::construct_at(&work_);
  std::construct_at(&progress_);
  pool_.abandon();
}

int SoftQueue::check(const Command& command) const noexcept {
  return std::visit(
      Overloaded{
          [&](const FillCommand& fill) { return check_words(fill.target, vram_bytes_); },
          [&](const AddCommand& add) { return check_words(add.target, vram_bytes_); },
          [&](const SumCommand& sum) {
            return sum.sum == nullptr ? -EINVAL : check_words(sum.source, vram_bytes_);
          },
          [&](const GemmCommand& gemm) { return check_gemm(gemm, vram_bytes_); },
          [&](const WalkCommand& walk) { return check_soft_walk(walk, vram_bytes_); },
      },
      command);
}

int SoftQueue::start() noexcept {
  if (started_.load(std::memory_order_acquire)) return 0;
  const std::lock_guard lock(start_mutex_);
  if (started_.load(std::memory_order_relaxed)) return 0;
  const int error = pool_.start();
  if (error != 0) return error;
  const auto body = [](void* queue) -> void* {
    static_cast<SoftQueue*>(queue)->work();
    return nullptr;
  };
  const int refused = start_quiet_thread(&thread_, "godwit-soft-q", body, this);
  if (refused != 0) {
    pool_.stop();
    return refused;
  }
  started_.store(true, std::memory_order_release);
  return 0;
}

int SoftQueue::submit(const Command& command, Ticket* ticket) noexcept {
  if (lost()) return -ENODEV;
  if (ticket == nullptr) return -EINVAL;
  // Both the command and *ticket are the caller's memory, perhaps managed: not under the lock.
  const Command copy = command;
  int error = check(copy);
  if (error == 0) error = start();
  if (error != 0) return error;
  Ticket mine = 0;
  {
    std::unique_lock lock(mutex_);
    const bool room = progress_.wait_for(lock, kPatience, [&] {
      return lost() || submitted_ - completed_.load(std::memory_order_relaxed) < kSlots;
    });
    if (lost()) return -ENODEV;
    if (!room) return -ETIMEDOUT;
    mine = ++submitted_;
    slots_[mine % kSlots] = copy;
  }
  work_.notify_one();
  *ticket = mine;
  return 0;
}

int SoftQueue::wait(Ticket ticket, std::chrono::nanoseconds timeout) noexcept {
  if (!lost() && completed_.load(std::memory_order_acquire) >= ticket) return 0;
  std::unique_lock lock(mutex_);
  if (ticket > submitted_) return lost() ? -ENODEV : -EINVAL;
  const auto over = [&] {
    return completed_.load(std::memory_order_relaxed) >= ticket || (lost() && unused(ticket));
  };
  if (timeout > kForever) {
    progress_.wait(lock, over);
  } else if (!progress_.wait_until(lock, Clock::now() + timeout, over)) {
    if (!lost()) return -ETIMEDOUT;
    // The command is being stopped, and still reads the table: that must end before the caller,
    // who would free it, hears of the loss. It takes one block of work at most.
    progress_.wait(lock, over);
  }
  return lost() ? -ENODEV : 0;
}

bool SoftQueue::done(Ticket ticket) noexcept {
  if (completed_.load(std::memory_order_acquire) >= ticket) return true;
  if (!lost()) return false;
  const std::lock_guard lock(mutex_);
  return unused(ticket);
}

void SoftQueue::lose() noexcept {
  {
    const std::lock_guard lock(mutex_);
    lost_.store(true, std::memory_order_release);
  }
  progress_.notify_all();
}

void SoftQueue::work() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock,
               [&] { return stop_ || submitted_ != completed_.load(std::memory_order_relaxed); });
    const Ticket next = completed_.load(std::memory_order_relaxed) + 1;
    if (next > submitted_) return;  // stop_, and nothing is left
    if (!lost()) {
      running_ = next;
      lock.unlock();
      // The slot is ours until completed_ passes it.
      execute(slots_[next % kSlots]);
      lock.lock();
      running_ = 0;
    }
    completed_.store(next, std::memory_order_release);
    progress_.notify_all();
  }
}

void SoftQueue::execute(const Command& command) noexcept {
  std::visit(Overloaded{
                 [&](const FillCommand& fill) { run_fill(fill, vram_, pool_, lost_); },
                 [&](const AddCommand& add) { run_add(add, vram_, pool_, lost_); },
                 [&](const SumCommand& sum) { run_sum(sum, vram_, pool_, lost_); },
                 [&](const GemmCommand& gemm) { execute_gemm(gemm); },
                 [&](const WalkCommand& walk) { run_walk(walk, vram_, lost_); },
             },
             command);
}

void SoftQueue::execute_gemm(const GemmCommand& command) noexcept {
  const auto begin = Clock::now();
  run_gemm(command, vram_, pool_, lost_);
  if (std::min({command.m, command.n, command.k}) < kTellingSize || lost()) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const double rate = gemm_flops(command) / seconds;
  const bool single =
      command.type == ScalarType::kFloat || command.type == ScalarType::kComplexFloat;
  std::atomic<double>& average = single ? float_rate_ : double_rate_;
  const double before = average.load();
  if (rate > 0) average.store(before == 0 ? rate : before + (rate - before) / 4);
}

}  // namespace godwit
