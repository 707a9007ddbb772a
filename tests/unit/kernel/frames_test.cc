// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

extern "C" {
#include "kernel/state/frames.h"
}

namespace {

class Frames : public ::testing::Test {
 protected:
  void make(unsigned long blocks) {
    memory_.assign(godwit_frames_bytes(blocks) / 8 + 1, 0);
    godwit_frames_init(&frames_, memory_.data(), blocks);
  }

  // Counts everything anew and compares it with the counters and maps.
  void check(const std::set<unsigned long>& used) {
    unsigned long free = 0, total_used = 0;
    for (unsigned long i = 0; i < frames_.nr_blocks; ++i) {
      unsigned long in_block = 0;
      for (unsigned long bit = 0; bit < GODWIT_BLOCK_FRAMES; ++bit) {
        const unsigned long frame = i * GODWIT_BLOCK_FRAMES + bit;
        ASSERT_EQ(godwit_frames_used(&frames_, frame), used.count(frame) != 0) << frame;
        in_block += godwit_frames_used(&frames_, frame);
      }
      const godwit_block& block = frames_.blocks[i];
      ASSERT_EQ(block.nr_used, in_block);
      total_used += in_block;
      if (!block.isolated) free += GODWIT_BLOCK_FRAMES - in_block;
      const bool empty = (frames_.empty[i / 64] >> (i % 64)) & 1;
      const bool partial = (frames_.partial[i / 64] >> (i % 64)) & 1;
      ASSERT_EQ(empty, !block.isolated && in_block == 0);
      ASSERT_EQ(partial, !block.isolated && in_block != 0 && in_block != GODWIT_BLOCK_FRAMES);
    }
    ASSERT_EQ(frames_.nr_free, free);
    ASSERT_EQ(frames_.nr_used, total_used);
    ASSERT_LE(frames_.nr_reserved, frames_.nr_free);
  }

