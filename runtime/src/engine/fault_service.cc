// SPDX-License-Identifier: MIT
#include "runtime/src/engine/fault_service.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>

#include "runtime/src/transfer/file_pages.h"

namespace godwit {

FaultEnd FaultService::on_fault(std::byte* address, bool write, bool write_protected,
                                Turn& turn) noexcept {
  const std::uint64_t start = monotonic_ns();
  Statistics& statistics = core_.statistics();
  if (!core_.arena.contains(address)) {
    // Only pool slots are armed besides the arena, and nobody touches an empty one.
    ++statistics.faults_spurious;
    return FaultEnd::kWaits;
  }
  const std::size_t page = core_.table.page_of(address);
  const std::size_t block = page / kPagesPerBlock;
  if (!core_.table.try_lock(block)) {
    core_.table.block(block).wake.store(true);
    if (!core_.table.try_lock(block)) {
      ++statistics.faults_deferred;
      return FaultEnd::kWaits;
    }
  }
  BlockGuard guard(core_, block, std::adopt_lock);
  const FaultEnd end = serve(page, write, write_protected, turn);
  ++(write ? statistics.faults_write : statistics.faults_read);
  statistics.fault_nanoseconds += monotonic_ns() - start;
  core_.telemetry.record(EventKind::kFault, Cause::kCpuFault, start,
                         reinterpret_cast<std::uintptr_t>(address), kPageBytes, false,
                         write ? 1 : 0);
  if (end == FaultEnd::kAgain) guard.unlock_for_host();
  return end;
}

FaultEnd FaultService::serve(std::size_t page, bool write, bool write_protected,
                             Turn& turn) noexcept {
  std::byte* address = core_.table.address(page);
  switch (core_.table.state(page)) {
    case PageState::kDevice: return serve_device(page, write, turn);
    case PageState::kEmpty: return serve_empty(page, write, turn);
    case PageState::kHost:
    case PageState::kBoth: {
      if (write_protected) {
        const PageRange chunk{align_down(page, kPagesPerChunk), kPagesPerChunk};
        if (migrator_.mover().untrack(chunk) == 0) return FaultEnd::kServed;
        // A neighbour's mapping may be somebody else's: ask for the page.
        if (migrator_.mover().untrack({page, 1}) == 0) return FaultEnd::kServed;
        return FaultEnd::kAgain;  // a fork under way
      }
      std::uint8_t present = 1;
      if (core_.host->scan_present(address, {&present, 1}) == 0 && present == 0) {
        // Dropped by a system call that the runtime does not see: it reads as zero from now on.
        core_.table.apply(page, PageEvent::kDiscard);
        migrator_.mover().release_frames({page, 1});
        return serve_empty(page, write, turn);
      }
      ++core_.statistics().faults_spurious;
      break;
    }
    case PageState::kLost: return poison(page);
    default:
      ++core_.statistics().faults_spurious;
      break;
  }
  (void)core_.host->wake(address, kPageBytes);
  return FaultEnd::kServed;
}

FaultEnd FaultService::poison(std::size_t page) noexcept {
  std::byte* address = core_.table.address(page);
  if (core_.host->poison(address, kPageBytes) == -EAGAIN) return FaultEnd::kAgain;
  (void)core_.host->wake(address, kPageBytes);
  return FaultEnd::kServed;
}

PageRange FaultService::window(std::size_t page) const noexcept {
  const std::size_t first = align_down(page, kPagesPerBlock);
  const Block& block = core_.table.block(page / kPagesPerBlock);
  const FaultWindow wanted = fault_window(page - first, block.streak, core_.fault_around);
  return {first + wanted.first, wanted.count};
}

FaultEnd FaultService::serve_empty(std::size_t page, bool write, Turn& turn) noexcept {
  // The neighbours that are empty too, within the window, contiguous with the page.
  const PageRange limits = window(page);
  std::size_t first = page;
  std::size_t end = page + 1;
  while (first > limits.first && core_.table.state(first - 1) == PageState::kEmpty) --first;
  while (end < limits.end() && core_.table.state(end) == PageState::kEmpty) ++end;
  const PageRange run{first, end - first};
  std::byte* address = core_.table.address(first);
  ++core_.statistics().faults_empty;
  Block& block = core_.table.block(page / kPagesPerBlock);
  if (run.count > kPagesPerChunk || block.source != nullptr) turn.pass();
  if (block.source != nullptr) return serve_file(*block.source, run, page);
  if (core_.host->zero_in(address, run.count * kPageBytes, write) != 0) {
    // A range that crosses the border of two mappings is refused as a whole: ask for the page.
    (void)core_.host->zero_in(core_.table.address(page), kPageBytes, write);
  }
  // What is there now, is there: a refusal in the middle leaves the pages before it populated.
  std::array<std::uint8_t, kPagesPerBlock> flags;
  const auto present = std::span(flags).first(run.count);
  if (core_.host->scan_present(address, present) == 0) {
    for (std::size_t index = 0; index < run.count; ++index) {
      if (present[index] != 0) core_.table.apply(run.first + index, PageEvent::kPopulate);
    }
  }
  if (core_.table.state(page) == PageState::kEmpty) return ask_again(page);
  if (block.streak < 16) ++block.streak;
  block.failing_since = 0;
  (void)core_.host->wake(address, run.count * kPageBytes);
  return FaultEnd::kServed;
}

FaultEnd FaultService::serve_file(const FileSource& source, PageRange run,
                                  std::size_t page) noexcept {
  Block& block = core_.table.block(page / kPagesPerBlock);
  for (std::size_t at = run.first; at < run.end();) {
    const std::size_t chunk_end = align_down(at, kPagesPerChunk) + kPagesPerChunk;
    const PageRange piece{at, std::min(chunk_end, run.end()) - at};
    at = piece.end();
    const int error = load_to_host(core_, source, piece);
    const bool wanted = piece.first <= page && page < piece.end();
    if (error == 0 || !wanted || core_.table.state(page) != PageState::kEmpty) continue;
    // As a mapping of the kernel's: what cannot be read is SIGBUS, not zeros.
    if (error != -EAGAIN && error != -ENOMEM && error != -EEXIST) return poison(page);
    // Alone: a range that crosses the border of two mappings is refused as a whole.
    (void)load_to_host(core_, source, {page, 1});
  }
  if (core_.table.state(page) == PageState::kEmpty) return ask_again(page);
  if (block.streak < 16) ++block.streak;
  block.failing_since = 0;
  (void)core_.host->wake(core_.table.address(run.first), run.count * kPageBytes);
  return FaultEnd::kServed;
}

FaultEnd FaultService::ask_again(std::size_t page) noexcept {
  // A fork under way, or no memory at the moment: the thread is woken later, faults again, and is
  // served then. Where that goes on for too long it gets SIGBUS: an end that can be seen.
  Block& block = core_.table.block(page / kPagesPerBlock);
  const std::uint64_t now = monotonic_ns();
  constexpr auto kLimit = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(kPatience).count());
  if (block.failing_since == 0) block.failing_since = now;
  if (now - block.failing_since > kLimit) {
    static constexpr std::string_view kText =
        "godwit: a page could not be brought to RAM for 10 seconds; its reader gets SIGBUS\n";
    (void)!::write(STDERR_FILENO, kText.data(), kText.size());
    (void)core_.host->poison(core_.table.address(page), kPageBytes);
  }
  return FaultEnd::kAgain;
}

