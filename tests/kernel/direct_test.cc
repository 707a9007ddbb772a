// SPDX-License-Identifier: MIT
// From the VRAM of one device to that of another one: directly where they reach each other, through RAM where not.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/kernel/card.h"
#include "tests/kernel/guest.h"
#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// Moves a range from one device to the other, and expects all of it to go the one way.
void expect_way(const Device& from, const Device& to, const Memory& memory, uint64_t seed, bool direct) {
  fill(memory.data(), memory.size(), seed);
  const uint64_t direct_before = to.stat(GODWIT_STAT_PEER_BYTES_DIRECT), staged_before = to.stat(GODWIT_STAT_PEER_BYTES_STAGED);
  const uint64_t home_before = from.stat(GODWIT_STAT_PAGES_HOME), fetches_before = to.stat(GODWIT_STAT_PEER_FETCHES);
  const size_t pages = memory.size() / kPage;
  ASSERT_EQ(from.to_vram(memory.data(), memory.size()).moved, pages);
  EXPECT_EQ(to.to_vram(memory.data(), memory.size()).moved, pages);
  EXPECT_EQ(to.in_vram(memory.data(), memory.size()), pages);
  EXPECT_EQ(to.stat(GODWIT_STAT_PEER_BYTES_DIRECT) - direct_before, direct ? memory.size() : 0u);
  EXPECT_EQ(to.stat(GODWIT_STAT_PEER_BYTES_STAGED) - staged_before, direct ? 0u : memory.size());
  EXPECT_EQ(from.stat(GODWIT_STAT_PAGES_HOME) - home_before, direct ? 0u : pages);
  EXPECT_EQ(to.stat(GODWIT_STAT_PEER_FETCHES) - fetches_before, pages);
  EXPECT_EQ(wait_for_free(from, from.info().vram_total), from.info().vram_total) << "frames of the first device leaked";
  EXPECT_BYTES(memory.data(), memory.size(), seed);
}

TEST(Direct, SoftDevicesReachEachOther) {
  SoftDevice soft("private:16M");
  Device first, second(soft.index());
  Memory memory(4 * kMiB);
  expect_way(first, second, memory, 1, true);
  expect_way(second, first, memory, 2, true);
}

TEST(Direct, HugePagesStayHuge) {
  SoftDevice soft("private:16M");
  Device first, second(soft.index());
  Memory memory(2 * kHuge, Memory::kHugePages);
  expect_way(first, second, memory, 3, true);
  EXPECT_EQ(second.stat(GODWIT_STAT_HUGE_TO_VRAM), 2u);
  EXPECT_EQ(second.stat(GODWIT_STAT_HUGE_SPLIT), 0u);
}

TEST(Direct, FromASoftDeviceToACard) {
  Card card(0, "private");
  ASSERT_TRUE(card.bound());
  Device soft;
  Memory memory(kMiB);
  expect_way(soft, card.device(), memory, 4, true);
  std::vector<uint8_t> page(memory.page(7), memory.page(8));
  soft.to_vram(memory.data(), memory.size());
  card.device().to_vram(memory.data(), memory.size());
  EXPECT_TRUE(card.holds(page.data()));
}

TEST(Direct, FromACardThatIsNotReachedThroughRam) {
  Card near(0, "private"), far(1, "private");
  ASSERT_TRUE(near.bound() && far.bound());
  Device soft;
  Memory memory(kMiB);
  expect_way(near.device(), soft, memory, 5, false);
  expect_way(near.device(), far.device(), memory, 6, false);
}

