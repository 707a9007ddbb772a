// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/account.h"

#include <algorithm>

#include "godwit/units.h"

namespace godwit::kernel {
namespace {

/// Counters only grow, also where two readings of the kernel's overlap.
void raise(Counter& counter, std::uint64_t value) {
  if (value > counter.load(std::memory_order_relaxed)) {
    counter.store(value, std::memory_order_relaxed);
  }
}

std::uint64_t rest(std::uint64_t all, std::uint64_t part) { return all - std::min(all, part); }

}  // namespace

void Account::Move::moved(Cause cause, std::uintptr_t addr, std::uint64_t pages,
                          bool to_device) noexcept {
  if (pages == 0) return;
  CauseCounters& counters = of(account_.telemetry_.statistics(), cause);
  ++counters.operations;
  counters.nanoseconds += monotonic_ns() - start_;
  account_.telemetry_.record(EventKind::kMigrate, cause, start_, addr, pages * kPageBytes,
                             to_device);
  if (cause == Cause::kDeviceAccess) return;  // the kernel counts it with the device's faults
  (to_device ? account_.asked_to_vram_ : account_.asked_home_) += pages;
  (to_device ? counters.pages_to_device : counters.pages_to_host) += pages;
}

Account::Move::~Move() { ++account_.ended_; }

void Account::refresh() noexcept {
  const std::lock_guard guard(mutex_);
  std::array<std::uint64_t, GODWIT_STAT_COUNT> now{};
  const std::uint64_t ended = ended_.load();
  if (driver_.stats(now) != 0) return;
  Statistics& statistics = telemetry_.statistics();
  statistics.vram_bytes.store(now[GODWIT_STAT_VRAM_BYTES], std::memory_order_relaxed);
  raise(statistics.vram_peak, now[GODWIT_STAT_VRAM_BYTES_PEAK]);
  raise(statistics.faults_read, now[GODWIT_STAT_CPU_FAULTS]);
  raise(statistics.evictions,
        (now[GODWIT_STAT_PAGES_EVICTED] + kPagesPerChunk - 1) / kPagesPerChunk);
  raise(statistics.lost_pages, now[GODWIT_STAT_PAGES_POISONED]);
  raise(of(statistics, Cause::kEviction).pages_to_host, now[GODWIT_STAT_PAGES_EVICTED]);
  raise(of(statistics, Cause::kCpuFault).operations, now[GODWIT_STAT_CPU_FAULTS]);
  if (begun_.load() != ended) return;  // its pages would be taken for faults
  raise(of(statistics, Cause::kDeviceAccess).pages_to_device,
        rest(now[GODWIT_STAT_PAGES_TO_VRAM], asked_to_vram_.load()));
  raise(of(statistics, Cause::kCpuFault).pages_to_host,
        rest(now[GODWIT_STAT_PAGES_HOME],
             now[GODWIT_STAT_PAGES_EVICTED] + asked_home_.load()));
}

}  // namespace godwit::kernel
