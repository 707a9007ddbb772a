// SPDX-License-Identifier: MIT
// Operands of a command in VRAM: which pages they touch, the frames that hold them, and the claim
// that keeps those frames there until the command is over.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/src/engine/engine.h"
#include "runtime/src/transfer/migrator.h"

namespace godwit {

/// The pages that an operand touches, as ascending, disjoint, non-adjacent runs.
[[nodiscard]] std::vector<PageRange> pages_of(const Operand& operand, const PageTable& table);

/// Created by acquire(). Destruction lets go of every frame and wakes the faults that waited.
class OperandHold final : public Hold {
 public:
  OperandHold(Core& core, Migrator& migrator) : core_(core), migrator_(migrator) {}
  ~OperandHold() override;

  [[nodiscard]] const DeviceSpan& span(std::size_t operand) const override {
    return operands_[operand].span;
  }

  /// Brings one operand to VRAM and claims its frames. On failure the hold may be destroyed.
  [[nodiscard]] Result<> add(const Operand& operand);

 private:
  struct Claimed {
    std::vector<std::uint64_t> chunks;  // VRAM offsets by chunk, as DeviceSpan wants them
    std::vector<std::size_t> held;      // indices of the chunks that are claimed
    std::size_t first_chunk = 0;
    bool write = false;
    DeviceSpan span;
  };
  [[nodiscard]] Result<> add_run(PageRange run, const Operand& operand, Advice advice,
                                 Claimed& claimed);
  /// The caller holds the block's lock.
  [[nodiscard]] bool claim(PageRange run, Claimed& claimed);
  [[nodiscard]] bool wait_for_vram();

  Core& core_;
  Migrator& migrator_;
  std::vector<Claimed> operands_;
  std::size_t chunks_needed_ = 0;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::now() + kPatience;
};

/// VRAM without an address.
class ScratchHold final : public Hold {
 public:
  explicit ScratchHold(Core& core) : core_(core) {}
  ~ScratchHold() override;
  [[nodiscard]] Result<> take(std::size_t bytes, Evictor& evictor);
  [[nodiscard]] const DeviceSpan& span(std::size_t /*operand*/) const override { return span_; }

 private:
  Core& core_;
  std::vector<std::uint32_t> frames_;
  std::vector<std::uint64_t> chunks_;
  DeviceSpan span_;
};

}  // namespace godwit