bool FaultService::conflicts(std::size_t page, bool write) const noexcept {
  const std::uint32_t frame = core_.table.frame(page / kPagesPerChunk);
  if (frame == PageTable::kNone) return false;
  const VramFrames::Holds holds = core_.frames->holds(frame);
  return holds.writers != 0 || (write && holds.readers != 0);
}

FaultEnd FaultService::serve_device(std::size_t page, bool write, Turn& turn) noexcept {
  const std::uint64_t start = monotonic_ns();
  Block& block = core_.table.block(page / kPagesPerBlock);
  if (conflicts(page, write)) {
    block.wake_on_release.store(true);
    ++core_.statistics().faults_deferred;
    return FaultEnd::kWaits;
  }
  const PageRange limits = window(page);
  std::size_t first = page;
  std::size_t end = page + 1;
  const auto joins = [&](std::size_t other) {
    return core_.table.state(other) == PageState::kDevice && !conflicts(other, write);
  };
  while (first > limits.first && joins(first - 1)) --first;
  while (end < limits.end() && joins(end)) ++end;
  // A chunk that is copied here takes as long as waking somebody; a device of its own, longer.
  if (end - first > kPagesPerChunk || core_.device->direct(0) == nullptr) turn.pass();
  MoveTally tally;
  migrator_.mover().promote({first, end - first}, !write, tally);
  if (block.streak < 16) ++block.streak;
  Statistics& statistics = core_.statistics();
  CauseCounters& counters = of(statistics, Cause::kCpuFault);
  ++counters.operations;
  counters.pages_to_host += tally.copied;
  counters.nanoseconds += monotonic_ns() - start;
  core_.telemetry.record(EventKind::kMigrate, Cause::kCpuFault, start,
                         reinterpret_cast<std::uintptr_t>(core_.table.address(first)),
                         tally.moved * kPageBytes, false);
  if (core_.table.state(page) == PageState::kDevice) return ask_again(page);
  block.failing_since = 0;
  return FaultEnd::kServed;
}

