// SPDX-License-Identifier: MIT
// fork() with the engine's hooks around it: the child sees the parent's bytes, wherever they were;
// neither sees what the other stores afterwards; the parent migrates on.
#include <sys/mman.h>

#include <atomic>
#include <thread>

#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;
constexpr std::size_t kPages = kBytes / kPageBytes;

using Fork = OsContract;

TEST_P(Fork, TheChildSeesBytesThatWereInVram) {
  std::byte* base = in_vram(kBytes, 1);
  const pid_t child = fork_with(engine());
  if (child == 0) {
    EXPECT_EQ(check(base, kBytes, 1), "");
    leave_child();
  }
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 1), "");
  EXPECT_EQ(statistics().forks, 1U) << "one fork is one";
}

TEST_P(Fork, NeitherSideSeesWhatTheOtherStores) {
  const Watchdog watchdog("stores after a fork");
  std::byte* base = in_vram(kBytes, 2);
  const Turn to_child;
  const Turn to_parent;
  const pid_t child = fork_with(engine());
  if (child == 0) {
    fill(base, kBytes / 2, 3);
    to_parent.give();
    EXPECT_TRUE(to_child.take());
    EXPECT_EQ(check(base, kBytes / 2, 3), "");
    std::vector<std::byte> wanted = pattern_bytes(kBytes, 2);
    EXPECT_EQ(difference({base + kBytes / 2, kBytes / 2}, std::span(wanted).subspan(kBytes / 2)),
              "");
    leave_child();
  }
  EXPECT_TRUE(to_parent.take());
  EXPECT_EQ(check(base, kBytes, 2), "");
  fill(base, kBytes, 4);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 4), "");
  to_child.give();
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 4), "");
}

TEST_P(Fork, TheParentMigratesWhileTheChildStillSharesItsPages) {
  const Watchdog watchdog("migration with a child");
  std::byte* base = in_vram(kBytes, 5);
  const Turn to_child;
  const pid_t child = fork_with(engine());
  if (child == 0) {
    EXPECT_TRUE(to_child.take());
    EXPECT_EQ(check(base, kBytes, 5), "");
    leave_child();
  }
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(report.stayed, 0U);
  EXPECT_EQ(report.moved + report.already, kPages);
  expect_in_vram(base, kBytes);
  if (full()) {
    EXPECT_TRUE(device_add(base, kBytes, 1));  // and the device's stores are not the child's
  }
  to_child.give();
  EXPECT_EQ(reap(child), "");
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  if (!full()) {
    EXPECT_EQ(*sum, expected_sum(kBytes, 5));
  }
}

TEST_P(Fork, CleanCopiesInVramSurviveAForkToo) {
  const Watchdog watchdog("a fork with clean copies");
  std::byte* base = in_vram(kBytes, 6);
  EXPECT_EQ(check(base, kBytes, 6), "");  // loads: RAM and VRAM hold it now
  const Turn to_child;
  const pid_t child = fork_with(engine());
  if (child == 0) {
    EXPECT_EQ(check(base, kBytes, 6), "");
    fill(base, kBytes, 7);
    EXPECT_TRUE(to_child.take());
    EXPECT_EQ(check(base, kBytes, 7), "");
    leave_child();
  }
  // The parent's stores must reach the device although the pages are shared for writing now.
  const std::uint32_t value = pattern(0, 6) + 100;
  for (std::size_t at = 0; at < kBytes; at += 128 * kPageBytes) {
    std::uint32_t word = 0;
    load(&word, base + at, sizeof(word));
    word += 100;
    store(base + at, &word, sizeof(word));
  }
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 6) + 100 * (kBytes / kPageBytes / 128));
  to_child.give();
  EXPECT_EQ(reap(child), "");
  std::uint32_t word = 0;
  load(&word, base, sizeof(word));
  EXPECT_EQ(word, value);
}

TEST_P(Fork, AfterTheChildEndsEverythingMovesAgain) {
  std::byte* base = in_vram(kBytes, 8);
  for (int round = 0; round < 3; ++round) {
    const pid_t child = fork_with(engine());
    if (child == 0) ::_exit(0);
    EXPECT_EQ(reap(child), "");
    EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
    expect_in_vram(base, kBytes);
  }
  EXPECT_EQ(check(base, kBytes, 8), "");
}