TEST(Direct, WithoutRoomOthersAreEvicted) {
  SoftDevice soft("private:4M");
  Device first, second(soft.index());
  Memory other(4 * kMiB), memory(2 * kMiB);
  fill(other.data(), other.size(), 7);
  fill(memory.data(), memory.size(), 8);
  ASSERT_EQ(second.to_vram(other.data(), other.size()).moved, other.size() / kPage);
  ASSERT_EQ(first.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(second.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(second.stat(GODWIT_STAT_PEER_BYTES_DIRECT), memory.size());
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
  EXPECT_BYTES(other.data(), other.size(), 7u);
}

TEST(Direct, StoresOfACpuAreNotLost) {
  SoftDevice soft("private:16M");
  Device first, second(soft.index());
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 9);
  std::atomic<bool> stop{false};
  // Counts in each page, from where it finds it.
  std::vector<uint64_t> counts(memory.size() / kPage, 0);
  std::thread counter([&] {
    for (size_t page = 0; !stop; page = (page + 37) % counts.size()) {
      auto* word = reinterpret_cast<volatile uint64_t*>(memory.page(page));
      if (counts[page] == 0) *word = 0;
      *word = *word + 1;
      ++counts[page];
    }
  });
  for (int round = 0; round < 200; ++round) {
    first.to_vram(memory.data(), memory.size());
    second.to_vram(memory.data(), memory.size());
  }
  stop = true;
  counter.join();
  for (size_t page = 0; page < counts.size(); ++page) {
    if (counts[page] == 0) continue;
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(memory.page(page)), counts[page]) << page;
  }
  EXPECT_GT(first.stat(GODWIT_STAT_PEER_BYTES_DIRECT) + second.stat(GODWIT_STAT_PEER_BYTES_DIRECT), 0u);
}

// One access a page, so that each is done or not.
Commands add_one_everywhere(const Memory& memory) {
  Commands commands;
  for (size_t page = 0; page < memory.size() / kPage; ++page) commands.push_back(op::add(memory.page(page), kPage, 1));
  return commands;
}

size_t words_that_differ(const Memory& memory, uint64_t wanted) {
  const auto* words = reinterpret_cast<const uint64_t*>(memory.data());
  const size_t count = memory.size() / sizeof(uint64_t);
  return count - static_cast<size_t>(std::count(words, words + count, wanted));
}

// A device that still knew where its pages were would write to frames that it has given up.
TEST(Direct, TheDeviceThatGaveThePagesUpAsksForThemAgain) {
  SoftDevice soft("private:16M");
  Device first, second(soft.index());
  // One fault a round: pages that go back and forth for long are left at home.
  Memory memory(16 * kPage);
  constexpr uint64_t kRounds = 8;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const Device& device = round % 2 ? second : first;
    const uint64_t before = device.stat(GODWIT_STAT_PEER_BYTES_DIRECT);
    ASSERT_EQ(execute_all(device, add_one_everywhere(memory)), 0);
    EXPECT_EQ(device.in_vram(memory.data(), memory.size()), memory.size() / kPage);
    EXPECT_EQ(device.stat(GODWIT_STAT_PEER_BYTES_DIRECT) - before, round ? memory.size() : 0u) << round;
  }
  EXPECT_EQ(words_that_differ(memory, kRounds), 0u);
}

TEST(Direct, NothingIsLostWhileBothDevicesWrite) {
  SoftDevice soft("private:16M");
  Device first, second(soft.index());
  Memory memory(16 * kPage);
  const uint64_t passes = rounds(100);
  std::atomic<unsigned> ended{0};
  const auto write = [&](const Device& device) {
    for (uint64_t pass = 0; pass < passes && execute_all(device, add_one_everywhere(memory)) >= 0; ++pass) {
    }
    ++ended;
  };
  std::thread one([&] { write(first); }), other([&] { write(second); });
  while (ended < 2) {
    for (const Device* device : {&first, &second}) {
      drm_godwit_migrate args = {};
      args.addr = address(memory.data());
      args.length = memory.size();
      args.to = GODWIT_PLACE_VRAM;
      const int error = device->call(DRM_IOCTL_GODWIT_MIGRATE, &args);
      EXPECT_TRUE(error == 0 || error == -EBUSY) << error;
    }
  }
  one.join();
  other.join();
  EXPECT_EQ(words_that_differ(memory, 2 * passes), 0u);
  EXPECT_GT(first.stat(GODWIT_STAT_PEER_BYTES_DIRECT), 0u);
  EXPECT_GT(second.stat(GODWIT_STAT_PEER_BYTES_DIRECT), 0u);
}

}  // namespace
}  // namespace godwit::guest
