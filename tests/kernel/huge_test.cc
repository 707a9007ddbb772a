// SPDX-License-Identifier: MIT
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "tests/kernel/guest.h"
#include "tests/kernel/khugepaged.h"

namespace godwit::guest {
namespace {

class Huge : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (gpu_.info().huge_page_size == 0) GTEST_SKIP() << "the device has one page size";
  }
};

TEST_F(Huge, MovesBothWaysAsOneFolio) {
  Memory memory(4 * kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(huge_kib(memory.data()), memory.size() / 1024);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved_huge, memory.size() / kPage);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_HUGE_TO_VRAM), 4u);
  std::vector<uint32_t> pages;
  gpu_.residency(memory.data(), memory.size(), &pages);
  EXPECT_TRUE(pages[0] & GODWIT_PAGE_HUGE);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved_huge, memory.size() / kPage);
  EXPECT_EQ(huge_kib(memory.data()), memory.size() / 1024);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

TEST_F(Huge, CpuTouchBringsTheWholeFolioHome) {
  Memory memory(2 * kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 2);
  gpu_.to_vram(memory.data(), memory.size());
  volatile uint8_t* byte = memory.page(300);
  EXPECT_EQ(*byte, *byte);
  EXPECT_EQ(gpu_.in_vram(memory.data(), kHuge), 0u);
  EXPECT_EQ(gpu_.in_vram(memory.data() + kHuge, kHuge), kHuge / kPage);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_CPU_FAULTS), 1u);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
}

TEST_F(Huge, EmptyHugeRangeIsMadeAsOneFolio) {
  Memory memory(2 * kHuge, Memory::kHugePages);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved_huge, memory.size() / kPage);
  EXPECT_TRUE(all_zero(memory.data(), memory.size()));
}

TEST_F(Huge, SmallMovesAHugePagePageByPage) {
  Memory memory(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 3);
  const auto answer =
      gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, GODWIT_MIGRATE_SMALL);
  EXPECT_EQ(answer.moved, kHuge / kPage);
  EXPECT_EQ(answer.moved_huge, 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

TEST_F(Huge, PartOfAFolioIsSplitAndMoves) {
  Memory memory(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 4);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(gpu_.to_ram(memory.page(17), 5 * kPage).moved, 5u);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), kHuge / kPage - 5);
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
}

// Pages of VRAM that were the tail of a folio are used again as folios of one page.
TEST_F(Huge, FramesOfAFreedFolioAreUsedAgainAsSmallPages) {
  const size_t vram = gpu_.info().vram_total;
  for (uint64_t round = 0; round < 3; ++round) {
    {
      Memory large(vram, Memory::kHugePages);
      fill(large.data(), large.size(), 10 + round);
      EXPECT_EQ(gpu_.to_vram(large.data(), large.size()).moved, vram / kPage);
    }
    Memory small(vram / 2);
    fill(small.data(), small.size(), 20 + round);
    EXPECT_EQ(gpu_.to_vram(small.data(), small.size()).moved, small.size() / kPage);
    EXPECT_BYTES(small.data(), small.size(), 20 + round);
    ASSERT_EQ(gpu_.to_vram(small.data(), small.size()).moved, small.size() / kPage);
  }
}

TEST_F(Huge, EvictionUnderPressureKeepsEveryByte) {
  const size_t vram = gpu_.info().vram_total;
  Memory memory(3 * vram, Memory::kHugePages);
  fill(memory.data(), memory.size(), 7);
  for (int round = 0; round < 2; ++round) {
    const auto answer = gpu_.to_vram(memory.data(), memory.size());
    EXPECT_EQ(answer.moved + answer.already, memory.size() / kPage);
  }
  EXPECT_BYTES(memory.data(), memory.size(), 7u);
}

// Memory that was never touched becomes what the program wants: 2 MiB at a time, or small pages where it wants no huge ones.
TEST_F(Huge, NoneIsMadeWhereTheProgramWantsNone) {
  for (const bool advice : {false, true}) {
    EXPECT_TRUE(exited_well(in_child([&] {
      const Device gpu;
      Memory memory(2 * kHuge, Memory::kHugePages);
      const auto huge = gpu.to_vram(memory.data(), kHuge);
      EXPECT_EQ(huge.moved_huge, kHuge / kPage);
      if (advice) {
        ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE), 0);
      } else {
        ASSERT_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
      }
      // The one that is there stays one.
      const auto small = gpu.to_vram(memory.data() + kHuge, kHuge);
      EXPECT_EQ(small.moved, kHuge / kPage);
      EXPECT_EQ(small.moved_huge, 0u);
      EXPECT_EQ(gpu.to_ram(memory.data(), memory.size()).moved_huge, kHuge / kPage);
      EXPECT_EQ(huge_kib(memory.data()), kHuge / 1024);
      EXPECT_TRUE(all_zero(memory.data(), memory.size()));
    })));
  }
}

// The kernel's own thread would have pages of VRAM come home, up to 64 in a huge page's range, to make one of RAM of them.
TEST_F(Huge, KhugepagedLeavesVramWhereItIs) {
  constexpr size_t kMoved = 16;
  Memory memory(2 * kHuge);
  fill(memory.data(), memory.size(), 8);
  ASSERT_EQ(huge_kib(memory.data()), 0u);
  ASSERT_EQ(gpu_.to_vram(memory.page(100), kMoved * kPage).moved, kMoved);
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_HUGEPAGE), 0);
  const Khugepaged khugepaged;
  // The second huge page, of RAM alone, shows that it has come by.
  ASSERT_TRUE(soon([&] { return huge_kib(memory.data()) >= kHuge / 1024; }));
  const unsigned long rounds = Khugepaged::rounds();
  ASSERT_TRUE(soon([&] { return Khugepaged::rounds() >= rounds + 2; }));
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), kMoved);
  EXPECT_EQ(huge_kib(memory.data()), kHuge / 1024);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_CPU_FAULTS), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
}

// A program that asks for huge pages itself gets them.
TEST_F(Huge, CollapseByTheProgramBringsItsPagesHome) {
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 9);
  ASSERT_EQ(gpu_.to_vram(memory.page(100), 16 * kPage).moved, 16u);
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_HUGEPAGE), 0);
  EXPECT_TRUE(soon([&] { return madvise(memory.data(), memory.size(), MADV_COLLAPSE) == 0; }));
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_EQ(huge_kib(memory.data()), kHuge / 1024);
  EXPECT_BYTES(memory.data(), memory.size(), 9u);
}

}  // namespace
}  // namespace godwit::guest
