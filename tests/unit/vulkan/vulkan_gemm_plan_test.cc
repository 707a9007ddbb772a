// SPDX-License-Identifier: MIT
// The division of a GEMM into dispatches, for sizes that no test machine computes.
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "runtime/src/device/vulkan/vulkan_gemm.h"

namespace godwit::vulkan {
namespace {

GemmCommand product(std::uint64_t m, std::uint64_t n, std::uint64_t k) {
  GemmCommand command;
  command.m = m;
  command.n = n;
  command.k = k;
  return command;
}

// Checks that each tile gets each part of k once and in order, and that no dispatch is too large.
void check(const GemmCommand& command, Tile tile, std::uint32_t max_x, std::uint32_t max_y) {
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> reached;
  const std::uint64_t tiles_x = (command.m + tile.rows - 1) / tile.rows;
  const std::uint64_t tiles_y = (command.n + tile.columns - 1) / tile.columns;
  GemmPlan plan(command, tile, max_x, max_y);
  GemmStep step;
  std::uint64_t steps = 0;
  while (plan.next(&step)) {
    ASSERT_LT(++steps, 100000U);
    ASSERT_GE(step.groups_x, 1U);
    ASSERT_GE(step.groups_y, 1U);
    ASSERT_LE(step.groups_x, max_x);
    ASSERT_LE(step.groups_y, max_y);
    const double one_tile = 64.0 * 64 * 65536;
    ASSERT_LE(step.work, std::max<double>(GemmPlan::kWorkLimit, one_tile));
    ASSERT_EQ(step.push.add_to_c != 0, step.push.k_begin > 0);
    ASSERT_EQ(step.after_previous, step.push.k_begin > 0);
    for (std::uint64_t x = 0; x < step.groups_x; ++x) {
      for (std::uint64_t y = 0; y < step.groups_y; ++y) {
        const auto at = std::make_pair(step.push.tile_row + x, step.push.tile_column + y);
        const auto found = reached.find(at);
        ASSERT_EQ(found == reached.end() ? 0 : found->second, step.push.k_begin);
        reached[at] = step.push.k_end;
      }
    }
  }
  ASSERT_EQ(reached.size(), tiles_x * tiles_y);
  for (const auto& [at, k] : reached) {
    ASSERT_LT(at.first, tiles_x);
    ASSERT_LT(at.second, tiles_y);
    ASSERT_EQ(k, reads_operands(command) ? command.k : 0);
  }
}

TEST(GemmPlan, SmallProductIsOneDispatch) {
  GemmPlan plan(product(100, 65, 33), {64, 64}, 65535, 65535);
  GemmStep step;
  ASSERT_TRUE(plan.next(&step));
  EXPECT_EQ(step.groups_x, 2U);
  EXPECT_EQ(step.groups_y, 2U);
  EXPECT_EQ(step.push.k_end, 33U);
  EXPECT_FALSE(plan.next(&step));
}

TEST(GemmPlan, EmptyProductIsNoDispatch) {
  GemmStep step;
  EXPECT_FALSE(GemmPlan(product(0, 5, 5), {64, 64}, 65535, 65535).next(&step));
  EXPECT_FALSE(GemmPlan(product(5, 0, 5), {64, 64}, 65535, 65535).next(&step));
}

TEST(GemmPlan, EachTileGetsAllOfKInOrder) {
  constexpr std::uint64_t kTile = 64;
  check(product(130, 70, 5), {64, 64}, 65535, 65535);
  check(product(1000, 1000, 0), {64, 64}, 65535, 65535);
  check(product(kTile * 700, 64, 3), {64, 64}, 100, 100);
  check(product(64, kTile * 700 + 1, 3), {64, 64}, 100, 7);
  check(product(kTile * 70000, 1, 1), {64, 64}, 65535, 65535);
  check(product(1, 1, 1000000), {64, 64}, 65535, 65535);
  check(product(20000, 20000, 200000), {64, 64}, 65535, 65535);
  check(product(20000, 20000, 20000), {32, 32}, 65535, 65535);
}

TEST(GemmPlan, AlphaZeroReadsNothing) {
  GemmCommand command = product(100, 100, 100);
  command.alpha[0] = 0;
  EXPECT_FALSE(reads_operands(command));
  check(command, {64, 64}, 65535, 65535);
  command.alpha[1] = 1;
  EXPECT_FALSE(reads_operands(command)) << "the imaginary part counts for complex types only";
  command.type = ScalarType::kComplexFloat;
  EXPECT_TRUE(reads_operands(command));
}

TEST(GemmCheck, OverflowingExtentsAreInvalid) {
  const std::uint64_t frame = 0;
  const DeviceSpan span{{&frame, 1}, 0, kChunkBytes};
  GemmCommand command = product(1, std::uint64_t{1} << 40, 1);
  command.a = command.b = command.c = span;
  command.lda = 1;
  command.ldb = command.ldc = std::uint64_t{1} << 40;
  GemmExtents extents;
  EXPECT_EQ(check_gemm(command, &extents), -EINVAL);
}

}  // namespace
}  // namespace godwit::vulkan
