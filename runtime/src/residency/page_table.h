// SPDX-License-Identifier: MIT
// Where each page of the arena is: one state a page, one frame a chunk, one lock a block. All
// arrays are reserved once for the whole arena and touched lazily: no look-up allocates or waits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "godwit/result.h"
#include "godwit/units.h"
#include "runtime/src/residency/state.h"

namespace godwit {

class FileSource;

/// The lock protects the states and frames of the block's pages, and the fields below it.
/// Held while pages are moved; its holder never touches managed memory. A fault handler only ever
/// tries it: where that fails it sets `wake` and leaves, and whoever unlocks wakes the block.
struct Block {
  std::atomic<std::uint32_t> lock{0};  // 0 free, 1 taken, 2 taken and waited for
  std::atomic<bool> wake{false};             // a fault was put off until the lock is free
  std::atomic<bool> wake_on_release{false};  // ... until no command holds the block's frames
  std::atomic<bool> armed{false};            // faults in this block reach us
  std::atomic<std::uint32_t> peers{0};       // mappings of peers that touch it; raised under the lock
  const FileSource* source = nullptr;        // whose bytes kEmpty pages hold; null: zeros
  bool split = false;                        // pages moved one by one: it is no huge page any more
  std::uint8_t streak = 0;                   // faults served since pages were last demoted
  std::uint64_t failing_since = 0;           // monotonic_ns of the first of the faults that could
                                             // not be served in a row; 0: the last one could
};

/// Pages [first, first + count), as indices from the arena's base.
struct PageRange {
  std::size_t first = 0;
  std::size_t count = 0;
  [[nodiscard]] std::size_t end() const { return first + count; }
};

class PageTable {
 public:
  /// For `bytes` of address space from `base`; both multiples of kBlockBytes.
  [[nodiscard]] static Result<PageTable> create(std::byte* base, std::size_t bytes);
  ~PageTable();
  PageTable(PageTable&& other) noexcept;
  PageTable& operator=(PageTable&&) = delete;

  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::size_t pages() const { return pages_; }
  [[nodiscard]] std::byte* address(std::size_t page) const { return base_ + page * kPageBytes; }
  [[nodiscard]] std::size_t page_of(const void* address) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - base_) / kPageBytes;
  }
  [[nodiscard]] Block& block(std::size_t index) { return blocks_[index]; }

  /// May be called without the lock: then the answer is a moment's snapshot.
  [[nodiscard]] PageState state(std::size_t page) const noexcept {
    return static_cast<PageState>(states_[page].load(std::memory_order_relaxed));
  }
  [[nodiscard]] const std::atomic<std::uint8_t>* states() const noexcept { return states_; }

  /// The block's lock is held. A forbidden transition is a bug of the runtime: it is printed and
  /// the process ends, because the alternative is to lose the page's bytes in silence.
  void apply(std::size_t page, PageEvent event) noexcept;
  void apply(PageRange range, PageEvent event) noexcept {
    for (std::size_t page = range.first; page < range.end(); ++page) apply(page, event);
  }

  /// The frame that holds chunk `chunk`, or kNone. Changed under the block's lock only.
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  [[nodiscard]] std::uint32_t frame(std::size_t chunk) const noexcept {
    return frames_[chunk].load(std::memory_order_relaxed) - 1;
  }
  void set_frame(std::size_t chunk, std::uint32_t frame) noexcept {
    frames_[chunk].store(frame + 1, std::memory_order_relaxed);
  }

  void lock(std::size_t block) noexcept;
  [[nodiscard]] bool try_lock(std::size_t block) noexcept;
  /// True when a fault was put off meanwhile: the caller wakes the block's waiters.
  [[nodiscard]] bool unlock(std::size_t block) noexcept;

 private:
  PageTable() = default;
  std::byte* base_ = nullptr;
  std::size_t pages_ = 0;
  std::atomic<std::uint8_t>* states_ = nullptr;
  std::atomic<std::uint32_t>* frames_ = nullptr;
  Block* blocks_ = nullptr;
};

}  // namespace godwit
