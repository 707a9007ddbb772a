// SPDX-License-Identifier: MIT
#include "runtime/src/blas/matrix.h"

#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

#include "godwit/units.h"

namespace godwit {
namespace {

const void* at(std::uintptr_t address) { return reinterpret_cast<const void*>(address); }

Matrix matrix(std::uintptr_t base, std::uint64_t rows, std::uint64_t columns, std::uint64_t ld,
              std::size_t element = 8) {
  const Result<Matrix> made = Matrix::make(at(base), rows, columns, ld, element);
  EXPECT_TRUE(made);
  return *made;
}

std::vector<std::pair<std::uintptr_t, std::uint64_t>> runs(const Matrix& matrix,
                                                           std::size_t unit) {
  std::vector<std::pair<std::uintptr_t, std::uint64_t>> seen;
  matrix.each_run(unit, [&](std::uintptr_t address, std::uint64_t bytes) {
    seen.emplace_back(address, bytes);
  });
  return seen;
}

TEST(Matrix, ExtentsBeyond31BitsAreRight) {
  const std::uint64_t ld = 1ULL << 30;
  const Matrix tall = matrix(0x1000, 64, 5, ld, 4);
  EXPECT_EQ(tall.extent(), 4 * ld * 4 + 64ULL * 4);
  EXPECT_EQ(tall.part(10, 4, 2, 1).base(), at(0x1000 + (4 * ld + 10) * 4));
  const Operand operand = tall.operand(Access::kRead);
  EXPECT_EQ(operand.count, 5U);
  EXPECT_EQ(operand.stride, ld * 4);
  EXPECT_EQ(operand.bytes, 256U);
}

TEST(Matrix, MoreThanMemoryCanHoldIsAnError) {
  EXPECT_FALSE(Matrix::make(at(0x1000), 10, 1ULL << 40, 1ULL << 40, 8));
  EXPECT_FALSE(Matrix::make(at(0x1000), 10, 1ULL << 31, 1ULL << 31, 8));
  EXPECT_FALSE(Matrix::make(at(0x1000), 10, 10, 9, 8));
  EXPECT_TRUE(Matrix::make(at(0x1000), 0, 1ULL << 40, 1ULL << 40, 8));
}

TEST(Matrix, DenseMatrixIsOneRun) {
  const Matrix dense = matrix(0x10010, 100, 100, 100);
  EXPECT_TRUE(dense.dense());
  EXPECT_EQ(dense.operand(Access::kRead).count, 1U);
  ASSERT_EQ(runs(dense, kPageBytes).size(), 1U);
  EXPECT_EQ(runs(dense, kPageBytes)[0], std::make_pair(std::uintptr_t{0x10000},
                                                       std::uint64_t{align_up(80016, kPageBytes)}));
}

TEST(Matrix, GapsBetweenColumnsAreLeftOut) {
  // 16 bytes every two pages, from the end of a page on: each column touches two pages.
  const Matrix sparse = matrix(0x10ff8, 2, 3, 1024);
  const auto seen = runs(sparse, kPageBytes);
  ASSERT_EQ(seen.size(), 1U) << "neighbouring runs are joined";
  EXPECT_EQ(seen[0].second, 6 * kPageBytes);
  const Matrix sparser = matrix(0x10ff8, 2, 3, 4096);
  ASSERT_EQ(runs(sparser, kPageBytes).size(), 3U);
  for (const auto& [address, bytes] : runs(sparser, kPageBytes)) EXPECT_EQ(bytes, 2 * kPageBytes);
  EXPECT_EQ(sparser.chunk_bytes(), 2 * kChunkBytes);
}

TEST(Matrix, RunsCoverEveryElementOnce) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t rows = 1 + random() % 700;
    const std::uint64_t columns = 1 + random() % 12;
    const std::uint64_t ld = rows + random() % 3000;
    const Matrix some = matrix(0x100000 + random() % 9000 * 8, rows, columns, ld);
    std::uintptr_t last = 0;
    std::uint64_t covered = 0;
    std::uint64_t needed = 0;
    std::uintptr_t previous_page = 0;
    for (std::uint64_t column = 0; column < columns; ++column) {
      const auto start = reinterpret_cast<std::uintptr_t>(some.column(column));
      for (std::uintptr_t page = std::max(align_down(start, kPageBytes), previous_page);
           page < start + some.column_bytes(); page += kPageBytes) {
        ++needed;
        previous_page = page + kPageBytes;
      }
    }
    some.each_run(kPageBytes, [&](std::uintptr_t address, std::uint64_t bytes) {
      EXPECT_GT(address, last);
      last = address + bytes;
      covered += bytes / kPageBytes;
    });
    EXPECT_EQ(covered, needed) << rows << " " << columns << " " << ld;
  }
}

TEST(Matrix, InterleavedColumnsDoNotOverlap) {
  // The upper and the lower half of the rows of one array.
  const Matrix upper = matrix(0x10000, 50, 100, 100);
  const Matrix lower = matrix(0x10000 + 400, 50, 100, 100);
  EXPECT_FALSE(overlap(upper, lower));
  EXPECT_TRUE(overlap(upper, upper));
  EXPECT_TRUE(overlap(matrix(0x10000, 51, 100, 100), lower));
}

TEST(Matrix, OverlapAgreesWithCountingBytes) {
  std::mt19937 random(11);
  int overlapping = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<char> bytes(4096, 0);
    const auto some = [&] {
      const std::uint64_t rows = 1 + random() % 6;
      const std::uint64_t ld = rows + random() % 12;
      return matrix(0x10000 + random() % 100, rows, 1 + random() % 6, ld, 1 + random() % 4);
    };
    const Matrix one = some();
    const Matrix other = some();
    bool shared = false;
    for (std::uint64_t column = 0; column < one.columns(); ++column) {
      const auto start = reinterpret_cast<std::uintptr_t>(one.column(column)) - 0x10000;
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(start), one.column_bytes(), 1);
    }
    for (std::uint64_t column = 0; column < other.columns(); ++column) {
      const auto start = reinterpret_cast<std::uintptr_t>(other.column(column)) - 0x10000;
      for (std::uint64_t byte = 0; byte < other.column_bytes(); ++byte) {
        shared = shared || bytes[start + byte] != 0;
      }
    }
    ASSERT_EQ(overlap(one, other), shared) << "round " << round;
    ASSERT_EQ(overlap(other, one), shared) << "round " << round;
    overlapping += shared ? 1 : 0;
  }
  EXPECT_GT(overlapping, 300);
  EXPECT_LT(overlapping, 2700);
}

}  // namespace
}  // namespace godwit
