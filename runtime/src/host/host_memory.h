// SPDX-License-Identifier: MIT
// What the runtime needs from the CPU's side of the address space: take pages out from under the
// program's threads, put them in, and learn of every access to a page that is not there.
// Implementations: user (userfaultfd) and fake (tests decide when a fault happens).
//
// All functions are safe to call from a fault handler: they do not allocate, take no lock that
// is held while managed memory is touched, and answer 0 or a negative errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "godwit/result.h"

namespace godwit {

/// The right to wait for the next fault. One handler has it: two that wait would both wake for each.
class Turn {
 public:
  virtual ~Turn() = default;
  /// The caller will be busy for longer than it takes to wake another handler, which waits from now
  /// on. Once is enough.
  virtual void pass() noexcept = 0;
};

/// What became of a fault.
enum class FaultEnd : std::uint8_t {
  kServed,  // the thread goes on
  kWaits,   // somebody else wakes the thread
  kAgain,   // nobody can serve it now. The host wakes whoever waits in its block, to fault again,
            // but first looks for what else there is: an event may be what the page waits for
};

/// Receives faults, on threads of the implementation, several at once.
class FaultSink {
 public:
  virtual ~FaultSink() = default;
  /// A thread touched `address`, is asleep, and sleeps until the page is put in, or woken.
  /// `write_protected`: the page is there, but write-tracked, and the thread wants to write.
  /// `turn` is the calling handler's.
  [[nodiscard]] virtual FaultEnd on_fault(std::byte* address, bool write, bool write_protected,
                                          Turn& turn) noexcept = 0;
  /// The process forked. `child` puts pages into the child, which waits.
  virtual void on_fork(class ChildMemory& child) noexcept = 0;
  /// No handler is left; nobody will serve another fault. Called on the last one's thread.
  virtual void on_handlers_gone() noexcept = 0;
};

/// The address space of a child, until it is let go.
class ChildMemory {
 public:
  virtual ~ChildMemory() = default;
  [[nodiscard]] virtual int copy_in(std::byte* address, const std::byte* source,
                                    std::size_t bytes) noexcept = 0;
  /// Bytes that cannot be had: the child gets SIGBUS there instead of zeros.
  [[nodiscard]] virtual int poison(std::byte* address, std::size_t bytes) noexcept = 0;
};

/// How far the operating system lets us go. docs/engines.md tells what follows for an application.
enum class HostLevel : std::uint8_t {
  kFull,      // pages leave RAM; system calls on them are served like any other access
  kResident,  // user faults only: pages never leave RAM, VRAM holds copies of them
};

struct HostInfo {
  HostLevel level = HostLevel::kFull;
  std::string access;                // how it was obtained, for `godwit info`
  std::vector<std::string> reasons;  // why nothing better was
};

class HostMemory {
 public:
  virtual ~HostMemory() = default;
  [[nodiscard]] virtual const HostInfo& info() const noexcept = 0;

  /// Faults in [base, base + bytes) may be armed from now on. Called once, before all others.
  [[nodiscard]] virtual Result<> attach(std::byte* base, std::size_t bytes, FaultSink* sink) = 0;
  /// Stops the handlers. Faults on pages that are out wait for ever: bring everything home first.
  virtual void detach() noexcept = 0;

  /// From now on an access to an absent page of the range reaches the sink.
  [[nodiscard]] virtual int arm(std::byte* address, std::size_t bytes) noexcept = 0;
  /// The opposite. Whoever waits on the range is woken.
  [[nodiscard]] virtual int disarm(std::byte* address, std::size_t bytes) noexcept = 0;

  /// Moves whole pages to `slot`, which has none; the program's threads lose them at once, and
  /// devices never do: a pinned page answers -EBUSY. *moved: bytes moved before an error.
  [[nodiscard]] virtual int take_out(std::byte* address, std::byte* slot, std::size_t bytes,
                                     std::size_t* moved) noexcept = 0;
  /// The way back: whoever waits on the range is woken.
  [[nodiscard]] virtual int put_in(std::byte* address, std::byte* slot, std::size_t bytes,
                                   std::size_t* moved) noexcept = 0;
  /// Fills absent pages with a copy of `source`, and wakes. `tracked`: write-protected.
  [[nodiscard]] virtual int copy_in(std::byte* address, const std::byte* source, std::size_t bytes,
                                    bool tracked, std::size_t* copied) noexcept = 0;
  /// Copies a page that should be in RAM, without ever waiting for a fault: -EIO where it is not there.
  [[nodiscard]] virtual int peek(const std::byte* address, std::byte* to) noexcept = 0;
  /// The runtime's own store to memory that no fault of which reaches the sink.
  virtual void store(std::byte* address, std::span<const std::byte> bytes) noexcept = 0;
  /// Fills absent pages with zeros, and wakes.
  [[nodiscard]] virtual int zero_in(std::byte* address, std::size_t bytes, bool write) noexcept = 0;
  /// Every access to the absent pages gets SIGBUS.
  [[nodiscard]] virtual int poison(std::byte* address, std::size_t bytes) noexcept = 0;
  /// Gives present pages up. Absent ones are left alone.
  [[nodiscard]] virtual int drop(std::byte* address, std::size_t bytes) noexcept = 0;
  /// Maps fresh memory where a part of the range was unmapped behind our back (drop answered
  /// -ENOMEM). The contents of all of it were given up. `armed`: as arm().
  [[nodiscard]] virtual int renew(std::byte* address, std::size_t bytes, bool armed) noexcept = 0;
  [[nodiscard]] virtual int wake(std::byte* address, std::size_t bytes) noexcept = 0;

  /// Starts or ends write tracking of present pages; ending wakes.
  [[nodiscard]] virtual int track(std::byte* address, std::size_t bytes, bool on) noexcept = 0;

  /// One entry a page: 1 where the page is present (or swapped out), else 0.
  [[nodiscard]] virtual int scan_present(std::byte* address,
                                         std::span<std::uint8_t> present) noexcept = 0;
  /// One entry a page: 1 where the CPU wrote since tracking began; tracking begins anew for them.
  /// Only where write faults are not reported (HostLevel::kResident).
  [[nodiscard]] virtual int scan_written(std::byte* address,
                                         std::span<std::uint8_t> written) noexcept = 0;
  /// Ends sharing with a child after a fork: gives this process its own copy of each present page.
  /// May fault, so no block's lock is held.
  [[nodiscard]] virtual int unshare(std::byte* address, std::size_t bytes) noexcept = 0;

  /// Makes absent pages present, as accesses of the program would; `write`: private to this process, and
  /// not tracked. Faults, so no block's lock is held. -EFAULT: a page's protection forbids it, or it is
  /// poisoned.
  [[nodiscard]] virtual int populate(std::byte* address, std::size_t bytes, bool write) noexcept = 0;

  /// Memory for PagePool: `bytes` of address space that take_out may fill. No page is present.
  [[nodiscard]] virtual Result<std::byte*> reserve_slots(std::size_t bytes, bool huge) = 0;
  virtual void release_slots(std::byte* slots, std::size_t bytes) noexcept = 0;
  [[nodiscard]] virtual int populate_slot(std::byte* slot, std::size_t bytes) noexcept = 0;
  [[nodiscard]] virtual int purge_slot(std::byte* slot, std::size_t bytes) noexcept = 0;

  /// Returns once every fork that is over for the program is over for the sink as well. Called
  /// without locks before pages are moved or given up.
  virtual void settle() noexcept = 0;

  /// In the child after a fork: this object is inert from now on.
  virtual void abandon() noexcept = 0;
};

}  // namespace godwit
