// SPDX-License-Identifier: MIT
// What happens to a process in the middle of a migration: it ends, is killed, becomes another program, or changes its memory
// in another thread. The bytes stay right, or the VRAM is free again.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

class Middle : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  Memory::Kind kind() const { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }
};

// Moves a range up and down until it is told to stop, or for ever. Calls may fail: the range may be gone.
void shuttle(const Device& device, const uint8_t* data, size_t bytes,
             const std::atomic<bool>* stop) {
  uint32_t to = GODWIT_PLACE_VRAM;
  while (stop == nullptr || !*stop) {
    drm_godwit_migrate args = {};
    args.addr = reinterpret_cast<uintptr_t>(data);
    args.length = bytes;
    args.to = to;
    device.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
    to = to == GODWIT_PLACE_VRAM ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM;
  }
}

// A child that moves memory up and down in `movers` threads, and then does `end` in its first one.
pid_t child_that_moves(Memory::Kind kind, int movers, int ready, const std::function<void()>& end) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  auto* mine = new Device;
  auto* memory = new Memory(4 * kHuge, kind);
  memset(memory->data(), 1, memory->size());
  for (int i = 0; i < movers; ++i) {
    std::thread([=] { shuttle(*mine, memory->data(), memory->size(), nullptr); }).detach();
  }
  while (mine->stat(GODWIT_STAT_PAGES_TO_VRAM) == 0) sched_yield();
  if (write(ready, "x", 1) != 1) _exit(2);
  end();
  _exit(3);
}

void end_of_child_frees_vram(const Device& gpu, Memory::Kind kind,
                             const std::function<void()>& end, bool kill_it) {
  std::mt19937 random(17);
  for (int round = 0; round < 6; ++round) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = child_that_moves(kind, 2, ready[1], end);
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    if (kill_it) {
      usleep(static_cast<useconds_t>(random() % 20000));  // any moment will do: nothing depends on which it is
      kill(child, SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(kill_it ? WIFSIGNALED(status) : exited_well(status)) << status;
    EXPECT_EQ(wait_for_free(gpu, gpu.info().vram_total), gpu.info().vram_total);
    close(ready[0]);
    close(ready[1]);
  }
}

TEST_P(Middle, ExitWhileOtherThreadsMigrateFreesVram) {
  end_of_child_frees_vram(gpu_, kind(), [] { _exit(0); }, false);
}

TEST_P(Middle, ExecWhileOtherThreadsMigrateFreesVram) {
  end_of_child_frees_vram(
      gpu_, kind(), [] { execl("/bin/true", "true", nullptr); }, false);
}

TEST_P(Middle, KilledWhileThreadsMigrateAndTouchFreesVram) {
  end_of_child_frees_vram(
      gpu_, kind(),
      [] {
        for (;;) pause();
      },
      true);
}

TEST_P(Middle, KilledWhileOthersEvictItsPagesFreesVram) {
  std::atomic<bool> stop = false;
  std::thread evictor([&] {
    while (!stop) gpu_.evict(GODWIT_EVICT_DEVICE);
  });
  end_of_child_frees_vram(
      gpu_, kind(),
      [] {
        for (;;) pause();
      },
      true);
  stop = true;
  evictor.join();
}

TEST_P(Middle, MremapWhileItMigratesKeepsTheBytes) {
  const size_t bytes = 2 * kHuge;
  Memory memory(3 * bytes, kind());
  uint8_t* places[] = {memory.data(), memory.data() + 2 * bytes};
  fill(places[0], bytes, 1);
  std::atomic<bool> stop = false;
  std::thread mover([&] { shuttle(gpu_, memory.data(), memory.size(), &stop); });
  for (int round = 0; round < 20; ++round) {
    uint8_t* from = places[round % 2];
    uint8_t* to = places[(round + 1) % 2];
    ASSERT_EQ(mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
    EXPECT_BYTES(to, bytes, 1u) << round;
    // The hole becomes memory again, so that the mover has something everywhere.
    ASSERT_EQ(mmap(from, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              from);
  }
  stop = true;
  mover.join();
}

TEST_P(Middle, MprotectAndUnmapWhileItMigratesKeepTheRest) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 2);
  std::atomic<bool> stop = false;
  std::thread mover([&] { shuttle(gpu_, memory.data(), memory.size(), &stop); });
  std::mt19937 random(18);
  const size_t half = memory.size() / kPage / 2;
  for (int round = 0; round < 100; ++round) {
    // The upper half comes and goes; of the lower half only the protection changes.
    const size_t page = random() % (half - 20);
    ASSERT_EQ(mprotect(memory.page(page), 20 * kPage, round % 2 ? PROT_READ : PROT_NONE), 0);
    ASSERT_EQ(mprotect(memory.page(page), 20 * kPage, PROT_READ | PROT_WRITE), 0);
    uint8_t* gone = memory.page(half + page);
    ASSERT_EQ(munmap(gone, 20 * kPage), 0);
    ASSERT_EQ(mmap(gone, 20 * kPage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              gone);
    EXPECT_TRUE(all_zero(gone, 20 * kPage)) << round;
  }
  stop = true;
  mover.join();
  EXPECT_BYTES(memory.data(), memory.size() / 2, 2u);
}

TEST_P(Middle, ForkWhileItMigratesGivesTheChildTheSameBytes) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 3);
  std::atomic<bool> stop = false;
  std::thread mover([&] { shuttle(gpu_, memory.data(), memory.size(), &stop); });
  for (int round = 0; round < 8; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      // Nothing that could take a lock which the mover holds.
      if (differs(memory.data(), memory.size(), 3) != -1) _exit(3);
      memset(memory.data(), 4, memory.size());
      _exit(memory.data()[memory.size() - 1] == 4 ? 0 : 4);
    }
    EXPECT_BYTES(memory.data(), memory.size(), 3u);
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(exited_well(status)) << status;
  }
  stop = true;
  mover.join();
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(PageSize, Middle, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

TEST(TwoDevices, FightingOverOneRangeEndsAndKeepsTheBytes) {
  SoftDevice first("private:16M"), second("private:16M");
  Device a(first.index()), b(second.index());
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    Memory memory(2 * kHuge, kind);
    fill(memory.data(), memory.size(), 5);
    std::vector<std::thread> threads;
    for (const Device* device : {&a, &b}) {
      threads.emplace_back([&memory, device] {
        for (int round = 0; round < 20; ++round) device->to_vram(memory.data(), memory.size());
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_BYTES(memory.data(), memory.size(), 5u);
  }
  EXPECT_GT(a.stat(GODWIT_STAT_PEER_FETCHES) + b.stat(GODWIT_STAT_PEER_FETCHES), 0u);
  EXPECT_EQ(a.info().vram_free, a.info().vram_total);
  EXPECT_EQ(b.info().vram_free, b.info().vram_total);
}

}  // namespace
}  // namespace godwit::guest
