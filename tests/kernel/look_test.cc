// SPDX-License-Identifier: MIT
// Threads of one process that use memory of their own beside each other: what one of them changes is no reason for the others to
// look at theirs again (GODWIT_STAT_RETRIES), still less for a call to fail. One notifier covers 32 MiB.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/jobs.h"
#include "tests/kernel/proc.h"

namespace godwit::guest {
namespace {

constexpr size_t kChunk = size_t{32} << 20;

// Memory within one notifier's 32 MiB, in equal parts.
class Neighbours {
 public:
  Neighbours(size_t parts, Memory::Kind kind) : memory_(2 * kChunk, kind), bytes_(kChunk / parts) {}
  uint8_t* part(size_t number) const { return start() + number * bytes_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* start() const {
    const auto from = reinterpret_cast<uintptr_t>(memory_.data());
    return memory_.data() + (kChunk - from % kChunk) % kChunk;
  }
  Memory memory_;
  size_t bytes_;
};

// Takes a range away.
uint64_t drop(uint8_t* data) {
  data[0] = 1;
  EXPECT_EQ(madvise(data, kHuge, MADV_DONTNEED), 0);
  return 1;
}

// Both page sizes: true is huge pages.
class Look : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  Memory::Kind kind() const { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }
};

TEST_P(Look, ThreadsThatMigrateTheirOwnDoNotDisturbEachOther) {
  constexpr uint64_t kThreads = 4, kRounds = 25;
  const Neighbours memory(GetParam() ? 16 : 64, kind());
  const uint64_t before = gpu_.stat(GODWIT_STAT_RETRIES);
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread, &memory] {
      uint8_t* const data = memory.part(thread);
      for (uint64_t round = 0; round < kRounds; ++round) {
        const uint64_t seed = kRounds * thread + round;
        fill(data, memory.bytes(), seed);
        EXPECT_EQ(gpu_.to_vram(data, memory.bytes()).moved, memory.bytes() / kPage);
        EXPECT_EQ(gpu_.to_ram(data, memory.bytes()).moved, memory.bytes() / kPage);
        EXPECT_BYTES(data, memory.bytes(), seed);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Between two steps of a look there is a moment in which the kernel itself takes a neighbour's change for one of the range.
  EXPECT_LE(gpu_.stat(GODWIT_STAT_RETRIES) - before, kThreads * kRounds / 10);
}

TEST_P(Look, WhoAsksWherePagesAreIsNotDisturbedByNeighbours) {
  constexpr uint64_t kLooks = 2000;
  const Neighbours memory(4, kind());
  memset(memory.part(0), 1, memory.bytes());
  gpu_.to_vram(memory.part(0), memory.bytes());
  const uint64_t before = gpu_.stat(GODWIT_STAT_RETRIES);
  const Meanwhile dropping(kLooks, [&memory] { return drop(memory.part(1)); });
  for (uint64_t look = 0; look < kLooks || !dropping.seen(); ++look) {
    ASSERT_EQ(gpu_.in_vram(memory.part(0), kHuge), kHuge / kPage);
  }
  EXPECT_LE(gpu_.stat(GODWIT_STAT_RETRIES) - before, kLooks / 50);
}

TEST_P(Look, FaultsOfTheDeviceAreNotDisturbedByNeighbours) {
  constexpr uint64_t kRounds = 20;
  const Neighbours memory(4, kind());
  const uint64_t before = gpu_.stat(GODWIT_STAT_RETRIES);
  const Meanwhile dropping(kRounds, [&memory] { return drop(memory.part(1)); });
  for (uint64_t round = 1; round <= kRounds || !dropping.seen(); ++round) {
    memset(memory.part(0), 1, kHuge);
    const Done done = execute(gpu_, {op::fill(memory.part(0), kHuge, round)});
    EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
    EXPECT_EQ(*reinterpret_cast<const uint64_t*>(memory.part(0)), round);
  }
  EXPECT_LE(gpu_.stat(GODWIT_STAT_RETRIES) - before, 10 * kRounds);
}

// They are in RAM or in VRAM, and in between they are waited for.
TEST_P(Look, WhoAsksIsNotToldThatPagesThatJustMoveAreNowhere) {
  constexpr uint64_t kRounds = 50, kLooks = 500;
  const Memory memory(kHuge, kind());
  fill(memory.data(), kHuge, 1);
  const Meanwhile moving(kRounds, [this, &memory] {
    gpu_.to_vram(memory.data(), kHuge);
    gpu_.to_ram(memory.data(), kHuge);
    return 1;
  });
  for (uint64_t look = 0; look < kLooks || !moving.seen(); ++look) {
    const drm_godwit_residency all = gpu_.residency(memory.data(), kHuge);
    ASSERT_EQ(all.in_system + all.in_vram, kHuge / kPage) << "in look " << look;
  }
}

using Touch = DeviceTest;

Commands touch(uint8_t* at, bool write, bool in_place) {
  const uint32_t flags = in_place ? GODWIT_COMMAND_IN_PLACE : 0;
  return {write ? op::fill(at, sizeof(uint64_t), 5, flags) : op::checksum(at, sizeof(uint64_t), flags)};
}

// The kernel's helper would fault in all that follows in the 2 MiB (hmm_range_fault()).
TEST_F(Touch, OfMemoryThatWasNeverTouchedMakesTheRestOfIts64KiBAndNoMore) {
  const Memory memory(kHuge);
  for (const size_t window : {0, 5}) {
    const Done done = execute(gpu_, touch(memory.page(16 * window + 7), true, true));
    EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
  }
  std::vector<uint32_t> pages;
  EXPECT_EQ(gpu_.residency(memory.data(), memory.size(), &pages).in_system, 18u);
  EXPECT_EQ(pages[16 * 5 + 6] & GODWIT_PAGE_PLACE, uint32_t{GODWIT_PLACE_NONE});
  EXPECT_EQ(pages[16 * 5 + 7] & GODWIT_PAGE_PLACE, uint32_t{GODWIT_PLACE_SYSTEM});
  EXPECT_EQ(pages[16 * 5 + 15] & GODWIT_PAGE_PLACE, uint32_t{GODWIT_PLACE_SYSTEM});
}

TEST_F(Touch, MakesNothingBehindWhatIsThereAndNothingOfAnotherMapping) {
  const Memory memory(kHuge);
  memory.page(9)[0] = 1;
  ASSERT_EQ(mprotect(memory.page(27), kPage, PROT_READ), 0);
  for (const size_t page : {7, 23}) {
    const Done done = execute(gpu_, touch(memory.page(page), true, true));
    EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
  }
  EXPECT_EQ(gpu_.residency(memory.page(0), 16 * kPage).in_system, 3u);
  EXPECT_EQ(gpu_.residency(memory.page(16), 16 * kPage).in_system, 4u);
}

TEST_F(Touch, LeavesPagesInVramBesideIt) {
  for (const bool write : {false, true}) {
    const Memory memory(kHuge);
    fill(memory.page(100), 50 * kPage, 1);
    gpu_.to_vram(memory.page(100), 50 * kPage);
    const Done done = execute(gpu_, touch(memory.page(7), write, true));
    EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
    EXPECT_EQ(gpu_.in_vram(memory.page(100), 50 * kPage), 50u) << (write ? "written" : "read");
    EXPECT_EQ(gpu_.stat(GODWIT_STAT_CPU_FAULTS), 0u);
  }
}

TEST_F(Touch, CopiesNoPageBesideItThatAChildShares) {
  const Memory memory(kHuge);
  memset(memory.data(), 1, memory.size());
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    close(go[1]);
    _exit(read(go[0], &byte, 1) != 0);
  }
  const auto shared = [] { return figure("/proc/self/smaps_rollup", "Shared_Dirty"); };
  const size_t before = shared();
  const Done done = execute(gpu_, touch(memory.page(7), true, true));
  EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
  EXPECT_GE(shared() + 64, before) << "KiB shared, before " << before;
  close(go[1]);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_well(status));
}

TEST_F(Touch, OfTheLastPageOfAFileDoesNotMindWhatComesAfterIt) {
  for (const bool write : {false, true}) {
    const int fd = memfd_create("short", 0);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(ftruncate(fd, 3 * kPage), 0);
    const Memory memory(64 * kPage, MAP_SHARED, fd, PROT_READ | PROT_WRITE);
    const Done done = execute(gpu_, touch(memory.page(2), write, false));
    EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
    const Done beyond = execute(gpu_, touch(memory.page(3), write, false));
    EXPECT_EQ(beyond.status, -EFAULT);
    close(fd);
  }
}

INSTANTIATE_TEST_SUITE_P(PageSize, Look, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

}  // namespace
}  // namespace godwit::guest
