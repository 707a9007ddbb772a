// SPDX-License-Identifier: MIT
// A stock of host pages on their way in or out. Demotion moves the program's pages into empty
// slots; what arrives there becomes the stock that promotion moves back in without asking the
// kernel to allocate or zero anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "godwit/result.h"
#include "godwit/units.h"
#include "runtime/src/host/host_memory.h"

namespace godwit {

/// Slots of one chunk (small pages) and of one block (a huge page where the kernel has one).
enum class SlotSize : std::uint8_t { kChunk, kBlock };

/// Thread-safe; never allocates after construction. A slot is empty (no page present) or full.
class PagePool {
 public:
  /// `warm_bytes`: how much RAM full slots may keep before they are given back to the system.
  [[nodiscard]] static Result<std::unique_ptr<PagePool>> create(HostMemory& host,
                                                                std::size_t warm_bytes);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  [[nodiscard]] static std::size_t bytes(SlotSize size) {
    return size == SlotSize::kBlock ? kBlockBytes : kChunkBytes;
  }
  /// nullptr: no slot is left, or (full) the system has no memory.
  [[nodiscard]] std::byte* take_empty(SlotSize size) noexcept;
  [[nodiscard]] std::byte* take_full(SlotSize size) noexcept;
  void give_empty(SlotSize size, std::byte* slot) noexcept;
  void give_full(SlotSize size, std::byte* slot) noexcept;
  /// For a slot in which only some pages are present.
  void give_mixed(SlotSize size, std::byte* slot) noexcept;
  [[nodiscard]] std::size_t warm_bytes() const noexcept;

 private:
  struct Class {
    std::byte* base = nullptr;
    std::size_t slots = 0;
    std::vector<std::uint32_t> empty;  // reserved to `slots` at construction
    std::vector<std::uint32_t> full;
  };
  PagePool(HostMemory& host, std::size_t warm_bytes) : host_(host), warm_limit_(warm_bytes) {}
  [[nodiscard]] Class& of(SlotSize size) noexcept { return classes_[static_cast<int>(size)]; }

  HostMemory& host_;
  std::size_t warm_limit_;
  mutable std::mutex mutex_;
  std::size_t warm_ = 0;
  Class classes_[2];
};

}  // namespace godwit
