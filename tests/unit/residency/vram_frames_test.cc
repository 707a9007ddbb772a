// SPDX-License-Identifier: MIT
// Which frames are handed out, and whose turn it is to be evicted.
#include "runtime/src/residency/vram_frames.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace godwit {
namespace {

TEST(VramFrames, AreHandedOutOnceAndInARun) {
  VramFrames frames(64 * kChunkBytes);
  std::set<std::uint32_t> seen;
  for (int round = 0; round < 2; ++round) {
    std::array<std::uint32_t, 32> run{};
    ASSERT_EQ(frames.take(run), 32U);
    for (std::size_t index = 1; index < run.size(); ++index) {
      EXPECT_EQ(run[index], run[index - 1] + 1);
    }
    seen.insert(run.begin(), run.end());
  }
  EXPECT_EQ(seen.size(), 64U);
  std::uint32_t none = 0;
  EXPECT_EQ(frames.take({&none, 1}), 0U);
}

TEST(VramFrames, ScatteredOnesAreFoundWhenThereIsNoRun) {
  VramFrames frames(16 * kChunkBytes);
  std::vector<std::uint32_t> all(16);
  ASSERT_EQ(frames.take(all), 16U);
  for (std::uint32_t frame = 1; frame < 16; frame += 2) frames.give_back(frame);
  std::vector<std::uint32_t> odd(12);
  ASSERT_EQ(frames.take(odd), 8U);
  for (std::size_t index = 0; index < 8; ++index) EXPECT_EQ(odd[index] % 2, 1U);
  EXPECT_EQ(frames.free_count(), 0U);
}

TEST(VramFrames, TheVictimIsTheOneUsedLeastRecently) {
  VramFrames frames(4 * kChunkBytes);
  std::vector<std::uint32_t> all(4);
  ASSERT_EQ(frames.take(all), 4U);
  for (std::size_t index = 0; index < 4; ++index) frames.bind(all[index], 100 + index);
  frames.touch(all[0]);
  EXPECT_EQ(frames.victim(~0ULL, 0), 101U);
  EXPECT_EQ(frames.victim(~0ULL, 1), 102U);
  frames.hold(all[1], false);
  frames.hold(all[2], true);
  EXPECT_EQ(frames.victim(~0ULL, 0), 103U);
  frames.release(all[2], true);
  EXPECT_EQ(frames.victim(~0ULL, 1), 100U);
  EXPECT_EQ(frames.victim(~0ULL, 4), VramFrames::kNoVictim);
}

TEST(VramFrames, WhatIsNewerThanTheRequestIsNoVictim) {
  VramFrames frames(4 * kChunkBytes);
  std::vector<std::uint32_t> all(4);
  ASSERT_EQ(frames.take(all), 4U);
  frames.bind(all[0], 1);
  const std::uint64_t before = frames.now();
  frames.bind(all[1], 2);
  EXPECT_EQ(frames.victim(before, 0), 1U);
  EXPECT_EQ(frames.victim(before, 1), VramFrames::kNoVictim);
}

TEST(VramFrames, HoldsNest) {
  VramFrames frames(kChunkBytes);
  std::uint32_t frame = 0;
  ASSERT_EQ(frames.take({&frame, 1}), 1U);
  frames.bind(frame, 5);
  frames.hold(frame, false);
  frames.hold(frame, false);
  frames.release(frame, false);
  EXPECT_EQ(frames.victim(~0ULL, 0), VramFrames::kNoVictim);
  frames.release(frame, false);
  EXPECT_EQ(frames.victim(~0ULL, 0), 5U);
}

}  // namespace
}  // namespace godwit
