// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/evictor.h"

namespace godwit {
namespace {

// Candidates whose block is locked by somebody else are passed over; this many, then we give up.
constexpr std::size_t kCandidates = 64;

}  // namespace

std::size_t Evictor::fill(FrameReserve& reserve, std::size_t wanted,
                          std::uint64_t before) noexcept {
  std::size_t lacking = reserve.fill(wanted);
  // Other threads may take what we free, so there is no fixed number of rounds; but each round
  // evicts a chunk, and the bound is far above what a fair share would need.
  for (std::size_t round = 0; lacking != 0 && round < 4 * core_.frames->count() + 16; ++round) {
    if (!evict_one(before)) break;
    lacking = reserve.fill(wanted);
  }
  return lacking;
}

bool Evictor::evict_one(std::uint64_t before) noexcept {
  for (std::size_t skip = 0; skip < kCandidates; ++skip) {
    const std::size_t chunk = core_.frames->victim(before, skip);
    if (chunk == VramFrames::kNoVictim) return false;
    const PageRange pages{chunk * kPagesPerChunk, kPagesPerChunk};
    const std::size_t block = pages.first / kPagesPerBlock;
    if (!core_.table.try_lock(block)) continue;
    const BlockGuard guard(core_, block, std::adopt_lock);
    const std::uint32_t frame = core_.table.frame(chunk);
    if (frame == PageTable::kNone) return true;  // freed meanwhile: as good
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
    return true;
  }
  return false;
}

}  // namespace godwit
