// SPDX-License-Identifier: MIT
// What a process does to its memory and to itself, with pages in VRAM: the last byte stored is the one that is loaded.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

// Both page sizes: true is huge pages.
class Process : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  Memory::Kind kind() const { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }
};

TEST_P(Process, ChildSeesTheParentsBytesAndEachItsOwnWrites) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 1);
  gpu_.to_vram(memory.data(), memory.size());
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    char go = 0;
    close(ready[1]);
    if (read(ready[0], &go, 1) != 1) _exit(2);  // until the parent has written
    if (differs(memory.data(), memory.size(), 1) != -1) _exit(3);
    fill(memory.data(), memory.size(), 2);
    _exit(differs(memory.data(), memory.size(), 2) == -1 ? 0 : 4);
  }
  fill(memory.data(), kHuge, 3);
  ASSERT_EQ(write(ready[1], "x", 1), 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_BYTES(memory.data(), kHuge, 3u);
  fill(memory.data(), kHuge, 1);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  close(ready[0]);
  close(ready[1]);
}

TEST_P(Process, ChildFaultsThePagesOfTheParent) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 4);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_TRUE(exited_well(in_child([&] { EXPECT_BYTES(memory.data(), memory.size(), 4u); })));
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
}

TEST_P(Process, PagesSharedAfterForkMoveAndEachSideKeepsItsBytes) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 5);
  int go[2], done[2];
  ASSERT_EQ(pipe(go), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    if (read(go[0], &byte, 1) != 1) _exit(2);
    if (differs(memory.data(), memory.size(), 5) != -1) _exit(3);
    fill(memory.data(), memory.size(), 6);
    if (write(done[1], "x", 1) != 1 || read(go[0], &byte, 1) != 1) _exit(2);
    _exit(differs(memory.data(), memory.size(), 6) == -1 ? 0 : 4);
  }
  const auto answer = gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(answer.moved, memory.size() / kPage);
  char byte = 0;
  ASSERT_EQ(write(go[1], "x", 1), 1);
  ASSERT_EQ(read(done[0], &byte, 1), 1);
  EXPECT_BYTES(memory.data(), memory.size(), 5u);
  gpu_.to_vram(memory.data(), memory.size());
  fill(memory.data(), memory.size(), 7);
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(write(go[1], "x", 1), 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_BYTES(memory.data(), memory.size(), 7u);
  for (const int fd : {go[0], go[1], done[0], done[1]}) close(fd);
}

TEST_P(Process, ChildMovesItsOwnCopyThroughTheInheritedDescriptor) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 8);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_TRUE(exited_well(in_child([&] {
    fill(memory.data(), memory.size(), 9);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 9u);
  })));
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
}

TEST_P(Process, MremapKeepsTheBytes) {
  const size_t bytes = 2 * kHuge;
  for (const size_t shift : {size_t{0}, kPage}) {
    Memory memory(bytes, kind());
    fill(memory.data(), bytes, 10);
    gpu_.to_vram(memory.data(), bytes);
    void* room = mmap(nullptr, bytes + 2 * kHuge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(room, MAP_FAILED);
    auto* target = reinterpret_cast<uint8_t*>(
        ((reinterpret_cast<uintptr_t>(room) + kHuge - 1) & ~(kHuge - 1)) + shift);
    ASSERT_EQ(mremap(memory.data(), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target), target);
    memory.release();
    EXPECT_EQ(gpu_.in_vram(target, bytes), bytes / kPage);
    EXPECT_BYTES(target, bytes, 10u);
    const auto answer = gpu_.to_vram(target, bytes);  // coherent pages never left
    EXPECT_EQ(answer.moved + answer.already, bytes / kPage);
    EXPECT_BYTES(target, bytes, 10u);
    munmap(room, bytes + 2 * kHuge);
  }
}

TEST_P(Process, UnmappingAPartKeepsTheRest) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 11);
  gpu_.to_vram(memory.data(), memory.size());
  const uint64_t free = gpu_.info().vram_free;
  ASSERT_EQ(munmap(memory.page(100), 50 * kPage), 0);
  std::vector<uint8_t> want(memory.size());
  fill(want.data(), want.size(), 11);
  EXPECT_EQ(memcmp(memory.data(), want.data(), 100 * kPage), 0);
  EXPECT_EQ(memcmp(memory.page(150), want.data() + 150 * kPage, memory.size() - 150 * kPage), 0);
  EXPECT_GE(wait_for_free(gpu_, free + 50 * kPage), free + 50 * kPage);
}

TEST_P(Process, MprotectBothWaysKeepsTheBytes) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 12);
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(mprotect(memory.page(10), 20 * kPage, PROT_NONE), 0);
  EXPECT_EQ(signal_of([&] { *reinterpret_cast<volatile uint8_t*>(memory.page(15)); }), SIGSEGV);
  ASSERT_EQ(mprotect(memory.page(10), 20 * kPage, PROT_READ), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 12u);
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(mprotect(memory.page(10), 20 * kPage, PROT_READ | PROT_WRITE), 0);
  fill(memory.data(), memory.size(), 13);
  EXPECT_BYTES(memory.data(), memory.size(), 13u);
}

