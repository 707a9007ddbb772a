// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/migrator.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

namespace godwit {
namespace {

// The kernel refuses to move a page that it is busy with itself: a fork under way (microseconds), or
// khugepaged, which holds the pages' locks while it copies them into a huge page. The caller's own
// thread waits for that without any lock, 13 ms in all.
constexpr int kRacedTries = 8;

bool raced(const MoveTally& tally) {
  return tally.stayed[static_cast<std::size_t>(StayReason::kRaced)] != 0;
}

void back_off(int attempt) { std::this_thread::sleep_for(std::chrono::microseconds(50 << attempt)); }

}  // namespace

PageRange part_in_block(PageRange range, std::size_t block) {
  const std::size_t first = std::max(range.first, block * kPagesPerBlock);
  const std::size_t end = std::min(range.end(), (block + 1) * kPagesPerBlock);
  return {first, end - first};
}

void Migrator::add(MoveReport& report, const MoveTally& tally, const PageTable& table) {
  report.moved += tally.moved;
  report.already += tally.already;
  report.stayed += tally.stayed_total();
  for (std::size_t reason = 0; reason < kStayReasonCount; ++reason) {
    report.stayed_for[reason] += tally.stayed[reason];
  }
  for (std::size_t index = 0; index < tally.run_count; ++index) {
    if (report.stays.size() == MoveReport::kMaxStays) break;
    const MoveTally::Run& run = tally.runs[index];
    report.stays.push_back({table.address(run.first), run.count, run.reason});
  }
}

void Migrator::account(Cause cause, bool to_device, PageRange range, std::uint64_t start,
                       const MoveTally& tally) {
  Statistics& statistics = core_.statistics();
  CauseCounters& counters = of(statistics, cause);
  if (tally.moved != 0) ++counters.operations;
  (to_device ? counters.pages_to_device : counters.pages_to_host) += tally.copied;
  counters.pages_dropped += tally.moved - tally.copied;
  counters.nanoseconds += monotonic_ns() - start;
  for (std::size_t reason = 0; reason < kStayReasonCount; ++reason) {
    if (tally.stayed[reason] != 0) statistics.pages_stayed[reason] += tally.stayed[reason];
  }
  if (tally.moved != 0) {
    core_.telemetry.record(EventKind::kMigrate, cause, start,
                           reinterpret_cast<std::uintptr_t>(core_.table.address(range.first)),
                           tally.moved * kPageBytes, to_device);
  }
}

void Migrator::block_to_device(PageRange range, Manner manner, std::uint64_t before,
                               MoveTally& tally) {
  const std::size_t block = range.first / kPagesPerBlock;
  FrameReserve reserve(core_);
  std::size_t last_pinned = ~std::size_t{0};  // falls with every try, so the loop ends
  int raced_tries = 0;
  for (int attempt = 0;; ++attempt) {
    MoveTally result;
    (void)evictor_.fill(reserve, mover_.frames_needed(range), before);
    {
      const BlockGuard guard(core_, block);
      // Under the lock: the last handler may have ended since the caller asked, and disarmed.
      const bool refused = core_.demotion_error() != 0;
      const int error = refused ? 0 : mover_.arm(block);
      if (refused || error != 0) {
        for (std::size_t page = range.first; page < range.end(); ++page) {
          tally.stay(page, refused ? StayReason::kDevice : stay_reason(error));
        }
        return;
      }
      const bool copies = manner == Manner::kDuplicate || manner == Manner::kDuplicateAll;
      // A file's pages have contents also before anybody touched them.
      const bool all = manner == Manner::kMoveAll || manner == Manner::kDuplicateAll ||
                       core_.table.block(block).source != nullptr;
      if (copies) mover_.refresh(range);
      if (all) mover_.fill_on_device(range, reserve, result);
      const std::size_t filled = result.moved;
      if (copies) {
        mover_.duplicate(range, reserve, result);
      } else {
        mover_.demote(range, reserve, result);
      }
      result.already -= std::min(result.already, filled);
    }
    const std::size_t pinned = result.stayed[static_cast<std::size_t>(StayReason::kPinned)];
    if (pinned != 0 && pinned < last_pinned && core_.statistics().forks != 0) {
      last_pinned = pinned;
      // Perhaps only shared with a child since a fork: a copy of our own ends that. It may fault,
      // so it is made without the lock; a page that is pinned in truth stays at the next try.
      for (std::size_t index = 0; index < result.run_count; ++index) {
        const MoveTally::Run& run = result.runs[index];
        if (run.reason != StayReason::kPinned) continue;
        (void)core_.host->unshare(core_.table.address(run.first), run.count * kPageBytes);
      }
      tally.moved += result.moved;
      tally.copied += result.copied;
      continue;
    }
    if (result.stayed[static_cast<std::size_t>(StayReason::kNoVram)] != 0 && attempt < 3 &&
        mover_.frames_needed(range) > reserve.count()) {
      const std::size_t had = reserve.count();
      (void)evictor_.fill(reserve, mover_.frames_needed(range), before);
      if (reserve.count() > had) {
        tally.moved += result.moved;
        tally.copied += result.copied;
        continue;
      }
    }
    if (raced(result) && raced_tries < kRacedTries) {
      back_off(raced_tries++);
      tally.moved += result.moved;
      tally.copied += result.copied;
      continue;
    }
    if (attempt != 0) result.already -= std::min(result.already, tally.moved);
    tally.moved += result.moved;
    tally.copied += result.copied;
    tally.already += result.already;
    for (std::size_t reason = 0; reason < kStayReasonCount; ++reason) {
      tally.stayed[reason] += result.stayed[reason];
    }
    for (std::size_t index = 0; index < result.run_count; ++index) {
      if (tally.run_count < tally.runs.size()) tally.runs[tally.run_count++] = result.runs[index];
    }
    core_.note_vram_use();
    return;
  }
}

MoveReport Migrator::to_device(PageRange range, Manner manner, Cause cause) {
  MoveReport report;
  std::mutex report_mutex;
  const std::size_t first = range.first / kPagesPerBlock;
  const std::size_t last = (range.end() - 1) / kPagesPerBlock;
  // What this request itself brings to VRAM is not evicted to make room for the rest of it.
  const std::uint64_t before = core_.frames->now();
  workers_.for_each(last - first + 1, [&](std::size_t index) {
    const PageRange part = part_in_block(range, first + index);
    const std::uint64_t start = monotonic_ns();
    MoveTally tally;
    block_to_device(part, manner, before, tally);
    account(cause, true, part, start, tally);
    const std::lock_guard guard(report_mutex);
    add(report, tally, core_.table);
  });
  return report;
}

bool Migrator::held(PageRange range) const noexcept {
  for (std::size_t chunk = range.first / kPagesPerChunk; chunk * kPagesPerChunk < range.end();
       ++chunk) {
    const std::uint32_t frame = core_.table.frame(chunk);
    if (frame != PageTable::kNone && core_.frames->holds(frame).any()) return true;
  }
  return false;
}

void Migrator::block_to_host(PageRange range, Cause cause, MoveTally& tally) {
  const std::size_t block = range.first / kPagesPerBlock;
  if (!core_.table.block(block).armed.load()) {
    tally.already = range.count;
    return;
  }
  const std::uint64_t start = monotonic_ns();
  std::size_t moved = 0;
  std::size_t copied = 0;
  for (int attempt = 0;; ++attempt) {
    tally = {};
    {
      const BlockGuard guard(core_, block);
      if (held(range)) {
        for (std::size_t page = range.first; page < range.end(); ++page) {
          if (core_.table.state(page) == PageState::kDevice) {
            tally.stay(page, StayReason::kHeld);
          } else {
            ++tally.already;
          }
        }
      } else {
        mover_.promote(range, false, tally);
      }
    }
    // What an earlier attempt moved is found in place by a later one.
    tally.already -= std::min(tally.already, moved);
    tally.moved = moved += tally.moved;
    tally.copied = copied += tally.copied;
    if (!raced(tally) || attempt == kRacedTries) break;
    back_off(attempt);
  }
  account(cause, false, range, start, tally);
}

MoveReport Migrator::to_host(PageRange range, Cause cause) {
  MoveReport report;
  std::mutex report_mutex;
  const std::size_t first = range.first / kPagesPerBlock;
  const std::size_t last = (range.end() - 1) / kPagesPerBlock;
  workers_.for_each(last - first + 1, [&](std::size_t index) {
    MoveTally tally;
    block_to_host(part_in_block(range, first + index), cause, tally);
    const std::lock_guard guard(report_mutex);
    add(report, tally, core_.table);
  });
  return report;
}

void Migrator::discard(PageRange range, bool disarm) {
  for (std::size_t block = range.first / kPagesPerBlock; block * kPagesPerBlock < range.end();
       ++block) {
    const PageRange part = part_in_block(range, block);
    const BlockGuard guard(core_, block);
    mover_.discard(part);
    Block& entry = core_.table.block(block);
    if (!disarm || part.count != kPagesPerBlock || !entry.armed.load()) continue;
    if (core_.host->disarm(core_.table.address(part.first), kBlockBytes) != 0) continue;
    core_.table.apply(part, PageEvent::kDisarm);
    entry.armed.store(false);
  }
}

}  // namespace godwit
