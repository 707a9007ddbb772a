// SPDX-License-Identifier: MIT
// Every step made to fail: the operation says so, and no byte is lost.
#include "godwit/peer.h"
#include "tests/contract/fixture.h"

namespace godwit::contract {
namespace {

class Failure : public Contract {
 protected:
  [[nodiscard]] static std::size_t stayed(const MoveReport& report, StayReason reason) {
    return report.stayed_for[static_cast<std::size_t>(reason)];
  }
  /// A device's store to pages that are pinned for it: past the page table.
  static void dma(std::byte* base, std::size_t bytes, std::uint32_t seed) {
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
      const std::uint32_t word = pattern(at / sizeof(word), seed);
      std::memcpy(base + at, &word, sizeof(word));
    }
  }
  /// What a command reads that has the operand already.
  [[nodiscard]] std::uint64_t device_sum_of(const Hold& hold) {
    std::uint64_t sum = 0;
    EXPECT_TRUE(device_wait(SumCommand{hold.span(0), &sum}));
    return sum;
  }
};

constexpr std::size_t kBytes = std::size_t{4} << 20;
constexpr std::size_t kPages = kBytes / kPageBytes;

TEST_P(Failure, APinnedPageStaysAndTheRestMoves) {
  if (!fake()) GTEST_SKIP() << "pins are tested in os/, those of the kernel engine in engine_test";
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 1);
  fake_host().pin(base + 100 * kPageBytes, kPageBytes, true);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(report.moved, kPages - 1);
  EXPECT_EQ(stayed(report, StayReason::kPinned), 1U);
  ASSERT_EQ(report.stays.size(), 1U);
  EXPECT_EQ(report.stays[0].address, base + 100 * kPageBytes);
  EXPECT_EQ(where(base + 100 * kPageBytes), Residency::kHost);
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(Failure, ADeviceReadsACopyOfAPinnedPageAndMayNotWriteIt) {
  if (!fake()) GTEST_SKIP() << "pins are tested in os/, those of the kernel engine in engine_test";
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 2);
  fake_host().pin(base + 9 * kPageBytes, kPageBytes, true);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 2));
  auto add = device_add(base, kBytes, 1);
  ASSERT_FALSE(add);
  EXPECT_EQ(add.error().code, Code::kBusy);
  EXPECT_EQ(check(base, kBytes, 2), "");
}

TEST_P(Failure, ACommandReadsWhatDmaStoredWhileAnotherHasACopyOfThePinnedPage) {
  if (!fake()) GTEST_SKIP() << "pins are tested in os/, those of the kernel engine in engine_test";
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 21);
  fake_host().pin(base, kBytes, true);
  const Operand operand{.base = base, .bytes = kBytes, .access = Access::kRead};
  auto first = engine().acquire({&operand, 1});
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ(device_sum_of(**first), expected_sum(kBytes, 21));
  dma(base, kBytes, 22);
  auto second = engine().acquire({&operand, 1});
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_EQ(device_sum_of(**second), expected_sum(kBytes, 22));
  // The first one's end takes nothing from the second, nor from a third.
  first->reset();
  EXPECT_EQ(device_sum_of(**second), expected_sum(kBytes, 22));
  dma(base, kBytes, 23);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 23));
  second->reset();
  EXPECT_TRUE(vram_is_free());
  EXPECT_EQ(check(base, kBytes, 23), "");
}

// The same where the page is pinned no more: the copy would have taken its place.
TEST_P(Failure, WhatDmaStoredWhileACommandHadACopyIsNotLostWithThePin) {
  if (!fake()) GTEST_SKIP() << "pins are tested in os/, those of the kernel engine in engine_test";
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 24);
  fake_host().pin(base, kBytes, true);
  const Operand operand{.base = base, .bytes = kBytes, .access = Access::kRead};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold) << hold.error().to_string();
  dma(base, kBytes, 25);
  fake_host().pin(base, kBytes, false);
  EXPECT_EQ(to_device(base, kBytes / 2).moved, kPages / 2);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 25));
  hold->reset();
  EXPECT_EQ(count(base, kBytes, Residency::kDevice), kPages);
  EXPECT_EQ(check(base, kBytes, 25), "");
}

