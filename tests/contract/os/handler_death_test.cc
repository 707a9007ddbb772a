// SPDX-License-Identifier: MIT
// Fault handlers that die: as long as one lives everything goes on; after the last one all bytes
// are in RAM, nobody hangs, and nothing goes to the device any more.
#include <unistd.h>

#include <atomic>
#include <thread>

#include "runtime/src/host/user/user_host.h"
#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;
constexpr std::size_t kPages = kBytes / kPageBytes;

class HandlerDeath : public OsContract {
 protected:
  /// Returns once `left` handlers are alive.
  void kill_until(std::size_t left) {
    while (threads_named("godwit-fault") > left) {
      const std::size_t before = threads_named("godwit-fault");
      kill_one_handler(*core().host);
      while (threads_named("godwit-fault") == before) std::this_thread::yield();
    }
  }
  void expect_unavailable(const void* base, std::size_t bytes) {
    auto refused = engine().prefetch(base, bytes, Place::kDevice);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kUnavailable) << refused.error().to_string();
    auto sum = device_sum(base, bytes);
    ASSERT_FALSE(sum);
    EXPECT_EQ(sum.error().code, Code::kUnavailable) << sum.error().to_string();
  }
};

TEST_P(HandlerDeath, OneOfTwoMayDie) {
  const Watchdog watchdog("one handler left");
  ASSERT_EQ(threads_named("godwit-fault"), 2U);
  std::byte* base = in_vram(kBytes, 1);
  kill_until(1);
  EXPECT_EQ(check(base, kBytes, 1), "");
  for (std::uint32_t round = 0; round < 5; ++round) {
    fill(base, kBytes, round);
    const MoveReport report = to_device(base, kBytes);
    EXPECT_EQ(report.stayed, 0U) << "round " << round << ": " << stays_of(report);
    auto sum = device_sum(base, kBytes);
    ASSERT_TRUE(sum) << sum.error().to_string();
    EXPECT_EQ(*sum, expected_sum(kBytes, round));
    EXPECT_EQ(check(base, kBytes, round), "");
  }
}

TEST_P(HandlerDeath, AfterTheLastOneAllBytesAreInRam) {
  const std::string end = in_fresh_child([this] {
    std::byte* there = in_vram(kBytes, 2);
    std::byte* both = in_vram(kBytes, 3);
    EXPECT_EQ(check(both, kBytes, 3), "");  // loads: RAM and VRAM hold it now
    std::byte* part = region(kBytes);
    fill(part, kPageBytes, 4);
    EXPECT_EQ(to_device(part, kBytes).stayed, 0U);
    kill_until(0);
    EXPECT_EQ(count(there, kBytes, Residency::kDevice), 0U);
    EXPECT_EQ(check(there, kBytes, 2), "");
    EXPECT_EQ(check(both, kBytes, 3), "");
    EXPECT_EQ(check(part, kPageBytes, 4), "");
    EXPECT_EQ(check_zero(part + kBlockBytes, kBytes - kBlockBytes), "");
    fill(both, kBytes, 5);
    EXPECT_EQ(check(both, kBytes, 5), "");
    expect_unavailable(there, kBytes);
    EXPECT_EQ(to_host(there, kBytes).stayed, 0U);
    EXPECT_EQ(check(there, kBytes, 2), "");
  });
  EXPECT_EQ(end, "");
}

TEST_P(HandlerDeath, AfterTheLastOneMemoryComesAndGoesAsUsual) {
  const std::string end = in_fresh_child([this] {
    std::byte* base = in_vram(kBytes, 6);
    kill_until(0);
    EXPECT_TRUE(engine().discard(base, kBlockBytes));
    EXPECT_EQ(check_zero(base, kBlockBytes), "");
    EXPECT_TRUE(engine().free(base));
    std::byte* again = region(2 * kBytes);
    EXPECT_EQ(check_zero(again, 2 * kBytes), "");
    fill(again, 2 * kBytes, 7);
    EXPECT_EQ(check(again, 2 * kBytes, 7), "");
    expect_unavailable(again, kBytes);
    EXPECT_TRUE(engine().free(again));
  });
  EXPECT_EQ(end, "");
}