TEST_P(Fork, AChildUsesItsMemoryWithoutADevice) {
  std::byte* base = in_vram(kBytes, 9);
  const pid_t child = fork_with(engine());
  if (child == 0) {
    EXPECT_TRUE(engine().detached());
    EXPECT_EQ(engine().size_of(base), kBytes);
    EXPECT_TRUE(engine().discard(base, kBlockBytes));
    EXPECT_EQ(check_zero(base, kBlockBytes), "");
    EXPECT_TRUE(engine().free(base));
    std::byte* again = region(2 * kBytes);
    EXPECT_EQ(check_zero(again, 2 * kBytes), "");
    fill(again, 2 * kBytes, 10);
    EXPECT_EQ(check(again, 2 * kBytes, 10), "");
    EXPECT_EQ(where(again), Residency::kHost);
    auto refused = engine().prefetch(again, kBytes, Place::kDevice);
    EXPECT_FALSE(refused);
    if (!refused) {
      EXPECT_EQ(refused.error().code, Code::kUnavailable);
    }
    EXPECT_EQ(to_host(again, kBytes).stayed, 0U);
    EXPECT_FALSE(device_sum(again, kBytes));
    auto device = engine().device();
    EXPECT_FALSE(device) << "a device that does not exist here, at " << *device;
    leave_child();
  }
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 9), "");
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
}

TEST_P(Fork, AGrandchildSeesTheBytesToo) {
  std::byte* base = in_vram(kBytes, 11);
  const pid_t child = fork_with(engine());
  if (child == 0) {
    fill(base, kBlockBytes, 12);
    const pid_t grandchild = fork_with(engine());
    if (grandchild == 0) {
      EXPECT_EQ(check(base, kBlockBytes, 12), "");
      std::vector<std::byte> wanted = pattern_bytes(kBytes, 11);
      EXPECT_EQ(difference({base + kBlockBytes, kBytes - kBlockBytes},
                           std::span(wanted).subspan(kBlockBytes)),
                "");
      fill(base, kBytes, 13);
      leave_child();
    }
    EXPECT_EQ(reap(grandchild), "");
    EXPECT_EQ(check(base, kBlockBytes, 12), "");
    leave_child();
  }
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 11), "");
}

TEST_P(Fork, AChildThatEndsItsEngineTouchesNothingElse) {
  // What of the engine's address space does not exist in the child may be somebody else's there.
  constexpr std::size_t kSlot = kBlockBytes;
  std::byte* slot = core().pool->take_empty(SlotSize::kBlock);
  ASSERT_NE(slot, nullptr);
  core().pool->give_empty(SlotSize::kBlock, slot);
  (void)in_vram(kBytes, 14);
  const pid_t child = fork_with(engine());
  if (child == 0) {
    void* mine = ::mmap(slot, kSlot, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (mine == MAP_FAILED) ::_exit(0);  // it does exist in the child: nobody else is there
    std::memset(mine, 1, kSlot);
    TearDown();
    std::vector<unsigned char> present(kSlot / kPageBytes);
    EXPECT_EQ(::mincore(mine, kSlot, present.data()), 0) << "the child's own mapping is gone";
    leave_child();
  }
  EXPECT_EQ(reap(child), "");
}

TEST_P(Fork, WaitsForACommandThatHoldsPages) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  const Watchdog watchdog("a fork during a command");
  std::byte* base = in_vram(kBytes, 15);
  const Operand operand{.base = base, .bytes = kBytes, .access = Access::kReadWrite};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold) << hold.error().to_string();
  std::atomic<pid_t> child{0};
  std::thread forker([&] {
    child = fork_with(engine());
    if (child != 0) return;
    for (std::size_t at = 0; at < kBytes; at += 4) {
      std::uint32_t word = 0;
      std::memcpy(&word, base + at, sizeof(word));
      if (word != pattern(at / 4, 15) + 7) ::_exit(1);
    }
    ::_exit(0);
  });
  while (statistics().forks == 0) std::this_thread::yield();  // it waits for us now
  EXPECT_TRUE(device_wait(AddCommand{(*hold)->span(0), 7}));
  hold->reset();
  forker.join();
  EXPECT_EQ(reap(child), "");
}

