// SPDX-License-Identifier: MIT
#include "runtime/src/engine/operand_hold.h"

#include <algorithm>
#include <functional>
#include <string>

#include "runtime/src/base/inside.h"
#include "runtime/src/engine/fault_service.h"

namespace godwit {
namespace {

// Between bringing a page to VRAM and claiming its frame another operation may take it away again.
constexpr int kAttempts = 16;

std::string mebibytes(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

void notify_release(Core& core) {
  {
    const std::lock_guard guard(core.release_mutex);
    ++core.releases;
  }
  core.released.notify_all();
}

std::size_t chunks_of(const std::vector<PageRange>& runs) {
  std::size_t count = 0;
  std::size_t counted = 0;  // the first chunk that is not counted yet
  for (const PageRange& run : runs) {
    const std::size_t first = std::max(counted, run.first / kPagesPerChunk);
    counted = (run.end() - 1) / kPagesPerChunk + 1;
    count += counted - first;
  }
  return count;
}

}  // namespace

std::vector<PageRange> pages_of(const Operand& operand, const PageTable& table) {
  std::vector<PageRange> runs;
  const auto* base = static_cast<const std::byte*>(operand.base);
  for (std::size_t index = 0; index < operand.count && operand.bytes != 0; ++index) {
    const std::byte* start = base + index * operand.stride;
    const std::size_t first = table.page_of(start);
    const std::size_t end = table.page_of(start + operand.bytes - 1) + 1;
    if (!runs.empty() && first <= runs.back().end()) {
      runs.back().count = std::max(runs.back().end(), end) - runs.back().first;
    } else {
      runs.push_back({first, end - first});
    }
  }
  return runs;
}

Result<> OperandHold::add(const Operand& operand) {
  const std::vector<PageRange> runs = pages_of(operand, core_.table);
  const Advice advice = core_.arena.find(operand.base).advice;
  operands_.emplace_back();
  Claimed& claimed = operands_.back();
  claimed.write = operand.access != Access::kRead;
  if (runs.empty()) return {};
  claimed.first_chunk = runs.front().first / kPagesPerChunk;
  chunks_needed_ += chunks_of(runs);
  if (chunks_needed_ > core_.frames->count()) {
    return fail(Code::kOutOfMemory,
                "the operands of one command need " + mebibytes(chunks_needed_ * kChunkBytes) +
                    " or more, the VRAM has " + mebibytes(core_.frames->count() * kChunkBytes));
  }
  const std::size_t chunks = (runs.back().end() - 1) / kPagesPerChunk + 1 - claimed.first_chunk;
  claimed.chunks.assign(chunks, DeviceSpan::kNoFrame);
  claimed.held.reserve(chunks);
  for (const PageRange& run : runs) {
    for (std::size_t block = run.first / kPagesPerBlock; block * kPagesPerBlock < run.end();
         ++block) {
      auto added = add_run(part_in_block(run, block), operand, advice, claimed);
      if (!added) return added;
    }
  }
  const std::byte* first = core_.table.address(claimed.first_chunk * kPagesPerChunk);
  claimed.span.chunks = claimed.chunks;
  claimed.span.offset =
      static_cast<std::uint64_t>(static_cast<const std::byte*>(operand.base) - first);
  claimed.span.bytes = operand.extent();
  return {};
}

Result<> OperandHold::add_run(PageRange run, const Operand& operand, Advice advice,
                              Claimed& claimed) {
  const bool copies = !core_.full_level() || advice != Advice::kNormal;
  Migrator::Manner manner =
      copies && !claimed.write ? Migrator::Manner::kDuplicateAll : Migrator::Manner::kMoveAll;
  // A page that is pinned for DMA changes without the CPU's knowledge: its copy is good for this
  // command only. It is the claim that keeps it; to all others the page is in RAM alone from the
  // moment on that it was made, so that none of them takes it for the page.
  bool borrows = false;
  bool claims = false;
  const std::function<void()> borrow = [&] {
    claims = claim(run, claimed);
    if (claims) migrator_.mover().untrack(run);
  };
  MoveTally tally;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    tally = {};
    const std::uint64_t start = monotonic_ns();
    migrator_.block_to_device(run, manner, Cause::kDeviceAccess, Evictor::kAny, tally,
                              borrows ? borrow : nullptr);
    CauseCounters& counters = of(core_.statistics(), Cause::kDeviceAccess);
    if (tally.moved != 0) ++counters.operations;
    counters.pages_to_device += tally.copied;
    counters.pages_dropped += tally.moved - std::min(tally.moved, tally.copied);
    counters.nanoseconds += monotonic_ns() - start;
    if (tally.moved != 0) {
      core_.telemetry.record(EventKind::kMigrate, Cause::kDeviceAccess, start,
                             reinterpret_cast<std::uintptr_t>(core_.table.address(run.first)),
                             tally.moved * kPageBytes, true);
    }
    const auto stayed = [&](StayReason reason) {
      return tally.stayed[static_cast<std::size_t>(reason)];
    };
    // A peer's transfer goes on, for longer than the peer said it would.
    const bool kept = stayed(StayReason::kPeer) != 0;
    if (kept && claimed.write) {
      return fail(Code::kBusy, "pages of an operand that the command writes are held by a peer, or "
                               "its driver did not let go of them");
    }
    // RAM cannot give the page up.
    const bool fixed = stayed(StayReason::kPinned) + stayed(StayReason::kLocked) != 0;
    if (!borrows && !claimed.write && (kept || fixed)) {
      // A command that only reads takes a copy of it, of its own: also where there is one already.
      manner = Migrator::Manner::kBorrowAll;
      borrows = true;
      continue;
    }
    if (!borrows) {
      const BlockGuard guard(core_, run.first / kPagesPerBlock);
      claims = claim(run, claimed);
    }
    if (claims) return {};
    if (core_.device_lost.load()) {
      return fail(Code::kDeviceLost, "the device was lost while operands were brought to it");
    }
    if (stayed(StayReason::kNoVram) != 0) {
      if (wait_for_vram()) {
        --attempt;  // bounded by kPatience instead
        continue;
      }
      return fail(Code::kOutOfMemory,
                  "other commands held too much of " +
                      mebibytes(core_.frames->count() * kChunkBytes) + " of VRAM for " +
                      std::to_string(kPatience.count()) + " seconds");
    }
    if (fixed && claimed.write) {
      return fail(Code::kBusy, "pages of an operand that the command writes are pinned for DMA "
                               "or locked in RAM");
    }
  }
  (void)operand;
  return fail(Code::kRetry, "pages of an operand were taken away " + std::to_string(kAttempts) +
                                " times while they were brought to VRAM");
}

/// VRAM is short because of others: their commands hold it, or their moves have frames in hand
/// for a moment. Waits for a change; false once patience has run out.
bool OperandHold::wait_for_vram() {
  constexpr std::chrono::milliseconds kMoment{1};
  const auto now = std::chrono::steady_clock::now();
  if (now >= deadline_) return false;
  std::unique_lock guard(core_.release_mutex);
  const std::uint64_t seen = core_.releases;
  (void)core_.released.wait_until(guard, now + kMoment, [&] { return core_.releases != seen; });
  return true;
}

bool OperandHold::claim(PageRange run, Claimed& claimed) {
  for (std::size_t page = run.first; page < run.end(); ++page) {
    const PageState state = core_.table.state(page);
    const bool usable = state == PageState::kDevice ||
                        (state == PageState::kBoth && (!claimed.write || !core_.full_level()));
    if (!usable) return false;
  }
  const std::size_t last = (run.end() - 1) / kPagesPerChunk;
  for (std::size_t chunk = run.first / kPagesPerChunk; chunk <= last; ++chunk) {
    std::uint64_t& entry = claimed.chunks[chunk - claimed.first_chunk];
    if (entry != DeviceSpan::kNoFrame) continue;  // claimed by an earlier run
    const std::uint32_t frame = core_.table.frame(chunk);
    core_.frames->hold(frame, claimed.write);
    claimed.held.push_back(chunk);
    entry = VramFrames::offset(frame);
  }
  return true;
}

OperandHold::~OperandHold() {
  const InsideScope inside;
  const SignalScope signals;
  for (const Claimed& claimed : operands_) {
    for (std::size_t index = 0; index < claimed.held.size();) {
      const std::size_t block = claimed.held[index] / kChunksPerBlock;
      const BlockGuard guard(core_, block);
      for (; index < claimed.held.size() && claimed.held[index] / kChunksPerBlock == block;
           ++index) {
        const std::size_t chunk = claimed.held[index];
        core_.frames->release(core_.table.frame(chunk), claimed.write);
        migrator_.mover().release_frames({chunk * kPagesPerChunk, kPagesPerChunk});
      }
      FaultService::after_release(core_, block);
    }
  }
  notify_release(core_);
}

Result<> ScratchHold::take(std::size_t bytes, Evictor& evictor) {
  const std::size_t wanted = (bytes + kChunkBytes - 1) / kChunkBytes;
  frames_.reserve(wanted);
  chunks_.reserve(wanted);
  while (frames_.size() < wanted) {
    FrameReserve reserve(core_);
    const std::size_t piece = std::min(wanted - frames_.size(), kChunksPerBlock);
    (void)evictor.fill(reserve, piece, Evictor::kAny);
    if (reserve.count() == 0) {
      return fail(Code::kOutOfMemory,
                  "no VRAM for " + mebibytes(bytes) + " of operands: " +
                      mebibytes(core_.frames->count() * kChunkBytes) +
                      " in all, everything in it is held");
    }
    while (reserve.count() != 0) frames_.push_back(reserve.pop());
  }
  for (const std::uint32_t frame : frames_) chunks_.push_back(VramFrames::offset(frame));
  span_ = {chunks_, 0, bytes};
  core_.note_vram_use();
  return {};
}

ScratchHold::~ScratchHold() {
  for (const std::uint32_t frame : frames_) core_.frames->give_back(frame);
  core_.note_vram_use();
  notify_release(core_);
}

}  // namespace godwit