// A block that served regions and has none now is still armed when the handlers die.
TEST_P(HandlerDeath, ARecycledPartOfABlockDoesNotHang) {
  const std::string end = in_fresh_child([this] {
    std::byte* base = in_vram(3 * kChunkBytes, 8);
    EXPECT_TRUE(engine().free(base));
    kill_until(0);
    std::byte* again = region(3 * kChunkBytes);
    EXPECT_EQ(again, base);
    EXPECT_EQ(check_zero(again, 3 * kChunkBytes), "");
    fill(again, 3 * kChunkBytes, 9);
    EXPECT_EQ(check(again, 3 * kChunkBytes, 9), "");
  });
  EXPECT_EQ(end, "");
}

TEST_P(HandlerDeath, ThreadsInTheMiddleOfFaultsGoOn) {
  const std::string end = in_fresh_child([this] {
    constexpr std::size_t kThreads = 4;
    std::byte* base = in_vram(kThreads * kBlockBytes, 10);
    std::atomic<std::size_t> started{0};
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < kThreads; ++index) {
      threads.emplace_back([&, index] {
        ++started;
        for (std::size_t page = 0; page < kPagesPerBlock; ++page) {
          const std::size_t at = index * kBlockBytes + page * kPageBytes;
          std::uint32_t word = 0;
          std::memcpy(&word, base + at, sizeof(word));
          EXPECT_EQ(word, pattern(at / 4, 10)) << at;
          ++word;
          std::memcpy(base + at, &word, sizeof(word));
        }
      });
    }
    while (started != kThreads) std::this_thread::yield();
    kill_until(0);
    for (std::thread& thread : threads) thread.join();
    for (std::size_t at = 0; at < kThreads * kBlockBytes; at += kPageBytes) {
      std::uint32_t word = 0;
      std::memcpy(&word, base + at, sizeof(word));
      EXPECT_EQ(word, pattern(at / 4, 10) + 1) << at;
    }
  });
  EXPECT_EQ(end, "");
}

TEST_P(HandlerDeath, APrefetchUnderWayLosesNothing) {
  for (std::uint32_t round = 0; round < 8; ++round) {
    const std::string end = in_fresh_child([&] {
      std::byte* base = region(kBytes);
      fill(base, kBytes, 20 + round);
      std::atomic<bool> started{false};
      std::thread mover([&] {
        while (engine().prefetch(base, kBytes, Place::kDevice)) {
          started = true;
          (void)engine().prefetch(base, kBytes, Place::kHost);
        }
      });
      while (!started) std::this_thread::yield();
      kill_until(0);
      mover.join();
      EXPECT_EQ(count(base, kBytes, Residency::kDevice), 0U);
      EXPECT_EQ(check(base, kBytes, 20 + round), "");
    });
    ASSERT_EQ(end, "") << "round " << round;
  }
}

TEST_P(HandlerDeath, AForkAfterwardsIsAPlainOne) {
  const std::string end = in_fresh_child([this] {
    std::byte* base = in_vram(kBytes, 30);
    kill_until(0);
    const pid_t child = fork_with(engine());
    if (child == 0) {
      EXPECT_EQ(check(base, kBytes, 30), "");
      leave_child();
    }
    EXPECT_EQ(reap(child), "");
    EXPECT_EQ(check(base, kBytes, 30), "");
  });
  EXPECT_EQ(end, "");
}

// Without a handler nobody reads the fork event, and the kernel lets the forking thread wait for
// it.
TEST_P(HandlerDeath, AnUnannouncedForkAfterwardsDoesNotHang) {
  const std::string end = in_fresh_child([this] {
    std::byte* base = in_vram(kBytes, 31);
    kill_until(0);
    const pid_t child = ::fork();
    if (child == 0) {
      EXPECT_EQ(check(base, kBytes, 31), "");
      leave_child();
    }
    EXPECT_EQ(reap(child), "");
  });
  EXPECT_EQ(end, "");
}

INSTANTIATE_TEST_SUITE_P(Engines, HandlerDeath, ::testing::ValuesIn(user_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
