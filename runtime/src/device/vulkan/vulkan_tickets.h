// SPDX-License-Identifier: MIT
// Tickets of one device: they grow, and each says who completes it.
#pragma once

#include <atomic>

#include "runtime/src/device/device.h"

namespace godwit::vulkan {

enum class TicketKind : std::uint8_t { kCommand = 0, kCopy = 1 };

class TicketCounter {
 public:
  /// Any thread.
  [[nodiscard]] Ticket next(TicketKind kind) noexcept {
    const Ticket number = last_.fetch_add(1, std::memory_order_relaxed) + 1;
    return number * 2 + static_cast<Ticket>(kind);
  }
  [[nodiscard]] bool issued(Ticket ticket) const noexcept {
    return ticket / 2 <= last_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] static TicketKind kind(Ticket ticket) noexcept {
    return static_cast<TicketKind>(ticket % 2);
  }

 private:
  std::atomic<Ticket> last_{0};
};

}  // namespace godwit::vulkan
