// SPDX-License-Identifier: MIT
// Moves ranges by asking the kernel, and puts its answers into the words of the contract.
#pragma once

#include <cstdint>
#include <span>

#include "godwit/memory.h"
#include "runtime/src/engine/kernel/account.h"
#include "runtime/src/engine/kernel/driver.h"
#include "runtime/src/engine/kernel/operand_runs.h"

namespace godwit::kernel {

/// Where a page is, from a word of DRM_IOCTL_GODWIT_RESIDENCY.
[[nodiscard]] Residency residency_of(std::uint32_t page);

/// Thread-safe.
class Mover {
 public:
  Mover(const Driver& driver, Account& account) : driver_(driver), account_(account) {}

  /// Pages that were never touched stay so. `capacity`: bytes of VRAM, of which the range takes what it
  /// can; pages beyond that find no room. Errors: kDeviceLost, kOutOfMemory, kIo.
  [[nodiscard]] Result<MoveReport> to_vram(PageRun run, std::uint64_t capacity);
  [[nodiscard]] Result<MoveReport> home(PageRun run, Cause cause);
  /// For a command on the device: untouched pages are made in VRAM. What stays in RAM the device uses
  /// there; *complete: nothing did. Errors: kInvalidArgument for a hole, kUnsupported for memory that
  /// no device can use.
  [[nodiscard]] Result<> for_device(PageRun run, bool* complete);
  /// What the kernel says now, one entry a page.
  [[nodiscard]] Result<> residency(PageRun run, std::span<Residency> pages) const;

 private:
  struct Step {
    std::uint64_t arrived = 0;  // moved, or there already
  };
  [[nodiscard]] Result<Step> step(PageRun run, std::uint32_t to, std::uint32_t flags, Cause cause,
                                  MoveReport* report);
  [[nodiscard]] tl::unexpected<Error> failed(int error, const char* verb) const;

  const Driver& driver_;
  Account& account_;
};

}  // namespace godwit::kernel
