// SPDX-License-Identifier: MIT
// The region directory: one reservation of address space, and the regions that are allocated in it.
// Whether an address is managed is a comparison with two bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "godwit/memory.h"
#include "godwit/result.h"
#include "godwit/units.h"

namespace godwit {

/// Hands out address space in chunks; touches none of it. Thread-safe.
class Arena {
 public:
  /// Reserves `bytes` (rounded up to blocks), or the largest power-of-two part of it that the
  /// machine's limits allow, down to 1 GiB. 0: sixteen times the machine's RAM.
  [[nodiscard]] static Result<Arena> reserve(std::size_t bytes);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&&) = delete;

  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool contains(const void* address) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - base_) < bytes_;
  }

  /// A region of at least `bytes` bytes. Aligned to `alignment` (a power of two) and to kChunkBytes.
  /// nullptr when no free range is long enough.
  [[nodiscard]] std::byte* allocate(std::size_t bytes, std::size_t alignment);
  /// The bytes from a region's first byte to its end (a multiple of kChunkBytes), or 0 when no
  /// region starts at that address.
  [[nodiscard]] std::size_t size_at(const void* region) const;
  /// Makes a region's range free again; its memory must have been given up before.
  /// False when no region starts at that address (then nothing was done).
  [[nodiscard]] bool release(void* region);

  struct Region {
    std::byte* base = nullptr;
    std::size_t bytes = 0;
    Advice advice = Advice::kNormal;
  };
  /// The region that holds the address; bytes is 0 where there is none.
  [[nodiscard]] Region find(const void* address) const;
  [[nodiscard]] bool set_advice(const void* address, Advice advice);
  /// The first region at or above `from`; bytes is 0 at the end. For walks over all regions.
  [[nodiscard]] Region next(const void* from) const;

  /// Held over a fork, so that the child's copy is whole.
  [[nodiscard]] std::mutex& mutex() const { return mutex_; }

 private:
  Arena(std::byte* base, std::size_t bytes);
  void add_free(std::byte* base, std::size_t bytes);
  void remove_free(std::map<std::byte*, std::size_t>::iterator entry);

  std::byte* base_;
  std::size_t bytes_;
  mutable std::mutex mutex_;
  std::map<std::byte*, std::size_t> free_;                    // by address, never adjacent
  std::set<std::pair<std::size_t, std::byte*>> free_by_size_;  // the same, for the best fit
  std::map<std::byte*, Region> regions_;
};

}  // namespace godwit