// A copy from when the region was read-mostly, of a page that was pinned then already.
TEST_P(Failure, ACopyOfAPinnedPageFromBeforeTheCommandIsMadeAnew) {
  if (!fake()) GTEST_SKIP() << "pins are tested in os/, those of the kernel engine in engine_test";
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  std::byte* base = region(kBytes);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kReadMostly));
  fill(base, kBytes, 26);
  fake_host().pin(base, kBytes, true);
  // Of the last block, a half: VRAM has frames for some of what is made anew.
  EXPECT_EQ(to_device(base, kBytes - kBlockBytes / 2).moved, kPages - kPagesPerBlock / 2);
  EXPECT_EQ(count(base, kBytes, Residency::kBoth), kPages - kPagesPerBlock / 2);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kNormal));
  dma(base, kBytes, 27);
  // In one block with a page that a peer keeps: not that page alone is lent.
  PeerOptions options;
  options.patience = std::chrono::milliseconds(0);
  auto peer = engine().map_peer(base, kPageBytes, std::move(options));
  ASSERT_TRUE(peer) << peer.error().to_string();
  ASSERT_TRUE((*peer)->begin());
  for (const std::uint32_t seed : {27U, 28U}) {
    auto sum = device_sum(base, kBytes);
    ASSERT_TRUE(sum) << sum.error().to_string();
    EXPECT_EQ(*sum, expected_sum(kBytes, seed));
    dma(base, kBytes, 28);
  }
  (*peer)->end();
  EXPECT_EQ(check(base, kBytes, 28), "");
}

TEST_P(Failure, ARefusedArmLeavesThePagesInRam) {
  if (!fake()) GTEST_SKIP() << "only the fake host fails on demand";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 3);
  fake_host().fail_next(FakeStep::kArm, EBUSY);
  const MoveReport report = to_device(base, kBlockBytes);
  EXPECT_EQ(report.stayed, kPagesPerBlock);
  EXPECT_EQ(check(base, kBytes, 3), "");
  EXPECT_EQ(to_device(base, kBlockBytes).moved, kPagesPerBlock);
}

TEST_P(Failure, APageThatTheKernelRefusesIsReportedWithItsReason) {
  if (!fake() || !full()) GTEST_SKIP() << "only the fake host at the full level fails on demand";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 4);
  for (const auto& [error, reason] :
       {std::pair{EINVAL, StayReason::kLocked}, std::pair{ENOMEM, StayReason::kNoMemory}}) {
    fake_host().fail_next(FakeStep::kTakeOut, error, 2);  // as part of a range, and alone;
    // one block, since the next failure may not hit another thread's
    const MoveReport report = to_device(base, kBlockBytes);
    EXPECT_EQ(stayed(report, reason), 1U) << error;
    EXPECT_EQ(report.stayed, 1U);
    EXPECT_EQ(check(base, kBytes, 4), "");
    fill(base, kBytes, 4);
  }
}

TEST_P(Failure, APageThatTheKernelIsBusyWithMovesWhenItIsDone) {
  if (!fake() || !full()) GTEST_SKIP() << "only the fake host at the full level fails on demand";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 12);
  fake_host().fail_next(FakeStep::kTakeOut, EAGAIN, 5);
  const MoveReport out = to_device(base, kBlockBytes);
  EXPECT_EQ(out.moved, kPagesPerBlock) << describe(out);
  EXPECT_EQ(out.stayed, 0U);
  fake_host().fail_next(FakeStep::kPutIn, EAGAIN, 100);
  fake_host().fail_next(FakeStep::kCopyIn, EAGAIN, 3);
  const MoveReport home = to_host(base, kBlockBytes);
  EXPECT_EQ(home.moved, kPagesPerBlock) << describe(home);
  EXPECT_EQ(home.stayed, 0U);
  fake_host().fail_next(FakeStep::kPutIn, 0, 0);
  EXPECT_EQ(check(base, kBytes, 12), "");
}

