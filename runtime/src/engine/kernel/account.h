// SPDX-License-Identifier: MIT
// The counters of the runtime, from those of the kernel. The kernel counts all moves; what the
// runtime asked for itself is taken from the answers to its calls, and the rest has one cause a
// direction: towards VRAM the device's faults, towards RAM the CPU's. Nothing is counted from events,
// which can be lost.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "runtime/src/engine/kernel/driver.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::kernel {

/// Thread-safe.
class Account {
 public:
  Account(const Driver& driver, Telemetry& telemetry) : driver_(driver), telemetry_(telemetry) {}

  /// Around a call that moves pages: while one is under way, the kernel's counters are ahead of ours.
  class Move {
   public:
    explicit Move(Account& account) : account_(account), start_(monotonic_ns()) {
      ++account_.begun_;
    }
    ~Move();
    Move(const Move&) = delete;
    Move& operator=(const Move&) = delete;
    /// What it moved, and where to. May be called more than once.
    void moved(Cause cause, std::uintptr_t addr, std::uint64_t pages, bool to_device) noexcept;
    /// Pages of the runtime's own, which no counter of the program's is about.
    void moved_own(std::uint64_t pages, bool to_device) noexcept {
      (to_device ? account_.asked_to_vram_ : account_.asked_home_) += pages;
    }

   private:
    Account& account_;
    std::uint64_t start_;
  };

  /// Fetches the kernel's counters. What they cannot be told apart by just now, stays as it was.
  void refresh() noexcept;

 private:
  const Driver& driver_;
  Telemetry& telemetry_;
  std::atomic<std::uint64_t> begun_{0};
  std::atomic<std::uint64_t> ended_{0};
  std::atomic<std::uint64_t> asked_to_vram_{0};  // pages, other than for the device's accesses
  std::atomic<std::uint64_t> asked_home_{0};
  std::mutex mutex_;  // one refresh at a time; a leaf
};

}  // namespace godwit::kernel
