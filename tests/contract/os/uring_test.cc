// SPDX-License-Identifier: MIT
// io_uring on managed memory: ordinary buffers are touched like any other, registered ones are
// pinned for as long as the ring has them, and their pages must stay where the DMA goes.
#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <thread>

#include "tests/contract/os/support.h"
#include "tests/contract/ring.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = 3 * kBlockBytes;
constexpr std::size_t kPages = kBytes / kPageBytes;

class Uring : public OsContract {
 protected:
  void SetUp() override {
    OsContract::SetUp();
    if (IsSkipped()) return;
    if (ring_.error() != 0) GTEST_SKIP() << "lacks io_uring: " << std::strerror(-ring_.error());
  }
  void TearDown() override {
    (void)ring_.take_back();
    OsContract::TearDown();
  }
  /// O_DIRECT where the file system has it: then the device writes into the pages themselves.
  [[nodiscard]] static int open_for_dma(const TempFile& file) {
    const int direct = file.reopen(O_RDWR | O_DIRECT);
    return direct >= 0 ? direct : file.reopen(O_RDWR);
  }
  void lend(std::byte* base, std::size_t bytes) {
    const int error = ring_.lend(base, bytes);
    ASSERT_EQ(error, 0) << std::strerror(-error);
  }

  Ring ring_;
};

using Buffer = Ring::Buffer;
constexpr int kAll = static_cast<int>(kBytes);
// Write tracking sees page tables; at this level pages cannot be taken out to find out about pins.
constexpr const char* kLacksDma =
    "lacks, at the resident level and for read-mostly regions, a way to learn of DMA into pages "
    "that were pinned before their copy was made";

TEST_P(Uring, OrdinaryBuffersMayBeInVram) {
  const Watchdog watchdog("io_uring with ordinary buffers");
  const TempFile file;
  std::byte* base = in_vram(kBytes, 1);
  ASSERT_EQ(ring_.write(file.fd(), base, kBytes, 0, Buffer::kOrdinary), kAll);
  EXPECT_EQ(difference(file.get(kBytes), pattern_bytes(kBytes, 1)), "");
  file.put(pattern_bytes(kBytes, 2));
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  expect_in_vram(base, kBytes);
  ASSERT_EQ(ring_.read(file.fd(), base, kBytes, 0, Buffer::kOrdinary), kAll);
  EXPECT_EQ(check(base, kBytes, 2), "");
}

TEST_P(Uring, RegisteringABufferBringsItHomeAndDmaGoesThroughIt) {
  const Watchdog watchdog("io_uring with fixed buffers");
  const TempFile file;
  const int direct = open_for_dma(file);
  std::byte* base = in_vram(kBytes, 3);
  ASSERT_NO_FATAL_FAILURE(lend(base, kBytes));
  EXPECT_EQ(count(base, kBytes, Residency::kHost) + count(base, kBytes, Residency::kBoth), kPages);
  ASSERT_EQ(ring_.write(direct, base, kBytes, 0, Buffer::kFixed), kAll);
  EXPECT_EQ(difference(file.get(kBytes), pattern_bytes(kBytes, 3)), "");
  file.put(pattern_bytes(kBytes, 4));
  ASSERT_EQ(ring_.read(direct, base, kBytes, 0, Buffer::kFixed), kAll);
  EXPECT_EQ(check(base, kBytes, 4), "");
  ::close(direct);
}

TEST_P(Uring, PinnedSmallPagesStayAndAllOthersMove) {
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  constexpr std::size_t kFirst = kPagesPerBlock + 100;
  constexpr std::size_t kPinned = 8;
  std::byte* base = region(kBytes);
  ::madvise(base, kBytes, MADV_NOHUGEPAGE);
  fill(base, kBytes, 5);
  ASSERT_NO_FATAL_FAILURE(lend(base + kFirst * kPageBytes, kPinned * kPageBytes));
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(stayed(report, StayReason::kPinned), kPinned);
  EXPECT_EQ(report.stayed, kPinned);
  EXPECT_EQ(report.moved, kPages - kPinned);
  ASSERT_EQ(report.stays.size(), 1U);
  EXPECT_EQ(report.stays[0].address, base + kFirst * kPageBytes);
  EXPECT_EQ(report.stays[0].pages, kPinned);
  EXPECT_EQ(count(base + kFirst * kPageBytes, kPinned * kPageBytes, Residency::kHost), kPinned);
  EXPECT_EQ(count(base, kBytes, Residency::kDevice), kPages - kPinned);
  EXPECT_EQ(check(base, kBytes, 5), "");
}

