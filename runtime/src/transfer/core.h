// SPDX-License-Identifier: MIT
// What the parts that move pages share. Owned by the engine; the parts hold a reference.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "runtime/src/device/device.h"
#include "runtime/src/host/host_memory.h"
#include "runtime/src/host/page_pool.h"
#include "runtime/src/peer/registry.h"
#include "runtime/src/policy/fault_around.h"
#include "runtime/src/region/arena.h"
#include "runtime/src/residency/page_table.h"
#include "runtime/src/residency/vram_frames.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit {

/// How long an operation may wait for another one to let go of what it needs.
inline constexpr std::chrono::seconds kPatience{10};

struct Core {
  Core(Arena arena_in, PageTable table_in, std::unique_ptr<HostMemory> host_in,
       std::unique_ptr<PagePool> pool_in, Telemetry& telemetry_in)
      : arena(std::move(arena_in)),
        table(std::move(table_in)),
        host(std::move(host_in)),
        pool(std::move(pool_in)),
        telemetry(telemetry_in) {}

  Arena arena;
  PageTable table;
  std::unique_ptr<HostMemory> host;
  std::unique_ptr<PagePool> pool;  // before host goes
  Telemetry& telemetry;
  FaultAround fault_around;
  /// Who is asked before pages leave RAM. Made with the engine, which is its home.
  std::shared_ptr<peer::Registry> peers;

  // Set once, before the first page can be in VRAM; then constant. Whoever cannot know that a page
  // was there asks has_device first.
  std::unique_ptr<Device> device;
  std::unique_ptr<VramFrames> frames;
  std::atomic<bool> has_device{false};
  std::atomic<bool> has_files{false};  // some block has, or had, a source

  /// Shared by whatever takes pages out of RAM; exclusive over a fork. Order: gate, admission,
  /// block lock, then the leaf locks of frames and pool. Fault handlers take no gate.
  std::shared_mutex gate;
  std::atomic<bool> fork_prepared{false};
  std::atomic<bool> handlers_gone{false};  // nothing may leave RAM any more
  std::atomic<bool> device_lost{false};
  std::atomic<std::size_t> armed_end{0};  // no block at or above this index was ever armed

  /// Signalled whenever a hold lets frames go; `releases` counts them, under the mutex.
  std::mutex release_mutex;
  std::condition_variable released;
  std::uint64_t releases = 0;

  [[nodiscard]] peer::Span span(PageRange range) const noexcept {
    return {reinterpret_cast<std::uintptr_t>(table.address(range.first)),
            reinterpret_cast<std::uintptr_t>(table.address(range.end()))};
  }
  [[nodiscard]] Statistics& statistics() noexcept { return telemetry.statistics(); }
  [[nodiscard]] bool full_level() const noexcept {
    return host->info().level == HostLevel::kFull;
  }
  /// True where no fault reaches us: a page that is empty for us may be there, with what was
  /// stored.
  [[nodiscard]] bool kernel_populates() const noexcept {
    return !full_level() || handlers_gone.load();
  }
  /// After VRAM was given out or taken back.
  void note_vram_use() noexcept {
    const std::uint64_t used = (frames->count() - frames->free_count()) * std::uint64_t{kChunkBytes};
    statistics().vram_bytes = used;
    if (used > statistics().vram_peak) statistics().vram_peak = used;
  }
  /// 0 when pages may go to VRAM; else the errno that says why not.
  [[nodiscard]] int demotion_error() const noexcept {
    if (device_lost.load()) return ENODEV;
    return handlers_gone.load() ? ESHUTDOWN : 0;
  }
};

/// Holds a block's lock; wakes the threads whose faults were put off meanwhile.
class BlockGuard {
 public:
  BlockGuard(Core& core, std::size_t block) : core_(&core), block_(block) {
    core.table.lock(block);
  }
  BlockGuard(Core& core, std::size_t block, std::adopt_lock_t) : core_(&core), block_(block) {}
  ~BlockGuard() { unlock(); }
  BlockGuard(const BlockGuard&) = delete;
  BlockGuard& operator=(const BlockGuard&) = delete;
  void unlock() noexcept {
    if (core_ == nullptr) return;
    if (core_->table.unlock(block_)) {
      // A failed wake can only mean that the range is not armed any more: then nobody waits.
      (void)core_->host->wake(core_->table.address(block_ * kPagesPerBlock), kBlockBytes);
    }
    core_ = nullptr;
  }
  /// The same for a handler that answers FaultEnd::kAgain: the host wakes them.
  void unlock_for_host() noexcept {
    (void)core_->table.unlock(block_);
    core_ = nullptr;
  }

 private:
  Core* core_;
  std::size_t block_;
};

/// Pages that stayed, per reason and as runs; fixed size, for use under a block's lock.
struct MoveTally {
  std::size_t moved = 0;    // changed place
  std::size_t copied = 0;   // of these: by a copy of their bytes
  std::size_t already = 0;  // needed no move
  std::array<std::size_t, kStayReasonCount> stayed{};
  struct Run {
    std::size_t first = 0;
    std::size_t count = 0;
    StayReason reason = StayReason::kRaced;
  };
  std::array<Run, 16> runs{};
  std::size_t run_count = 0;

  void stay(PageRange pages, StayReason reason) noexcept {
    if (pages.count == 0) return;
    stayed[static_cast<std::size_t>(reason)] += pages.count;
    if (run_count != 0) {
      Run& last = runs[run_count - 1];
      if (last.reason == reason && last.first + last.count == pages.first) {
        last.count += pages.count;
        return;
      }
    }
    if (run_count < runs.size()) runs[run_count++] = {pages.first, pages.count, reason};
  }
  void stay(std::size_t page, StayReason reason) noexcept { stay(PageRange{page, 1}, reason); }
  [[nodiscard]] std::size_t stayed_total() const noexcept {
    std::size_t total = 0;
    for (const std::size_t count : stayed) total += count;
    return total;
  }
};

}  // namespace godwit
