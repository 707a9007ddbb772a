// SPDX-License-Identifier: MIT
// The page table's lock and its refusal of forbidden transitions.
#include "runtime/src/residency/page_table.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace godwit {
namespace {

class PageTableTest : public ::testing::Test {
 protected:
  // No memory behind the addresses: the table never touches what it describes.
  PageTable table_ = std::move(*PageTable::create(reinterpret_cast<std::byte*>(kBlockBytes),
                                                  std::size_t{1} << 30));
};

TEST_F(PageTableTest, StartsNativeAndWithoutFrames) {
  EXPECT_EQ(table_.state(0), PageState::kNative);
  EXPECT_EQ(table_.state(table_.pages() - 1), PageState::kNative);
  EXPECT_EQ(table_.frame(0), PageTable::kNone);
}

TEST_F(PageTableTest, AddressesAndPagesAreInverse) {
  for (const std::size_t page : {std::size_t{0}, std::size_t{1}, table_.pages() - 1}) {
    EXPECT_EQ(table_.page_of(table_.address(page)), page);
    EXPECT_EQ(table_.page_of(table_.address(page) + kPageBytes - 1), page);
  }
}

TEST_F(PageTableTest, AForbiddenTransitionEndsTheProcessAndSaysWhich) {
  EXPECT_DEATH(table_.apply(7, PageEvent::kPromoteCommit),
               "page 7 .* in state native met event promote-commit");
}

TEST_F(PageTableTest, TheLockExcludes) {
  constexpr int kRounds = 20'000;
  int counter = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int index = 0; index < 4; ++index) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        table_.lock(3);
        ++counter;
        (void)table_.unlock(3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 4 * kRounds);
}

TEST_F(PageTableTest, UnlockTellsOfAFaultThatWasPutOff) {
  ASSERT_TRUE(table_.try_lock(1));
  EXPECT_FALSE(table_.try_lock(1));
  table_.block(1).wake.store(true);
  EXPECT_TRUE(table_.unlock(1));
  ASSERT_TRUE(table_.try_lock(1));
  EXPECT_FALSE(table_.unlock(1));
}

}  // namespace
}  // namespace godwit