// The kernel pins a huge page as a whole, so up to a block may stay. No page may stay for another
// reason, and no other block may be held back.
TEST_P(Uring, APinInAHugePageHoldsAtMostItsBlock) {
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  constexpr std::size_t kPinned = 8;
  std::byte* base = region(kBytes);
  fill(base, kBytes, 6);
  ASSERT_NO_FATAL_FAILURE(lend(base + kBlockBytes + 100 * kPageBytes, kPinned * kPageBytes));
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(stayed(report, StayReason::kPinned), report.stayed);
  EXPECT_GE(report.stayed, kPinned);
  EXPECT_LE(report.stayed, kPagesPerBlock);
  EXPECT_EQ(report.moved + report.stayed, kPages);
  RecordProperty("stayed", static_cast<int>(report.stayed));
  EXPECT_EQ(count(base, kBlockBytes, Residency::kDevice), kPagesPerBlock);
  EXPECT_EQ(count(base + 2 * kBlockBytes, kBlockBytes, Residency::kDevice), kPagesPerBlock);
  EXPECT_EQ(check(base, kBytes, 6), "");
}

TEST_P(Uring, AfterUnregisteringEverythingMoves) {
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 7);
  ASSERT_NO_FATAL_FAILURE(lend(base + kBlockBytes, kBlockBytes));
  EXPECT_EQ(stayed(to_device(base, kBytes), StayReason::kPinned), kPagesPerBlock);
  ASSERT_EQ(ring_.take_back(), 0);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  expect_in_vram(base, kBytes);
  EXPECT_EQ(check(base, kBytes, 7), "");
}

TEST_P(Uring, DmaLandsInTheProgramsPagesWhileTheRegionIsDemoted) {
  const Watchdog watchdog("DMA during demotion");
  constexpr std::size_t kPiece = kBlockBytes / 2;
  constexpr std::uint32_t kRounds = 100;
  std::byte* base = region(kBytes);
  fill(base, kBytes, 0);
  std::byte* target = base + kBlockBytes + kPiece / 2;  // has neighbours in its own block
  const TempFile file;
  const int direct = open_for_dma(file);
  std::vector<std::byte> wanted = pattern_bytes(kBytes, 0);
  ASSERT_NO_FATAL_FAILURE(lend(target, kPiece));
  std::atomic<bool> done{false};
  std::atomic<std::uint32_t> demotions{0};
  std::thread demoter([&] {
    while (!done.load()) {
      (void)to_device(base, kBytes);
      ++demotions;
    }
  });
  for (std::uint32_t round = 1; round <= kRounds || demotions < 10; ++round) {
    const std::vector<std::byte> data = pattern_bytes(kPiece, round);
    file.put(data);
    ASSERT_EQ(ring_.read(direct, target, kPiece, 0, Buffer::kFixed), static_cast<int>(kPiece));
    ASSERT_EQ(difference({target, kPiece}, data), "") << "round " << round;
    std::memcpy(wanted.data() + (target - base), data.data(), kPiece);
  }
  done = true;
  demoter.join();
  EXPECT_EQ(difference({base, kBytes}, wanted), "");
  ::close(direct);
}

