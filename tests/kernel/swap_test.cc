// SPDX-License-Identifier: MIT
// Memory on swap, and swapping of memory that was in VRAM. Swap is a compressed disk in RAM.
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "tests/kernel/jobs.h"
#include "tests/kernel/proc.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

bool run(const char* command) {
  const int status = std::system(command);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class Swap : public DeviceTest {
 protected:
  static void SetUpTestSuite() {
    run("modprobe zram");
    there_ = write_file("/sys/block/zram0/disksize", "256M") == 0 &&
             run("mkswap /dev/zram0 >/dev/null") && swapon("/dev/zram0", 0) == 0;
  }
  static void TearDownTestSuite() {
    if (!there_) return;
    EXPECT_EQ(swapoff("/dev/zram0"), 0);
    EXPECT_EQ(write_file("/sys/block/zram0/reset", "1"), 0);
    run("modprobe -r zram");
  }
  void SetUp() override {
    DeviceTest::SetUp();
    ASSERT_TRUE(there_) << "no swap";
  }

  // Pages of a range that are on swap, by bit 62 of pagemap.
  static size_t on_swap(const void* addr, size_t bytes) {
    size_t count = 0;
    for (const uint64_t entry : entries_of(addr, bytes)) count += entry >> 62 & 1;
    return count;
  }

  static bool there_;
};

bool Swap::there_ = false;

TEST_F(Swap, PagesOnSwapStayAndAreNamed) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_PAGEOUT), 0);
  const size_t swapped = on_swap(memory.data(), memory.size());
  ASSERT_GT(swapped, memory.size() / kPage / 2);
  std::vector<uint8_t> reasons;
  const auto answer =
      gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, 0, &reasons);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_SWAPPED] + answer.moved + answer.stayed[GODWIT_STAY_BUSY],
            memory.size() / kPage);
  EXPECT_GE(answer.stayed[GODWIT_STAY_SWAPPED], swapped / 2);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage)
      << "touched, they move";
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

TEST_F(Swap, OneSwappedPageDoesNotKeepItsNeighbours) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 2);
  ASSERT_EQ(madvise(memory.page(100), kPage, MADV_PAGEOUT), 0);
  ASSERT_EQ(on_swap(memory.page(100), kPage), 1u);
  std::vector<uint8_t> reasons;
  const auto answer =
      gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, 0, &reasons);
  EXPECT_EQ(answer.moved, memory.size() / kPage - 1);
  EXPECT_EQ(reasons[100], GODWIT_STAY_SWAPPED);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
}

TEST_F(Swap, PagesThatCameHomeAreSwappedOutWithTheirBytes) {
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    Memory memory(2 * kHuge, kind);
    fill(memory.data(), memory.size(), 3);
    gpu_.to_vram(memory.data(), memory.size());
    gpu_.to_ram(memory.data(), memory.size());
    ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_PAGEOUT), 0);
    EXPECT_GT(on_swap(memory.data(), memory.size()), 0u);
    EXPECT_BYTES(memory.data(), memory.size(), 3u);
  }
}

TEST_F(Swap, PagesInVramAreNotSwapped) {
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    Memory memory(2 * kHuge, kind);
    fill(memory.data(), memory.size(), 4);
    gpu_.to_vram(memory.data(), memory.size());
    madvise(memory.data(), memory.size(), MADV_PAGEOUT);
    EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 4u);
  }
}

// A page that came to VRAM from the swap cache has left no older copy behind that could come back.
TEST_F(Swap, PagesReadBackFromSwapMoveAndTheNewBytesWin) {
  Memory memory(size_t{1} << 20);
  for (uint64_t round = 0; round < 4; ++round) {
    fill(memory.data(), memory.size(), 10 + round);
    ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_PAGEOUT), 0);
    EXPECT_BYTES(memory.data(), memory.size(), 10 + round);  // clean, and in the swap cache
    gpu_.to_vram(memory.data(), memory.size());
    fill(memory.data(), memory.size(), 20 + round);
    gpu_.to_vram(memory.data(), memory.size());
    gpu_.to_ram(memory.data(), memory.size());
    ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_PAGEOUT), 0);
    EXPECT_BYTES(memory.data(), memory.size(), 20 + round);
  }
}

TEST_F(Swap, SwappingAndMigratingAtOnceKeepsEveryByte) {
  Memory memory(4 * kHuge);
  fill(memory.data(), memory.size(), 5);
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    for (size_t at = 0; !stop; at = (at + kHuge / 4) % memory.size()) {
      madvise(memory.data() + at, kHuge / 4, MADV_PAGEOUT);
    }
  });
  for (int round = 0; round < 15; ++round) {
    gpu_.to_vram(memory.data(), memory.size());
    EXPECT_BYTES(memory.data(), memory.size(), 5u);
  }
  stop = true;
  swapper.join();
  EXPECT_BYTES(memory.data(), memory.size(), 5u);
}

// The first call of a process takes all locks of its memory. Who takes pages of that memory away, one by one, holds one of them,
// and waits for what shows these pages: a view, which a child must not have before its first call.
TEST_F(Swap, ChildrenMakeTheirFirstCallWhileAViewIsZapped) {
  Memory memory(8 << 20);
  fill(memory.data(), memory.size(), 9);
  const View view(gpu_, memory, GODWIT_VIEW_IN_PLACE);
  std::atomic<bool> done{false};
  std::thread reclaimer([&] {
    while (!done) {
      for (size_t at = 0; at < view.size(); at += kPage) {
        (void)*const_cast<const volatile uint8_t*>(view.data() + at);
      }
      EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_PAGEOUT), 0);
    }
  });
  for (unsigned round = 0; round < rounds(40); ++round) {
    EXPECT_TRUE(exited_well(in_child([&] { (void)gpu_.residency(memory.data(), kPage); })));
  }
  done = true;
  reclaimer.join();
  EXPECT_BYTES(memory.data(), memory.size(), 9u);
}

}  // namespace
}  // namespace godwit::guest