TEST_P(Failure, APageThatTheKernelStaysBusyWithIsReportedAsRaced) {
  if (!fake() || !full()) GTEST_SKIP() << "only the fake host at the full level fails on demand";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 13);
  fake_host().fail_next(FakeStep::kTakeOut, EAGAIN, 1'000'000);
  const MoveReport report = to_device(base, kBlockBytes);
  EXPECT_EQ(report.moved, 0U);
  EXPECT_EQ(stayed(report, StayReason::kRaced), kPagesPerBlock);
  fake_host().fail_next(FakeStep::kTakeOut, 0, 0);
  EXPECT_EQ(check(base, kBytes, 13), "");
}

TEST_P(Failure, AFaultThatCannotBeServedYetIsAskedAgain) {
  if (!fake() || !full()) GTEST_SKIP() << "only the fake host at the full level fails on demand";
  for (const FakeStep step : {FakeStep::kPutIn, FakeStep::kCopyIn, FakeStep::kPopulate}) {
    for (const int error : {EAGAIN, ENOMEM}) {
      std::byte* base = region(kBytes);
      fill(base, kBytes, 5);
      (void)to_device(base, kBytes);
      fake_host().fail_next(step, error, 5);
      std::uint32_t word = 0;
      load(&word, base + 8, sizeof(word));
      EXPECT_EQ(word, pattern(2, 5));
      word = 1;
      store(base + kBlockBytes, &word, sizeof(word));
      load(&word, base + kBlockBytes + 4, sizeof(word));
      EXPECT_EQ(word, pattern((kBlockBytes + 4) / 4, 5));
      fake_host().fail_next(step, 0, 0);
      ASSERT_TRUE(engine().free(base));
    }
  }
}

// It would only fault and fail again, and keep a fork's event from being read.
TEST_P(Failure, WhoWaitsBehindAFaultThatCannotBeServedYetIsNotWokenForIt) {
  if (!fake() || !full()) GTEST_SKIP() << "only the fake host at the full level fails on demand";
  std::byte* base = region(kBlockBytes);
  fill(base, kBlockBytes, 6);
  (void)to_device(base, kBlockBytes);
  EXPECT_TRUE(engine().discard(base, kBlockBytes));
  fake_host().fail_next(FakeStep::kZeroIn, EAGAIN, 2);  // for the range, and for the page alone
  core().table.block(core().table.page_of(base) / kPagesPerBlock).wake = true;  // a thread waits
  const std::size_t before = fake_host().wakes();
  std::uint32_t word = 1;
  load(&word, base, sizeof(word));
  EXPECT_EQ(word, 0U);
  EXPECT_EQ(fake_host().wakes() - before, 1U) << "once the page was there";
}

TEST_P(Failure, AHostWithoutMemoryKeepsPagesInVram) {
  if (!fake() || !full()) GTEST_SKIP() << "only the fake host at the full level fails on demand";
  std::byte* base = region(kBlockBytes);
  fill(base, kBlockBytes, 6);
  (void)to_device(base, kBlockBytes);
  fake_host().fail_next(FakeStep::kPutIn, ENOMEM, 1000);
  fake_host().fail_next(FakeStep::kCopyIn, ENOMEM, 1000);
  const MoveReport report = to_host(base, kBlockBytes);
  EXPECT_EQ(report.moved, 0U);
  EXPECT_EQ(stayed(report, StayReason::kNoMemory), kPagesPerBlock);
  EXPECT_EQ(where(base), Residency::kDevice);
  fake_host().fail_next(FakeStep::kPutIn, 0, 0);
  fake_host().fail_next(FakeStep::kCopyIn, 0, 0);
  EXPECT_EQ(check(base, kBlockBytes, 6), "");
}