  godwit_frames frames_;
  std::vector<uint64_t> memory_;
};

TEST_F(Frames, ReservesNoMoreThanThereIs) {
  make(3);
  EXPECT_EQ(godwit_frames_reserve(&frames_, 1000), 1000u);
  EXPECT_EQ(godwit_frames_reserve(&frames_, 1000), 536u);
  EXPECT_EQ(godwit_frames_reserve(&frames_, 1), 0u);
  godwit_frames_unreserve(&frames_, 1536);
  EXPECT_EQ(godwit_frames_reserve(&frames_, 1536), 1536u);
}

TEST_F(Frames, NothingIsTakenWithoutReservation) {
  make(1);
  EXPECT_EQ(godwit_frames_take(&frames_, GODWIT_NO_BLOCK), GODWIT_NO_FRAME);
  EXPECT_EQ(godwit_frames_take_block(&frames_), GODWIT_NO_FRAME);
  ASSERT_EQ(godwit_frames_reserve(&frames_, 511), 511u);
  EXPECT_EQ(godwit_frames_take_block(&frames_), GODWIT_NO_FRAME);
}

TEST_F(Frames, WhatIsReservedCanBeTakenToTheLastFrame) {
  make(2);
  ASSERT_EQ(godwit_frames_reserve(&frames_, 1024), 1024u);
  std::set<unsigned long> used;
  for (int i = 0; i < 1024; ++i) used.insert(godwit_frames_take(&frames_, GODWIT_NO_BLOCK));
  EXPECT_EQ(used.size(), 1024u);
  EXPECT_EQ(*used.rbegin(), 1023u);
  check(used);
  EXPECT_EQ(godwit_frames_take(&frames_, GODWIT_NO_BLOCK), GODWIT_NO_FRAME);
}

TEST_F(Frames, SmallPagesFillBlocksThatAreInUse) {
  make(4);
  ASSERT_EQ(godwit_frames_reserve(&frames_, 2048), 2048u);
  for (int i = 0; i < 600; ++i) godwit_frames_take(&frames_, GODWIT_NO_BLOCK);
  // Two blocks are touched: two remain for huge pages.
  EXPECT_NE(godwit_frames_take_block(&frames_), GODWIT_NO_FRAME);
  EXPECT_NE(godwit_frames_take_block(&frames_), GODWIT_NO_FRAME);
  EXPECT_EQ(godwit_frames_take_block(&frames_), GODWIT_NO_FRAME);
}

TEST_F(Frames, ARunEndsWhereAFrameIsTakenOrTheBlockOrThePromiseEnds) {
  make(2);
  ASSERT_EQ(godwit_frames_reserve(&frames_, 1000), 1000u);
  unsigned count = 200;
  EXPECT_EQ(godwit_frames_take_run(&frames_, GODWIT_NO_BLOCK, &count), 0u);
  EXPECT_EQ(count, 200u);
  for (unsigned long frame = 60; frame < 131; ++frame) godwit_frames_give(&frames_, frame);
  count = 512;
  EXPECT_EQ(godwit_frames_take_run(&frames_, GODWIT_NO_BLOCK, &count), 60u);
  EXPECT_EQ(count, 71u) << "up to the next that is taken, over a word and a bit";
  count = 512;
  EXPECT_EQ(godwit_frames_take_run(&frames_, GODWIT_NO_BLOCK, &count), 200u);
  EXPECT_EQ(count, 312u) << "to the end of the block";
  count = 512;
  EXPECT_EQ(godwit_frames_take_run(&frames_, GODWIT_NO_BLOCK, &count), 512u);
  EXPECT_EQ(count, 417u) << "to the end of what was promised";
  EXPECT_EQ(godwit_frames_take_run(&frames_, GODWIT_NO_BLOCK, &count), GODWIT_NO_FRAME);
}

TEST_F(Frames, NearBlockIsPreferredWhileItHasRoom) {
  make(3);
  ASSERT_EQ(godwit_frames_reserve(&frames_, 1536), 1536u);
  for (int i = 0; i < 513; ++i) godwit_frames_take(&frames_, GODWIT_NO_BLOCK);
  EXPECT_EQ(godwit_frames_take(&frames_, 1) / GODWIT_BLOCK_FRAMES, 1u);
  EXPECT_EQ(godwit_frames_take(&frames_, 0) / GODWIT_BLOCK_FRAMES, 1u) << "block 0 is full";
  EXPECT_EQ(godwit_frames_take(&frames_, 99) / GODWIT_BLOCK_FRAMES, 1u) << "no such block";
}

TEST_F(Frames, GivingBackTwiceOrWhatIsNotThereIsRefused) {
  make(1);
  godwit_frames_reserve(&frames_, 1);
  const unsigned long frame = godwit_frames_take(&frames_, GODWIT_NO_BLOCK);
  EXPECT_TRUE(godwit_frames_give(&frames_, frame));
  EXPECT_FALSE(godwit_frames_give(&frames_, frame));
  EXPECT_FALSE(godwit_frames_give(&frames_, 512));
  check({});
}

TEST_F(Frames, NothingIsTakenFromAnIsolatedBlock) {
  make(2);
  ASSERT_TRUE(godwit_frames_isolate(&frames_, 0));
  EXPECT_FALSE(godwit_frames_isolate(&frames_, 0));
  EXPECT_EQ(godwit_frames_reserve(&frames_, 1024), 512u);
  EXPECT_EQ(godwit_frames_take_block(&frames_), 512u);
  EXPECT_EQ(godwit_frames_take_block(&frames_), GODWIT_NO_FRAME);
  godwit_frames_rejoin(&frames_, 0);
  godwit_frames_rejoin(&frames_, 0);
  EXPECT_EQ(godwit_frames_reserve(&frames_, 1024), 512u);
  EXPECT_EQ(godwit_frames_take_block(&frames_), 0u);
}

TEST_F(Frames, ABlockWhosePagesArePromisedCannotBeIsolated) {
  make(2);
  ASSERT_EQ(godwit_frames_reserve(&frames_, 600), 600u);
  EXPECT_FALSE(godwit_frames_isolate(&frames_, 0));
  godwit_frames_unreserve(&frames_, 88);
  EXPECT_TRUE(godwit_frames_isolate(&frames_, 0));
}

TEST_F(Frames, FramesGivenBackToAnIsolatedBlockBecomeFreeWhenItRejoins) {
  make(1);
  godwit_frames_reserve(&frames_, 512);
  godwit_frames_take_block(&frames_);
  ASSERT_TRUE(godwit_frames_isolate(&frames_, 0));
  for (unsigned long frame = 0; frame < 512; ++frame) godwit_frames_give(&frames_, frame);
  EXPECT_EQ(godwit_frames_reserve(&frames_, 1), 0u);
  godwit_frames_rejoin(&frames_, 0);
  EXPECT_EQ(godwit_frames_reserve(&frames_, 512), 512u);
}

TEST_F(Frames, OldestIsTheOneUsedLongestAgoThatCanBeEvicted) {
  make(4);
  godwit_frames_reserve(&frames_, 2048);
  for (unsigned long block = 0; block < 4; ++block) {
    godwit_frames_take_block(&frames_);
    godwit_frames_touch(&frames_, block, 10 + block);
  }
  godwit_frames_touch(&frames_, 0, 20);
  godwit_frames_touch(&frames_, 0, 5);  // the clock does not go back
  EXPECT_EQ(godwit_frames_oldest(&frames_, 100), 1u);
  for (unsigned long frame = 512; frame < 1023; ++frame) godwit_frames_pin(&frames_, frame);
  EXPECT_EQ(godwit_frames_oldest(&frames_, 100), 1u) << "one frame can leave";
  godwit_frames_pin(&frames_, 1023);
  EXPECT_EQ(godwit_frames_oldest(&frames_, 100), 2u);
  godwit_frames_unpin(&frames_, 700);
  EXPECT_EQ(godwit_frames_oldest(&frames_, 100), 1u);
  godwit_frames_pin(&frames_, 700);
  ASSERT_TRUE(godwit_frames_isolate(&frames_, 2));
  EXPECT_EQ(godwit_frames_oldest(&frames_, 100), 3u);
  EXPECT_EQ(godwit_frames_oldest(&frames_, 13), GODWIT_NO_BLOCK) << "used since";
}

// Half a million random calls against a model.
TEST_F(Frames, AgreeWithAModel) {
  constexpr unsigned long kBlocks = 70;  // more than a word of the maps
  make(kBlocks);
  std::mt19937_64 random(1);
  std::set<unsigned long> used, isolated;
  unsigned long reserved = 0;
  for (int step = 0; step < 500000; ++step) {
    const unsigned long block = random() % kBlocks;
    switch (random() % 8) {
      case 0:
      case 1:
        reserved += godwit_frames_reserve(&frames_, random() % 700);
        break;
      case 2:
        if (reserved > 5000) {
          const unsigned long count = random() % reserved;
          godwit_frames_unreserve(&frames_, count);
          reserved -= count;
        }
        break;
      case 3: {
        const unsigned long first = godwit_frames_take_block(&frames_);
        if (first == GODWIT_NO_FRAME) break;
        reserved -= 512;
        ASSERT_EQ(isolated.count(first / 512), 0u);
        for (unsigned long i = 0; i < 512; ++i) ASSERT_TRUE(used.insert(first + i).second);
        break;
      }
      case 4: {
        if (reserved == 0) break;
        const auto want = static_cast<unsigned>(1 + random() % 100);
        unsigned count = want;
        const unsigned long frame = godwit_frames_take_run(&frames_, block, &count);
        ASSERT_NE(frame, GODWIT_NO_FRAME) << "a promise was broken";
        ASSERT_GE(count, 1u);
        ASSERT_LE(count, std::min<unsigned long>(want, reserved));
        reserved -= count;
        ASSERT_EQ(isolated.count(frame / 512), 0u);
        ASSERT_EQ((frame + count - 1) / 512, frame / 512);
        for (unsigned long i = 0; i < count; ++i) ASSERT_TRUE(used.insert(frame + i).second);
        break;
      }
      case 5: {
        const unsigned long first = random() % 2 * (random() % 512);
        for (unsigned long i = block * 512 + first; i < block * 512 + 512; ++i) {
          ASSERT_EQ(godwit_frames_give(&frames_, i), used.erase(i) == 1);
        }
        break;
      }
      case 6:
        if (godwit_frames_isolate(&frames_, block)) {
          ASSERT_TRUE(isolated.insert(block).second);
        }
        break;
      default:
        godwit_frames_rejoin(&frames_, block);
        isolated.erase(block);
        break;
    }
    ASSERT_EQ(frames_.nr_reserved, reserved);
    if (step % 10000 == 0) check(used);
  }
  check(used);
}

}  // namespace
