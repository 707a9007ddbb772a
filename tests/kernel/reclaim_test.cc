// SPDX-License-Identifier: MIT
// What reclaim may take from memory that was in VRAM: what a program has given up by MADV_FREE, and never what a device has
// written since. Without swap, reclaim can only drop pages; it takes those that it believes to be as they were when freed.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

constexpr uint64_t kPattern = 0x5a5a1234;

// Both page sizes: true is huge pages.
class Reclaim : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  Memory::Kind kind() const { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }

  void write_by_device(const Memory& memory, uint32_t flags = 0) const {
    const Done done = execute(gpu_, {op::fill(memory.data(), memory.size(), kPattern, flags)});
    EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
  }
  // MADV_FREE, so that a fault of the device finds no page busy: what is freed waits in lists of the processor that was told,
  // which hold the pages (core/drain.c). Dropping caches drains them all.
  static void free_drained(const Memory& memory) {
    EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_FREE), 0);
    EXPECT_EQ(write_file("/proc/sys/vm/drop_caches", "1"), 0);
  }
  // Pages that do not hold what the device wrote.
  static size_t lost(const Memory& memory) {
    size_t pages = 0;
    for (size_t page = 0; page < memory.size() / kPage; ++page) {
      const auto* words = reinterpret_cast<const uint64_t*>(memory.page(page));
      pages += !std::all_of(words, words + kPage / 8, [](uint64_t word) { return word == kPattern; });
    }
    return pages;
  }
  // Two rounds: the first may find pages that were just used.
  static void reclaim(const Memory& memory) {
    for (int round = 0; round < 2; ++round)
      EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_PAGEOUT), 0);
  }
};

// So that the others could fail.
TEST_P(Reclaim, TakesWhatWasFreedAndNotWrittenSince) {
  // Each of these calls empties the lists of its own processor first, and pages in those of another one stay.
  const Processor processor;
  processor.run_on(0);
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_FREE), 0);
  reclaim(memory);
  EXPECT_TRUE(all_zero(memory.data(), memory.size()));
}

TEST_P(Reclaim, LeavesWhatTheDeviceWroteInVram) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 1);
  free_drained(memory);
  write_by_device(memory);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  gpu_.to_ram(memory.data(), memory.size());
  reclaim(memory);
  EXPECT_EQ(lost(memory), 0u);
}

TEST_P(Reclaim, LeavesWhatTheDeviceWroteInPlace) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_FREE), 0);
  write_by_device(memory, GODWIT_COMMAND_IN_PLACE);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  reclaim(memory);
  EXPECT_EQ(lost(memory), 0u);
}

// The pages began in VRAM, where no CPU has ever written them, and are shared when the child frees its own.
TEST_P(Reclaim, LeavesTheParentWhatAChildFrees) {
  Memory memory(kHuge, kind());
  write_by_device(memory);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  gpu_.to_ram(memory.data(), memory.size());
  EXPECT_TRUE(exited_well(in_child([&] {
    EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_FREE), 0);
    reclaim(memory);
  })));
  reclaim(memory);
  EXPECT_EQ(lost(memory), 0u);
}

INSTANTIATE_TEST_SUITE_P(PageSize, Reclaim, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

}  // namespace
}  // namespace godwit::guest
