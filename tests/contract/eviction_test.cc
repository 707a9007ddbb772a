// SPDX-License-Identifier: MIT
// VRAM that is too small: who goes, who stays, and that no byte is lost on the way.
#include <random>
#include <thread>

#include "tests/contract/fixture.h"

namespace godwit::contract {
namespace {

using Eviction = Contract;

TEST_P(Eviction, AWorkingSetOfFourTimesVramKeepsEveryByte) {
  constexpr std::size_t kBytes = 4 * kVram;
  constexpr std::size_t kPiece = kVram / 4;
  std::byte* base = region(kBytes);
  std::uint64_t expected = 0;
  for (std::size_t at = 0; at < kBytes; at += kPiece) {
    fill(base + at, kPiece, static_cast<std::uint32_t>(at / kPiece));
  }
  for (int round = 0; round < 3; ++round) {
    for (std::size_t at = 0; at < kBytes; at += kPiece) {
      const auto seed = static_cast<std::uint32_t>(at / kPiece);
      expected = expected_sum(kPiece, seed);
      auto sum = device_sum(base + at, kPiece);
      ASSERT_TRUE(sum) << sum.error().to_string();
      EXPECT_EQ(*sum, expected);
    }
  }
  EXPECT_GT(statistics().evictions, 0U);
  for (std::size_t at = 0; at < kBytes; at += kPiece) {
    EXPECT_EQ(check(base + at, kPiece, static_cast<std::uint32_t>(at / kPiece)), "");
  }
}

TEST_P(Eviction, WhatIsAsLargeAsVramAllArrives) {
  if (!full()) GTEST_SKIP() << "at the resident level pages never leave RAM";
  std::byte* base = region(2 * kVram);
  fill(base, 2 * kVram, 1);
  for (int round = 0; round < 60; ++round) {
    const auto report = engine().prefetch(base + round % 2 * kVram, kVram, Place::kDevice);
    ASSERT_TRUE(report) << report.error().to_string();
    ASSERT_EQ(report->stayed, 0U) << "round " << round;
  }
  EXPECT_EQ(check(base, 2 * kVram, 1), "");
}

TEST_P(Eviction, WhatTheDeviceChangedSurvivesEviction) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  constexpr std::size_t kPiece = kVram / 4;
  std::byte* base = region(2 * kVram);
  for (std::uint32_t round = 1; round <= 3; ++round) {
    for (std::size_t at = 0; at < 2 * kVram; at += kPiece) {
      ASSERT_TRUE(device_add(base + at, kPiece, 1));
    }
  }
  for (std::size_t at = 0; at < 2 * kVram; at += kPageBytes) {
    std::uint32_t word = 0;
    load(&word, base + at, sizeof(word));
    ASSERT_EQ(word, 3U) << at;
  }
}

TEST_P(Eviction, ThePageUsedLeastRecentlyGoesFirst) {
  if (kernel()) GTEST_SKIP() << "the module learns of a use by a fault, not of one without";
  constexpr std::size_t kPiece = kVram / 4;
  std::byte* base = region(5 * kPiece);
  fill(base, 5 * kPiece, 1);
  for (std::size_t piece = 0; piece < 4; ++piece) {
    ASSERT_TRUE(device_sum(base + piece * kPiece, kPiece));
  }
  ASSERT_TRUE(device_sum(base, kPiece));               // the oldest is used again
  ASSERT_TRUE(device_sum(base + 4 * kPiece, kPiece));  // room must be made
  const auto in_vram = [&](std::size_t piece) {
    const std::byte* start = base + piece * kPiece;
    return count(start, kPiece, Residency::kDevice) + count(start, kPiece, Residency::kBoth);
  };
  EXPECT_EQ(in_vram(0), kPiece / kPageBytes);
  EXPECT_EQ(in_vram(1), 0U);
  EXPECT_EQ(in_vram(2), kPiece / kPageBytes);
  EXPECT_EQ(in_vram(4), kPiece / kPageBytes);
}

TEST_P(Eviction, APrefetchLargerThanVramFillsItAndReportsTheRest) {
  std::byte* base = region(2 * kVram);
  fill(base, 2 * kVram, 2);
  const MoveReport report = to_device(base, 2 * kVram);
  EXPECT_EQ(report.moved, kVram / kPageBytes);
  EXPECT_EQ(report.stayed, kVram / kPageBytes);
  EXPECT_EQ(report.stayed_for[static_cast<std::size_t>(StayReason::kNoVram)], report.stayed);
  ASSERT_FALSE(report.stays.empty());
  EXPECT_EQ(report.stays.front().reason, StayReason::kNoVram);
  EXPECT_EQ(check(base, 2 * kVram, 2), "");
}

TEST_P(Eviction, ManyThreadsShareASmallVram) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kBytes = kVram / 2;
  std::byte* base = region(kThreads * kBytes);
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < kThreads; ++index) {
    threads.emplace_back([&, index] {
      std::byte* mine = base + index * kBytes;
      const auto seed = static_cast<std::uint32_t>(index + 1);
      fill(mine, kBytes, seed);
      for (int round = 0; round < 6; ++round) {
        if ((round & 1) == 0) {
          auto sum = device_sum(mine, kBytes);
          ASSERT_TRUE(sum) << sum.error().to_string();
          ASSERT_EQ(*sum, expected_sum(kBytes, seed));
        } else {
          ASSERT_EQ(check(mine, kBytes, seed), "");
          (void)to_device(mine, kBytes);  // how much finds room depends on the others
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(Eviction, CpuAndDeviceIncrementsAddUp) {
  if (!full()) GTEST_SKIP() << "the resident level lends no page for writing";
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  constexpr std::uint32_t kRounds = 200;
  std::byte* base = region(kBytes);
  // One word in a page is the CPU's, and the device adds to all words, so each must see the other.
  std::thread device([&] {
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(device_add(base + kBytes / 2, kBytes / 2, 1));
    }
  });
  std::thread mover([&] {
    std::minstd_rand random(1);
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      const std::size_t page = random() % (kBytes / kPageBytes / 2);
      (void)to_device(base + page * kPageBytes, 4 * kPageBytes);
    }
  });
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    for (std::size_t at = 0; at < kBytes / 2; at += 16 * kPageBytes) {
      std::uint32_t word = 0;
      load(&word, base + at, sizeof(word));
      ++word;
      store(base + at, &word, sizeof(word));
    }
  }
  device.join();
  mover.join();
  for (std::size_t at = 0; at < kBytes; at += 16 * kPageBytes) {
    std::uint32_t word = 0;
    load(&word, base + at, sizeof(word));
    EXPECT_EQ(word, kRounds) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Eviction, ::testing::ValuesIn(all_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
