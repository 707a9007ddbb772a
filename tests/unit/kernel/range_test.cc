// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

extern "C" {
#include "kernel/state/range.h"
}

namespace {

constexpr uint64_t kPage = 4096, kLimit = uint64_t{1} << 47, kMax = uint64_t{1} << 40;

int check(uint64_t addr, uint64_t length) {
  return godwit_range_check(addr, length, kPage, kLimit, kMax);
}

TEST(Range, AcceptsPagesBelowTheLimit) {
  EXPECT_EQ(check(0, kPage), 0);
  EXPECT_EQ(check(kLimit - kPage, kPage), 0);
  EXPECT_EQ(check(kPage, kMax), 0);
}

TEST(Range, RefusesWhatIsEmptyUnalignedOrBeyond) {
  EXPECT_EQ(check(kPage, 0), -EINVAL);
  EXPECT_EQ(check(1, kPage), -EINVAL);
  EXPECT_EQ(check(kPage, kPage + 1), -EINVAL);
  EXPECT_EQ(check(kLimit, kPage), -EINVAL);
  EXPECT_EQ(check(kLimit - kPage, 2 * kPage), -EINVAL);
  EXPECT_EQ(check(~uint64_t{0} - kPage + 1, kPage), -EINVAL);
  EXPECT_EQ(check(kPage, ~uint64_t{0} - kPage + 1), -EINVAL) << "the end wraps around";
  EXPECT_EQ(check(kPage, kMax + kPage), -E2BIG);
}

TEST(Range, SpansCoverARangeOnceAndNeverCrossABorder) {
  constexpr uint64_t kSpan = 8 * kPage;
  for (uint64_t start = 0; start < 2 * kSpan; start += kPage) {
    for (uint64_t end = start + kPage; end < 5 * kSpan; end += kPage) {
      uint64_t pos = start;
      while (pos < end) {
        const uint64_t next = godwit_span_end(pos, end, kSpan);
        ASSERT_GT(next, pos);
        ASSERT_LE(next, end);
        ASSERT_EQ(pos / kSpan, (next - 1) / kSpan);
        pos = next;
      }
      ASSERT_EQ(pos, end);
    }
  }
}

TEST(Range, ASpanAtTheEndOfTheAddressSpaceDoesNotWrap) {
  const uint64_t start = ~uint64_t{0} - kPage;
  EXPECT_EQ(godwit_span_end(start, ~uint64_t{0}, 8 * kPage), ~uint64_t{0});
}

}  // namespace
