// SPDX-License-Identifier: MIT
// What each function of the malloc family promises.
#include <errno.h>
#include <malloc.h>
#include <pthread.h>

#include <new>
#include <string>
#include <tuple>

#include "tests/bindings/malloc/managed.h"

namespace godwit::testing {
namespace {

TEST(MallocFamily, ZeroBytesGiveDistinctPointers) {
  void* first = malloc(opaque<size_t>(0));
  void* second = malloc(opaque<size_t>(0));
  EXPECT_NE(first, nullptr);
  EXPECT_NE(second, nullptr);
  EXPECT_NE(first, second);
  free(first);
  free(second);
  void* cleared = calloc(opaque<size_t>(0), 8);
  EXPECT_NE(cleared, nullptr);
  free(cleared);
}

TEST(MallocFamily, FreeOfNullDoesNothing) { free(opaque<void*>(nullptr)); }

TEST(MallocFamily, CallocOverflowIsOutOfMemory) {
  const size_t half = opaque<size_t>(SIZE_MAX / 2 + 2);
  errno = 0;
  EXPECT_EQ(calloc(half, 2), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  errno = 0;
  EXPECT_EQ(calloc(2, half), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(calloc(opaque<size_t>(size_t{1} << 33), size_t{1} << 33), nullptr);
}

TEST(MallocFamily, ReallocarrayOverflowKeepsTheBlock) {
  void* block = malloc(64);
  fill(block, 64, 1);
  errno = 0;
  EXPECT_EQ(reallocarray(opaque(block), opaque<size_t>(SIZE_MAX / 4), 8), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(first_difference(block, 64, 1), 64u);
  free(block);
}

TEST(MallocFamily, SizesAbovePtrdiffMaxAreOutOfMemory) {
  for (const size_t bytes : {size_t{PTRDIFF_MAX} + 1, SIZE_MAX, SIZE_MAX - 4095}) {
    errno = 0;
    EXPECT_EQ(malloc(opaque(bytes)), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    errno = 0;
    EXPECT_EQ(calloc(opaque(bytes), 1), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    errno = 0;
    EXPECT_EQ(memalign(64, opaque(bytes)), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    errno = 0;
    EXPECT_EQ(pvalloc(opaque(bytes)), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    void* unchanged = nullptr;
    EXPECT_EQ(posix_memalign(&unchanged, 64, opaque(bytes)), ENOMEM);
    EXPECT_EQ(unchanged, nullptr);
    void* block = malloc(100);
    errno = 0;
    EXPECT_EQ(realloc(opaque(block), opaque(bytes)), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    free(block);
  }
}

TEST(MallocFamily, MoreThanThereIsIsOutOfMemory) {
  errno = 0;
  EXPECT_EQ(malloc(opaque(size_t{1} << 50)), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  errno = 0;
  EXPECT_EQ(calloc(opaque(size_t{1} << 50), 1), nullptr);
  EXPECT_EQ(errno, ENOMEM);
}

TEST(MallocFamily, PosixMemalignRefusesBadAlignments) {
  void* block = nullptr;
  for (const size_t alignment : {0, 1, 2, 4, 3, 12, 24, 48, 4095}) {
    errno = 77;
    EXPECT_EQ(posix_memalign(&block, opaque(alignment), 64), EINVAL) << alignment;
    EXPECT_EQ(errno, 77);
    EXPECT_EQ(block, nullptr);
  }
}

TEST(MallocFamily, EveryAlignmentIsKept) {
  const size_t sizes[] = {0, 1, 8, 100, 4096, 70'000, kMinBlock - 1, kMinBlock, kLarge + 5};
  for (size_t alignment = sizeof(void*); alignment <= size_t{64} << 20; alignment *= 2) {
    for (const size_t bytes : sizes) {
      SCOPED_TRACE(std::to_string(alignment) + " " + std::to_string(bytes));
      void* block = nullptr;
      ASSERT_EQ(posix_memalign(&block, alignment, bytes), 0);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u);
      EXPECT_GE(malloc_usable_size(block), bytes);
      memset(block, 1, bytes);
      block = realloc(block, bytes + 1);
      ASSERT_NE(block, nullptr);
      free(block);
      void* other = memalign(alignment, bytes);
      ASSERT_NE(other, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(other) % alignment, 0u);
      void* third = aligned_alloc(alignment, bytes);
      ASSERT_NE(third, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(third) % alignment, 0u);
      EXPECT_NE(third, other);
      free(other);
      free(third);
    }
  }
}

TEST(MallocFamily, AlignmentThatIsNoPowerOfTwoIsRoundedUpAsInGlibc) {
  for (const size_t alignment : {0, 1, 3, 24, 100, 5000}) {
    void* block = memalign(opaque(alignment), 64);
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % (alignment == 5000 ? 8192u : 16u), 0u);
    free(block);
  }
  errno = 0;
  EXPECT_EQ(memalign(opaque(SIZE_MAX), 64), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST(MallocFamily, MallocAlignsForEveryType) {
  for (size_t bytes = 16; bytes < 4 * kMinBlock; bytes = bytes * 5 / 4 + 1) {
    void* block = malloc(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignof(max_align_t), 0u) << bytes;
    free(block);
  }
}

TEST(MallocFamily, VallocAndPvallocAlignToPages) {
  void* block = valloc(10);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % kPageBytes, 0u);
  free(block);
  block = pvalloc(kPageBytes + 1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % kPageBytes, 0u);
  EXPECT_GE(malloc_usable_size(block), 2 * kPageBytes);
  free(block);
}

TEST(MallocFamily, UsableSizeMayBeWrittenWhole) {
  for (const size_t bytes : {size_t{1}, size_t{100}, kMinBlock - 1, kMinBlock, kLarge + 1}) {
    void* block = malloc(bytes);
    const size_t usable = malloc_usable_size(block);
    EXPECT_GE(usable, bytes);
    fill(block, usable, 3);
    EXPECT_EQ(first_difference(block, usable, 3), usable);
    free(block);
  }
  EXPECT_EQ(malloc_usable_size(nullptr), 0u);
}

TEST(MallocFamily, CallocClearsRecycledBlocks) {
  for (const size_t bytes : {size_t{48}, size_t{5000}, kMinBlock, 3 * kLarge}) {
    for (int round = 0; round < 20; ++round) {
      auto* block = static_cast<unsigned char*>(calloc(1, bytes));
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(all_zero(block, bytes)) << bytes;
      memset(block, 0xa5, bytes);
      free(block);
    }
  }
}

TEST(MallocFamily, ReallocToZeroFreesAsInGlibc) {
  for (const size_t bytes : {size_t{100}, kLarge}) {
    void* block = malloc(bytes);
    EXPECT_EQ(realloc(block, opaque<size_t>(0)), nullptr);
  }
}

TEST(MallocFamily, ReallocOfNullAllocates) {
  void* block = realloc(opaque<void*>(nullptr), kLarge);
  ASSERT_NE(block, nullptr);
  fill(block, kLarge, 1);
  free(block);
}

TEST(MallocFamily, ReallocKeepsContentsAcrossTheBorderBothWays) {
  const size_t sizes[] = {
      1000,   kMinBlock - 1, kMinBlock,   kMinBlock - 16, 5 * kLarge, 4 * kLarge, 3000,
      kLarge, kLarge + 1,    20 * kLarge, kMinBlock + 1,  64,         kMinBlock,  17};
  size_t held = 10;
  void* block = malloc(held);
  fill(block, held, 9);
  for (const size_t bytes : sizes) {
    block = realloc(block, bytes);
    ASSERT_NE(block, nullptr);
    const size_t kept = held < bytes ? held : bytes;
    ASSERT_EQ(first_difference(block, kept, 9), kept) << held << " to " << bytes;
    fill(block, bytes, 9);
    held = bytes;
  }
  free(block);
}

TEST(MallocFamily, FreeKeepsErrno) {
  for (const size_t bytes : {size_t{10}, size_t{200'000}, kLarge, 64 * kLarge}) {
    void* block = malloc(bytes);
    memset(block, 1, bytes);
    errno = 1234;
    free(block);
    EXPECT_EQ(errno, 1234);
  }
}

TEST(MallocFamily, NewAndDeleteOfAllKindsWork) {
  struct alignas(128) Wide {
    char bytes[256];
  };
  for (const size_t count : {size_t{1}, 2 * kLarge}) {
    auto* plain = new char[opaque(count)];
    plain[count - 1] = 1;
    delete[] plain;
    auto* wide = new Wide[opaque(count / 256 + 1)];
    EXPECT_EQ(reinterpret_cast<uintptr_t>(wide) % 128, 0u);
    delete[] wide;
    EXPECT_EQ(new (std::nothrow) char[opaque(size_t{1} << 60)], nullptr);
  }
  EXPECT_THROW(std::ignore = ::operator new(opaque(size_t{1} << 60)), std::bad_alloc);
  EXPECT_THROW(std::ignore = ::operator new (opaque(size_t{1} << 60), std::align_val_t{64}),
               std::bad_alloc);
}

TEST(MallocFamily, NewHandlerIsCalled) {
  static int calls = 0;
  std::set_new_handler([] {
    if (++calls == 3) std::set_new_handler(nullptr);
  });
  EXPECT_THROW(std::ignore = ::operator new(opaque(size_t{1} << 60)), std::bad_alloc);
  EXPECT_EQ(calls, 3);
}

TEST(MallocFamily, TuningCallsAnswer) {
  EXPECT_EQ(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
  Block block = make_block(kLarge);
  memset(block.get(), 1, kLarge);
  const struct mallinfo2 info = mallinfo2();
  EXPECT_GT(info.arena, 0u);
  if (is_managed(block.get())) {
    EXPECT_GE(info.hblkhd, kLarge);
  }
  malloc_trim(0);
  EXPECT_EQ(block.get()[5], 1);
}

// glibc's own functions, reached past this library.
template <typename Function>
Function of_libc(const char* name) {
  void* libc = dlopen("libc.so.6", RTLD_NOLOAD | RTLD_NOW);
  return reinterpret_cast<Function>(dlsym(libc, name));
}

TEST(MallocFamily, BlocksOfAnotherAllocatorAreRecognised) {
  const auto other_malloc = of_libc<void* (*)(size_t)>("malloc");
  const auto other_memalign = of_libc<void* (*)(size_t, size_t)>("memalign");
  ASSERT_NE(other_malloc, nullptr);
  ASSERT_NE(reinterpret_cast<void*>(other_malloc), reinterpret_cast<void*>(&malloc));
  for (const size_t bytes : {size_t{24}, size_t{100'000}, 2 * kLarge}) {
    void* plain = other_malloc(bytes);
    void* aligned = other_memalign(4096, bytes);
    EXPECT_GE(malloc_usable_size(plain), bytes);
    EXPECT_FALSE(is_managed(plain));
    free(plain);
    free(aligned);
    for (const size_t grown : {size_t{16}, bytes + 100, 4 * kLarge}) {
      void* block = other_memalign(64, bytes);
      fill(block, bytes, 5);
      block = realloc(block, grown);
      ASSERT_NE(block, nullptr);
      const size_t kept = bytes < grown ? bytes : grown;
      EXPECT_EQ(first_difference(block, kept, 5), kept);
      free(block);
    }
    EXPECT_EQ(realloc(other_malloc(bytes), opaque<size_t>(0)), nullptr);
  }
}

TEST(MallocFamily, StringsOfLibcAreFreed) {
  char* copy = strdup("godwit");
  EXPECT_STREQ(copy, "godwit");
  free(copy);
  char* path = realpath("/proc/self/exe", nullptr);
  ASSERT_NE(path, nullptr);
  free(path);
}

using ManagedFamily = Managed;

TEST_F(ManagedFamily, LargeBlocksAreManagedAndSmallOnesAreNot) {
  for (const size_t bytes : {size_t{1}, size_t{4096}, kMinBlock - 1}) {
    Block block = make_block(bytes);
    EXPECT_FALSE(is_managed(block.get())) << bytes;
  }
  for (const size_t bytes : {kMinBlock, kMinBlock + 1, 10 * kLarge}) {
    Block block = make_block(bytes);
    EXPECT_TRUE(is_managed(block.get())) << bytes;
    EXPECT_TRUE(is_managed(block.get() + bytes - 1)) << bytes;
    Block cleared(static_cast<unsigned char*>(calloc(1, bytes)));
    EXPECT_TRUE(is_managed(cleared.get()));
    std::unique_ptr<char[]> made(new char[bytes]);
    EXPECT_TRUE(is_managed(made.get()));
  }
}

TEST_F(ManagedFamily, CallocAfterFreeInVramReadsZero) {
  for (int round = 0; round < 10; ++round) {
    void* block = malloc(kLarge);
    memset(block, 0x5a, kLarge);
    EXPECT_GT(push(block, kLarge), 0u);
    free(block);
    void* next = calloc(1, kLarge);
    ASSERT_TRUE(all_zero(next, kLarge));
    free(next);
  }
}

TEST_F(ManagedFamily, ReallocOfBlockInVramKeepsContents) {
  for (const size_t bytes : {size_t{1000}, kMinBlock, 8 * kLarge}) {
    void* block = malloc(2 * kLarge);
    fill(block, 2 * kLarge, 4);
    EXPECT_GT(push(block, 2 * kLarge), 0u);
    block = realloc(block, bytes);
    const size_t kept = bytes < 2 * kLarge ? bytes : 2 * kLarge;
    EXPECT_EQ(first_difference(block, kept, 4), kept);
    free(block);
  }
}

TEST_F(ManagedFamily, ShrinkingInPlaceAndGrowingBackWorks) {
  void* block = malloc(8 * kLarge);
  fill(block, 8 * kLarge, 6);
  void* shrunk = realloc(block, kLarge);
  EXPECT_EQ(first_difference(shrunk, kLarge, 6), kLarge);
  void* grown = realloc(shrunk, 8 * kLarge);
  EXPECT_EQ(first_difference(grown, kLarge, 6), kLarge);
  fill(grown, 8 * kLarge, 7);
  EXPECT_EQ(first_difference(grown, 8 * kLarge, 7), 8 * kLarge);
  free(grown);
}

TEST_F(ManagedFamily, ThreadInsideTheLibraryGetsOrdinaryMemory) {
  godwit_inside_enter();
  void* block = malloc(kLarge);
  godwit_inside_leave();
  EXPECT_FALSE(is_managed(block));
  memset(block, 1, kLarge);
  free(block);
}

TEST_F(ManagedFamily, ThreadsOfAThreadInsideAreInside) {
  struct Seen {
    int inside = -1;
    bool managed = true;
    int child_inside = -1;
  } seen;
  const auto run = [](void* argument) -> void* {
    auto* out = static_cast<Seen*>(argument);
    out->inside = godwit_inside();
    void* block = malloc(kLarge);
    out->managed = is_managed(block);
    free(block);
    pthread_t grandchild;
    const auto look = [](void* where) -> void* {
      *static_cast<int*>(where) = godwit_inside();
      return nullptr;
    };
    if (pthread_create(&grandchild, nullptr, look, &out->child_inside) == 0) {
      pthread_join(grandchild, nullptr);
    }
    return argument;
  };
  pthread_t thread;
  godwit_inside_enter();
  ASSERT_EQ(pthread_create(&thread, nullptr, run, &seen), 0);
  godwit_inside_leave();
  void* result = nullptr;
  ASSERT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, &seen);
  EXPECT_EQ(seen.inside, 1);
  EXPECT_FALSE(seen.managed);
  EXPECT_EQ(seen.child_inside, 1);

  seen = {};
  ASSERT_EQ(pthread_create(&thread, nullptr, run, &seen), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  EXPECT_EQ(seen.inside, 0);
  EXPECT_TRUE(seen.managed);
  EXPECT_EQ(seen.child_inside, 0);
}

TEST_F(ManagedFamily, BlockThatAnInsideThreadFreesIsFreedLater) {
  void* block = malloc(kLarge);
  ASSERT_TRUE(is_managed(block));
  godwit_inside_enter();
  free(opaque(block));
  godwit_inside_leave();
  EXPECT_GT(godwit_size_of(context(), block), 0u);
  malloc_trim(0);
  EXPECT_EQ(godwit_size_of(context(), block), 0u);
}

}  // namespace
}  // namespace godwit::testing
