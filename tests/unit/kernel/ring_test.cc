// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

extern "C" {
#include "kernel/state/ring.h"
}

namespace {

TEST(Ring, IsFullAfterALap) {
  for (const uint64_t head : {uint64_t{0}, uint64_t{3}, ~uint64_t{0} - 2}) {
    for (uint64_t used = 0; used < 8; ++used) {
      EXPECT_FALSE(godwit_ring_full(head + used, head, 8));
    }
    EXPECT_TRUE(godwit_ring_full(head + 8, head, 8));
  }
}

TEST(Ring, AnyNonsenseInTheTailOnlyMakesItFull) {
  EXPECT_TRUE(godwit_ring_full(5, 6, 8)) << "beyond the head";
  EXPECT_TRUE(godwit_ring_full(5, ~uint64_t{0} - 100, 8));
  EXPECT_TRUE(godwit_ring_full(100, 3, 8)) << "more than a lap behind";
}

TEST(Ring, IndexIsAlwaysInside) {
  for (uint64_t number = 0; number < 100; ++number) {
    EXPECT_EQ(godwit_ring_index(number, 8), number % 8);
  }
  EXPECT_EQ(godwit_ring_index(~uint64_t{0}, 8), 7u);
  EXPECT_EQ(godwit_ring_index(12345, 1), 0u);
}

}  // namespace
