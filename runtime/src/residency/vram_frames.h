// SPDX-License-Identifier: MIT
// The frames of one device's VRAM: which are free, which chunk each holds, which was used least
// recently, and which a command holds right now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "godwit/units.h"

namespace godwit {

/// Thread-safe. Allocates at construction only. A frame is free, taken (owned by whoever took it),
/// or bound to a chunk; bound frames are in a list ordered by use.
class VramFrames {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  explicit VramFrames(std::uint64_t vram_bytes);

  [[nodiscard]] std::size_t count() const { return frames_.size(); }
  [[nodiscard]] std::size_t free_count() const;
  [[nodiscard]] static std::uint64_t offset(std::uint32_t frame) {
    return std::uint64_t{frame} * kChunkBytes;
  }

  /// Takes up to out.size() free frames, in one contiguous run where there is one.
  /// Returns how many.
  [[nodiscard]] std::size_t take(std::span<std::uint32_t> out) noexcept;
  void give_back(std::uint32_t frame) noexcept;

  /// Binds a taken frame to a chunk, as the most recently used one.
  void bind(std::uint32_t frame, std::size_t chunk) noexcept;
  /// A use now: the frame is the last candidate for eviction.
  void touch(std::uint32_t frame) noexcept;

  /// A held frame is not a victim. Holds nest.
  void hold(std::uint32_t frame, bool write) noexcept;
  void release(std::uint32_t frame, bool write) noexcept;
  struct Holds {
    std::uint32_t readers = 0;
    std::uint32_t writers = 0;
    [[nodiscard]] bool any() const { return readers + writers != 0; }
  };
  [[nodiscard]] Holds holds(std::uint32_t frame) const noexcept;

  /// A clock that advances with every use; now() before an operation marks what is older.
  [[nodiscard]] std::uint64_t now() const noexcept;

  /// The chunk of the frame that was used least recently, was last used before `before` and is not
  /// held; kNoVictim if there is none. `skip` leaves that many candidates out (their blocks are
  /// busy). The answer is a hint: check it again under the chunk's block lock.
  static constexpr std::size_t kNoVictim = ~std::size_t{0};
  [[nodiscard]] std::size_t victim(std::uint64_t before, std::size_t skip) const noexcept;

 private:
  struct Frame {
    std::size_t chunk = 0;
    std::uint64_t used = 0;
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    std::uint32_t readers = 0;
    std::uint32_t writers = 0;
    bool bound = false;
    bool free = true;
  };
  void unlink(std::uint32_t frame) noexcept;
  void append(std::uint32_t frame) noexcept;

  mutable std::mutex mutex_;
  std::vector<Frame> frames_;
  std::size_t free_ = 0;
  std::size_t lowest_free_ = 0;  // no frame below it is free
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::uint64_t clock_ = 1;
};

}  // namespace godwit
