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

// A block that a device in the program itself has been told of.
struct Lent {
  void* block = filled();
  godwit_peer* peer = nullptr;
  int told = 0;

  explicit Lent(bool standing) {
    godwit_peer_options options{};
    options.size = sizeof options;
    options.standing = standing ? 1 : 0;
    options.patience_ms = -1;
    options.on_invalidate = [](void* opaque, void*, size_t) {
      ++static_cast<Lent*>(opaque)->told;
      return 0;
    };
    options.opaque = this;
    EXPECT_EQ(godwit_peer_map(context(), block, kLarge, &options, &peer), GODWIT_OK)
        << godwit_last_error();
  }
  ~Lent() { godwit_peer_unmap(peer); }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;

  static void* filled() {
    void* block = opaque(malloc(kLarge));
    fill(block, kLarge, 1);
    return block;
  }
};

TEST_F(MallocCache, ABlockWithATransferInFlightGoesToNobody) {
  Lent lent(false);
  ASSERT_EQ(godwit_peer_begin(lent.peer, nullptr), GODWIT_OK) << godwit_last_error();
  free(lent.block);
  EXPECT_EQ(lent.told, 0);
  EXPECT_TRUE(allocated(lent.block));
  const Block other = make_block(kLarge);
  EXPECT_NE(other.get(), lent.block);
  EXPECT_EQ(first_difference(lent.block, kLarge, 1), kLarge);
  // It was not given up; now it can be.
  godwit_peer_end(lent.peer);
  EXPECT_EQ(godwit_free(context(), lent.block), GODWIT_OK) << godwit_last_error();
}

TEST_F(MallocCache, FreeTellsThePeerAndEndsItsMapping) {
  Lent lent(false);
  uint64_t before = 0;
  ASSERT_EQ(godwit_peer_begin(lent.peer, &before), GODWIT_OK) << godwit_last_error();
  godwit_peer_end(lent.peer);
  free(lent.block);
  EXPECT_EQ(lent.told, 1);
  EXPECT_FALSE(allocated(lent.block));
  EXPECT_NE(godwit_peer_generation(lent.peer), before);
  EXPECT_EQ(godwit_peer_begin(lent.peer, nullptr), GODWIT_INVALID_ARGUMENT);
}

TEST_F(MallocCache, AStandingMappingKeepsNoBlockFromBeingKept) {
  const Lent lent(true);
  free(lent.block);
  const Block again = make_block(kLarge);
  EXPECT_EQ(again.get(), lent.block);
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
