// SPDX-License-Identifier: MIT
#include <sys/mman.h>

#include "tests/kernel/guest.h"

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

}  // namespace
}  // namespace godwit::guest
