// SPDX-License-Identifier: MIT
// One product under way. An operand is lent by the engine (managed memory, used in VRAM where it
// belongs) or packed into scratch VRAM for this product.
//
// C is written to host memory only after every step has succeeded, or by the device itself in a
// single step. So a failure leaves C as it was, but for a device that is lost while it computes in
// C's own pages: then they are lost as any page in VRAM is.
//
// The CPU touches operands (packing) only while no page is lent: a lent page may be next to one
// that is packed, and the CPU would wait for itself.
#pragma once

#include <memory>
#include <string>

#include "runtime/src/blas/gemm.h"
#include "runtime/src/blas/tiles.h"

namespace godwit {

class GemmJob {
 public:
  GemmJob(Engine& engine, Device& device, BufferPool& pool, const GemmRequest& request,
          const GemmOperands& operands);
  [[nodiscard]] Result<> run();

  /// Of the last run(): bytes that were packed or unpacked, seconds the device computed, and how.
  [[nodiscard]] std::uint64_t staged_bytes() const { return stager_.bytes(); }
  [[nodiscard]] double device_seconds() const { return device_seconds_; }
  [[nodiscard]] const std::string& how() const { return how_; }

 private:
  struct Plan {
    bool lend_a = false, lend_b = false, lend_c = false;
    Tiling tiling;
  };
  struct Step {
    std::uint64_t row, rows, column, columns, from, depth;
  };

  [[nodiscard]] std::uint64_t frames_for(const Plan& plan) const;
  [[nodiscard]] Result<> attempt(const Plan& plan);
  [[nodiscard]] Result<> tiles(const Plan& plan);
  [[nodiscard]] Result<> tile(const Plan& plan, std::uint64_t row, std::uint64_t rows,
                              std::uint64_t column, std::uint64_t columns, const Matrix& result);
  [[nodiscard]] Result<> step(const Plan& plan, const Step& step);
  [[nodiscard]] Result<> compute(GemmCommand& command, const Step& step);
  [[nodiscard]] Matrix part_of_a(const Step& step) const;
  [[nodiscard]] Matrix part_of_b(const Step& step) const;
  [[nodiscard]] Access access_to_c() const;
  [[nodiscard]] bool reads_c() const { return request_.beta[0] != 0 || request_.beta[1] != 0; }
  void bring_home(const Matrix& matrix, bool managed);

  Engine& engine_;
  Device& device_;
  BufferPool& pool_;
  const GemmRequest& request_;
  const GemmOperands& operands_;
  const std::size_t element_;
  const GemmShape shape_;
  Stager stager_;
  std::unique_ptr<Hold> scratch_a_, scratch_b_, scratch_c_;
  double device_seconds_ = 0;
  std::string how_;
};

}  // namespace godwit
