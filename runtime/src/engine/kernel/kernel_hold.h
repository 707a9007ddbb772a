// SPDX-License-Identifier: MIT
// Operands of a command: where the device finds them in the window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/src/engine/engine.h"
#include "runtime/src/engine/kernel/admission.h"
#include "runtime/src/engine/kernel/operand_runs.h"
#include "runtime/src/engine/kernel/view_window.h"

namespace godwit::kernel {

/// The end of it lets the promised VRAM go.
class KernelHold final : public Hold {
 public:
  /// `promised`: bytes that `admission` let in.
  KernelHold(Admission& admission, std::uint64_t promised)
      : admission_(admission), promised_(promised) {}
  ~KernelHold() override;
  KernelHold(const KernelHold&) = delete;
  KernelHold& operator=(const KernelHold&) = delete;

  /// Entries for the chunks that the runs touch; the first byte of the span is `base`.
  [[nodiscard]] Result<> add(const void* base, std::size_t extent,
                             const std::vector<PageRun>& runs, ViewWindow& window);
  /// Own memory, without an address for the program: unmapped with the hold. Errors: kOutOfMemory.
  [[nodiscard]] Result<std::byte*> make_memory(std::size_t bytes);

  [[nodiscard]] const DeviceSpan& span(std::size_t operand) const override {
    return operands_[operand].span;
  }

 private:
  struct Placed {
    std::vector<std::uint64_t> chunks;
    DeviceSpan span;
  };
  Admission& admission_;
  std::uint64_t promised_;
  std::vector<Placed> operands_;
  std::byte* memory_ = nullptr;
  std::size_t memory_bytes_ = 0;
};

/// Bytes of the chunks that the runs touch.
[[nodiscard]] std::uint64_t chunk_bytes_of(const std::vector<PageRun>& runs);

}  // namespace godwit::kernel
