// SPDX-License-Identifier: MIT
// What the mappings of peers need where the kernel moves the pages. Between on_remap and
// on_invalidate a pin of the module's keeps the range in RAM: faults of the device and eviction
// pass by it, since the kernel cannot wait for a program. A generation word tells what the program
// itself did to the range (munmap, mremap, fork).
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/src/engine/kernel/event_ring.h"
#include "runtime/src/engine/kernel/mover.h"
#include "runtime/src/engine/kernel/operand_runs.h"
#include "runtime/src/peer/home.h"
#include "runtime/src/peer/pause.h"

namespace godwit::kernel {

[[nodiscard]] inline peer::Span span_of(PageRun run) { return {run.addr, run.end()}; }

class KernelPeers final : public peer::Home {
 public:
  struct Parts {
    const Driver& driver;
    const EventRing* ring;  // null: the device has no words
    Mover& mover;
    std::uint64_t capabilities;
    std::function<bool()> detached;
  };
  explicit KernelPeers(Parts parts) : parts_(std::move(parts)) {}

  [[nodiscard]] Result<peer::Place> admit(peer::Span span, bool standing) override;
  void dismiss(peer::Span span, bool standing, const peer::Place& place) noexcept override;
  [[nodiscard]] Result<peer::Grip> grip(peer::Span span, bool write,
                                        const peer::Place& place) override;
  void release(const peer::Grip& grip) noexcept override;
  [[nodiscard]] bool intact(const peer::Grip& grip,
                            const peer::Place& place) const noexcept override {
    return count(place) == grip.seen;
  }
  [[nodiscard]] std::uint64_t count(const peer::Place& place) const noexcept override {
    return place.word == peer::Place::kNone ? 0 : parts_.ring->generation(place.word);
  }
  [[nodiscard]] bool detached() const noexcept override { return parts_.detached(); }

 private:
  [[nodiscard]] int pin(peer::Span span, std::uint32_t* handle) const noexcept;
  Parts parts_;
};

/// Mover::to_vram of what peers do not keep; the rest is reported as kPeer.
[[nodiscard]] Result<MoveReport> move_around_peers(Mover& mover, PageRun run,
                                                   std::uint64_t capacity,
                                                   const peer::Pause& pause);
/// Mover::for_device of what peers do not keep. The device uses the rest in RAM, in place.
[[nodiscard]] Result<> bring_around_peers(Mover& mover, PageRun run, const peer::Pause& pause,
                                          bool* complete);
[[nodiscard]] tl::unexpected<Error> kept_error(const char* verb);

}  // namespace godwit::kernel
