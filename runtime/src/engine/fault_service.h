// SPDX-License-Identifier: MIT
// Answers CPU accesses to pages that are not in RAM. Runs on the host's handler threads, several
// at once; never waits for a block's lock (see Block::wake), never allocates.
#pragma once

#include <array>

#include "runtime/src/host/host_memory.h"
#include "runtime/src/transfer/migrator.h"

namespace godwit {

class FaultService final : public FaultSink {
 public:
  FaultService(Core& core, Migrator& migrator) : core_(core), migrator_(migrator) {}

  FaultEnd on_fault(std::byte* address, bool write, bool write_protected,
                    Turn& turn) noexcept override;
  void on_fork(ChildMemory& child) noexcept override;
  void on_handlers_gone() noexcept override;

  /// Ends the holds' claim on a frame: wakes the faults that were put off for it.
  /// The block's lock is held.
  static void after_release(Core& core, std::size_t block) noexcept;

 private:
  FaultEnd serve(std::size_t page, bool write, bool write_protected, Turn& turn) noexcept;
  FaultEnd serve_empty(std::size_t page, bool write, Turn& turn) noexcept;
  FaultEnd serve_file(const FileSource& source, PageRange run, std::size_t page) noexcept;
  FaultEnd serve_device(std::size_t page, bool write, Turn& turn) noexcept;
  FaultEnd ask_again(std::size_t page) noexcept;
  FaultEnd poison(std::size_t page) noexcept;
  [[nodiscard]] bool conflicts(std::size_t page, bool write) const noexcept;
  [[nodiscard]] PageRange window(std::size_t page) const noexcept;

  Core& core_;
  Migrator& migrator_;
  // One fork at a time is dealt with. The pool cannot serve here: while the fork is under way the
  // kernel refuses to fill its slots.
  std::array<std::byte, kPageBytes> fork_page_;
};

}  // namespace godwit
