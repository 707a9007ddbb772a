// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/migrator.h"

#include <algorithm>
#include <cerrno>
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

Migrator::Kept Migrator::kept_by(const peer::Pause& pause) const {
  Kept kept;
  pause.each_kept([&](peer::Span part) {
    for (std::uintptr_t at = part.first; at < part.end; at += kPageBytes) {
      kept.set(core_.table.page_of(reinterpret_cast<const void*>(at)) % kPagesPerBlock);
    }
  });
  return kept;
}

/// With the block's lock, and the consent of whoever uses the pages.
void Migrator::pass_to_device(PageRange range, Manner manner, FrameReserve& reserve,
                              MoveTally& tally) {
  const bool copies = manner == Manner::kDuplicate || manner == Manner::kDuplicateAll ||
                      manner == Manner::kBorrowAll;
  // A file's pages have contents also before anybody touched them.
  const bool all = manner == Manner::kMoveAll || manner == Manner::kDuplicateAll ||
                   manner == Manner::kBorrowAll ||
                   core_.table.block(range.first / kPagesPerBlock).source != nullptr;
  if (copies) mover_.refresh(range);
  const std::size_t before = tally.moved;
  if (all) mover_.fill_on_device(range, reserve, tally);
  const std::size_t filled = tally.moved - before;
  const std::size_t already = tally.already;
  if (copies) {
    mover_.duplicate(range, manner == Manner::kBorrowAll, reserve, tally);
  } else {
    mover_.demote(range, reserve, tally);
  }
  tally.already -= std::min(tally.already - already, filled);
}

/// The same, run by run: what peers keep is left out, or lent as a copy.
void Migrator::lend_to_device(PageRange range, Manner manner, const Kept& kept,
                              FrameReserve& reserve, MoveTally& tally) {
  for (std::size_t page = range.first; page < range.end();) {
    const bool stays = kept[page % kPagesPerBlock];
    std::size_t end = page + 1;
    while (end < range.end() && kept[end % kPagesPerBlock] == stays) ++end;
    const PageRange run{page, end - page};
    page = end;
    if (stays && manner != Manner::kBorrowAll) {
      tally.stay(run, StayReason::kPeer);
    } else {
      pass_to_device(run, manner, reserve, tally);
    }
  }
}

void Migrator::block_to_device(PageRange range, Manner manner, Cause cause, std::uint64_t before,
                               MoveTally& tally, const std::function<void()>& then) {
  const std::size_t block = range.first / kPagesPerBlock;
  peer::Pause pause(*core_.peers, core_.span(range), cause, true);
  Kept kept = kept_by(pause);
  FrameReserve reserve(core_);
  std::size_t last_pinned = ~std::size_t{0};  // falls with every try, so the loop ends
  int raced_tries = 0;
  for (int attempt = 0;; ++attempt) {
    MoveTally result;
    (void)evictor_.fill(reserve, mover_.frames_needed(range), before);
    {
      BlockGuard guard(core_, block);
      if (core_.table.block(block).peers.load() != 0 && pause.outdated()) {
        guard.unlock();
        if (pause.again()) {
          kept = kept_by(pause);
          continue;
        }
        for (std::size_t page = range.first; page < range.end(); ++page) {
          tally.stay(page, StayReason::kRaced);
        }
        return;
      }
      // Under the lock: the last handler may have ended since the caller asked, and disarmed.
      const int error = core_.demotion_error() != 0 ? -ESHUTDOWN : mover_.arm(block);
      if (error != 0) {
        const StayReason reason = error == -ESHUTDOWN ? StayReason::kDevice : stay_reason(error);
        for (std::size_t page = range.first; page < range.end(); ++page) tally.stay(page, reason);
        return;
      }
      lend_to_device(range, manner, kept, reserve, result);
      if (then) then();
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
    block_to_device(part, manner, cause, before, tally);
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

bool Migrator::discard(PageRange range, bool disarm) {
  peer::Pause pause(*core_.peers, core_.span(range), Cause::kAdvice, false);
  // A page given up under a device would leave it writing to what nobody sees.
  if (pause.kept_pages() != 0) return false;
  for (std::size_t block = range.first / kPagesPerBlock; block * kPagesPerBlock < range.end();
       ++block) {
    const PageRange part = part_in_block(range, block);
    Block& entry = core_.table.block(block);
    BlockGuard guard(core_, block);
    if (entry.peers.load() != 0 && pause.outdated()) {
      guard.unlock();
      if (!pause.again() || pause.kept_pages() != 0) return false;
      --block;
      continue;
    }
    mover_.discard(part);
    if (!disarm || part.count != kPagesPerBlock || !entry.armed.load()) continue;
    if (core_.host->disarm(core_.table.address(part.first), kBlockBytes) != 0) continue;
    core_.table.apply(part, PageEvent::kDisarm);
    entry.armed.store(false);
  }
  if (disarm) core_.peers->forget(core_.span(range));
  return true;
}

}  // namespace godwit
