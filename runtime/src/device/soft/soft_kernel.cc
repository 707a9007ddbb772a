// SPDX-License-Identifier: MIT
// The choice among instruction sets is made by hand and not with target_clones, whose resolvers run
// before the sanitizers are up.
#include "runtime/src/device/soft/soft_kernel.h"

namespace godwit {
namespace {

// kBytes is the width of a vector register, kHigh the height of the tile in vectors. All loops
// over the tile have constant bounds and are unrolled, so that the sums stay in registers:
// kHigh x kColumns of them (twice that for complex types) of the 32 (AVX-512) or 16 there are.
template <typename Real, std::size_t kBytes, std::size_t kHigh, std::size_t kColumns>
[[gnu::always_inline]] inline void multiply_real(std::size_t k, const Real* a, const Real* b,
                                                 Real* tile) {
  using Vector [[gnu::vector_size(kBytes), gnu::may_alias]] = Real;
  constexpr std::size_t kRows = kHigh * kBytes / sizeof(Real);
  Vector sum[kColumns][kHigh] = {};
  for (std::size_t step = 0; step < k; ++step) {
    const auto* column = reinterpret_cast<const Vector*>(a + step * kRows);
    const Real* row = b + step * kColumns;
#pragma GCC unroll 16
    for (std::size_t j = 0; j < kColumns; ++j) {
#pragma GCC unroll 16
      for (std::size_t i = 0; i < kHigh; ++i) sum[j][i] += column[i] * row[j];
    }
  }
  auto* out = reinterpret_cast<Vector*>(tile);
#pragma GCC unroll 16
  for (std::size_t j = 0; j < kColumns; ++j) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kHigh; ++i) out[j * kHigh + i] = sum[j][i];
  }
}

template <typename Real, std::size_t kBytes, std::size_t kHigh, std::size_t kColumns>
[[gnu::always_inline]] inline void multiply_complex(std::size_t k, const Real* a, const Real* b,
                                                    Real* tile) {
  using Vector [[gnu::vector_size(kBytes), gnu::may_alias]] = Real;
  constexpr std::size_t kRows = kHigh * kBytes / sizeof(Real);
  Vector re[kColumns][kHigh] = {};
  Vector im[kColumns][kHigh] = {};
  for (std::size_t step = 0; step < k; ++step) {
    const auto* a_re = reinterpret_cast<const Vector*>(a + step * 2 * kRows);
    const auto* a_im = a_re + kHigh;
    const Real* b_re = b + step * 2 * kColumns;
    const Real* b_im = b_re + kColumns;
#pragma GCC unroll 16
    for (std::size_t j = 0; j < kColumns; ++j) {
#pragma GCC unroll 16
      for (std::size_t i = 0; i < kHigh; ++i) {
        re[j][i] += a_re[i] * b_re[j];
        re[j][i] -= a_im[i] * b_im[j];
        im[j][i] += a_re[i] * b_im[j];
        im[j][i] += a_im[i] * b_re[j];
      }
    }
  }
  auto* out_re = reinterpret_cast<Vector*>(tile);
  auto* out_im = out_re + kColumns * kHigh;
#pragma GCC unroll 16
  for (std::size_t j = 0; j < kColumns; ++j) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kHigh; ++i) {
      out_re[j * kHigh + i] = re[j][i];
      out_im[j * kHigh + i] = im[j][i];
    }
  }
}

// 16-byte vectors: what every 64-bit CPU has.
template <typename Real>
void real_16(std::size_t k, const Real* a, const Real* b, Real* tile) {
  multiply_real<Real, 16, 2, 4>(k, a, b, tile);
}
template <typename Real>
void complex_16(std::size_t k, const Real* a, const Real* b, Real* tile) {
  multiply_complex<Real, 16, 1, 4>(k, a, b, tile);
}

#if defined(__x86_64__)
template <typename Real>
[[gnu::target("avx2,fma")]] void real_32(std::size_t k, const Real* a, const Real* b, Real* tile) {
  multiply_real<Real, 32, 2, 6>(k, a, b, tile);
}
template <typename Real>
[[gnu::target("avx2,fma")]] void complex_32(std::size_t k, const Real* a, const Real* b,
                                            Real* tile) {
  multiply_complex<Real, 32, 1, 6>(k, a, b, tile);
}
template <typename Real>
[[gnu::target("avx512f")]] void real_64(std::size_t k, const Real* a, const Real* b, Real* tile) {
  multiply_real<Real, 64, 2, 12>(k, a, b, tile);
}
template <typename Real>
[[gnu::target("avx512f")]] void complex_64(std::size_t k, const Real* a, const Real* b,
                                           Real* tile) {
  multiply_complex<Real, 64, 2, 6>(k, a, b, tile);
}
#endif

}  // namespace

SoftIsa best_isa() noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return SoftIsa::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return SoftIsa::kAvx2;
#endif
  return SoftIsa::kBaseline;
}

template <typename Real>
SoftKernel<Real> select_kernel(bool complex, [[maybe_unused]] SoftIsa isa) noexcept {
#if defined(__x86_64__)
  if (isa == SoftIsa::kAvx512) {
    constexpr std::size_t kRows = 128 / sizeof(Real);
    if (complex) return {kRows, 6, complex_64<Real>};
    return {kRows, 12, real_64<Real>};
  }
  if (isa == SoftIsa::kAvx2) {
    if (complex) return {32 / sizeof(Real), 6, complex_32<Real>};
    return {64 / sizeof(Real), 6, real_32<Real>};
  }
#endif
  if (complex) return {16 / sizeof(Real), 4, complex_16<Real>};
  return {32 / sizeof(Real), 4, real_16<Real>};
}

template SoftKernel<float> select_kernel<float>(bool complex, SoftIsa isa) noexcept;
template SoftKernel<double> select_kernel<double>(bool complex, SoftIsa isa) noexcept;

}  // namespace godwit
