// SPDX-License-Identifier: MIT
// The memory of a soft device: anonymous mappings, addresses behind a chunk table, and the copy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "godwit/units.h"
#include "runtime/src/device/device.h"

namespace godwit {

/// An anonymous mapping with its own lifetime. Never on the heap: the heap may be managed memory.
class SoftMapping {
 public:
  SoftMapping() = default;
  ~SoftMapping() { release(); }
  SoftMapping(SoftMapping&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.forget();
  }
  SoftMapping(const SoftMapping&) = delete;
  SoftMapping& operator=(const SoftMapping&) = delete;

  enum class InChild : std::uint8_t { kAbsent, kZero };

  /// Maps `bytes` at a multiple of kBlockBytes, backed on first touch, huge pages where the kernel
  /// gives them; after a fork the child has none of it, or reads zeros. 0 or -ENOMEM. Only when
  /// nothing is mapped.
  [[nodiscard]] int map(std::size_t bytes, InChild child = InChild::kAbsent) noexcept;
  void release() noexcept;
  /// Forgets the mapping without unmapping it: in a child the address may hold something else.
  void forget() noexcept;

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// A DeviceSpan with CPU addresses. The table is the caller's, alive until the command completes.
class SoftSpan {
 public:
  SoftSpan(const DeviceSpan& span, std::byte* vram) noexcept
      : table_(span.chunks.data()), offset_(span.offset), bytes_(span.bytes), vram_(vram) {}

  /// The address of byte `at`; valid up to the end of its frame.
  [[nodiscard]] std::byte* address(std::uint64_t at) const noexcept {
    const std::uint64_t linear = offset_ + at;
    return vram_ + table_[linear / kChunkBytes] + linear % kChunkBytes;
  }
  /// How many of the `bytes` bytes from `at` on lie in one frame.
  [[nodiscard]] std::size_t run(std::uint64_t at, std::size_t bytes) const noexcept {
    const std::size_t room = kChunkBytes - (offset_ + at) % kChunkBytes;
    return bytes < room ? bytes : room;
  }
  /// Copies out of and into the span, across frames.
  void load(std::uint64_t at, std::byte* to, std::size_t bytes) const noexcept;
  void store(std::uint64_t at, const std::byte* from, std::size_t bytes) const noexcept;

  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  const std::uint64_t* table_;
  std::uint64_t offset_;
  std::uint64_t bytes_;
  std::byte* vram_;
};

/// 0 if the table covers the span, else -EINVAL.
[[nodiscard]] int check_span(const DeviceSpan& span) noexcept;
/// 0 if bytes [first, first + bytes) of a checked span lie in frames of a VRAM of that size.
[[nodiscard]] int check_frames(const DeviceSpan& span, std::uint64_t first, std::uint64_t bytes,
                               std::uint64_t vram_bytes) noexcept;

/// memcpy. `stream`: past the caches, which is faster where the bytes are more than the caches hold
/// or are not read soon by the CPU. A cold 2 MiB: 26 GB/s against 18 with memcpy (EPYC, one
/// thread); but a warm one 43 against 65, and half the speed of whoever reads the result at once.
void soft_copy(std::byte* to, const std::byte* from, std::size_t bytes, bool stream) noexcept;
/// memset to zero, likewise.
void soft_clear(std::byte* to, std::size_t bytes, bool stream) noexcept;

}  // namespace godwit
