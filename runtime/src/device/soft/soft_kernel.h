// SPDX-License-Identifier: MIT
// The innermost loops of matrix multiplication, one for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace godwit {

/// Multiplies a packed strip of A (rows x k) by a packed strip of B (k x columns) into `tile`.
///
/// Packed strips hold, for each step of k, one plane of `rows` (or `columns`) values for a real
/// type and two (real parts, imaginary parts) for a complex one. The tile is column-major, `rows`
/// high, with the plane of imaginary parts behind that of real parts. Strips and tile are aligned
/// to 64 bytes.
template <typename Real>
struct SoftKernel {
  std::size_t rows;
  std::size_t columns;
  void (*run)(std::size_t k, const Real* a, const Real* b, Real* tile);
};

/// The largest tile of any kernel, both planes.
inline constexpr std::size_t kMaxTile = std::size_t{32} * 12 * 2;

/// Vectors of 16 bytes, which every CPU has; AVX2 with FMA; AVX-512.
enum class SoftIsa : std::uint8_t { kBaseline, kAvx2, kAvx512 };

/// The best that this CPU has.
[[nodiscard]] SoftIsa best_isa() noexcept;

/// The kernel for an instruction set, which the CPU must have.
template <typename Real>
[[nodiscard]] SoftKernel<Real> select_kernel(bool complex, SoftIsa isa = best_isa()) noexcept;

}  // namespace godwit
