// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/evictor.h"

#include <chrono>
#include <thread>

namespace godwit {
namespace {

// Candidates whose block is locked by somebody else are passed over; this many, then we give up.
constexpr std::size_t kCandidates = 64;
// Then others are given time, each time twice as much: 13 ms in all.
constexpr int kWaits = 8;
constexpr std::chrono::microseconds kFirstWait{50};

}  // namespace

std::size_t Evictor::fill(FrameReserve& reserve, std::size_t wanted,
                          std::uint64_t before) noexcept {
  std::size_t lacking = reserve.fill(wanted);
  int waits = 0;
  // Other threads may take what we free, so there is no fixed number of rounds; but each round
  // evicts a chunk, and the bound is far above what a fair share would need.
  for (std::size_t round = 0; lacking != 0 && round < 4 * core_.frames->count() + 16; ++round) {
    const Outcome outcome = evict_one(before);
    if (outcome == Outcome::kNone) break;
    if (outcome == Outcome::kEvicted) waits = 0;
    if (outcome == Outcome::kBusy) {
      // Where VRAM is just large enough the last candidates are all in the block that another
      // thread of the same request evicts from.
      if (waits == kWaits) break;
      std::this_thread::sleep_for(kFirstWait * (1 << waits++));
    }
    lacking = reserve.fill(wanted);
  }
  return lacking;
}

Evictor::Outcome Evictor::evict_one(std::uint64_t before) noexcept {
  bool busy = false;
  for (std::size_t skip = 0; skip < kCandidates; ++skip) {
    const std::size_t chunk = core_.frames->victim(before, skip);
    if (chunk == VramFrames::kNoVictim) break;
    const PageRange pages{chunk * kPagesPerChunk, kPagesPerChunk};
    const std::size_t block = pages.first / kPagesPerBlock;
    if (!core_.table.try_lock(block)) {
      busy = true;
      continue;
    }
    const BlockGuard guard(core_, block, std::adopt_lock);
    const std::uint32_t frame = core_.table.frame(chunk);
    if (frame == PageTable::kNone) return Outcome::kEvicted;  // freed meanwhile: as good
    if (core_.frames->holds(frame).any()) continue;
    const std::uint64_t start = monotonic_ns();
    MoveTally tally;
    mover_.refresh(pages);
    mover_.promote(pages, false, tally);
    mover_.drop_device(pages);
    if (core_.table.frame(chunk) != PageTable::kNone) continue;
    Statistics& statistics = core_.statistics();
    CauseCounters& counters = of(statistics, Cause::kEviction);
    ++counters.operations;
    counters.pages_to_host += tally.copied;
    counters.pages_dropped += kPagesPerChunk - tally.copied;
    counters.nanoseconds += monotonic_ns() - start;
    ++statistics.evictions;
    core_.telemetry.record(EventKind::kEvict, Cause::kEviction, start,
                           reinterpret_cast<std::uintptr_t>(core_.table.address(pages.first)),
                           kChunkBytes, false);
    return Outcome::kEvicted;
  }
  return busy ? Outcome::kBusy : Outcome::kNone;
}

}  // namespace godwit
