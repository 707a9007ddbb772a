// SPDX-License-Identifier: MIT
#include "runtime/src/policy/fault_around.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

TEST(FaultAround, HoldsThePageAlignedToItsSizeWithinTheBlock) {
  for (std::size_t page = 0; page < kPagesPerBlock; ++page) {
    for (unsigned streak = 0; streak < 20; ++streak) {
      const FaultWindow window = fault_window(page, streak, {});
      EXPECT_LE(window.first, page);
      EXPECT_GT(window.first + window.count, page);
      EXPECT_EQ(window.first % window.count, 0U);
      EXPECT_LE(window.first + window.count, kPagesPerBlock);
    }
  }
}

TEST(FaultAround, DoublesFromOneChunkToTheBlock) {
  EXPECT_EQ(fault_window(0, 0, {}).count, kPagesPerChunk);
  EXPECT_EQ(fault_window(0, 1, {}).count, 2 * kPagesPerChunk);
  EXPECT_EQ(fault_window(0, 5, {}).count, kPagesPerBlock);
  EXPECT_EQ(fault_window(0, 19, {}).count, kPagesPerBlock);
  EXPECT_EQ(fault_window(77, 3, {.least = 1, .most = 1}).first, 77U);
  EXPECT_EQ(fault_window(77, 3, {.least = 1, .most = 1}).count, 1U);
}

}  // namespace
}  // namespace godwit
