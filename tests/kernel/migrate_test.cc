// SPDX-License-Identifier: MIT
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

using Migrate = DeviceTest;

TEST_F(Migrate, BytesSurviveTheRoundTrip) {
  Memory memory(size_t{8} << 20);
  fill(memory.data(), memory.size(), 1);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_CPU_FAULTS), 0u);
}

TEST_F(Migrate, CpuTouchBringsAPageHome) {
  if (gpu_.info().kind == GODWIT_KIND_COHERENT) GTEST_SKIP() << "CPUs use it in place";
  Memory memory(size_t{4} << 20);
  fill(memory.data(), memory.size(), 2);
  gpu_.to_vram(memory.data(), memory.size());
  volatile uint8_t* byte = memory.page(100);
  EXPECT_EQ(*byte, *byte);
  std::vector<uint32_t> pages;
  gpu_.residency(memory.data(), memory.size(), &pages);
  EXPECT_EQ(pages[100] & GODWIT_PAGE_PLACE, GODWIT_PLACE_SYSTEM);
  EXPECT_EQ(pages[200] & GODWIT_PAGE_PLACE, GODWIT_PLACE_VRAM);
  EXPECT_GE(gpu_.stat(GODWIT_STAT_CPU_FAULTS), 1u);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
}

TEST_F(Migrate, CpuStoresAfterComingHomeGoToVramAgain) {
  if (gpu_.info().kind == GODWIT_KIND_COHERENT) GTEST_SKIP() << "CPUs use it in place";
  Memory memory(size_t{1} << 20);
  for (uint64_t round = 0; round < 5; ++round) {
    fill(memory.data(), memory.size(), round);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), round);
  }
}

TEST_F(Migrate, PagesNeverTouchedAreMadeInVramAsZeros) {
  Memory memory(size_t{4} << 20);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_TRUE(all_zero(memory.data(), memory.size()));
}

TEST_F(Migrate, SkipEmptyLeavesThem) {
  Memory memory(size_t{4} << 20);
  fill(memory.page(7), kPage, 3);
  const auto answer =
      gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, GODWIT_MIGRATE_SKIP_EMPTY);
  EXPECT_EQ(answer.moved, 1u);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_EMPTY], memory.size() / kPage - 1);
  EXPECT_BYTES(memory.page(7), kPage, 3u);
}

TEST_F(Migrate, ZeroPageMovesAsZeros) {
  Memory memory(size_t{1} << 20);
  EXPECT_TRUE(all_zero(memory.data(), memory.size()));  // reading maps the zero page
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_TRUE(all_zero(memory.data(), memory.size()));
}

TEST_F(Migrate, AlreadyThereIsNotMovedAgain) {
  Memory memory(size_t{2} << 20);
  fill(memory.data(), memory.size(), 4);
  gpu_.to_vram(memory.data(), memory.size());
  const auto again = gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(again.moved, 0u);
  EXPECT_EQ(again.already, memory.size() / kPage);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).already, memory.size() / kPage);
}

// 16 of 512.
TEST_F(Migrate, PagesInAListOfAnotherProcessorMove) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two processors";
  const Processor processor;
  const Memory memory(kHuge);
  fill(memory.data(), memory.size(), 9);
  processor.free_elsewhere(memory);
  const auto answer = gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(answer.moved, memory.size() / kPage);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_BUSY], 0u);
}

TEST_F(Migrate, PiecesOfAPageRangeMoveAlone) {
  Memory memory(size_t{8} << 20);
  fill(memory.data(), memory.size(), 5);
  EXPECT_EQ(gpu_.to_vram(memory.page(511), 2 * kPage).moved, 2u);  // across a huge page's border
  std::vector<uint32_t> pages;
  gpu_.residency(memory.data(), memory.size(), &pages);
  for (size_t i = 0; i < pages.size(); ++i) {
    EXPECT_EQ(pages[i] & GODWIT_PAGE_PLACE,
              i == 511 || i == 512 ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM)
        << i;
  }
  EXPECT_BYTES(memory.data(), memory.size(), 5u);
}

