// SPDX-License-Identifier: MIT
// Products through the C interface, on the engine of this machine: operands in managed memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "godwit.h"

namespace {

class ManagedGemm : public ::testing::Test {
 protected:
  void start(std::uint64_t vram_bytes, const char* level = "auto") {
    godwit_options options{};
    options.size = sizeof options;
    const char* device = std::getenv("GODWIT_DEVICE");
    options.device = device != nullptr ? device : "soft";
    options.vram_bytes = vram_bytes;
    options.pool_bytes = 64U << 20;
    options.level = level;
    godwit_context* made = nullptr;
    const int code = godwit_context_create(&options, &made);
    if (code == GODWIT_UNAVAILABLE) GTEST_SKIP() << godwit_last_error();
    ASSERT_EQ(code, GODWIT_OK) << godwit_last_error();
    context_.reset(made);
  }

  double* allocate(std::size_t elements) {
    void* region = nullptr;
    EXPECT_EQ(godwit_allocate(context_.get(), elements * sizeof(double), 0, &region), GODWIT_OK)
        << godwit_last_error();
    return static_cast<double*>(region);
  }

  godwit_gemm product(std::int64_t m, std::int64_t n, std::int64_t k, const double* a,
                      std::int64_t lda, const double* b, std::int64_t ldb, double* c,
                      std::int64_t ldc) {
    godwit_gemm gemm{};
    gemm.size = sizeof gemm;
    gemm.type = GODWIT_DOUBLE;
    gemm.m = m;
    gemm.n = n;
    gemm.k = k;
    gemm.alpha[0] = 2;
    gemm.beta[0] = 1;
    gemm.a = a;
    gemm.lda = lda;
    gemm.b = b;
    gemm.ldb = ldb;
    gemm.c = c;
    gemm.ldc = ldc;
    gemm.offload = GODWIT_OFFLOAD_ALWAYS;
    return gemm;
  }

  /// C += 2 A B with small integers, so that every sum is exact.
  void check(std::int64_t size) {
    const auto elements = static_cast<std::size_t>(size * size);
    double* a = allocate(elements);
    double* b = allocate(elements);
    double* c = allocate(elements);
    for (std::size_t index = 0; index < elements; ++index) {
      a[index] = static_cast<double>(index * 7 % 11) - 5;
      b[index] = static_cast<double>(index * 5 % 13) - 6;
      c[index] = static_cast<double>(index % 3);
    }
    const std::vector<double> plain_a(a, a + elements);
    const std::vector<double> plain_b(b, b + elements);
    const std::vector<double> before(c, c + elements);
    char why[512];
    const godwit_gemm gemm = product(size, size, size, a, size, b, size, c, size);
    ASSERT_EQ(godwit_gemm_run(context_.get(), &gemm, why, sizeof why), GODWIT_OK) << why;
    for (std::int64_t j = 0; j < size; j += 17) {
      for (std::int64_t i = 0; i < size; i += 13) {
        double sum = 0;
        for (std::int64_t p = 0; p < size; ++p) {
          sum += plain_a[static_cast<std::size_t>(p * size + i)] *
                 plain_b[static_cast<std::size_t>(j * size + p)];
        }
        const auto at = static_cast<std::size_t>(j * size + i);
        ASSERT_EQ(c[at], before[at] + 2 * sum) << i << ", " << j << ": " << why;
      }
    }
    EXPECT_EQ(std::memcmp(a, plain_a.data(), elements * sizeof(double)), 0);
    EXPECT_EQ(std::memcmp(b, plain_b.data(), elements * sizeof(double)), 0);
  }

