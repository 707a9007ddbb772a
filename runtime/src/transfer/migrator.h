// SPDX-License-Identifier: MIT
// Moves ranges: splits them into blocks, finds frames, takes each block's lock, and adds up what
// became of the pages.
#pragma once

#include <bitset>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "godwit/memory.h"
#include "runtime/src/peer/pause.h"
#include "runtime/src/transfer/block_mover.h"
#include "runtime/src/transfer/evictor.h"
#include "runtime/src/transfer/workers.h"

namespace godwit {

class Migrator {
 public:
  Migrator(Core& core, unsigned threads)
      : core_(core), mover_(core), evictor_(core, mover_), workers_(threads) {}

  /// How a page gets to VRAM.
  enum class Manner : std::uint8_t {
    kMove,       // RAM gives it up
    kDuplicate,  // RAM keeps it
    // The same, and pages without contents get them in VRAM: zeros, or a file's bytes.
    kMoveAll,
    kDuplicateAll,
    // The same, of pages that peers keep as well, and each copy is made anew: for one command, which
    // ends the copies.
    kBorrowAll,
  };

  /// Thread-safe. The caller holds the gate shared, and the device exists.
  [[nodiscard]] MoveReport to_device(PageRange range, Manner manner, Cause cause);
  /// Thread-safe; needs no gate.
  [[nodiscard]] MoveReport to_host(PageRange range, Cause cause);
  /// Gives contents up. `disarm`: the range is freed: its peers' mappings end, and whole blocks of it go
  /// back to the kernel alone. False: pages
  /// of it are kept by peers, and nothing was given up; but where a peer began while it was going on,
  /// what came before.
  [[nodiscard]] bool discard(PageRange range, bool disarm);

  /// One block's part of to_device(); frames come from eviction of what was used before `before`.
  /// Peers are asked first. `then` runs after each try, while the block is still locked.
  void block_to_device(PageRange range, Manner manner, Cause cause, std::uint64_t before,
                       MoveTally& tally, const std::function<void()>& then = {});
  /// One block's part of to_host().
  void block_to_host(PageRange range, Cause cause, MoveTally& tally);

  [[nodiscard]] BlockMover& mover() { return mover_; }
  [[nodiscard]] Evictor& evictor() { return evictor_; }
  void abandon() noexcept { workers_.abandon(); }

  /// Adds a tally to a report; the pages' addresses are the arena's.
  static void add(MoveReport& report, const MoveTally& tally, const PageTable& table);

 private:
  /// The pages of a block, each that a peer keeps.
  using Kept = std::bitset<kPagesPerBlock>;
  [[nodiscard]] Kept kept_by(const peer::Pause& pause) const;
  void pass_to_device(PageRange range, Manner manner, FrameReserve& reserve, MoveTally& tally);
  void lend_to_device(PageRange range, Manner manner, const Kept& kept, FrameReserve& reserve,
                      MoveTally& tally);
  [[nodiscard]] bool held(PageRange range) const noexcept;
  void account(Cause cause, bool to_device, PageRange range, std::uint64_t start,
               const MoveTally& tally);

  Core& core_;
  BlockMover mover_;
  Evictor evictor_;
  Workers workers_;
};

/// The part of `range` that lies in `block`.
[[nodiscard]] PageRange part_in_block(PageRange range, std::size_t block);

}  // namespace godwit
