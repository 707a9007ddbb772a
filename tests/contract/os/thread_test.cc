// SPDX-License-Identifier: MIT
// Many threads, a demoter and a device at once: every increment counts exactly once.
#include <atomic>
#include <random>
#include <thread>

#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kThreads = 8;
constexpr std::size_t kBytes = 3 * kVram;
constexpr std::size_t kPages = kBytes / kPageBytes;
constexpr std::size_t kOperations = 20000;  // of each thread

class Threads : public OsContract {
 protected:
  /// Word `index` of a page; 0 is shared by all threads, 1 + t belongs to thread t.
  [[nodiscard]] static std::atomic_ref<std::uint32_t> word(std::byte* base, std::size_t page,
                                                           std::size_t index) {
    return std::atomic_ref(
        *reinterpret_cast<std::uint32_t*>(base + page * kPageBytes + index * 64));
  }
};

TEST_P(Threads, EveryIncrementCountsOnceWhilePagesMove) {
  const Watchdog watchdog("increments while pages move");
  constexpr std::size_t kDeviceBytes = kBlockBytes + 5 * kChunkBytes;
  std::byte* base = region(kBytes);
  std::byte* devices = region(kDeviceBytes);
  fill(devices, kDeviceBytes, 0);
  std::atomic<std::size_t> running{kThreads};
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < kThreads; ++index) {
    threads.emplace_back([&, index] {
      std::minstd_rand random(static_cast<unsigned>(index + 1));
      for (std::size_t done = 0; done < kOperations; ++done) {
        const std::size_t page = random() % kPages;
        ++word(base, page, 0);
        ++word(base, page, 1 + index);
      }
      --running;
    });
  }
  std::thread demoter([&] {
    std::minstd_rand random(99);
    while (running.load() != 0) {
      const std::size_t first = random() % kPages;
      const std::size_t count = std::min<std::size_t>(1 + random() % 700, kPages - first);
      (void)to_device(base + first * kPageBytes, count * kPageBytes);
    }
  });
  std::uint32_t adds = 0;
  do {
    auto added = device_add(devices, kDeviceBytes, 1);
    EXPECT_TRUE(added) << added.error().to_string();
    if (!added) break;
    ++adds;
  } while (running.load() != 0);
  for (std::thread& thread : threads) thread.join();
  demoter.join();

  std::uint64_t shared = 0;
  std::vector<std::uint64_t> own(kThreads);
  for (std::size_t page = 0; page < kPages; ++page) {
    shared += word(base, page, 0);
    for (std::size_t index = 0; index < kThreads; ++index)
      own[index] += word(base, page, 1 + index);
  }
  EXPECT_EQ(shared, kThreads * kOperations);
  for (std::size_t index = 0; index < kThreads; ++index)
    EXPECT_EQ(own[index], kOperations) << index;
  for (std::size_t at = 0; at < kDeviceBytes; at += sizeof(std::uint32_t)) {
    std::uint32_t value = 0;
    std::memcpy(&value, devices + at, sizeof(value));
    ASSERT_EQ(value, pattern(at / sizeof(value), 0) + adds) << at;
  }
}

TEST_P(Threads, EveryIncrementCountsOnceOnAFewHotPages) {
  const Watchdog watchdog("increments on hot pages");
  constexpr std::size_t kHot = 40;
  std::byte* base = region(kBlockBytes);
  std::atomic<std::size_t> running{kThreads};
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < kThreads; ++index) {
    threads.emplace_back([&, index] {
      for (std::size_t done = 0; done < kOperations; ++done) {
        ++word(base, done % kHot, 0);
        ++word(base, (done + index) % kHot, 1 + index);
      }
      --running;
    });
  }
  while (running.load() != 0) (void)to_device(base, kHot * kPageBytes);
  for (std::thread& thread : threads) thread.join();
  std::uint64_t shared = 0;
  std::uint64_t own = 0;
  for (std::size_t page = 0; page < kHot; ++page) {
    shared += word(base, page, 0);
    for (std::size_t index = 0; index < kThreads; ++index) own += word(base, page, 1 + index);
  }
  EXPECT_EQ(shared, kThreads * kOperations);
  EXPECT_EQ(own, kThreads * kOperations);
}

// The CPU and the device add to the same words; a command holds its operands while it runs.
TEST_P(Threads, TheDeviceAndTheCpuAddToTheSameWords) {
  const Watchdog watchdog("CPU and device on the same words");
  constexpr std::size_t kSmall = 4 * kChunkBytes;
  constexpr std::uint32_t kAdds = 150;
  std::byte* base = region(kSmall);
  std::atomic<std::uint32_t> running{4};
  std::vector<std::thread> threads;
  for (std::uint32_t index = 0; index < running; ++index) {
    threads.emplace_back([&] {
      for (std::size_t round = 0; round < 200; ++round) {
        for (std::size_t page = 0; page < kSmall / kPageBytes; ++page) ++word(base, page, 0);
      }
      --running;
    });
  }
  for (std::uint32_t add = 0; add < kAdds; ++add) {
    auto added = device_add(base, kSmall, 1);
    ASSERT_TRUE(added) << added.error().to_string();
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t page = 0; page < kSmall / kPageBytes; ++page) {
    EXPECT_EQ(word(base, page, 0), threads.size() * 200 + kAdds) << page;
    EXPECT_EQ(word(base, page, 3), kAdds) << page;
  }
}

TEST_P(Threads, RegionsComeAndGoWhileOthersMigrate) {
  const Watchdog watchdog("regions that come and go");
  std::vector<std::thread> threads;
  for (std::uint32_t index = 0; index < 4; ++index) {
    threads.emplace_back([&, index] {
      std::minstd_rand random(index + 1);
      for (std::uint32_t round = 0; round < 60; ++round) {
        const std::size_t bytes = (1 + random() % 40) * kChunkBytes;
        std::byte* mine = region(bytes);
        ASSERT_EQ(check_zero(mine, bytes), "") << "somebody else's bytes";
        fill(mine, bytes, index + round);
        (void)to_device(mine, bytes);
        ASSERT_EQ(check(mine, bytes, index + round), "");
        ASSERT_TRUE(engine().free(mine));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(Engines, Threads, ::testing::ValuesIn(user_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
