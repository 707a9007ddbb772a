// SPDX-License-Identifier: MIT
// The front door: a Context owns an engine, its device and its policy. Nothing is global; several
// contexts in one process do not know of each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "godwit/memory.h"
#include "godwit/peer.h"
#include "godwit/result.h"
#include "godwit/statistics.h"
#include "godwit/walk.h"

namespace godwit {

class Engine;
class GemmRunner;
class Telemetry;

struct ContextOptions {
  std::string engine = "auto";   // "auto", "user", "kernel", "kernel:NAME-OR-NODE"
  std::string device = "auto";   // "auto", "soft", "vulkan", "vulkan:NAME-OR-INDEX"
  std::string level = "auto";    // "auto", "full", "resident": docs/engines.md
  std::uint64_t vram_bytes = 0;  // VRAM that may be used; 0: what the device suggests
  std::size_t arena_bytes = 0;   // address space to reserve; 0: 16 times RAM
  std::size_t pool_bytes = 0;    // RAM that may be kept ready for moves; 0: 1/16 of RAM
  unsigned threads = 0;          // threads that move pages in bulk; 0: one a CPU, at most 4
  std::string telemetry;         // file for statistics and events; empty: private memory
  std::uint32_t event_slots = 0; // events kept (a power of two); 0: none

  /// From GODWIT_ENGINE, GODWIT_DEVICE, GODWIT_LEVEL, GODWIT_VRAM, GODWIT_ARENA, GODWIT_POOL,
  /// GODWIT_THREADS, GODWIT_REPORT_DIR and GODWIT_EVENTS. Errors: kInvalidArgument, naming the
  /// variable, its value and what would do.
  [[nodiscard]] static Result<ContextOptions> from_environment();
};

/// Thread-safe. Ranges are in bytes and mean the pages that they touch. With the user engine a range
/// that is not within one region of managed memory is kInvalidArgument, and nothing is done; with the
/// kernel engine a range is any memory of the process, and only sync() wants a region.
class Context {
 public:
  /// Errors: kInvalidArgument (an unknown name), kUnavailable (with a reason for each engine that
  /// was passed over), kOutOfMemory. The device is made at its first use, and its errors come then.
  [[nodiscard]] static Result<std::unique_ptr<Context>> create(const ContextOptions& options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// A zero-filled region, aligned to 64 KiB or to `alignment` (a power of two) if that is more.
  [[nodiscard]] Result<void*> allocate(std::size_t bytes, std::size_t alignment = 1);
  /// The bytes of a file as a region of whole blocks of 2 MiB (zeros behind the file's end). They are
  /// read when they are touched, 64 KiB to 2 MiB at a time, to the side that touches them: a command
  /// on the device gets them without a stop in the program's memory. At the resident level all are
  /// read at once. A page that cannot be read is SIGBUS, as in a mapping of the kernel's. Stores by
  /// others to the file may or may not be seen until a page has been loaded, and are not after that.
  /// Errors: kInvalidArgument, kIo, kOutOfMemory.
  [[nodiscard]] Result<void*> map(const std::string& path, const MapOptions& options = {});
  /// Writes pages of a shared mapping back whose bytes differ from the file's, wherever they are, and
  /// waits until they are on the disk; how many these were. kIo: some could not be written.
  [[nodiscard]] Result<std::size_t> sync(const void* base, std::size_t bytes);
  /// Also ends a mapping, a shared one after a sync() of its own: where that fails (kIo) the region
  /// is still there.
  Result<> free(void* region);
  [[nodiscard]] std::size_t size_of(const void* region) const;
  [[nodiscard]] bool manages(const void* address) const noexcept;
  [[nodiscard]] std::span<const std::byte> bounds() const noexcept;
  [[nodiscard]] std::span<const std::byte> next_region(const void* from) const;

  /// Moves the pages of a range. Pages that stay are no error: the report says which, and why.
  [[nodiscard]] Result<MoveReport> prefetch(const void* base, std::size_t bytes, Place to);
  [[nodiscard]] Result<> advise(const void* base, std::size_t bytes, Advice advice);
  /// The bytes are no longer needed, and read as zeros. Outside of managed memory (kernel engine) the
  /// range has to be whole pages: kInvalidArgument otherwise, since other objects may be on them.
  [[nodiscard]] Result<> discard(const void* base, std::size_t bytes);
  [[nodiscard]] Result<> residency(const void* base, std::size_t bytes,
                                   std::span<Residency> pages) const;
  /// A new descriptor of a dma-buf, the caller's, that shows the pages of the range as the device sees
  /// them: to processes that map it (shared) and drivers that import it. Touching it brings a page to
  /// VRAM. Errors: kUnsupported without the kernel engine, kInvalidArgument, kDeviceLost, kOutOfMemory.
  [[nodiscard]] Result<int> view(const void* base, std::size_t bytes);
  /// Lends the pages of a range to a device that is driven from user space; see godwit/peer.h. Nothing is
  /// brought or held before PeerMapping::begin(). Errors: kInvalidArgument, kUnavailable (a forked child),
  /// kUnsupported (kernel engine: a device that cannot hold pages), kOutOfMemory (no thread, or with the
  /// kernel engine no generation word: there are 512).
  [[nodiscard]] Result<std::unique_ptr<PeerMapping>> map_peer(const void* base, std::size_t bytes,
                                                              PeerOptions options = {});
  /// True while a mapping of map_peer()'s has pages of the range, mapped or not: what is freed then must
  /// not be used again before free() or discard() has asked the peer. Standing mappings do not count.
  [[nodiscard]] bool lent_to_peer(const void* base, std::size_t bytes) const noexcept;
  /// Follows pointers on the device, and returns when that has ended. Errors: kInvalidArgument,
  /// kUnsupported (at the resident level commands do not write), kOutOfMemory (more memory than VRAM),
  /// kUnavailable, kDeviceLost.
  [[nodiscard]] Result<WalkResult> walk(const WalkRequest& request);
  /// Up to date at the moment of the call; with the kernel engine the counters are fetched for it.
  [[nodiscard]] const Statistics& statistics() const;

  /// Around fork(); see docs/engines.md. A Context does not register these by itself.
  void prepare_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child() noexcept;

  /// For the layers above: commands on the device, and matrix products (runtime/src).
  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] GemmRunner& gemm() { return *gemm_; }
  [[nodiscard]] Telemetry& telemetry() { return *telemetry_; }

 private:
  Context();
  std::unique_ptr<Telemetry> telemetry_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<GemmRunner> gemm_;
};

}  // namespace godwit
