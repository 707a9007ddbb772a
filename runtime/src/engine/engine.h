// SPDX-License-Identifier: MIT
// What an engine is: it knows where each page of a range is, learns of every access that must move
// it, and moves it. tests/contract runs the same behaviours over every engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "godwit/memory.h"
#include "godwit/peer.h"
#include "godwit/result.h"
#include "runtime/src/device/device.h"

namespace godwit {

/// What a command on the device does with the bytes of an operand.
enum class Access : std::uint8_t { kRead, kWrite, kReadWrite };

/// `count` runs of `bytes` bytes, `stride` apart: a matrix whose columns have gaps between them,
/// or (count 1) a plain range. Only pages that hold such bytes are moved.
struct Operand {
  const void* base = nullptr;
  std::size_t bytes = 0;
  std::size_t count = 1;
  std::size_t stride = 0;
  Access access = Access::kRead;
  [[nodiscard]] std::size_t extent() const { return count == 0 ? 0 : (count - 1) * stride + bytes; }
};

/// Operands that were brought to VRAM, until the hold is released (or destroyed). With a table of the
/// runtime's own they stay there: no eviction, and CPU accesses that conflict wait. With the kernel's,
/// a page may leave, and the device's next access to it brings it back. span(i) is operand i as the
/// device sees it.
class Hold {
 public:
  virtual ~Hold() = default;
  [[nodiscard]] virtual const DeviceSpan& span(std::size_t operand) const = 0;
};

struct EngineInfo {
  std::string name;    // "user", "kernel", "fake"
  std::string level;   // "full" or "resident"; see docs/engines.md
  std::string access;  // how the operating system lets us, for example "/dev/userfaultfd", or which
                       // render node, and what it says of itself
  std::vector<std::string> reasons;
  std::size_t arena_bytes = 0;
};

/// Thread-safe. Ranges are in bytes and need not be aligned: they mean the pages that they touch.
/// A range that the engine cannot move (lends() is false) is kInvalidArgument, and nothing is done.
class Engine {
 public:
  virtual ~Engine() = default;
  [[nodiscard]] virtual EngineInfo info() const = 0;
  /// The device, made at the first call. Errors: those of its making, tried again at the next call.
  [[nodiscard]] virtual Result<Device*> device() = 0;

  /// A new region, zero-filled, owned by the caller until free(). `alignment`: a power of two.
  [[nodiscard]] virtual Result<void*> allocate(std::size_t bytes, std::size_t alignment) = 0;
  /// A new region with the bytes of a file, which come when they are touched, to the side that
  /// touches them. Errors: those of FileSource::open, kOutOfMemory.
  [[nodiscard]] virtual Result<void*> map(const std::string& path, const MapOptions& options) = 0;
  /// Writes pages of a shared mapping back whose bytes differ from the file's, wherever the pages
  /// are; how many these were. kIo: some could not be written.
  [[nodiscard]] virtual Result<std::size_t> sync(const void* base, std::size_t bytes) = 0;
  /// Gives the region and its contents up, wherever they are. kInvalidArgument for any address
  /// that allocate() and map() did not return; kIo where a shared mapping could not be written
  /// back: then the region is still there.
  virtual Result<> free(void* region) = 0;
  /// Bytes from a region's first byte to its end; 0 when none starts there.
  [[nodiscard]] virtual std::size_t size_of(const void* region) const = 0;
  /// True for addresses of this engine's managed memory, allocated now or not. Lock-free.
  [[nodiscard]] virtual bool manages(const void* address) const noexcept = 0;
  /// True where acquire() can bring these bytes to VRAM, if they can be moved at all: managed memory, or
  /// for an engine that moves all memory of the process, any. Lock-free.
  [[nodiscard]] virtual bool lends(const void* base, std::size_t bytes) const noexcept = 0;
  /// The address space that manages() is about.
  [[nodiscard]] virtual std::span<const std::byte> bounds() const noexcept = 0;
  /// The first region at or above `from`; empty when there is none.
  [[nodiscard]] virtual std::span<const std::byte> next_region(const void* from) const = 0;

  [[nodiscard]] virtual Result<MoveReport> prefetch(const void* base, std::size_t bytes,
                                                    Place to) = 0;
  [[nodiscard]] virtual Result<> advise(const void* base, std::size_t bytes, Advice advice) = 0;
  /// The contents are no longer needed: they read as zero, and nothing is copied back.
  [[nodiscard]] virtual Result<> discard(const void* base, std::size_t bytes) = 0;
  /// One entry for each page that the range touches, first page first.
  [[nodiscard]] virtual Result<> residency(const void* base, std::size_t bytes,
                                           std::span<Residency> pages) const = 0;

  /// Brings the operands to VRAM and holds them. kOutOfMemory names the bytes that are needed and
  /// the bytes there are; kUnsupported: this level cannot lend pages for writing (see engines.md).
  [[nodiscard]] virtual Result<std::unique_ptr<Hold>> acquire(std::span<const Operand> operands) = 0;
  /// Bytes of VRAM that one acquire() can have at most.
  [[nodiscard]] virtual Result<std::uint64_t> capacity() = 0;

  /// VRAM that belongs to no address, for operands outside managed memory. Released by destruction.
  [[nodiscard]] virtual Result<std::unique_ptr<Hold>> scratch(std::size_t bytes) = 0;

  /// A new descriptor of a dma-buf that shows the page range as the device sees it, wherever it is
  /// mapped or imported; the caller's. kUnsupported without the kernel module.
  [[nodiscard]] virtual Result<int> view(const void* /*base*/, std::size_t /*bytes*/) {
    return fail(Code::kUnsupported, "view: this takes the kernel engine, whose module shows memory "
                                    "to others as the device sees it");
  }

  /// Lends the pages of a range to a device that is driven from user space.
  [[nodiscard]] virtual Result<std::unique_ptr<PeerMapping>> map_peer(
      const void* /*base*/, std::size_t /*bytes*/,
      PeerOptions /*options*/) {  // NOLINT(performance-unnecessary-value-param): engines keep them
    return fail(Code::kUnsupported, "map_peer: this engine asks no peers before it moves pages");
  }

  /// True while map_peer() has lent pages of the range; standing mappings do not count.
  [[nodiscard]] virtual bool lent_to_peer(const void* /*base*/,
                                          std::size_t /*bytes*/) const noexcept {
    return false;
  }

  /// Around fork(): everything comes home and stays until one of the other two is called, on the
  /// same thread. In the child the engine is detached: its memory is plain memory from then on.
  virtual void prepare_fork() noexcept = 0;
  virtual void after_fork_in_parent() noexcept = 0;
  virtual void after_fork_in_child() noexcept = 0;
  [[nodiscard]] virtual bool detached() const noexcept = 0;

  /// Brings the counters up to date, where somebody else keeps them.
  virtual void refresh_statistics() const noexcept {}
};

}  // namespace godwit
