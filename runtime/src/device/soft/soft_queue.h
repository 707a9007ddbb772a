// SPDX-License-Identifier: MIT
// The queue of a soft device: commands run in order, one at a time, split among the pool.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "runtime/src/device/device.h"
#include "runtime/src/device/soft/soft_pool.h"

namespace godwit {

/// Commands are checked when they are submitted, so that a command that runs fails only by loss of
/// the device. Threads start with the first command.
class SoftQueue {
 public:
  /// Commands that wait; a submit that finds no room waits for one of them, kPatience at most.
  static constexpr std::size_t kSlots = 256;
  static constexpr std::chrono::seconds kPatience{60};

  /// `vram` outlives the queue.
  SoftQueue(unsigned threads, std::byte* vram, std::uint64_t vram_bytes) noexcept
      : vram_(vram), vram_bytes_(vram_bytes), pool_(threads) {}
  /// Runs what was submitted to its end.
  ~SoftQueue();
  SoftQueue(const SoftQueue&) = delete;
  SoftQueue& operator=(const SoftQueue&) = delete;

  [[nodiscard]] int submit(const Command& command, Ticket* ticket) noexcept;
  [[nodiscard]] int wait(Ticket ticket, std::chrono::nanoseconds timeout) noexcept;
  [[nodiscard]] bool done(Ticket ticket) noexcept;
  /// Drops what waits, stops what runs. Waiters leave once the command no longer uses their table.
  void lose() noexcept;
  /// In a child, where the threads do not exist.
  void abandon() noexcept;

  [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  /// Flop a second of the GEMMs so far, a moving average; 0: none was large enough to tell.
  [[nodiscard]] double float_rate() const noexcept { return float_rate_.load(); }
  [[nodiscard]] double double_rate() const noexcept { return double_rate_.load(); }
  [[nodiscard]] unsigned threads() const noexcept { return pool_.threads(); }

 private:
  [[nodiscard]] int check(const Command& command) const noexcept;
  [[nodiscard]] int start() noexcept;
  /// No command up to `ticket` runs: as commands run in order, who waits for one may free the
  /// tables of all before it. Holds mutex_.
  [[nodiscard]] bool unused(Ticket ticket) const noexcept {
    return running_ == 0 || running_ > ticket;
  }
  void work() noexcept;
  void execute(const Command& command) noexcept;
  void execute_gemm(const GemmCommand& command) noexcept;

  std::byte* const vram_;
  const std::uint64_t vram_bytes_;
  SoftPool pool_;
  std::atomic<bool> lost_{false};  // never goes back
  std::atomic<double> float_rate_{0};
  std::atomic<double> double_rate_{0};

  // Held while threads are created, which allocates. Never taken by copies and waits.
  std::mutex start_mutex_;
  std::atomic<bool> started_{false};
  pthread_t thread_{};

  // Protects everything below. A leaf; no memory but this object's is touched while it is held, as
  // fault handlers wait for tickets.
  std::mutex mutex_;
  std::condition_variable work_;      // for the queue thread: a command came, or stop_
  std::condition_variable progress_;  // for callers: a command ended, or the device was lost
  Ticket submitted_ = 0;              // of the last command; its slot is submitted_ % kSlots
  std::atomic<Ticket> completed_{0};  // written under mutex_
  Ticket running_ = 0;                // 0: none
  bool stop_ = false;
  std::array<Command, kSlots> slots_{};
};

}  // namespace godwit