// Bounded: after kPatience a fork goes on, and even then the child must see the bytes.
TEST_P(Fork, GoesOnWithoutLossWhenACommandHoldsPagesForTooLong) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  const Watchdog watchdog("a fork during a command that never ends");
  std::byte* base = in_vram(kBytes, 16);
  const Operand operand{.base = base, .bytes = kBytes, .access = Access::kRead};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold) << hold.error().to_string();
  const pid_t child = fork_with(engine());
  if (child == 0) {
    EXPECT_EQ(check(base, kBytes, 16), "");
    leave_child();
  }
  EXPECT_EQ(reap(child), "");
  hold->reset();
  EXPECT_EQ(check(base, kBytes, 16), "");
}

TEST_P(Fork, WhileOthersTouchAndDemote) {
  const Watchdog watchdog("forks while others touch and demote");
  constexpr std::size_t kForks = 50;
  std::byte* quiet = region(kBytes);
  std::byte* busy = region(kBytes);
  fill(quiet, kBytes, 17);
  std::atomic<bool> done{false};
  // Two words a page; the second follows the first, so a child sees them equal or one apart.
  std::thread toucher([&] {
    for (std::uint32_t round = 1; !done.load(); ++round) {
      for (std::size_t page = 0; page < kPages; ++page) {
        auto* words = reinterpret_cast<volatile std::uint32_t*>(busy + page * kPageBytes);
        words[0] = round;
        std::atomic_thread_fence(std::memory_order_release);
        words[512] = round;
      }
    }
  });
  std::thread demoter([&] {
    while (!done.load()) {
      (void)to_device(busy, kBytes);
      (void)to_device(quiet, kBytes);
    }
  });
  for (std::size_t index = 0; index < kForks; ++index) {
    const pid_t child = fork_with(engine());
    if (child == 0) {
      EXPECT_EQ(check(quiet, kBytes, 17), "") << "fork " << index;
      for (std::size_t page = 0; page < kPages; ++page) {
        const auto* words = reinterpret_cast<volatile std::uint32_t*>(busy + page * kPageBytes);
        const std::uint32_t first = words[0];
        EXPECT_LE(first - words[512], 1U) << "fork " << index << " page " << page;
      }
      leave_child();
    }
    const std::string end = reap(child);
    EXPECT_EQ(end, "") << "fork " << index;
    if (!end.empty()) break;
  }
  done = true;
  toucher.join();
  demoter.join();
  EXPECT_EQ(check(quiet, kBytes, 17), "");
  const MoveReport report = to_device(quiet, kBytes);
  EXPECT_EQ(report.stayed, 0U) << stays_of(report);
  EXPECT_EQ(check(quiet, kBytes, 17), "");
}

// While the kernel copies the address space it refuses to end a page's write tracking; a store that
// meets that must be tried again, not forgotten.
TEST_P(Fork, StoresToCleanCopiesGoOnMeanwhile) {
  const Watchdog watchdog("stores to clean copies while the process forks");
  constexpr std::size_t kCopied = std::size_t{64} << 20;  // what makes a fork take milliseconds
  constexpr std::size_t kClean = std::size_t{4} << 20;
  constexpr std::size_t kStorers = 4;  // more than there are handlers
  constexpr std::uint32_t kForks = 4;
  constexpr std::chrono::microseconds kPause{30};
  std::byte* copied = region(kCopied);
  fill(copied, kCopied, 18);
  std::byte* base = region(kClean);
  fill(base, kClean, 0);
  for (std::uint32_t fork = 1; fork <= kForks; ++fork) {
    EXPECT_EQ(to_device(base, kClean).stayed, 0U);
    EXPECT_EQ(check(base, kClean, fork - 1), "");  // loads: RAM and VRAM hold it now
    std::vector<std::thread> storers;
    for (std::size_t storer = 0; storer < kStorers; ++storer) {
      storers.emplace_back([&, storer] {
        constexpr std::size_t kShare = kClean / kStorers;
        for (std::size_t at = storer * kShare; at < (storer + 1) * kShare; at += kPageBytes) {
          for (std::size_t word = 0; word < kPageBytes / 4; ++word) {
            const std::uint32_t value = pattern(at / 4 + word, fork);
            std::memcpy(base + at + word * 4, &value, sizeof(value));
          }
          const auto until = std::chrono::steady_clock::now() + kPause;
          while (std::chrono::steady_clock::now() < until) {
          }
        }
      });
    }
    const pid_t child = fork_with(engine());
    if (child == 0) ::_exit(0);
    EXPECT_EQ(reap(child), "");
    for (std::thread& storer : storers) storer.join();
    EXPECT_EQ(check(base, kClean, fork), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Fork, ::testing::ValuesIn(both_level_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
