// SPDX-License-Identifier: MIT
// The kernels that this CPU has but that the device would not choose on it.
#include "runtime/src/device/soft/soft_kernel.h"

#include <gtest/gtest.h>

#include <complex>

namespace godwit {
namespace {

/// Small integers, whose products and sums are exact in any order.
template <typename Real>
void check(SoftIsa isa, bool complex) {
  const SoftKernel<Real> kernel = select_kernel<Real>(complex, isa);
  constexpr std::size_t kDepth = 19;
  const std::size_t planes = complex ? 2 : 1;
  ASSERT_LE(kernel.rows * kernel.columns * planes, kMaxTile);
  alignas(64) Real a[kDepth * 32 * 2];
  alignas(64) Real b[kDepth * 12 * 2];
  alignas(64) Real tile[kMaxTile];
  int next = 0;
  for (Real& value : a) value = static_cast<Real>(next++ * 7 % 23 - 11);
  for (Real& value : b) value = static_cast<Real>(next++ * 5 % 19 - 9);
  kernel.run(kDepth, a, b, tile);
  for (std::size_t j = 0; j < kernel.columns; ++j) {
    for (std::size_t i = 0; i < kernel.rows; ++i) {
      std::complex<Real> sum = 0;
      for (std::size_t p = 0; p < kDepth; ++p) {
        const Real* x = a + p * kernel.rows * planes + i;
        const Real* y = b + p * kernel.columns * planes + j;
        sum += std::complex<Real>(x[0], complex ? x[kernel.rows] : 0) *
               std::complex<Real>(y[0], complex ? y[kernel.columns] : 0);
      }
      const std::size_t at = j * kernel.rows + i;
      ASSERT_EQ(tile[at], sum.real()) << i << ", " << j;
      if (complex) {
        ASSERT_EQ(tile[kernel.rows * kernel.columns + at], sum.imag()) << i << ", " << j;
      }
    }
  }
}

TEST(SoftKernelTest, EveryKernelOfThisCpuMultipliesExactly) {
  for (const SoftIsa isa : {SoftIsa::kBaseline, SoftIsa::kAvx2, SoftIsa::kAvx512}) {
    if (isa > best_isa()) continue;
    SCOPED_TRACE(static_cast<int>(isa));
    for (const bool complex : {false, true}) {
      ASSERT_NO_FATAL_FAILURE(check<float>(isa, complex));
      ASSERT_NO_FATAL_FAILURE(check<double>(isa, complex));
    }
  }
}

}  // namespace
}  // namespace godwit