TEST_P(Failure, ALostDeviceLeavesHostDataWholeAndReportsTheRest) {
  if (kernel()) GTEST_SKIP() << "a device of the module is lost by unplugging it: engine_test";
  std::byte* safe = region(kBytes);
  std::byte* both = region(kBytes);
  std::byte* gone = region(kBlockBytes);
  fill(safe, kBytes, 7);
  fill(both, kBytes, 8);
  fill(gone, kBlockBytes, 9);
  (void)to_device(both, kBytes);
  EXPECT_EQ(check(both, kBytes, 8), "");  // loads: RAM and VRAM hold it now
  (void)to_device(gone, kBlockBytes);
  (*engine().device())->lose();
  EXPECT_EQ(check(safe, kBytes, 7), "");
  EXPECT_EQ(check(both, kBytes, 8), "");
  if (full()) {
    const MoveReport report = to_host(gone, kBlockBytes);
    EXPECT_EQ(report.moved, 0U);
    EXPECT_EQ(count(gone, kBlockBytes, Residency::kLost), kPagesPerBlock);
    EXPECT_EQ(statistics().lost_pages, kPagesPerBlock);
    if (fake()) {
      EXPECT_EQ(fake_host().touch(gone, 1, false), -EFAULT);
    } else {
      // SIGBUS, or a sanitizer's report of it.
      EXPECT_DEATH({ [[maybe_unused]] volatile auto byte = *gone; }, "");
    }
    auto refused = engine().prefetch(safe, kBytes, Place::kDevice);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kDeviceLost);
  } else {
    EXPECT_EQ(check(gone, kBlockBytes, 9), "");
  }
}

TEST_P(Failure, ADeviceThatIsLostDuringADemotionGivesThePagesBack) {
  if (kernel()) GTEST_SKIP() << "a device of the module is lost by unplugging it: engine_test";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 10);
  (*engine().device())->lose();
  auto report = engine().prefetch(base, kBytes, Place::kDevice);
  if (report) {
    EXPECT_EQ(report->moved, 0U);
    EXPECT_EQ(report->stayed, kPages);
  } else {
    EXPECT_EQ(report.error().code, Code::kDeviceLost);
  }
  EXPECT_EQ(check(base, kBytes, 10), "");
  EXPECT_EQ(statistics().lost_pages, 0U);
}

TEST_P(Failure, ADeviceThatIsLostWhileASplitBlockLeavesGivesThePagesBack) {
  if (kernel()) GTEST_SKIP() << "a device of the module is lost by unplugging it: engine_test";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 14);
  // A page that moved alone: the next move of its block makes room for a huge page again.
  (void)to_device(base + kPageBytes, kPageBytes);
  fill(base, kBytes, 14);
  (*engine().device())->lose();
  (void)engine().prefetch(base, kBytes, Place::kDevice);
  EXPECT_EQ(check(base, kBytes, 14), "");
  EXPECT_EQ(statistics().lost_pages, 0U);
}

TEST_P(Failure, WrongRangesAreRefusedByNameAndChangeNothing) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 11);
  int outside = 0;
  std::vector<Residency> pages(1);
  const auto refused = [](const auto& result, const char* word) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::kInvalidArgument);
    EXPECT_NE(result.error().message.find(word), std::string::npos) << result.error().message;
  };
  if (!kernel()) {  // for which any memory is a range
    refused(engine().prefetch(&outside, 4, Place::kDevice), "prefetch");
    refused(engine().prefetch(base, kBytes + 1, Place::kDevice), "4194305 bytes");
    refused(engine().discard(base + kBytes, 1), "discard");
  }
  refused(engine().advise(nullptr, 1, Advice::kNormal), "advise");
  refused(engine().prefetch(base, SIZE_MAX, Place::kDevice), "prefetch");
  refused(engine().prefetch(base, SIZE_MAX, Place::kHost), "prefetch");
  refused(engine().advise(base, SIZE_MAX, Advice::kKeepHost), "advise");
  refused(engine().discard(base, SIZE_MAX), "discard");
  refused(engine().residency(base, SIZE_MAX, pages), "residency");
  refused(engine().residency(base, 2 * kPageBytes, pages), "room for 1");
  refused(engine().free(base + kPageBytes), "no region starts");
  refused(engine().free(&outside), "no region starts");
  refused(engine().allocate(0, 1), "0 bytes");
  refused(engine().allocate(64, 3), "power of two");
  auto huge = engine().allocate(std::size_t{1} << 46, 1);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, Code::kOutOfMemory);
  EXPECT_TRUE(engine().prefetch(base, 0, Place::kDevice));
  EXPECT_EQ(count(base, kBytes, Residency::kHost), kPages);
  EXPECT_EQ(check(base, kBytes, 11), "");
}

INSTANTIATE_TEST_SUITE_P(Engines, Failure, ::testing::ValuesIn(all_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
