// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/block_mover.h"

#include <algorithm>
#include <cerrno>

#include "runtime/src/transfer/file_pages.h"

namespace godwit {
namespace {

std::size_t chunk_of(std::size_t page) { return page / kPagesPerChunk; }
std::size_t offset_in_slot(std::size_t page, SlotSize size) {
  return page % (PagePool::bytes(size) / kPageBytes) * kPageBytes;
}

}  // namespace

StayReason stay_reason(int error) noexcept {
  switch (-error) {
    case EBUSY: return StayReason::kPinned;
    case EINVAL:
    case EPERM: return StayReason::kLocked;
    case ENOMEM: return StayReason::kNoMemory;
    default: return StayReason::kRaced;
  }
}

int BlockMover::arm(std::size_t block) noexcept {
  Block& entry = core_.table.block(block);
  if (entry.armed.load()) return core_.handlers_gone.load() ? -ESHUTDOWN : 0;
  const std::size_t first = block * kPagesPerBlock;
  std::byte* address = core_.table.address(first);
  // Registered first, looked at second: a page that appears in between appears through a fault,
  // and the fault waits for the lock that our caller holds.
  int error = core_.host->arm(address, kBlockBytes);
  if (error != 0) return error;
  std::array<std::uint8_t, kPagesPerBlock> present;
  if (core_.full_level()) {
    error = core_.host->scan_present(address, present);
    if (error != 0) return error;
  } else {
    present.fill(1);  // absent pages are the kernel's business at this level
  }
  for (std::size_t page = 0; page < kPagesPerBlock; ++page) {
    core_.table.apply(first + page,
                      present[page] != 0 ? PageEvent::kArmPresent : PageEvent::kArmAbsent);
  }
  entry.streak = 0;
  entry.armed.store(true);
  std::size_t end = core_.armed_end.load();
  while (end <= block && !core_.armed_end.compare_exchange_weak(end, block + 1)) {
  }
  // Armed first, looked at second: the last handler says that it goes, and then looks for armed
  // blocks.
  if (!core_.handlers_gone.load()) return 0;
  if (core_.host->disarm(address, kBlockBytes) == 0) {
    core_.table.apply({first, kPagesPerBlock}, PageEvent::kDisarm);
    entry.armed.store(false);
  }
  return -ESHUTDOWN;
}

std::size_t BlockMover::frames_needed(PageRange range) const noexcept {
  std::size_t needed = 0;
  for (std::size_t chunk = chunk_of(range.first); chunk <= chunk_of(range.end() - 1); ++chunk) {
    if (core_.table.frame(chunk) == PageTable::kNone) ++needed;
  }
  return needed;
}

bool BlockMover::ensure_frame(std::size_t chunk, FrameReserve& reserve) noexcept {
  if (core_.table.frame(chunk) != PageTable::kNone) return true;
  if (reserve.count() == 0) return false;
  const std::uint32_t frame = reserve.pop();
  core_.table.set_frame(chunk, frame);
  core_.frames->bind(frame, chunk);
  return true;
}

PageRange BlockMover::run_of(std::size_t page, std::size_t end, PageState state) const noexcept {
  std::size_t last = page;
  while (last < end && core_.table.state(last) == state) ++last;
  return {page, last - page};
}

std::size_t BlockMover::copy_ops(PageRange run, std::byte* host, CopyOp* ops) const noexcept {
  std::size_t count = 0;
  for (std::size_t page = run.first; page < run.end();) {
    const std::size_t chunk_end = std::min((chunk_of(page) + 1) * kPagesPerChunk, run.end());
    const std::uint64_t vram = VramFrames::offset(core_.table.frame(chunk_of(page))) +
                               page % kPagesPerChunk * kPageBytes;
    const std::size_t bytes = (chunk_end - page) * kPageBytes;
    if (count != 0 && ops[count - 1].vram + ops[count - 1].bytes == vram) {
      ops[count - 1].bytes += bytes;
    } else {
      ops[count++] = {vram, host, bytes};
    }
    host += bytes;
    page = chunk_end;
  }
  return count;
}

int BlockMover::device_copy(Direction direction, PageRange run, std::byte* host) noexcept {
  std::array<CopyOp, kChunksPerBlock> ops;
  const std::size_t count = copy_ops(run, host, ops.data());
  const int error = core_.device->copy(direction, std::span(ops).first(count));
  if (error == -ENODEV) core_.device_lost.store(true);
  return error;
}

void BlockMover::demote(PageRange range, FrameReserve& reserve, MoveTally& tally) noexcept {
  core_.table.block(range.first / kPagesPerBlock).streak = 0;
  for (std::size_t page = range.first; page < range.end();) {
    const PageState state = core_.table.state(page);
    PageRange run = run_of(page, range.end(), state);
    if (state == PageState::kBoth) {
      drop_host(run, tally);
    } else if (state == PageState::kHost) {
      // Frames for the run, chunk by chunk; the run ends where they do.
      std::size_t end = page;
      while (end < run.end() && ensure_frame(chunk_of(end), reserve)) {
        end = std::min((chunk_of(end) + 1) * kPagesPerChunk, run.end());
      }
      if (end > page) demote_run({page, end - page}, tally);
      tally.stay(PageRange{end, run.end() - end}, StayReason::kNoVram);
    } else {
      tally.already += run.count;
    }
    page = run.end();
  }
  release_frames(range);
}

void BlockMover::demote_run(PageRange run, MoveTally& tally) noexcept {
  const SlotSize size = run.count > kPagesPerChunk ||
                                chunk_of(run.first) != chunk_of(run.end() - 1)
                            ? SlotSize::kBlock
                            : SlotSize::kChunk;
  std::byte* slot = core_.pool->take_empty(size);
  if (slot == nullptr) {
    tally.stay(run, StayReason::kNoMemory);
    return;
  }
  const std::size_t moved_before = tally.moved;
  for (std::size_t page = run.first; page < run.end();) {
    PageRange rest{page, run.end() - page};
    int error = take_out_and_copy(rest, slot + offset_in_slot(page, size), tally);
    page = rest.end();
    if (page == run.end()) break;
    if (error != -EBUSY && run.end() - page > 1) {
      // The kernel judges a range as a whole where it crosses a mapping's border: ask for one page.
      rest = {page, 1};
      error = take_out_and_copy(rest, slot + offset_in_slot(page, size), tally);
      page = rest.end();
      if (error == 0) continue;
    }
    if (error == -ENOENT && absent(page)) {
      // Dropped behind our back by a system call that the runtime does not see.
      core_.table.apply(page, PageEvent::kDiscard);
      ++tally.already;
    } else {
      tally.stay(page, stay_reason(error));
    }
    ++page;
  }
  // Not those that a failed copy sent back.
  const std::size_t in_slot = tally.moved - moved_before;
  Block& block = core_.table.block(run.first / kPagesPerBlock);
  const bool whole = in_slot == kPagesPerBlock;
  if (whole && block.split) {
    // The slot got small pages. Purged, and the block's empty page table dropped, both can hold
    // a huge page again: the kernel moves one only to where no page table is.
    core_.pool->give_mixed(size, slot);
    (void)core_.host->drop(core_.table.address(run.first), kBlockBytes);
    block.split = false;
    return;
  }
  block.split = block.split || !whole;
  if (in_slot == PagePool::bytes(size) / kPageBytes) {
    core_.pool->give_full(size, slot);
  } else {
    core_.pool->give_mixed(size, slot);
  }
}

/// One attempt. Afterwards `run` is what was taken out (and is in VRAM, or back, or lost); the
/// pages behind it are kHost as before, and the answer says why the next one stayed.
int BlockMover::take_out_and_copy(PageRange& run, std::byte* slot, MoveTally& tally) noexcept {
  core_.table.apply(run, PageEvent::kDemoteBegin);
  std::size_t bytes = 0;
  const int error =
      core_.host->take_out(core_.table.address(run.first), slot, run.count * kPageBytes, &bytes);
  const PageRange out{run.first, bytes / kPageBytes};
  core_.table.apply({out.end(), run.end() - out.end()}, PageEvent::kDemoteAbort);
  run = out;
  if (out.count == 0) return error;
  if (device_copy(Direction::kToDevice, out, slot) == 0) {
    core_.table.apply(out, PageEvent::kDemoteCommit);
    tally.moved += out.count;
    tally.copied += out.count;
    return error;
  }
  std::size_t back = 0;
  if (core_.host->put_in(core_.table.address(out.first), slot, bytes, &back) != 0) {
    // A fork under way, or no memory for page tables: the bytes are in the slot, copy them.
    std::size_t copied = 0;
    (void)core_.host->copy_in(core_.table.address(out.first) + back, slot + back, bytes - back,
                              false, &copied);
    back += copied;
  }
  const PageRange returned{out.first, back / kPageBytes};
  core_.table.apply(returned, PageEvent::kDemoteAbort);
  tally.stay(returned, StayReason::kDevice);
  if (returned.count != out.count) lose({returned.end(), out.count - returned.count});
  return error;
}

bool BlockMover::absent(std::size_t page) noexcept {
  std::uint8_t present = 1;
  return core_.host->scan_present(core_.table.address(page), {&present, 1}) == 0 && present == 0;
}

void BlockMover::drop_host(PageRange run, MoveTally& tally) noexcept {
  if (!core_.full_level()) {
    tally.already += run.count;
    return;
  }
  // Write-tracked pages: nobody could write without a fault that waits for our lock. They are taken
  // out rather than dropped so that a page pinned for DMA is refused instead of orphaned.
  for (std::size_t page = run.first; page < run.end();) {
    const std::size_t chunk_end = std::min((chunk_of(page) + 1) * kPagesPerChunk, run.end());
    std::byte* slot = core_.pool->take_empty(SlotSize::kChunk);
    if (slot == nullptr) {
      tally.stay(page++, StayReason::kNoMemory);
      continue;
    }
    std::size_t bytes = 0;
    const std::size_t wanted = (chunk_end - page) * kPageBytes;
    const int error =
        core_.host->take_out(core_.table.address(page),
                             slot + offset_in_slot(page, SlotSize::kChunk), wanted, &bytes);
    const PageRange out{page, bytes / kPageBytes};
    core_.table.apply(out, PageEvent::kDropHost);
    tally.moved += out.count;
    page = out.end();
    if (bytes == kChunkBytes) {
      core_.pool->give_full(SlotSize::kChunk, slot);
    } else {
      core_.pool->give_mixed(SlotSize::kChunk, slot);
    }
    if (error == -ENOENT && page < chunk_end && absent(page)) {
      core_.table.apply(page++, PageEvent::kDiscard);
      ++tally.already;
    } else if (error != 0 && page < chunk_end) {
      tally.stay(page++, stay_reason(error));
    }
  }
}

void BlockMover::duplicate(PageRange range, bool anew, FrameReserve& reserve,
                           MoveTally& tally) noexcept {
  refresh(range);
  for (std::size_t page = range.first; page < range.end();) {
    const PageState state = core_.table.state(page);
    const std::size_t chunk_end = std::min((chunk_of(page) + 1) * kPagesPerChunk, range.end());
    PageRange run = run_of(page, chunk_end, state);
    page = run.end();
    if (anew && state == PageState::kBoth) {
      core_.table.apply(run, PageEvent::kDropDevice);  // the frame stays for the copy
    } else if (state != PageState::kHost) {
      tally.already += run.count;
      continue;
    }
    StayReason reason = StayReason::kNoVram;
    if (ensure_frame(chunk_of(run.first), reserve)) {
      std::byte* address = core_.table.address(run.first);
      const int error = core_.host->track(address, run.count * kPageBytes, true);
      reason = error == 0 ? StayReason::kDevice : stay_reason(error);
      if (error == 0 && device_copy(Direction::kToDevice, run, address) == 0) {
        core_.table.apply(run, PageEvent::kDuplicate);
        tally.moved += run.count;
        tally.copied += run.count;
        continue;
      }
      if (error == 0) (void)core_.host->track(address, run.count * kPageBytes, false);
    }
    tally.stay(run, reason);
  }
  release_frames(range);
}

void BlockMover::fill_on_device(PageRange range, FrameReserve& reserve, MoveTally& tally) noexcept {
  const FileSource* source = core_.table.block(range.first / kPagesPerBlock).source;
  for (std::size_t page = range.first; page < range.end();) {
    const std::size_t chunk_end = std::min((chunk_of(page) + 1) * kPagesPerChunk, range.end());
    const PageState state = core_.table.state(page);
    const PageRange run = run_of(page, chunk_end, state);
    page = run.end();
    if (state != PageState::kEmpty) continue;
    StayReason reason = StayReason::kNoVram;
    if (ensure_frame(chunk_of(run.first), reserve)) {
      const std::uint64_t vram = VramFrames::offset(core_.table.frame(chunk_of(run.first))) +
                                 run.first % kPagesPerChunk * kPageBytes;
      const int error = source == nullptr ? core_.device->clear(vram, run.count * kPageBytes)
                                          : load_to_device(core_, *source, run, vram);
      if (error == 0) {
        core_.table.apply(run, PageEvent::kDeviceFill);
        tally.moved += run.count;
        continue;
      }
      if (error == -ENODEV) core_.device_lost.store(true);
      reason = StayReason::kDevice;
    }
    tally.stay(run, reason);
  }
  release_frames(range);
}

void BlockMover::promote(PageRange range, bool tracked, MoveTally& tally) noexcept {
  for (std::size_t page = range.first; page < range.end();) {
    const PageState state = core_.table.state(page);
    const PageRange run = run_of(page, range.end(), state);
    if (state == PageState::kDevice) {
      promote_run(run, tracked, tally);
    } else {
      tally.already += run.count;
    }
    page = run.end();
  }
  release_frames(range);
}

void BlockMover::promote_run(PageRange run, bool tracked, MoveTally& tally) noexcept {
  Block& block = core_.table.block(run.first / kPagesPerBlock);
  block.split = block.split || tracked || run.count != kPagesPerBlock;
  if (!tracked && run.count == kPagesPerBlock) {
    const std::size_t done = promote_by_move(run, SlotSize::kBlock, tally);
    run = {run.first + done, run.count - done};
  }
  while (run.count != 0) {
    const std::size_t end = std::min((chunk_of(run.first) + 1) * kPagesPerChunk, run.end());
    PageRange piece{run.first, end - run.first};
    run = {end, run.end() - end};
    if (!tracked && piece.count == kPagesPerChunk) {
      const std::size_t done = promote_by_move(piece, SlotSize::kChunk, tally);
      piece = {piece.first + done, piece.count - done};
    }
    if (piece.count != 0) promote_by_copy(piece, tracked, tally);
  }
}

/// Returns how many pages it dealt with; the rest is still kDevice and for promote_by_copy.
std::size_t BlockMover::promote_by_move(PageRange run, SlotSize size, MoveTally& tally) noexcept {
  std::byte* slot = core_.pool->take_full(size);
  if (slot == nullptr) return 0;
  core_.table.apply(run, PageEvent::kPromoteBegin);
  const int error = device_copy(Direction::kToHost, run, slot);
  if (error != 0) {
    core_.pool->give_full(size, slot);
    if (error == -ENODEV) {
      lose(run);
    } else {
      core_.table.apply(run, PageEvent::kPromoteAbort);
      tally.stay(run, StayReason::kDevice);
    }
    return run.count;
  }
  std::size_t bytes = 0;
  const int put =
      core_.host->put_in(core_.table.address(run.first), slot, run.count * kPageBytes, &bytes);
  const PageRange in{run.first, bytes / kPageBytes};
  core_.table.apply(in, PageEvent::kPromoteCommit);
  core_.table.apply({in.end(), run.end() - in.end()}, PageEvent::kPromoteAbort);
  tally.moved += in.count;
  tally.copied += in.count;
  if (put == 0) {
    core_.pool->give_empty(size, slot);
  } else {
    core_.pool->give_mixed(size, slot);
  }
  return in.count;
}

/// For what cannot be moved: tracked pages, parts of a chunk, memory whose protection differs.
void BlockMover::promote_by_copy(PageRange run, bool tracked, MoveTally& tally) noexcept {
  core_.table.apply(run, PageEvent::kPromoteBegin);
  const std::byte* source = core_.device->direct(
      VramFrames::offset(core_.table.frame(chunk_of(run.first))) +
      run.first % kPagesPerChunk * kPageBytes);
  std::byte* slot = nullptr;
  int error = core_.device_lost.load() ? -ENODEV : 0;
  if (source == nullptr && error == 0) {
    slot = core_.pool->take_full(SlotSize::kChunk);
    error = slot == nullptr ? -ENOMEM : device_copy(Direction::kToHost, run, slot);
    source = slot;
  }
  if (error == -ENODEV) {
    lose(run);
  } else {
    for (std::size_t page = run.first; page < run.end();) {
      // All that is left at once; where the kernel refuses that, page by page: a range that
      // crosses the border of two mappings is refused as a whole.
      std::size_t bytes = 0;
      const std::size_t offset = (page - run.first) * kPageBytes;
      for (const std::size_t count : {run.end() - page, std::size_t{1}}) {
        if (error == -EAGAIN || error == -ENOMEM) break;
        error = core_.host->copy_in(core_.table.address(page), source + offset,
                                    count * kPageBytes, tracked, &bytes);
        if (bytes != 0) break;
      }
      const PageRange in{page, bytes / kPageBytes};
      core_.table.apply(in, tracked ? PageEvent::kPromoteTracked : PageEvent::kPromoteCommit);
      tally.moved += in.count;
      tally.copied += in.count;
      page = in.end();
      if (in.count != 0) continue;
      core_.table.apply(page, PageEvent::kPromoteAbort);
      tally.stay(page++, stay_reason(error));
    }
  }
  if (slot != nullptr) core_.pool->give_full(SlotSize::kChunk, slot);
}

void BlockMover::lose(PageRange run) noexcept {
  core_.table.apply(run, PageEvent::kLose);
  core_.statistics().lost_pages += run.count;
  (void)core_.host->poison(core_.table.address(run.first), run.count * kPageBytes);
  core_.telemetry.record(EventKind::kLost, Cause::kUnplug, monotonic_ns(),
                         reinterpret_cast<std::uintptr_t>(core_.table.address(run.first)),
                         run.count * kPageBytes, false);
}

void BlockMover::drop_device(PageRange range) noexcept {
  for (std::size_t page = range.first; page < range.end(); ++page) {
    if (core_.table.state(page) == PageState::kBoth) {
      core_.table.apply(page, PageEvent::kDropDevice);
    }
  }
  release_frames(range);
}

void BlockMover::refresh(PageRange range) noexcept {
  if (core_.full_level()) return;  // there, writes to tracked pages are faults
  for (std::size_t page = range.first; page < range.end(); ++page) {
    // At this level first touches are the kernel's: a discarded page may be there again.
    if (core_.table.state(page) == PageState::kEmpty) core_.table.apply(page, PageEvent::kPopulate);
  }
  for (std::size_t page = range.first; page < range.end();) {
    const PageState state = core_.table.state(page);
    const PageRange run = run_of(page, range.end(), state);
    page = run.end();
    if (state != PageState::kBoth) continue;
    std::array<std::uint8_t, kPagesPerBlock> written;
    const auto flags = std::span(written).first(run.count);
    if (core_.host->scan_written(core_.table.address(run.first), flags) != 0) {
      std::fill(flags.begin(), flags.end(), std::uint8_t{1});  // not known: treat as written
    }
    for (std::size_t index = 0; index < run.count; ++index) {
      if (flags[index] != 0) core_.table.apply(run.first + index, PageEvent::kCpuWrote);
    }
  }
}

int BlockMover::untrack(PageRange range) noexcept {
  int first_error = 0;
  for (std::size_t page = range.first; page < range.end();) {
    const PageState state = core_.table.state(page);
    const PageRange run = run_of(page, range.end(), state);
    if (in_host(state)) {
      if (state == PageState::kBoth) core_.table.apply(run, PageEvent::kCpuWrote);
      const int error =
          core_.host->track(core_.table.address(run.first), run.count * kPageBytes, false);
      if (first_error == 0) first_error = error;
    }
    page = run.end();
  }
  release_frames(range);
  return first_error;
}

void BlockMover::discard(PageRange range) noexcept {
  core_.table.apply(range, PageEvent::kDiscard);
  core_.statistics().removed_pages += range.count;
  std::byte* address = core_.table.address(range.first);
  const std::size_t bytes = range.count * kPageBytes;
  if (core_.host->drop(address, bytes) == -ENOMEM) {
    const bool armed = core_.table.block(range.first / kPagesPerBlock).armed.load();
    (void)core_.host->renew(address, bytes, armed);
  }
  release_frames(range);
}

void BlockMover::release_frames(PageRange range) noexcept {
  if (!core_.has_device.load() || range.count == 0) return;
  for (std::size_t chunk = chunk_of(range.first); chunk <= chunk_of(range.end() - 1); ++chunk) {
    const std::uint32_t frame = core_.table.frame(chunk);
    if (frame == PageTable::kNone || core_.frames->holds(frame).any()) continue;
    bool used = false;
    for (std::size_t page = chunk * kPagesPerChunk;
         !used && page < (chunk + 1) * kPagesPerChunk; ++page) {
      used = in_device(core_.table.state(page));
    }
    if (used) continue;
    core_.table.set_frame(chunk, PageTable::kNone);
    core_.frames->give_back(frame);
  }
}

}  // namespace godwit