  struct Destroy {
    void operator()(godwit_context* context) const { godwit_context_destroy(context); }
  };
  std::unique_ptr<godwit_context, Destroy> context_;
};

TEST_F(ManagedGemm, OperandsMigrateAndTheResultIsRight) {
  start(64U << 20);
  check(300);
  godwit_statistics statistics{};
  ASSERT_EQ(godwit_statistics_get(context_.get(), &statistics), GODWIT_OK);
  EXPECT_EQ(statistics.gemm_offloaded, 1U);
  EXPECT_GE(statistics.bytes_to_device, 3U * 300 * 300 * 8);
}

TEST_F(ManagedGemm, ProductLargerThanVramIsRight) {
  start(2U << 20);
  check(600);
}

TEST_F(ManagedGemm, LevelThatLendsForReadingOnlyIsRight) {
  start(64U << 20, "resident");
  check(300);
}

TEST_F(ManagedGemm, ColumnsGigabytesApartMoveOnlyTheirPages) {
  start(64U << 20);
  // Column 2 starts 8 GiB after column 0.
  const std::int64_t lda = std::int64_t{1} << 29;
  double* a = allocate((std::size_t{2} << 29) + 4096);
  if (a == nullptr) GTEST_SKIP() << "no address space for 8 GiB";
  double* b = allocate(9);
  double* c = allocate(64 * 3);
  for (std::int64_t p = 0; p < 3; ++p) {
    for (std::int64_t i = 0; i < 64; ++i) a[p * lda + i] = static_cast<double>(i + 100 * p);
    for (std::int64_t j = 0; j < 3; ++j) b[j * 3 + p] = static_cast<double>(p == j ? 1 : 0);
  }
  a[lda + 64] = 42;  // on a page that moves, and not a part of A
  char why[512];
  const godwit_gemm gemm = product(64, 3, 3, a, lda, b, 3, c, 64);
  ASSERT_EQ(godwit_gemm_run(context_.get(), &gemm, why, sizeof why), GODWIT_OK) << why;
  godwit_statistics statistics{};
  ASSERT_EQ(godwit_statistics_get(context_.get(), &statistics), GODWIT_OK);
  EXPECT_LE(statistics.bytes_to_device, 5U * 4096);
  for (std::int64_t j = 0; j < 3; ++j) {
    for (std::int64_t i = 0; i < 64; ++i) {
      ASSERT_EQ(c[j * 64 + i], 2 * static_cast<double>(i + 100 * j)) << why;
    }
  }
  EXPECT_EQ(a[lda + 64], 42);
}

TEST_F(ManagedGemm, LongSumsAreComplete) {
  start(64U << 20);
  // More steps than software drivers grant one loop of a shader (65535 in lavapipe).
  constexpr std::int64_t kLength = 100000;
  double* a = allocate(8 * kLength);
  double* c = allocate(64);
  for (std::int64_t index = 0; index < 8 * kLength; ++index) a[index] = 1;
  godwit_gemm gemm = product(8, 8, kLength, a, kLength, a, kLength, c, 8);
  gemm.transa = GODWIT_TRANS;
  char why[512];
  ASSERT_EQ(godwit_gemm_run(context_.get(), &gemm, why, sizeof why), GODWIT_OK) << why;
  for (int index = 0; index < 64; ++index) ASSERT_EQ(c[index], 2.0 * kLength) << why;
}

TEST_F(ManagedGemm, PartsOfOneArrayMayShareTheirPages) {
  start(64U << 20);
  constexpr std::int64_t kSize = 200;
  double* whole = allocate(kSize * kSize);
  for (std::int64_t index = 0; index < kSize * kSize; ++index) {
    whole[index] = static_cast<double>(index * 7 % 11) - 5;
  }
  const std::vector<double> before(whole, whole + kSize * kSize);
  const double* a = whole + 50;             // rows 50.., columns 0..49
  const double* b = whole + 50 * kSize;     // rows 0..49, columns 50..
  double* c = whole + 50 * kSize + 50;
  char why[512];
  const godwit_gemm gemm = product(150, 150, 50, a, kSize, b, kSize, c, kSize);
  ASSERT_EQ(godwit_gemm_run(context_.get(), &gemm, why, sizeof why), GODWIT_OK) << why;
  for (std::int64_t j = 0; j < kSize; ++j) {
    for (std::int64_t i = 0; i < kSize; ++i) {
      double wanted = before[static_cast<std::size_t>(j * kSize + i)];
      for (std::int64_t p = 0; i >= 50 && j >= 50 && p < 50; ++p) {
        wanted += 2 * before[static_cast<std::size_t>(p * kSize + i)] *
                  before[static_cast<std::size_t>(j * kSize + p)];
      }
      ASSERT_EQ(whole[j * kSize + i], wanted) << i << ", " << j;
    }
  }
}

}  // namespace