void FaultService::after_release(Core& core, std::size_t block) noexcept {
  if (core.table.block(block).wake_on_release.exchange(false)) {
    core.table.block(block).wake.store(true);  // the guard that holds the lock wakes
  }
}

void FaultService::on_fork(ChildMemory& child) noexcept {
  // With prepare_fork() there is nothing left to do, unless something could not come home. Without
  // it (a fork that bypassed the C library) everything is done here: what is only in VRAM is copied
  // into the child, page by page, before the child can go on.
  if (!core_.fork_prepared.load()) ++core_.statistics().forks;
  if (!core_.has_device.load() && !core_.has_files.load()) return;
  for (std::size_t block = 0; block < core_.armed_end.load(); ++block) {
    if (!core_.table.block(block).armed.load()) continue;
    const BlockGuard guard(core_, block);
    for (std::size_t page = block * kPagesPerBlock; page < (block + 1) * kPagesPerBlock; ++page) {
      std::byte* address = core_.table.address(page);
      const FileSource* source = core_.table.block(block).source;
      if (core_.table.state(page) == PageState::kEmpty && source != nullptr) {
        if (source->read(source->offset_of(address), fork_page_) != 0 ||
            child.copy_in(address, fork_page_.data(), kPageBytes) != 0) {
          (void)child.poison(address, kPageBytes);
        }
        continue;
      }
      if (core_.table.state(page) != PageState::kDevice) continue;
      const CopyOp op{VramFrames::offset(core_.table.frame(page / kPagesPerChunk)) +
                          page % kPagesPerChunk * kPageBytes,
                      fork_page_.data(), kPageBytes};
      if (core_.device->copy(Direction::kToHost, {&op, 1}) != 0 ||
          child.copy_in(address, fork_page_.data(), kPageBytes) != 0) {
        (void)child.poison(address, kPageBytes);
      }
    }
  }
}

void FaultService::on_handlers_gone() noexcept {
  // Nobody will answer another fault. Everything comes home, what cannot is poisoned (SIGBUS), and
  // then the kernel alone looks after the range: no thread hangs, and none reads wrong bytes.
  core_.handlers_gone.store(true);
  for (std::size_t block = 0; block < core_.armed_end.load(); ++block) {
    if (!core_.table.block(block).armed.load()) continue;
    const BlockGuard guard(core_, block);
    MoveTally tally;
    migrator_.mover().promote({block * kPagesPerBlock, kPagesPerBlock}, false, tally);
    const FileSource* source = core_.table.block(block).source;
    for (std::size_t page = block * kPagesPerBlock; page < (block + 1) * kPagesPerBlock; ++page) {
      const PageState state = core_.table.state(page);
      const bool unread = state == PageState::kEmpty && source != nullptr &&
                          load_to_host(core_, *source, {page, 1}) != 0;
      if (state != PageState::kDevice && !unread) continue;
      (void)core_.host->poison(core_.table.address(page), kPageBytes);
    }
    (void)core_.host->disarm(core_.table.address(block * kPagesPerBlock), kBlockBytes);
  }
}

}  // namespace godwit
