// SPDX-License-Identifier: MIT
// Advice, and how much one fault brings home.
#include "tests/contract/fixture.h"

namespace godwit::contract {
namespace {

using Policy = Contract;

constexpr std::size_t kBytes = std::size_t{4} << 20;
constexpr std::size_t kPages = kBytes / kPageBytes;

TEST_P(Policy, ALoneTouchBringsOneChunkHome) {
  if (!full()) GTEST_SKIP() << "at the resident level pages never leave RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 1);
  (void)to_device(base, kBytes);
  std::uint32_t word = 0;
  load(&word, base + kChunkBytes + 8, sizeof(word));
  if (loaded() == Residency::kDevice) GTEST_SKIP() << "the CPU uses coherent VRAM in place";
  const std::size_t came = count(base, kBytes, loaded());
  EXPECT_TRUE(one_fault(came)) << came;
  EXPECT_EQ(count(base, kBytes, Residency::kDevice), kPages - came);
}

TEST_P(Policy, AWalkThroughABlockTakesFewFaults) {
  if (!full()) GTEST_SKIP() << "at the resident level pages never leave RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 2);
  (void)to_device(base, kBytes);
  EXPECT_EQ(check(base, kBytes, 2), "");
  // 64 KiB, 128 KiB, ... 1 MiB: not more than six a block. The module serves 64 KiB each time.
  EXPECT_LE(statistics().faults_read, kernel() ? kBytes / kChunkBytes : 2 * 6U);
}

TEST_P(Policy, TheWindowIsSmallAgainAfterTheNextDemotion) {
  if (!full()) GTEST_SKIP() << "at the resident level pages never leave RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 3);
  (void)to_device(base, kBytes);
  EXPECT_EQ(check(base, kBytes, 3), "");
  (void)to_device(base, kBytes);
  std::uint32_t word = 0;
  store(base, &word, sizeof(word));
  if (stored() == Residency::kDevice) GTEST_SKIP() << "the CPU uses coherent VRAM in place";
  EXPECT_TRUE(one_fault(count(base, kBytes, Residency::kHost)));
}

TEST_P(Policy, OneFaultCanBeMadeToBringAWholeBlock) {
  if (kernel()) GTEST_SKIP() << "how much a fault brings is the module's choice";
  if (!full()) GTEST_SKIP() << "at the resident level pages never leave RAM";
  remake(kVram, {.least = kPagesPerBlock, .most = kPagesPerBlock});
  std::byte* base = region(kBytes);
  fill(base, kBytes, 4);
  (void)to_device(base, kBytes);
  std::uint32_t word = 5;
  store(base + 4096, &word, sizeof(word));
  EXPECT_EQ(count(base, kBytes, Residency::kHost), kPagesPerBlock);
  EXPECT_EQ(check(base + kBlockBytes, kBytes - kBlockBytes, 99).empty(), false);
}

TEST_P(Policy, ReadMostlyLeavesPagesInRamAndGivesTheDeviceACopy) {
  if (kernel()) GTEST_SKIP() << "the module has no advice read mostly";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 5);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kReadMostly));
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 5));
  EXPECT_EQ(count(base, kBytes, Residency::kBoth), kPages);
  EXPECT_EQ(check(base, kBytes, 5), "");
  EXPECT_EQ(statistics().faults_read, 0U);
  // The copy follows the CPU's stores.
  const std::uint32_t word = pattern(0, 5) + 1;
  store(base, &word, sizeof(word));
  sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum);
  EXPECT_EQ(*sum, expected_sum(kBytes, 5) + 1);
}

TEST_P(Policy, ReadMostlyPagesThatNobodyTouchedAreZeroOnTheDevice) {
  if (kernel()) GTEST_SKIP() << "the module has no advice read mostly";
  std::byte* base = region(kBytes);
  fill(base, kPageBytes, 8);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kReadMostly));
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kPageBytes, 8));
  EXPECT_EQ(check(base, kPageBytes, 8), "");
  EXPECT_EQ(check_zero(base + kPageBytes, kBytes - kPageBytes), "");
}

TEST_P(Policy, KeepHostNeverLeavesRam) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 6);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kKeepHost));
  EXPECT_EQ(to_device(base, kBytes).stayed, kPages);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 6));
  EXPECT_EQ(count(base, kBytes, Residency::kDevice), 0U);
  auto add = device_add(base, kBytes, 1);
  if (kernel()) {
    // The device works on them where they are.
    ASSERT_TRUE(add) << add.error().to_string();
    EXPECT_EQ(count(base, kBytes, Residency::kHost), kPages);
    std::uint32_t word = 0;
    load(&word, base, sizeof(word));
    EXPECT_EQ(word, pattern(0, 6) + 1);
    return;
  }
  ASSERT_FALSE(add);
  EXPECT_EQ(add.error().code, Code::kUnsupported);
}

TEST_P(Policy, AdviceThatKeepsPagesInRamBringsThemThere) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 7);
  (void)to_device(base, kBytes);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kKeepHost));
  EXPECT_EQ(count(base, kBytes, Residency::kDevice), 0U);
  EXPECT_EQ(statistics().faults_read, 0U);
  EXPECT_EQ(check(base, kBytes, 7), "");
}

TEST_P(Policy, EveryMigrationIsCountedUnderItsCause) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 8);
  (void)to_device(base, kBytes);
  EXPECT_EQ(counters(Cause::kPrefetch).pages_to_device, kPages);
  EXPECT_EQ(counters(Cause::kDeviceAccess).pages_to_device, 0U);
  if (!full()) return;
  EXPECT_EQ(statistics().vram_bytes, kBytes);
  EXPECT_EQ(check(base, kChunkBytes, 8), "");
  if (loaded() == Residency::kDevice) GTEST_SKIP() << "the CPU uses coherent VRAM in place";
  EXPECT_TRUE(one_fault(counters(Cause::kCpuFault).pages_to_host));
}

INSTANTIATE_TEST_SUITE_P(Engines, Policy, ::testing::ValuesIn(all_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
