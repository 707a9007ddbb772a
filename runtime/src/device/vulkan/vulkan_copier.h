// SPDX-License-Identifier: MIT
// Copies that the caller does not wait for: one thread makes them, in order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_tickets.h"
#include "runtime/src/device/vulkan/vulkan_transfer.h"

namespace godwit::vulkan {

/// Any thread. A ticket is complete only when its copy no longer touches host memory, also after
/// the loss of the device; copies in the queue then fail at once.
class Copier {
 public:
  static constexpr std::size_t kQueue = 1024;     // copies not yet started
  static constexpr std::size_t kFailures = 1024;  // errors that are kept for wait()

  /// Throws std::system_error where no thread can be made.
  Copier(Gpu& gpu, Transfer& transfer, TicketCounter& tickets);
  /// Completes what is queued.
  ~Copier();
  Copier(const Copier&) = delete;
  Copier& operator=(const Copier&) = delete;

  [[nodiscard]] int copy(Direction direction, std::span<const CopyOp> ops,
                         Ticket* ticket) noexcept;
  [[nodiscard]] int wait(Ticket ticket, Clock::time_point deadline) noexcept;
  [[nodiscard]] bool done(Ticket ticket) noexcept;

 private:
  struct Job {
    Ticket ticket = 0;
    Direction direction = Direction::kToDevice;
    std::vector<CopyOp> ops;
  };
  struct Failure {
    Ticket ticket = 0;
    int error = 0;
  };

  void run() noexcept;
  /// lock_ is held.
  [[nodiscard]] int result_locked(Ticket ticket) const noexcept;

  Gpu& gpu_;
  Transfer& transfer_;
  TicketCounter& tickets_;
  std::mutex lock_;  // guards all below; never held while memory is copied
  std::condition_variable queued_;
  std::condition_variable finished_;
  std::deque<Job> jobs_;  // in the order of their tickets
  std::deque<Failure> failures_;
  Ticket completed_ = 0;  // this one and all before it are complete
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace godwit::vulkan
