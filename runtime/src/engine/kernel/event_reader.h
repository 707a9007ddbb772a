// SPDX-License-Identifier: MIT
// The thread that takes events from the kernel's ring: into the record of the process, and to the
// policy, which brings ahead what a walking CPU will touch next.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/src/engine/kernel/account.h"
#include "runtime/src/engine/kernel/event_ring.h"
#include "runtime/src/engine/kernel/known_ranges.h"
#include "runtime/src/policy/stream.h"

namespace godwit::kernel {

class EventReader {
 public:
  struct Parts {
    const Driver& driver;
    EventRing& ring;
    KnownRanges& known;
    Account& account;
    Telemetry& telemetry;
  };
  /// The event types that it wants.
  static constexpr std::uint64_t kTypes = (std::uint64_t{1} << GODWIT_EVENT_MIGRATE) |
                                          (std::uint64_t{1} << GODWIT_EVENT_EVICT);

  explicit EventReader(const Parts& parts) : parts_(parts) {}
  ~EventReader();
  EventReader(const EventReader&) = delete;
  EventReader& operator=(const EventReader&) = delete;

  /// Errors: kOutOfMemory, where no thread can be made.
  [[nodiscard]] Result<> start();
  /// Events that were lost so far, and how often the kernel was asked again because of that.
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(); }
  [[nodiscard]] std::uint64_t recoveries() const noexcept { return recoveries_.load(); }
  /// In a forked child, where the thread does not exist.
  void abandon() noexcept { started_ = false; }

  /// One turn: what the thread does whenever the ring is not empty. For tests that have no thread.
  void drain() noexcept;

 private:
  void run() noexcept;
  void tell(const drm_godwit_event& event) noexcept;
  void bring_ahead(AheadRange range) noexcept;
  void recover(std::uint64_t lost) noexcept;

  Parts parts_;
  FaultStreams streams_;
  std::vector<drm_godwit_event> events_;
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<std::uint64_t> recoveries_{0};
  pthread_t thread_{};
  int stop_ = -1;  // an eventfd
  bool started_ = false;
};

}  // namespace godwit::kernel
