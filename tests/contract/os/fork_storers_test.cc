// SPDX-License-Identifier: MIT
// Forks while more threads store than there are handlers for their faults. Until a fork's event is
// read the kernel fills no page, and it hands out events only where no fault waits to be read: the
// faults must not keep the event from being read. Nothing is paced, storers fault until the last
// fork is over. A child ends at once, by the system call, so that ThreadSanitizer can watch the
// parent.
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kStorers = 16;  // the fixture's engine has 2 handlers
constexpr std::size_t kForks = 20;

using Word = volatile std::uint32_t;

class ForkStorers : public OsContract {
 protected:
  void SetUp() override {
    OsContract::SetUp();
    if (!IsSkipped() && ::geteuid() != 0) {
      GTEST_SKIP() << "lacks the privilege (CAP_SYS_PTRACE) for fork events";
    }
  }

  /// A block for each storer, whose faults reach the engine.
  [[nodiscard]] std::byte* armed() {
    std::byte* base = region(kStorers * kBlockBytes);
    for (std::size_t storer = 0; storer < kStorers; ++storer) {
      fill(base + storer * kBlockBytes, kBlockBytes, 0);
      EXPECT_EQ(to_device(base + storer * kBlockBytes, kBlockBytes).stayed, 0U);
    }
    return base;
  }

  /// Forks while each storer takes steps, with one page of its block after the other.
  template <typename Step>
  void fork_meanwhile(std::byte* base, Step take) {
    std::atomic<bool> done{false};
    std::vector<std::atomic<std::uint32_t>> steps(kStorers);
    std::vector<std::thread> storers;
    for (std::size_t storer = 0; storer < kStorers; ++storer) {
      storers.emplace_back([&, storer] {
        while (!done.load()) {
          const std::uint32_t step = ++steps[storer];
          std::byte* page = base + storer * kBlockBytes + step % kPagesPerBlock * kPageBytes;
          take(*reinterpret_cast<Word*>(page), page, step);
        }
      });
    }
    for (std::size_t fork = 0; fork < kForks; ++fork) {
      const Watchdog watchdog("a fork while threads store, or a storer after it");
      // Each storer goes on between two forks: none is left asleep.
      std::vector<std::uint32_t> before(steps.begin(), steps.end());
      for (std::size_t storer = 0; storer < kStorers; ++storer) {
        while (steps[storer].load() < before[storer] + 2) std::this_thread::yield();
      }
      const pid_t child = raw_fork();
      if (child == 0) ::syscall(SYS_exit_group, 0);
      EXPECT_EQ(reap(child), "") << "fork " << fork;
    }
    const Watchdog watchdog("a storer after the last fork");
    done = true;
    for (std::thread& storer : storers) storer.join();
  }
};

TEST_P(ForkStorers, ForksEndWhileEmptyPagesAreTouched) {
  fork_meanwhile(armed(), [&](Word& word, std::byte* page, std::uint32_t step) {
    EXPECT_TRUE(engine().discard(page, kPageBytes));
    EXPECT_EQ(word, 0U);
    word = step;
    EXPECT_EQ(word, step);
  });
}

TEST_P(ForkStorers, ForksEndWhilePagesInVramAreStoredTo) {
  fork_meanwhile(armed(), [&](Word& word, std::byte* page, std::uint32_t step) {
    word = step;
    (void)to_device(page, kPageBytes);
    EXPECT_EQ(word, step);
    (void)to_device(page, kPageBytes);
  });
}

TEST_P(ForkStorers, ForksEndWhileCleanCopiesAreStoredTo) {
  fork_meanwhile(armed(), [&](Word& word, std::byte* page, std::uint32_t step) {
    (void)to_device(page, kPageBytes);
    const std::uint32_t before = word;  // RAM and VRAM hold it now
    word = before + step;
    (void)to_device(page, kPageBytes);
    EXPECT_EQ(word, before + step);
  });
}

INSTANTIATE_TEST_SUITE_P(Engines, ForkStorers, ::testing::ValuesIn(user_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
