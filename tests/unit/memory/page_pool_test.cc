// SPDX-License-Identifier: MIT
// The stock of pages: bounded, reused, and honest about a system without memory.
#include "runtime/src/host/page_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "runtime/src/host/fake/fake_host.h"

namespace godwit {
namespace {

class PagePoolTest : public ::testing::Test {
 protected:
  FakeHost host_{HostLevel::kFull};
  std::unique_ptr<PagePool> pool_ = std::move(*PagePool::create(host_, 4 * kBlockBytes));
};

TEST_F(PagePoolTest, SlotsAreDistinctAndInsideTheirSize) {
  std::set<std::byte*> seen;
  for (int index = 0; index < 100; ++index) {
    std::byte* slot = pool_->take_empty(SlotSize::kBlock);
    ASSERT_NE(slot, nullptr);
    EXPECT_TRUE(seen.insert(slot).second);
  }
  auto before = seen.begin();
  for (auto at = std::next(before); at != seen.end(); ++at, ++before) {
    EXPECT_GE(*at - *before, static_cast<std::ptrdiff_t>(kBlockBytes));
  }
}

TEST_F(PagePoolTest, KeepsNoMoreWarmThanItMay) {
  std::vector<std::byte*> slots;
  slots.reserve(8);
  for (int index = 0; index < 8; ++index) slots.push_back(pool_->take_empty(SlotSize::kBlock));
  for (std::byte* slot : slots) pool_->give_full(SlotSize::kBlock, slot);
  EXPECT_EQ(pool_->warm_bytes(), 4 * kBlockBytes);
}

TEST_F(PagePoolTest, AWarmSlotIsTakenBeforeTheSystemIsAsked) {
  std::byte* slot = pool_->take_empty(SlotSize::kChunk);
  pool_->give_full(SlotSize::kChunk, slot);
  host_.fail_next(FakeStep::kPopulate, ENOMEM, 1);
  EXPECT_EQ(pool_->take_full(SlotSize::kChunk), slot);
  EXPECT_EQ(pool_->warm_bytes(), 0U);
  EXPECT_EQ(pool_->take_full(SlotSize::kChunk), nullptr);  // the system has no memory
  EXPECT_NE(pool_->take_full(SlotSize::kChunk), nullptr);  // and has again
}

TEST_F(PagePoolTest, NoSlotIsLostOverManyRounds) {
  for (int round = 0; round < 10'000; ++round) {
    std::byte* slot = pool_->take_empty(SlotSize::kChunk);
    ASSERT_NE(slot, nullptr) << round;
    if (round % 3 == 0) {
      pool_->give_full(SlotSize::kChunk, slot);
    } else if (round % 3 == 1) {
      pool_->give_empty(SlotSize::kChunk, slot);
    } else {
      pool_->give_mixed(SlotSize::kChunk, slot);
    }
    if (round % 5 == 0) {
      slot = pool_->take_full(SlotSize::kChunk);
      ASSERT_NE(slot, nullptr) << round;
      pool_->give_empty(SlotSize::kChunk, slot);
    }
  }
}

}  // namespace
}  // namespace godwit
