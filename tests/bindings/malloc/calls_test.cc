// SPDX-License-Identifier: MIT
// madvise(), munmap() and mremap() of managed memory.
#include <errno.h>
#include <sys/mman.h>

#include "tests/bindings/malloc/managed.h"

namespace godwit::testing {
namespace {

using MemoryCalls = Managed;

constexpr size_t kBytes = 2 * kLarge;

// The whole pages in the middle of a filled block.
struct Filled {
  Filled() : block(make_block(kBytes)) {
    fill(block.get(), kBytes, 1);
    const uintptr_t start = reinterpret_cast<uintptr_t>(block.get());
    first_page = reinterpret_cast<unsigned char*>((start + kPageBytes - 1) & ~(kPageBytes - 1));
  }
  Block block;
  unsigned char* first_page;
};

TEST_F(MemoryCalls, DontneedReadsZeroAndLeavesTheRest) {
  for (const bool in_vram : {false, true}) {
    for (const int advice : {MADV_DONTNEED, MADV_FREE}) {
      Filled filled;
      ASSERT_TRUE(is_managed(filled.first_page));
      if (in_vram) {
        EXPECT_GT(push(filled.block.get(), kBytes), 0u);
      }
      unsigned char* middle = filled.first_page + 16 * kPageBytes;
      const auto before = static_cast<size_t>(middle - filled.block.get());
      ASSERT_EQ(madvise(middle, 32 * kPageBytes, advice), 0) << strerror(errno);
      if (advice == MADV_DONTNEED) {
        EXPECT_TRUE(all_zero(middle, 32 * kPageBytes));
      }
      EXPECT_EQ(first_difference(filled.block.get(), before, 1), before);
      for (size_t at = before + 32 * kPageBytes; at < kBytes; ++at) {
        ASSERT_EQ(filled.block.get()[at], pattern(at, 1));
      }
      fill(middle, 32 * kPageBytes, 2);
      EXPECT_EQ(first_difference(middle, 32 * kPageBytes, 2), 32 * kPageBytes);
    }
  }
}

TEST_F(MemoryCalls, MadviseChecksItsArguments) {
  Filled filled;
  errno = 0;
  EXPECT_EQ(madvise(filled.first_page + 1, kPageBytes, MADV_DONTNEED), -1);
  EXPECT_EQ(errno, EINVAL);
  errno = 0;
  EXPECT_EQ(madvise(filled.first_page, SIZE_MAX, MADV_DONTNEED), -1);
  EXPECT_EQ(errno, EINVAL);
  errno = 0;
  EXPECT_EQ(madvise(filled.first_page, kPageBytes, MADV_REMOVE), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(madvise(filled.first_page, 0, MADV_DONTNEED), 0);
  EXPECT_EQ(madvise(filled.first_page, kPageBytes, MADV_NOHUGEPAGE), 0);
  EXPECT_EQ(first_difference(filled.block.get(), kBytes, 1), kBytes);
}

TEST_F(MemoryCalls, HintsAreAcceptedAndBlocksStillMove) {
  Filled filled;
  for (const int advice : {MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_SEQUENTIAL, MADV_RANDOM,
                           MADV_NORMAL, MADV_WILLNEED, MADV_COLD, MADV_MERGEABLE}) {
    EXPECT_EQ(madvise(filled.first_page + 8 * kPageBytes, 8 * kPageBytes, advice), 0) << advice;
    EXPECT_GT(push(filled.block.get(), kBytes), 0u);
    ASSERT_EQ(first_difference(filled.block.get(), kBytes, 1), kBytes) << advice;
  }
}

TEST_F(MemoryCalls, ProtectedPagesInsideABlockDoNotStopTheOthers) {
  Filled filled;
  const auto before = static_cast<size_t>(filled.first_page - filled.block.get());
  unsigned char* page = filled.first_page + 8 * kPageBytes;
  ASSERT_EQ(mprotect(page, kPageBytes, PROT_READ), 0);
  godwit_prefetch(context(), filled.block.get(), kBytes, GODWIT_DEVICE, nullptr);
  EXPECT_EQ(first_difference(filled.block.get(), kBytes, 1), kBytes);
  ASSERT_EQ(mprotect(page, kPageBytes, PROT_READ | PROT_WRITE), 0);
  page[3] = 1;
  EXPECT_GT(push(filled.block.get(), kBytes), 0u);
  EXPECT_EQ(page[3], 1);
  EXPECT_EQ(page[4], pattern(before + 8 * kPageBytes + 4, 1));
}

TEST_F(MemoryCalls, LockedPagesInsideABlockDoNotStopTheOthers) {
  Filled filled;
  unsigned char* page = filled.first_page + 8 * kPageBytes;
  if (mlock(page, kPageBytes) != 0) GTEST_SKIP() << "mlock: " << strerror(errno);
  godwit_prefetch(context(), filled.block.get(), kBytes, GODWIT_DEVICE, nullptr);
  EXPECT_EQ(first_difference(filled.block.get(), kBytes, 1), kBytes);
  ASSERT_EQ(munlock(page, kPageBytes), 0);
  EXPECT_GT(push(filled.block.get(), kBytes), 0u);
  EXPECT_EQ(first_difference(filled.block.get(), kBytes, 1), kBytes);
}

TEST_F(MemoryCalls, MunmapOfManagedGivesPagesBackAndTheBlockStaysUsable) {
  Filled filled;
  EXPECT_GT(push(filled.block.get(), kBytes), 0u);
  ASSERT_EQ(munmap(filled.first_page, 8 * kPageBytes), 0);
  EXPECT_TRUE(all_zero(filled.first_page, 8 * kPageBytes));
  fill(filled.block.get(), kBytes, 3);
  EXPECT_EQ(first_difference(filled.block.get(), kBytes, 3), kBytes);
  errno = 0;
  EXPECT_EQ(munmap(filled.first_page, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(MemoryCalls, MremapOfManagedMovesACopy) {
  Filled filled;
  const auto before = static_cast<size_t>(filled.first_page - filled.block.get());
  EXPECT_GT(push(filled.block.get(), kBytes), 0u);
  void* moved = mremap(filled.first_page, 8 * kPageBytes, 16 * kPageBytes, MREMAP_MAYMOVE);
  ASSERT_NE(moved, MAP_FAILED);
  EXPECT_FALSE(is_managed(moved));
  for (size_t at = 0; at < 8 * kPageBytes; ++at) {
    ASSERT_EQ(static_cast<unsigned char*>(moved)[at], pattern(before + at, 1));
  }
  EXPECT_TRUE(all_zero(static_cast<unsigned char*>(moved) + 8 * kPageBytes, 8 * kPageBytes));
  EXPECT_TRUE(all_zero(filled.first_page, 8 * kPageBytes));
  EXPECT_EQ(munmap(moved, 16 * kPageBytes), 0);
}

TEST_F(MemoryCalls, MremapOfManagedToAFixedAddress) {
  Filled filled;
  const auto before = static_cast<size_t>(filled.first_page - filled.block.get());
  void* target = mmap(nullptr, 4 * kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(target, MAP_FAILED);
  ASSERT_EQ(mremap(filled.first_page, 4 * kPageBytes, 4 * kPageBytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                   target),
            target);
  for (size_t at = 0; at < 4 * kPageBytes; ++at) {
    ASSERT_EQ(static_cast<unsigned char*>(target)[at], pattern(before + at, 1));
  }
  EXPECT_EQ(munmap(target, 4 * kPageBytes), 0);
}

TEST_F(MemoryCalls, MremapOfManagedInPlace) {
  Filled filled;
  EXPECT_EQ(mremap(filled.first_page, 8 * kPageBytes, 4 * kPageBytes, 0), filled.first_page);
  EXPECT_TRUE(all_zero(filled.first_page + 4 * kPageBytes, 4 * kPageBytes));
  errno = 0;
  EXPECT_EQ(mremap(filled.first_page, 4 * kPageBytes, 8 * kPageBytes, 0), MAP_FAILED);
  EXPECT_EQ(errno, ENOMEM);
  errno = 0;
  EXPECT_EQ(mremap(filled.first_page + 1, kPageBytes, kPageBytes, MREMAP_MAYMOVE), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
}

TEST(MemoryCallsElsewhere, AreTheSystemCalls) {
  void* mapped =
      mmap(nullptr, 8 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  fill(mapped, 8 * kPageBytes, 1);
  EXPECT_EQ(madvise(mapped, kPageBytes, MADV_DONTNEED), 0);
  EXPECT_TRUE(all_zero(mapped, kPageBytes));
  errno = 0;
  EXPECT_EQ(madvise(mapped, kPageBytes, 12345), -1);
  EXPECT_EQ(errno, EINVAL);
  void* moved = mremap(mapped, 8 * kPageBytes, 64 * kPageBytes, MREMAP_MAYMOVE);
  ASSERT_NE(moved, MAP_FAILED);
  EXPECT_EQ(static_cast<unsigned char*>(moved)[2 * kPageBytes + 1], pattern(2 * kPageBytes + 1, 1));
  EXPECT_EQ(munmap(moved, 64 * kPageBytes), 0);
  errno = 0;
  EXPECT_EQ(munmap(static_cast<char*>(moved) + 1, kPageBytes), -1);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
}  // namespace godwit::testing
