// SPDX-License-Identifier: MIT
// What moved, why, and how long it took. Plain counters in one block of memory that may be shared
// with another process (`godwit run --report` reads it, also after a crash of the program).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace godwit {

/// Why pages moved. Every migration has exactly one cause.
enum class Cause : std::uint8_t {
  kCpuFault,      // the CPU touched a page that was not in RAM
  kDeviceAccess,  // a command on the device needed the page in VRAM
  kPrefetch,      // the program asked for it
  kEviction,      // VRAM was full and another page was used more recently
  kAdvice,        // advise() or discard()
  kFork,          // everything comes home before a fork
  kUnplug,        // the device or the engine goes away
  kPeer,          // PeerMapping::begin() needed the page in RAM
};
inline constexpr std::size_t kCauseCount = 8;
[[nodiscard]] std::string_view cause_name(Cause cause);

/// Why a page could not be moved and stayed where it was.
enum class StayReason : std::uint8_t {
  kPinned,    // pinned for DMA, or shared with a child after a fork
  kHeld,      // a command on the device uses it
  kLocked,    // mlock'ed or protected in a way that a move does not allow
  kNoVram,    // no frame could be had: everything in VRAM is held
  kNoMemory,  // no host page could be had
  kDevice,    // the copy failed on the device
  kRaced,     // changed under us more often than the bound allows
  kPeer,      // a PeerMapping holds it, or its peer did not let go
};
inline constexpr std::size_t kStayReasonCount = 8;
[[nodiscard]] std::string_view stay_reason_name(StayReason reason);

using Counter = std::atomic<std::uint64_t>;
static_assert(Counter::is_always_lock_free);

struct CauseCounters {
  Counter operations;        // ranges migrated
  Counter pages_to_device;   // pages whose bytes were copied to VRAM
  Counter pages_to_host;     // pages whose bytes were copied to RAM
  Counter pages_dropped;     // pages that changed place without a copy: the other side was clean
  Counter nanoseconds;       // wall time of the operations, summed over threads
};

/// One process's counters. All zero at start; never reset.
struct Statistics {
  std::array<CauseCounters, kCauseCount> causes;
  std::array<Counter, kStayReasonCount> pages_stayed;
  Counter faults_read;       // faults served, by the kind of access
  Counter faults_write;
  Counter faults_empty;      // of these: pages that had never been written
  Counter faults_deferred;   // put off until a migration or a command on the device had finished
  Counter faults_spurious;   // the page was there by the time the fault was read
  Counter fault_nanoseconds;
  Counter evictions;         // chunks evicted from VRAM
  Counter removed_pages;     // dropped by madvise, munmap or free without a copy
  Counter lost_pages;        // their only copy was on a device that was lost
  Counter managed_bytes;     // allocated through Godwit now
  Counter managed_peak;
  Counter vram_bytes;        // VRAM in use now
  Counter vram_peak;
  Counter gemm_offloaded;
  Counter gemm_passed_on;
  Counter gemm_nanoseconds;  // offloaded calls, wall time
  Counter staged_bytes;      // operands outside managed memory, copied for one call
  Counter forks;
  Counter file_pages_read;     // of mapped files, brought to RAM or VRAM
  Counter file_pages_written;  // written back
  Counter peer_revocations;    // times that a peer let go of its pages before a move
  Counter peer_refusals;       // times that it did not, so that they stayed
  Counter peer_remaps;         // times that pages were brought to RAM for a peer
};

[[nodiscard]] inline CauseCounters& of(Statistics& statistics, Cause cause) {
  return statistics.causes[static_cast<std::size_t>(cause)];
}

}  // namespace godwit
