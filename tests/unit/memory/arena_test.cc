// SPDX-License-Identifier: MIT
// The region directory: no two regions overlap, freed ranges come together again, and lookups tell.
#include "runtime/src/region/arena.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace godwit {
namespace {

constexpr std::size_t kArena = std::size_t{1} << 30;

TEST(Arena, RegionsAreAlignedAndDisjoint) {
  auto arena = Arena::reserve(kArena);
  ASSERT_TRUE(arena);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena->base()) % kBlockBytes, 0U);
  std::byte* small = arena->allocate(1, 1);
  std::byte* large = arena->allocate(kBlockBytes + 1, 1);
  std::byte* aligned = arena->allocate(1, std::size_t{16} << 20);
  EXPECT_EQ(arena->size_at(small), kChunkBytes);
  EXPECT_EQ(arena->size_at(large), kBlockBytes + kChunkBytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large) % kBlockBytes, 0U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned) % (std::size_t{16} << 20), 0U);
  EXPECT_EQ(arena->size_at(small + 1), 0U);
}

TEST(Arena, RandomUseNeverOverlapsAndEndsWhole) {
  auto arena = Arena::reserve(kArena);
  ASSERT_TRUE(arena);
  std::mt19937 random(7);
  std::map<std::byte*, std::size_t> live;
  for (int round = 0; round < 20'000; ++round) {
    if (live.empty() || random() % 2 == 0) {
      const std::size_t bytes = 1 + random() % (std::size_t{8} << 20);
      std::byte* region = arena->allocate(bytes, 1);
      if (region == nullptr) continue;
      const std::size_t size = arena->size_at(region);
      ASSERT_GE(size, bytes);
      const auto after = live.lower_bound(region);
      ASSERT_TRUE(after == live.end() || region + size <= after->first);
      ASSERT_TRUE(after == live.begin() ||
                  std::prev(after)->first + std::prev(after)->second <= region);
      ASSERT_EQ(arena->find(region + size - 1).base, region);
      live.emplace(region, size);
    } else {
      const auto victim = std::next(live.begin(), static_cast<long>(random() % live.size()));
      ASSERT_TRUE(arena->release(victim->first));
      live.erase(victim);
    }
  }
  for (const auto& [region, size] : live) ASSERT_TRUE(arena->release(region));
  EXPECT_NE(arena->allocate(kArena, 1), nullptr) << "free ranges did not come together";
}

TEST(Arena, AFullArenaSaysSoAndTakesBack) {
  auto arena = Arena::reserve(kBlockBytes * 4);
  ASSERT_TRUE(arena);
  std::byte* all = arena->allocate(kBlockBytes * 4, 1);
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(arena->allocate(1, 1), nullptr);
  EXPECT_FALSE(arena->release(all + kChunkBytes));
  EXPECT_TRUE(arena->release(all));
  EXPECT_FALSE(arena->release(all));
  EXPECT_NE(arena->allocate(kBlockBytes * 4, 1), nullptr);
}

TEST(Arena, LooksUpTheRegionOfAnyAddress) {
  auto arena = Arena::reserve(kArena);
  ASSERT_TRUE(arena);
  std::byte* first = arena->allocate(kChunkBytes * 3, 1);
  std::byte* second = arena->allocate(kChunkBytes, 1);
  EXPECT_EQ(arena->find(first + kChunkBytes * 3 - 1).base, first);
  EXPECT_EQ(arena->find(second).base, second);
  EXPECT_EQ(arena->find(arena->base() + kArena - 1).bytes, 0U);
  EXPECT_FALSE(arena->contains(arena->base() - 1));
  EXPECT_FALSE(arena->contains(arena->base() + kArena));
  EXPECT_EQ(arena->next(arena->base()).base, std::min(first, second));
  EXPECT_TRUE(arena->set_advice(first + 5, Advice::kReadMostly));
  EXPECT_EQ(arena->find(first).advice, Advice::kReadMostly);
}

}  // namespace
}  // namespace godwit