// A page that is pinned cannot be taken out of RAM, so a command on the device gets a copy. What
// a DMA stores afterwards passes by the CPU's page table, and must reach the next command.
TEST_P(Uring, TheDeviceSeesWhatDmaStoredInAPinnedPage) {
  const Watchdog watchdog("DMA, then a command on the device");
  const TempFile file;
  const int direct = open_for_dma(file);
  std::byte* base = region(kBytes);
  fill(base, kBytes, 8);
  ASSERT_NO_FATAL_FAILURE(lend(base, kBytes));
  auto before = device_sum(base, kBytes);
  ASSERT_TRUE(before) << before.error().to_string();
  EXPECT_EQ(*before, expected_sum(kBytes, 8));
  file.put(pattern_bytes(kBytes, 9));
  ASSERT_EQ(ring_.read(direct, base, kBytes, 0, Buffer::kFixed), kAll);
  auto after = device_sum(base, kBytes);
  ASSERT_TRUE(after) << after.error().to_string();
  ::close(direct);
  EXPECT_EQ(check(base, kBytes, 9), "");
  if (!full() && *after == expected_sum(kBytes, 8)) GTEST_SKIP() << kLacksDma;
  EXPECT_EQ(*after, expected_sum(kBytes, 9));
}

// Nor may a command that goes on meanwhile hand its copy on, to one that begins while the page is
// pinned, or after that.
TEST_P(Uring, TheDeviceSeesWhatDmaStoredWhileAnotherCommandHasACopy) {
  if (!full()) GTEST_SKIP() << kLacksDma;
  const Watchdog watchdog("DMA while a command is running");
  const TempFile file;
  const int direct = open_for_dma(file);
  std::byte* base = region(kBytes);
  fill(base, kBytes, 14);
  ASSERT_NO_FATAL_FAILURE(lend(base, kBytes));
  const Operand operand{.base = base, .bytes = kBytes, .access = Access::kRead};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold) << hold.error().to_string();
  for (const std::uint32_t seed : {15U, 16U}) {
    file.put(pattern_bytes(kBytes, seed));
    ASSERT_EQ(ring_.read(direct, base, kBytes, 0, Buffer::kFixed), kAll);
    if (seed == 16) {
      ASSERT_EQ(ring_.take_back(), 0);
    }
    auto sum = device_sum(base, kBytes);
    ASSERT_TRUE(sum) << sum.error().to_string();
    EXPECT_EQ(*sum, expected_sum(kBytes, seed));
  }
  ::close(direct);
  hold->reset();
  EXPECT_EQ(check(base, kBytes, 16), "");
}

// The same with advice read-mostly, where copies are the rule.
TEST_P(Uring, TheDeviceSeesWhatDmaStoredInAReadMostlyRegion) {
  const Watchdog watchdog("DMA into a read-mostly region");
  const TempFile file;
  const int direct = open_for_dma(file);
  std::byte* base = region(kBytes);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kReadMostly));
  fill(base, kBytes, 10);
  ASSERT_NO_FATAL_FAILURE(lend(base, kBytes));
  (void)to_device(base, kBytes);
  file.put(pattern_bytes(kBytes, 11));
  ASSERT_EQ(ring_.read(direct, base, kBytes, 0, Buffer::kFixed), kAll);
  auto after = device_sum(base, kBytes);
  ASSERT_TRUE(after) << after.error().to_string();
  ::close(direct);
  EXPECT_EQ(check(base, kBytes, 11), "");
  // The limit in docs/engines.md, at both levels: the stale copy, whole. Anything else is a failure.
  if (*after == expected_sum(kBytes, 10)) GTEST_SKIP() << kLacksDma;
  EXPECT_EQ(*after, expected_sum(kBytes, 11));
}

TEST_P(Uring, RegisteringAPageThatVramHasACopyOfEndsTheCopy) {
  const Watchdog watchdog("registering a page with a copy");
  const TempFile file;
  const int direct = open_for_dma(file);
  std::byte* base = in_vram(kBytes, 12);
  EXPECT_EQ(check(base, kBytes, 12), "");  // loads: RAM and VRAM hold it now
  EXPECT_EQ(count(base, kBytes, Residency::kBoth), kPages);
  ASSERT_NO_FATAL_FAILURE(lend(base, kBytes));
  file.put(pattern_bytes(kBytes, 13));
  ASSERT_EQ(ring_.read(direct, base, kBytes, 0, Buffer::kFixed), kAll);
  ASSERT_EQ(ring_.take_back(), 0);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 13));
  EXPECT_EQ(check(base, kBytes, 13), "");
  ::close(direct);
}

INSTANTIATE_TEST_SUITE_P(Engines, Uring, ::testing::ValuesIn(both_level_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
