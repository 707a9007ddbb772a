// SPDX-License-Identifier: MIT
// Pages go to VRAM and come back: their bytes, their place, and what the report says.
#include "tests/contract/fixture.h"

namespace godwit::contract {
namespace {

using Migrate = Contract;

constexpr std::size_t kBytes = std::size_t{6} << 20;

TEST_P(Migrate, PagesGoToTheDeviceAndComeBackWithTheirBytes) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 1);
  const MoveReport there = to_device(base, kBytes);
  EXPECT_EQ(there.moved, kBytes / kPageBytes);
  EXPECT_EQ(there.stayed, 0U);
  EXPECT_EQ(count(base, kBytes, full() ? Residency::kDevice : Residency::kBoth),
            kBytes / kPageBytes);
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(Migrate, PrefetchHomeMovesEverythingThatIsInVram) {
  if (!full()) GTEST_SKIP() << "at the resident level pages never leave RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 2);
  (void)to_device(base, kBytes);
  const MoveReport home = to_host(base, kBytes);
  EXPECT_EQ(home.moved, kBytes / kPageBytes);
  EXPECT_EQ(count(base, kBytes, Residency::kHost), kBytes / kPageBytes);
  EXPECT_EQ(statistics().faults_read + statistics().faults_write, 0U);
  EXPECT_EQ(check(base, kBytes, 2), "");
}

TEST_P(Migrate, ResidencyTellsWhereEachPageIs) {
  std::byte* base = region(kBytes);
  EXPECT_EQ(where(base), Residency::kUntouched);
  fill(base, kPageBytes, 3);
  EXPECT_EQ(where(base), Residency::kHost);
  (void)to_device(base, kPageBytes);
  EXPECT_EQ(where(base), full() ? Residency::kDevice : Residency::kBoth);
  EXPECT_EQ(check(base, kPageBytes, 3), "");
  // A load may leave VRAM a clean copy, a store does not.
  EXPECT_EQ(where(base), loaded());
  fill(base, kPageBytes, 4);
  if (full()) {
    EXPECT_EQ(where(base), stored());
  }
  EXPECT_EQ(check(base, kPageBytes, 4), "");
}

TEST_P(Migrate, UntouchedPagesStayUntouchedAndReadZero) {
  std::byte* base = region(kBytes);
  fill(base + kBlockBytes, kPageBytes, 5);
  const MoveReport there = to_device(base, kBytes);
  if (full()) {
    EXPECT_EQ(there.moved, fake() ? 1U : count(base, kBytes, Residency::kDevice));
  }
  EXPECT_EQ(check_zero(base, kBlockBytes), "");
  EXPECT_EQ(check(base + kBlockBytes, kPageBytes, 5), "");
  EXPECT_EQ(check_zero(base + 2 * kBlockBytes, kBlockBytes), "");
}

TEST_P(Migrate, StoreAfterTheMoveIsTheLastStore) {
  std::byte* base = region(kBytes);
  for (std::uint32_t round = 0; round < 4; ++round) {
    fill(base, kBytes, round);
    const MoveReport report = to_device(base, kBytes);
    EXPECT_EQ(report.stayed, 0U) << describe(report);
  }
  EXPECT_EQ(check(base, kBytes, 3), "");
}

TEST_P(Migrate, PartsOfPagesAndOddRangesMoveWholePages) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 6);
  const MoveReport report = to_device(base + 5000, 3 * kPageBytes);  // touches four pages
  EXPECT_EQ(report.moved + report.already, 4U);
  EXPECT_EQ(where(base), Residency::kHost);
  EXPECT_NE(where(base + kPageBytes), Residency::kHost);
  EXPECT_NE(where(base + 4 * kPageBytes), Residency::kHost);
  EXPECT_EQ(where(base + 5 * kPageBytes), Residency::kHost);
  EXPECT_EQ(check(base, kBytes, 6), "");
}

TEST_P(Migrate, ASecondPrefetchFindsEverythingThere) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 7);
  (void)to_device(base, kBytes);
  const MoveReport again = to_device(base, kBytes);
  EXPECT_EQ(again.moved, 0U);
  EXPECT_EQ(again.already, kBytes / kPageBytes);
}

TEST_P(Migrate, ACleanPageIsNotCopiedAgain) {
  if (kernel()) GTEST_SKIP() << "the module keeps each page in one place: there are no clean copies";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 8);
  (void)to_device(base, kBytes);
  EXPECT_EQ(check(base, kBytes, 8), "");  // loads only
  const std::uint64_t copied = counters(Cause::kPrefetch).pages_to_device;
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(counters(Cause::kPrefetch).pages_to_device, copied);
  EXPECT_EQ(check(base, kBytes, 8), "");
}

TEST_P(Migrate, AStoreToACleanPageReachesTheDevice) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 9);
  (void)to_device(base, kBytes);
  EXPECT_EQ(check(base, kBytes, 9), "");
  const std::uint32_t value = pattern(700 * 1024, 9) + 5;
  store(base + 4 * 700 * 1024, &value, sizeof(value));
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 9) + 5);
}

TEST_P(Migrate, DiscardReadsZeroAndCopiesNothing) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 10);
  (void)to_device(base, kBytes);
  const std::uint64_t home = counters(Cause::kCpuFault).pages_to_host;
  ASSERT_TRUE(engine().discard(base, kBytes));
  EXPECT_EQ(count(base, kBytes, Residency::kUntouched), kBytes / kPageBytes);
  EXPECT_EQ(check_zero(base, kBytes), "");
  EXPECT_EQ(counters(Cause::kCpuFault).pages_to_host, home);
  EXPECT_TRUE(vram_is_free());
}

TEST_P(Migrate, ARecycledRegionStartsWithZerosAndWithoutCopies) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 11);
  (void)to_device(base, kBytes);
  ASSERT_TRUE(engine().free(base));
  std::byte* again = region(kBytes);
  EXPECT_EQ(again, base);
  EXPECT_EQ(check_zero(again, kBytes), "");
  EXPECT_EQ(counters(Cause::kCpuFault).pages_to_host, 0U);
  EXPECT_TRUE(vram_is_free());
}

TEST_P(Migrate, NeighboursInOneBlockKeepTheirOwnBytes) {
  std::byte* first = region(3 * kChunkBytes);
  std::byte* second = region(3 * kChunkBytes);
  fill(first, 3 * kChunkBytes, 12);
  fill(second, 3 * kChunkBytes, 13);
  (void)to_device(first, 3 * kChunkBytes);
  (void)to_device(second, 3 * kChunkBytes);
  ASSERT_TRUE(engine().free(first));
  EXPECT_EQ(check(second, 3 * kChunkBytes, 13), "");
}

TEST_P(Migrate, FramesThatWereReservedInVainAreNotTakenFromTheirOwner) {
  std::byte* base = region(2 * kBlockBytes);
  fill(base, kPageBytes, 14);  // one page: the block's other chunks need no frame
  (void)to_device(base, kBlockBytes);
  fill(base + kBlockBytes, kChunkBytes, 15);
  (void)to_device(base + kBlockBytes, kChunkBytes);
  EXPECT_EQ(check(base, kPageBytes, 14), "");
  EXPECT_EQ(check(base + kBlockBytes, kChunkBytes, 15), "");
}

INSTANTIATE_TEST_SUITE_P(Engines, Migrate, ::testing::ValuesIn(all_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
