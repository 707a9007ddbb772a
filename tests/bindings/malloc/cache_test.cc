// SPDX-License-Identifier: MIT
// Freed blocks in RAM are kept for later requests.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include "tests/bindings/malloc/managed.h"

namespace godwit::testing {
namespace {

// Nothing kept by an earlier test.
class MallocCache : public Managed {
 protected:
  void SetUp() override {
    Managed::SetUp();
    if (!IsSkipped()) malloc_trim(0);
  }
  static bool allocated(const void* block) { return godwit_size_of(context(), block) != 0; }
};

void* filled_and_freed(size_t bytes) {
  void* block = opaque(malloc(bytes));
  fill(block, bytes, 1);
  free(block);
  return block;
}

TEST_F(MallocCache, ABlockInRamServesTheNextRequestOfItsSize) {
  void* block = filled_and_freed(kLarge);
  EXPECT_TRUE(allocated(block));
  const Block again = make_block(kLarge);
  EXPECT_EQ(again.get(), block);
  const Block other = make_block(kLarge);
  EXPECT_NE(other.get(), block);
  fill(other.get(), kLarge, 2);
  EXPECT_EQ(first_difference(again.get(), kLarge, 1), kLarge);
}

TEST_F(MallocCache, ABlockServesNoRequestThatIsMuchSmallerOrLarger) {
  void* block = filled_and_freed(kLarge);
  const Block larger = make_block(kLarge + kLarge / 2);
  const Block smaller = make_block(kLarge / 2);
  EXPECT_NE(larger.get(), block);
  EXPECT_NE(smaller.get(), block);
  const Block fitting = make_block(kLarge - kLarge / 8);
  EXPECT_EQ(fitting.get(), block);
}

TEST_F(MallocCache, AlignmentIsKept) {
  std::vector<void*> freed;
  for (int count = 0; count < 4; ++count) freed.push_back(opaque(malloc(kLarge)));
  for (void* block : freed) free(block);
  constexpr size_t kAlignment = size_t{4} << 20;
  const Block block(static_cast<unsigned char*>(aligned_alloc(kAlignment, kLarge)));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block.get()) % kAlignment, 0u);
}

TEST_F(MallocCache, CallocClearsWhatWasKept) {
  void* block = filled_and_freed(kLarge);
  const Block zeros(static_cast<unsigned char*>(opaque(calloc(1, kLarge))));
  EXPECT_EQ(zeros.get(), block);
  EXPECT_TRUE(all_zero(zeros.get(), kLarge));
}

TEST_F(MallocCache, CallocClearsWhatMigratedWhileItWasKept) {
  void* block = filled_and_freed(kLarge);
  ASSERT_GT(push(block, kLarge), 0u);
  const Block zeros(static_cast<unsigned char*>(opaque(calloc(1, kLarge))));
  EXPECT_EQ(zeros.get(), block);
  EXPECT_TRUE(all_zero(zeros.get(), kLarge));
}

TEST_F(MallocCache, ABlockInVramIsGivenBackAtOnce) {
  void* block = opaque(malloc(kLarge));
  fill(block, kLarge, 1);
  ASSERT_GT(push(block, kLarge), 0u);
  free(block);
  EXPECT_FALSE(allocated(block));
}

TEST_F(MallocCache, AdviceEndsWithTheBlock) {
  void* block = opaque(malloc(kLarge));
  fill(block, kLarge, 1);
  ASSERT_EQ(godwit_advise(context(), block, kLarge, GODWIT_ADVICE_KEEP_HOST), GODWIT_OK);
  free(block);
  const Block again = make_block(kLarge);
  ASSERT_EQ(again.get(), block);
  EXPECT_GT(push(again.get(), kLarge), 0u);
}

TEST_F(MallocCache, TrimGivesEverythingBack) {
  void* block = filled_and_freed(kLarge);
  ASSERT_TRUE(allocated(block));
  EXPECT_EQ(malloc_trim(0), 1);
  EXPECT_FALSE(allocated(block));
}

TEST_F(MallocCache, TheOldestGoesWhenThereAreTooMany) {
  constexpr size_t kCount = 40;  // more than are kept
  std::vector<void*> blocks;
  for (size_t count = 0; count < kCount; ++count) blocks.push_back(opaque(malloc(kMinBlock)));
  for (void* block : blocks) memset(block, 1, kMinBlock);
  for (void* block : blocks) free(block);
  EXPECT_FALSE(allocated(blocks.front()));
  EXPECT_TRUE(allocated(blocks.back()));
}

using MallocCacheDeathTest = MallocCache;

TEST_F(MallocCacheDeathTest, FreeingAKeptBlockEndsTheProgram) {
  EXPECT_EXIT(
      {
        // This child of fork() keeps nothing; the program that it executes does.
        setenv("GODWIT_TEST_FREE_TWICE", "1", 1);
        execl("/proc/self/exe", "twice", "--gtest_filter=FreesTwice.*", nullptr);
        _exit(99);
      },
      ::testing::KilledBySignal(SIGABRT), "freed twice");
}

TEST(FreesTwice, WhenAskedTo) {
  if (getenv("GODWIT_TEST_FREE_TWICE") == nullptr) return;
  void* block = filled_and_freed(kLarge);
  free(opaque(block));
}

}  // namespace
}  // namespace godwit::testing
