// SPDX-License-Identifier: MIT
// Moves pages of one block, whose lock the caller holds. The only code that changes page states
// together with the memory behind them, so the order of each step can be read in one place:
//
//   demote:   take the pages out of the address space -> copy to VRAM -> commit (or put back)
//   promote:  copy from VRAM into pool pages -> put them in (wakes) -> commit (or VRAM keeps them)
//   duplicate: write-track -> copy to VRAM -> commit; RAM keeps the page
//
// A page leaves the address space before its bytes are read, so no store can be lost between the
// copy and the commit, and a page pinned for DMA is found out (-EBUSY) before anything was copied.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/src/transfer/core.h"
#include "runtime/src/transfer/frame_reserve.h"

namespace godwit {

class BlockMover {
 public:
  explicit BlockMover(Core& core) : core_(core) {}

  /// Arms a block on its first demotion: registers it and learns which pages are present.
  /// -ESHUTDOWN: the fault handlers have ended, and it is left to the kernel.
  [[nodiscard]] int arm(std::size_t block) noexcept;
  /// How many chunks of the range would need a frame. Needs no lock: a hint for FrameReserve.
  [[nodiscard]] std::size_t frames_needed(PageRange range) const noexcept;

  void demote(PageRange range, FrameReserve& reserve, MoveTally& tally) noexcept;
  /// `anew`: also what VRAM has a copy of, which can be older than what another device has stored to
  /// the page since.
  void duplicate(PageRange range, bool anew, FrameReserve& reserve, MoveTally& tally) noexcept;
  /// Empty pages get their contents (zeros, or a file's) in VRAM: a command on the device may touch
  /// memory first.
  void fill_on_device(PageRange range, FrameReserve& reserve, MoveTally& tally) noexcept;
  /// `tracked`: VRAM keeps its copy, and the kernel tells when the CPU writes.
  void promote(PageRange range, bool tracked, MoveTally& tally) noexcept;
  /// VRAM gives clean copies up.
  void drop_device(PageRange range) noexcept;
  /// Pages that the CPU wrote since their copy was made become kHost (HostLevel::kResident).
  void refresh(PageRange range) noexcept;
  /// A write to a tracked page: it becomes kHost and writable. 0, or the error of a page that the
  /// kernel still tracks: the next write to it is a fault once more, and nobody was woken.
  int untrack(PageRange range) noexcept;
  void discard(PageRange range) noexcept;
  /// Frees the frame of each chunk that holds no page of this range's any more and is not held.
  void release_frames(PageRange range) noexcept;

 private:
  [[nodiscard]] bool ensure_frame(std::size_t chunk, FrameReserve& reserve) noexcept;
  void demote_run(PageRange run, MoveTally& tally) noexcept;
  [[nodiscard]] int take_out_and_copy(PageRange& run, std::byte* slot, MoveTally& tally) noexcept;
  [[nodiscard]] bool absent(std::size_t page) noexcept;
  void drop_host(PageRange run, MoveTally& tally) noexcept;
  void promote_run(PageRange run, bool tracked, MoveTally& tally) noexcept;
  [[nodiscard]] std::size_t promote_by_move(PageRange run, SlotSize size, MoveTally& tally) noexcept;
  void promote_by_copy(PageRange run, bool tracked, MoveTally& tally) noexcept;
  [[nodiscard]] std::size_t copy_ops(PageRange run, std::byte* host, CopyOp* ops) const noexcept;
  [[nodiscard]] int device_copy(Direction direction, PageRange run, std::byte* host) noexcept;
  void lose(PageRange run) noexcept;
  [[nodiscard]] PageRange run_of(std::size_t page, std::size_t end, PageState state) const noexcept;

  Core& core_;
};

/// The reason behind an errno of HostMemory.
[[nodiscard]] StayReason stay_reason(int error) noexcept;

}  // namespace godwit
