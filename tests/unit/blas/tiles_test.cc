// SPDX-License-Identifier: MIT
#include "runtime/src/blas/tiles.h"

#include <gtest/gtest.h>

#include <vector>

namespace godwit {
namespace {

constexpr std::size_t kDoubleBytes = sizeof(double);

TEST(Tiles, EveryElementOfCIsInExactlyOneTile) {
  for (const GemmShape shape : {GemmShape{1, 1, 1}, GemmShape{64, 64, 64}, GemmShape{65, 127, 3},
                                GemmShape{200, 100, 300}, GemmShape{129, 1, 1000}}) {
    for (const Tiling tiling : {Tiling{64, 64, 64}, Tiling{1, 7, 64}, Tiling{500, 64, 300}}) {
      std::vector<int> seen(shape.m * shape.n, 0);
      const Result<> done =
          each_tile(shape, tiling,
                    [&](std::uint64_t row, std::uint64_t rows, std::uint64_t column,
                        std::uint64_t columns) -> Result<> {
                      EXPECT_GT(rows * columns, 0U);
                      for (std::uint64_t j = column; j < column + columns; ++j) {
                        for (std::uint64_t i = row; i < row + rows; ++i) ++seen[j * shape.m + i];
                      }
                      return {};
                    });
      ASSERT_TRUE(done);
      for (const int count : seen) ASSERT_EQ(count, 1);
    }
  }
}

TEST(Tiles, StopsAtTheFirstError) {
  int calls = 0;
  const Result<> done = each_tile(GemmShape{100, 100, 1}, Tiling{10, 10, 1},
                                  [&](std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t)
                                      -> Result<> {
                                    if (++calls == 3) return fail(Code::kIo, "third");
                                    return {};
                                  });
  ASSERT_FALSE(done);
  EXPECT_EQ(calls, 3);
}

TEST(Tiles, ProductThatFitsIsNotCut) {
  const GemmShape shape{1000, 500, 200};
  const Result<Tiling> tiling = choose_tiling(shape, kDoubleBytes, 64U << 20);
  ASSERT_TRUE(tiling);
  EXPECT_TRUE(tiling->whole(shape));
}

TEST(Tiles, FitTheirBudgetAndUseMuchOfIt) {
  for (const GemmShape shape : {GemmShape{10000, 10000, 10000}, GemmShape{1000000, 64, 64},
                                GemmShape{64, 1000000, 1}, GemmShape{65, 65, 100000000},
                                GemmShape{1ULL << 40, 1ULL << 40, 1ULL << 40}}) {
    for (const std::uint64_t budget : {1ULL << 19, 1ULL << 22, 1ULL << 28}) {
      const Result<Tiling> tiling = choose_tiling(shape, kDoubleBytes, budget);
      ASSERT_TRUE(tiling) << budget;
      EXPECT_LE(tile_bytes(*tiling, kDoubleBytes), budget);
      EXPECT_GE(tile_bytes(*tiling, kDoubleBytes), budget / 4);
      EXPECT_GE(tiling->rows, std::min<std::uint64_t>(shape.m, Tiling::kLeast));
      EXPECT_GE(tiling->columns, std::min<std::uint64_t>(shape.n, Tiling::kLeast));
      EXPECT_GE(tiling->depth, std::min<std::uint64_t>(shape.k, Tiling::kLeast));
    }
  }
}

TEST(Tiles, ScalingNeedsNoPanels) {
  const Result<Tiling> tiling = choose_tiling({100000, 100000, 0}, kDoubleBytes, 1U << 20);
  ASSERT_TRUE(tiling);
  EXPECT_EQ(tiling->depth, 0U);
}

TEST(Tiles, TooLittleVramNamesBothNumbers) {
  const Result<Tiling> tiling = choose_tiling({1000, 1000, 1000}, kDoubleBytes, 100000);
  ASSERT_FALSE(tiling);
  EXPECT_EQ(tiling.error().code, Code::kOutOfMemory);
  EXPECT_NE(tiling.error().message.find("100000"), std::string::npos) << tiling.error().message;
  EXPECT_NE(tiling.error().message.find("196608"), std::string::npos) << tiling.error().message;
}

}  // namespace
}  // namespace godwit
