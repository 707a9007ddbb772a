// SPDX-License-Identifier: MIT
// What a mover holds while it moves: the peers of a range have been asked, and begin nothing new.
#pragma once

#include "godwit/units.h"
#include "runtime/src/peer/registry.h"

namespace godwit::peer {

class Pause {
 public:
  /// Waits for peers, each within its patience.
  Pause(Registry& registry, Span range, Cause cause, bool to_device) noexcept
      : registry_(registry), ticket_{range, cause, to_device, 0} {
    ask();
  }
  ~Pause() { registry_.reopen(ticket_); }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  /// True where mappings were made since: whoever took a lock that Home::admit takes asks then.
  [[nodiscard]] bool outdated() const noexcept { return registry_.youngest() != asked_; }
  /// Asks once more. False: mappings are made all the time, and this is often enough.
  [[nodiscard]] bool again() noexcept {
    registry_.reopen(ticket_);
    ticket_.serial = 0;
    ask();
    return ++rounds_ < kRounds;
  }
  /// The parts that stay: visit(Span).
  template <typename Visit>
  void each_kept(Visit visit) const {
    if (ticket_.serial != 0) registry_.each_kept(ticket_, visit);
  }
  [[nodiscard]] std::size_t kept_pages() const {
    std::size_t bytes = 0;
    each_kept([&](Span part) { bytes += part.end - part.first; });
    return bytes / kPageBytes;
  }

 private:
  static constexpr int kRounds = 64;
  void ask() noexcept {
    asked_ = registry_.youngest();
    if (!registry_.empty()) registry_.close(&ticket_);
  }

  Registry& registry_;
  Ticket ticket_;
  std::uint64_t asked_ = 0;
  int rounds_ = 0;
};

}  // namespace godwit::peer