TEST_P(Process, DontneedReadsAsZerosAndFreesVram) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 14);
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
  EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
  EXPECT_TRUE(all_zero(memory.data(), memory.size()));
}

TEST_P(Process, MadviseFreeOfPagesInVramKeepsBytesOrZeros) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 15);
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_FREE), 0);
  std::vector<uint8_t> want(memory.size());
  fill(want.data(), want.size(), 15);
  for (size_t page = 0; page < memory.size() / kPage; ++page) {
    const bool same = memcmp(memory.page(page), want.data() + page * kPage, kPage) == 0;
    EXPECT_TRUE(same || all_zero(memory.page(page), kPage)) << page;
  }
}

// More than can be looked through by whoever drops the last reference.
TEST_P(Process, PagesThatManyShareAreFreeWhenAllHaveDroppedThem) {
  constexpr int kChildren = 100;
  const uint64_t free_before = gpu_.info().vram_free;
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 15);
  gpu_.to_vram(memory.data(), memory.size());
  int dropped[2], end[2];
  ASSERT_EQ(pipe(dropped), 0);
  ASSERT_EQ(pipe(end), 0);
  for (int child = 0; child < kChildren; ++child) {
    if (fork() != 0) continue;
    close(end[1]);
    char byte = 0;
    const bool ok = madvise(memory.data(), memory.size(), MADV_DONTNEED) == 0 && write(dropped[1], "x", 1) == 1 &&
                    read(end[0], &byte, 1) == 0;
    _exit(ok ? 0 : 1);
  }
  char byte = 0;
  for (int child = 0; child < kChildren; ++child) EXPECT_EQ(read(dropped[0], &byte, 1), 1);
  EXPECT_BYTES(memory.data(), kPage, 15u);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
  EXPECT_EQ(wait_for_free(gpu_, free_before), free_before);
  close(end[1]);
  for (int child = 0; child < kChildren; ++child) {
    int status = -1;
    EXPECT_GT(wait(&status), 0);
    EXPECT_TRUE(exited_well(status)) << status;
  }
  for (const int fd : {dropped[0], dropped[1], end[0]}) close(fd);
}

TEST_P(Process, ExecFreesItsVram) {
  EXPECT_TRUE(exited_well(in_child([&] {
    Memory memory(kHuge, kind());
    fill(memory.data(), memory.size(), 16);
    gpu_.to_vram(memory.data(), memory.size());
    memory.release();
    execl("/bin/true", "true", nullptr);
    _exit(9);
  })));
  EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
}

TEST_P(Process, KilledWhileItMigratesFreesItsVram) {
  for (int after_us : {0, 300, 2000, 10000, 40000}) {
    int started[2];
    ASSERT_EQ(pipe(started), 0);
    const pid_t child = fork();
    if (child == 0) {
      Device mine;
      Memory memory(8 * kHuge, kind());
      memset(memory.data(), 1, memory.size());
      if (write(started[1], "x", 1) != 1) _exit(1);
      for (;;) {
        mine.to_vram(memory.data(), memory.size());
        mine.to_ram(memory.data(), memory.size());
      }
    }
    char byte = 0;
    ASSERT_EQ(read(started[0], &byte, 1), 1);
    usleep(static_cast<useconds_t>(after_us));  // any moment will do: nothing depends on which it is
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
    close(started[0]);
    close(started[1]);
  }
}

TEST_P(Process, ExitWithPagesInVramFreesThem) {
  EXPECT_TRUE(exited_well(in_child([&] {
    Device mine;
    Memory memory(4 * kHuge, kind());
    fill(memory.data(), memory.size(), 17);
    mine.to_vram(memory.data(), memory.size());
    fflush(nullptr);
    _exit(0);
  })));
  EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
}

TEST_P(Process, ClosingTheDeviceLeavesThePagesReadable) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 18);
  {
    Device other;
    other.to_vram(memory.data(), memory.size());
  }
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 18u);
}

TEST_P(Process, ThreadsTouchWhileThePagesMove) {
  Memory memory(4 * kHuge, kind());
  memset(memory.data(), 0, memory.size());
  constexpr size_t kThreads = 2;
  constexpr uint32_t kRounds = 60;
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint32_t round = 0; round < kRounds; ++round) {
        for (size_t page = 0; page < memory.size() / kPage; page += 7) {
          auto* words = reinterpret_cast<volatile uint64_t*>(memory.page(page));
          words[thread] = words[thread] + 1;
        }
      }
    });
  }
  for (int round = 0; round < 40; ++round) {
    gpu_.to_vram(memory.data(), memory.size());
    gpu_.to_ram(memory.data(), memory.size());
  }
  for (auto& thread : threads) thread.join();
  for (size_t page = 0; page < memory.size() / kPage; page += 7) {
    for (size_t thread = 0; thread < kThreads; ++thread) {
      ASSERT_EQ(reinterpret_cast<uint64_t*>(memory.page(page))[thread], kRounds) << page;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PageSize, Process, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

}  // namespace
}  // namespace godwit::guest
