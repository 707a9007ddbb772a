// SPDX-License-Identifier: MIT
// Commands on the device: what they see, what they change, and what the CPU sees meanwhile.
#include <thread>

#include "tests/contract/fixture.h"

namespace godwit::contract {
namespace {

using DeviceAccess = Contract;

constexpr std::size_t kBytes = std::size_t{4} << 20;

TEST_P(DeviceAccess, TheDeviceReadsWhatTheCpuWrote) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 1);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 1));
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(DeviceAccess, TheCpuReadsWhatTheDeviceWrote) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 2);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(device_add(base, kBytes, 7));
    std::uint32_t word = 0;
    const std::size_t at = static_cast<std::size_t>(round) * 999'996;
    load(&word, base + at, sizeof(word));
    EXPECT_EQ(word, pattern(at / 4, 2) + 7 * static_cast<std::uint32_t>(round + 1));
  }
}

TEST_P(DeviceAccess, UntouchedMemoryIsZeroOnTheDevice) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  std::byte* base = region(kBytes);
  ASSERT_TRUE(device_add(base, kBytes, 3));
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum);
  EXPECT_EQ(*sum, 3 * kBytes / 4);
  std::uint32_t word = 0;
  load(&word, base + kBytes - 4, sizeof(word));
  EXPECT_EQ(word, 3U);
}

TEST_P(DeviceAccess, ARangeInTheMiddleOfPagesChangesNothingAroundIt) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 4);
  ASSERT_TRUE(device_add(base + 70'004, 12, 1));
  for (std::size_t at = 69'996; at < 70'028; at += 4) {
    std::uint32_t word = 0;
    load(&word, base + at, sizeof(word));
    EXPECT_EQ(word, pattern(at / 4, 4) + (at >= 70'004 && at < 70'016 ? 1 : 0)) << at;
  }
}

TEST_P(DeviceAccess, OnlyThePagesOfASubMatrixMove) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 5);
  // Eight columns of 100 bytes, 256 KiB apart.
  const Operand operand{.base = base + 64,
                        .bytes = 100,
                        .count = 8,
                        .stride = std::size_t{256} << 10,
                        .access = Access::kRead};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold) << hold.error().to_string();
  EXPECT_EQ(count(base, kBytes, full() ? Residency::kDevice : Residency::kBoth), 8U);
  const DeviceSpan& span = (*hold)->span(0);
  EXPECT_EQ(span.offset, 64U);
  EXPECT_EQ(span.chunks.size(), 7 * 4 + 1U);
  EXPECT_NE(span.chunks[4], DeviceSpan::kNoFrame);
  EXPECT_EQ(span.chunks[5], DeviceSpan::kNoFrame);
  hold->reset();
  EXPECT_EQ(check(base, kBytes, 5), "");
}

TEST_P(DeviceAccess, HeldPagesAreNotEvictedAndAreReleasedAfterwards) {
  std::byte* held = region(kBytes);
  std::byte* other = region(2 * kVram);
  fill(held, kBytes, 6);
  fill(other, 2 * kVram, 7);
  const Operand operand{.base = held, .bytes = kBytes, .access = Access::kRead};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold) << hold.error().to_string();
  for (std::size_t at = 0; at < 2 * kVram; at += kBytes) {
    auto sum = device_sum(other + at, kBytes);
    ASSERT_TRUE(sum) << sum.error().to_string();
  }
  std::uint64_t sum = 0;
  ASSERT_TRUE(device_wait(SumCommand{(*hold)->span(0), &sum}));
  EXPECT_EQ(sum, expected_sum(kBytes, 6));
  hold->reset();
  for (std::size_t at = 0; at < 2 * kVram; at += kBytes) {
    ASSERT_TRUE(device_sum(other + at, kBytes));
  }
  EXPECT_EQ(count(held, kBytes, Residency::kHost), kBytes / kPageBytes);
  EXPECT_EQ(check(held, kBytes, 6), "");
  EXPECT_EQ(check(other, 2 * kVram, 7), "");
}

TEST_P(DeviceAccess, ACpuAccessWaitsForACommandThatWrites) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  if (kernel()) GTEST_SKIP() << "with the module each access takes the page from the other side";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 8);
  const Operand operand{.base = base, .bytes = kBytes, .access = Access::kReadWrite};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold);
  std::uint32_t seen = 0;
  std::thread reader([&] { load(&seen, base, sizeof(seen)); });
  // The reader's fault is put off, and counted, before the command is even started.
  while (statistics().faults_deferred == 0) std::this_thread::yield();
  ASSERT_TRUE(device_wait(AddCommand{(*hold)->span(0), 41}));
  hold->reset();
  reader.join();
  EXPECT_EQ(seen, pattern(0, 8) + 41);
}

TEST_P(DeviceAccess, OperandsThatDoNotFitAreRefusedWithBothNumbers) {
  std::byte* base = region(2 * kVram);
  fill(base, 2 * kVram, 9);
  const Operand operand{.base = base, .bytes = 2 * kVram, .access = Access::kRead};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_FALSE(hold);
  EXPECT_EQ(hold.error().code, Code::kOutOfMemory);
  EXPECT_NE(hold.error().message.find("16 MiB"), std::string::npos) << hold.error().message;
  EXPECT_EQ(check(base, 2 * kVram, 9), "");
  // Nothing is held any more: a command of the usual size finds room.
  EXPECT_TRUE(device_sum(base, kBytes));
}

TEST_P(DeviceAccess, TwoCommandsThatNeedAllOfVramTakeTurns) {
  constexpr std::size_t kMost = kVram * 3 / 4;
  std::byte* first = region(kMost);
  std::byte* second = region(kMost);
  fill(first, kMost, 10);
  fill(second, kMost, 11);
  const auto work = [&](std::byte* base, std::uint32_t seed) {
    for (int round = 0; round < 8; ++round) {
      auto sum = device_sum(base, kMost);
      ASSERT_TRUE(sum) << sum.error().to_string();
      EXPECT_EQ(*sum, expected_sum(kMost, seed));
    }
  };
  std::thread other([&] { work(second, 11); });
  work(first, 10);
  other.join();
}

TEST_P(DeviceAccess, ScratchIsTakenAndGivenBack) {
  auto scratch = engine().scratch(kBytes + 1);
  ASSERT_TRUE(scratch);
  EXPECT_EQ((*scratch)->span(0).chunks.size(), kBytes / kChunkBytes + 1);
  scratch->reset();
  EXPECT_TRUE(vram_is_free());
  auto too_much = engine().scratch(2 * kVram);
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, Code::kOutOfMemory);
  EXPECT_TRUE(vram_is_free());
}

TEST_P(DeviceAccess, TheResidentLevelSaysThatItCannotLendForWriting) {
  if (full()) GTEST_SKIP() << "the full level can";
  std::byte* base = region(kBytes);
  auto done = device_add(base, kBytes, 1);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kUnsupported);
}

INSTANTIATE_TEST_SUITE_P(Engines, DeviceAccess, ::testing::ValuesIn(all_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