TEST_F(Migrate, HolesAreCountedAndTold) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 6);
  ASSERT_EQ(munmap(memory.page(10), 3 * kPage), 0);
  std::vector<uint8_t> reasons;
  const auto answer =
      gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, 0, &reasons);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_HOLE], 3u);
  EXPECT_EQ(answer.moved, memory.size() / kPage - 3);
  EXPECT_EQ(reasons[9], GODWIT_STAY_NONE);
  EXPECT_EQ(reasons[10], GODWIT_STAY_HOLE);
  EXPECT_EQ(reasons[12], GODWIT_STAY_HOLE);
  EXPECT_EQ(reasons[13], GODWIT_STAY_NONE);
}

TEST_F(Migrate, DiscardFreesVramWithoutCopying) {
  Memory memory(size_t{4} << 20);
  fill(memory.data(), memory.size(), 7);
  gpu_.to_vram(memory.data(), memory.size());
  const uint64_t home = gpu_.stat(GODWIT_STAT_PAGES_HOME);
  const drm_godwit_discard discard = gpu_.discard(memory.data(), memory.size());
  EXPECT_EQ(discard.discarded, memory.size() / kPage);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_PAGES_HOME), home);
  EXPECT_EQ(gpu_.info().vram_free, gpu_.info().vram_total);
  EXPECT_TRUE(all_zero(memory.data(), memory.size()));
}

// What is sealed cannot be unmapped either, so it stays until the process ends.
TEST_F(Migrate, DiscardLeavesSealedMemoryAlone) {
  constexpr long kMseal = 462;
  constexpr size_t kBytes = 16 * kPage;
  for (const bool in_vram : {false, true}) {
    void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    fill(memory, kBytes, 8);
    if (in_vram) gpu_.to_vram(memory, kBytes);
    ASSERT_EQ(mprotect(memory, kBytes, PROT_READ), 0);
    if (syscall(kMseal, memory, kBytes, 0) != 0) GTEST_SKIP() << "no mseal() in this kernel: " << strerror(errno);
    ASSERT_EQ(madvise(memory, kBytes, MADV_DONTNEED), -1);
    const drm_godwit_discard discard = gpu_.discard(memory, kBytes);
    EXPECT_EQ(discard.skipped, kBytes / kPage);
    EXPECT_EQ(discard.discarded, 0u);
    EXPECT_BYTES(memory, kBytes, 8u);
    gpu_.to_ram(memory, kBytes);
  }
}

TEST_F(Migrate, EvictByRangeByClientAndOfTheDevice) {
  Memory memory(size_t{4} << 20);
  for (const uint32_t what : {GODWIT_EVICT_RANGE, GODWIT_EVICT_CLIENT, GODWIT_EVICT_DEVICE}) {
    fill(memory.data(), memory.size(), what);
    gpu_.to_vram(memory.data(), memory.size());
    const bool range = what == GODWIT_EVICT_RANGE;
    const auto answer = gpu_.evict(what, range ? memory.data() : nullptr, range ? memory.size() : 0);
    EXPECT_EQ(answer.evicted, memory.size() / kPage) << what;
    EXPECT_EQ(answer.stayed, 0u) << what;
    EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u) << what;
    EXPECT_BYTES(memory.data(), memory.size(), uint64_t{what});
  }
}

TEST_F(Migrate, WorkingSetOfFourTimesTheVramKeepsEveryByte) {
  const size_t vram = gpu_.info().vram_total;
  Memory memory(4 * vram);
  fill(memory.data(), memory.size(), 8);
  for (int round = 0; round < 2; ++round) {
    for (size_t at = 0; at < memory.size(); at += vram / 2) {
      const auto answer = gpu_.to_vram(memory.data() + at, vram / 2);
      EXPECT_EQ(answer.moved + answer.already, vram / 2 / kPage) << at;
    }
  }
  EXPECT_GT(gpu_.stat(GODWIT_STAT_PAGES_EVICTED), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
}

TEST_F(Migrate, NoEvictSaysThatThereIsNoRoom) {
  const size_t vram = gpu_.info().vram_total;
  Memory memory(vram + (size_t{4} << 20));
  const auto answer =
      gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, GODWIT_MIGRATE_NO_EVICT);
  EXPECT_EQ(answer.moved, vram / kPage);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_NO_VRAM], memory.size() / kPage - vram / kPage);
}

}  // namespace
}  // namespace godwit::guest
