// SPDX-License-Identifier: MIT
// Devices that are driven from user space: they are told before pages go, find them where they are
// afterwards, and no byte is lost in between.
#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/peer_fixture.h"

namespace godwit::contract {
namespace {

using std::chrono::milliseconds;

TEST_P(PeerTest, BeginBringsPagesHomeAndTheDeviceReadsThem) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 1);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  Peer& nic = peer(base, kBytes);
  EXPECT_EQ(count(base, kBytes, away()), kPages) << "a mapping alone moves nothing";
  (void)begin(nic);
  EXPECT_EQ(count(base, kBytes, Residency::kHost), kPages);
  EXPECT_EQ(seen_by(nic, base, kBytes, 1), "");
  nic.mapping->end();
  EXPECT_EQ(statistics().peer_remaps, 1U);
}

TEST_P(PeerTest, ADmaBetweenBeginAndEndLandsInTheBytesTheCpuReads) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 2);
  Peer& disk = peer(base, kBytes);
  for (std::uint32_t round = 3; round < 8; ++round) {
    (void)to_device(base, kBytes);
    (void)begin(disk);
    dma(disk, base, kBytes, round);
    disk.mapping->end();
    EXPECT_EQ(check(base, kBytes, round), "") << "in RAM";
    EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
    EXPECT_EQ(check(base, kBytes, round), "") << "after a move to VRAM";
  }
}

// Both levels, and read-mostly: no copy in VRAM may be older than what the device stored.
TEST_P(PeerTest, ACommandSeesWhatTheDeviceStored) {
  for (const Advice advice : {Advice::kNormal, Advice::kReadMostly}) {
    std::byte* base = region(kBytes);
    if (!engine().advise(base, kBytes, advice)) continue;  // the kernel engine has no such advice
    fill(base, kBytes, 9);
    Peer& disk = peer(base, kBytes);
    for (std::uint32_t round = 10; round < 14; ++round) {
      auto before = device_sum(base, kBytes);
      ASSERT_TRUE(before) << before.error().to_string();
      (void)begin(disk);
      dma(disk, base, kBytes, round);
      disk.mapping->end();
      auto after = device_sum(base, kBytes);
      ASSERT_TRUE(after) << after.error().to_string();
      EXPECT_EQ(*after, expected_sum(kBytes, round));
    }
  }
}

TEST_P(PeerTest, OnInvalidateReturnsBeforeThePageMoves) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 30);
  std::size_t in_ram = 0;
  std::string bytes = "not called";
  PeerDevice device(host());
  PeerOptions options;
  options.patience = milliseconds(60'000);  // what the callback leaves is read after the move
  options.on_remap = [&](std::span<std::byte> pages, std::uint64_t) {
    return device.take(pages) == 0;
  };
  options.on_invalidate = [&](std::span<std::byte> pages) {
    EXPECT_EQ(pages.data(), base);
    EXPECT_EQ(pages.size(), kBytes);
    in_ram = count(base, kBytes, Residency::kHost);
    // The last transfer that the device may make.
    EXPECT_EQ(device.write_to(base, pattern_bytes(kBytes, 31)), 0);
    bytes = check(base, kBytes, 31);
    return device.let_go() == 0;
  };
  auto mapping = engine().map_peer(base, kBytes, std::move(options));
  ASSERT_TRUE(mapping) << mapping.error().to_string();
  ASSERT_TRUE((*mapping)->begin());
  (*mapping)->end();
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(in_ram, kPages);
  EXPECT_EQ(bytes, "");
  EXPECT_EQ(count(base, kBytes, away()), kPages);
  EXPECT_EQ(check(base, kBytes, 31), "");
  mapping->reset();
}

TEST_P(PeerTest, AGenerationChangesWithEachMove) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 32);
  Peer& nic = peer(base, kBytes);
  std::vector<std::uint64_t> seen;
  for (int round = 0; round < 6; ++round) {
    const std::uint64_t generation = begin(nic);
    nic.mapping->end();
    EXPECT_EQ(begin(nic), generation) << "nothing has moved";
    nic.mapping->end();
    for (const std::uint64_t old : seen) EXPECT_NE(generation, old);
    seen.push_back(generation);
    (void)to_device(base, kBytes);
    EXPECT_NE(nic.mapping->generation(), generation);
  }
  EXPECT_EQ(nic.remaps, 6);
  EXPECT_EQ(nic.invalidations, 6);
  EXPECT_EQ(statistics().peer_revocations, 6U);
}

TEST_P(PeerTest, APeerThatCannotRegisterIsToldSoAndHoldsNothing) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 58);
  bool works = false;
  PeerOptions options;
  options.on_remap = [&](std::span<std::byte>, std::uint64_t) { return works; };
  auto mapping = engine().map_peer(base, kBytes, std::move(options));
  ASSERT_TRUE(mapping);
  auto refused = (*mapping)->begin();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kBusy);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  works = true;
  EXPECT_TRUE((*mapping)->begin());
  (*mapping)->end();
}

TEST_P(PeerTest, BeginFromACallbackIsRefusedAndDoesNotHang) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 59);
  PeerMapping* self = nullptr;
  std::vector<Code> codes;
  PeerOptions options;
  options.on_remap = [&](std::span<std::byte>, std::uint64_t) {
    if (auto inner = self->begin(); !inner) codes.push_back(inner.error().code);
    return true;
  };
  options.on_invalidate = [&](std::span<std::byte>) {
    if (auto inner = self->begin(); !inner) codes.push_back(inner.error().code);
    return true;
  };
  auto mapping = engine().map_peer(base, kBytes, std::move(options));
  ASSERT_TRUE(mapping);
  self = mapping->get();
  ASSERT_TRUE(self->begin());
  self->end();
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(codes, (std::vector<Code>{Code::kBusy, Code::kBusy}));
  mapping->reset();
}

TEST_P(PeerTest, AStandingPeerIsToldOfEveryMoveOfItsPart) {
  std::byte* base = region(kBytes);
  std::byte* other = region(kBlockBytes);
  fill(base, kBytes, 60);
  fill(other, kBlockBytes, 61);
  std::atomic<std::size_t> told{0};
  std::size_t in_ram = 0;
  PeerOptions options;
  options.standing = true;
  options.on_invalidate = [&](std::span<std::byte> pages) {
    EXPECT_GE(pages.data(), base);
    EXPECT_LE(pages.data() + pages.size(), base + kBytes);
    in_ram += count(pages.data(), pages.size(), Residency::kHost) +
              count(pages.data(), pages.size(), Residency::kBoth);
    told += pages.size();
    return false;  // its answer is not asked
  };
  auto mapping = engine().map_peer(base, kBytes, std::move(options));
  ASSERT_TRUE(mapping) << mapping.error().to_string();
  EXPECT_EQ(to_device(other, kBlockBytes).stayed, 0U);
  EXPECT_EQ(told, 0U);
  for (std::size_t round = 1; round <= 3; ++round) {
    EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
    EXPECT_EQ(told, round * kBytes);
    EXPECT_EQ(in_ram, round * kPages) << "told after the move";
    (void)to_host(base, kBytes);
    fill(base, kBytes, 60);
  }
  EXPECT_EQ(engine().discard(base, kPageBytes).has_value(), true);
  EXPECT_EQ(told, 3 * kBytes + kPageBytes);
  auto held = (*mapping)->begin();
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Code::kUnsupported);
  mapping->reset();
}

TEST_P(PeerTest, ARangeIsLentUntilItsMappingEnds) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 64);
  PeerOptions wish;
  wish.standing = true;
  auto standing = engine().map_peer(nullptr, 0, std::move(wish));
  ASSERT_TRUE(standing) << standing.error().to_string();
  EXPECT_FALSE(engine().lent_to_peer(base, kBytes)) << "a standing mapping holds nothing";
  Peer& nic = peer(base + kPageBytes, kPageBytes);
  EXPECT_FALSE(engine().lent_to_peer(base, kPageBytes));
  EXPECT_FALSE(engine().lent_to_peer(base + 2 * kPageBytes, kPageBytes));
  EXPECT_TRUE(engine().lent_to_peer(base, kBytes)) << "a begin() may come";
  nic.mapping.reset();
  EXPECT_FALSE(engine().lent_to_peer(base, kBytes));
}

TEST_P(PeerTest, AMappingMayOutliveItsContext) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 62);
  Peer& nic = peer(base, kBytes);
  (void)begin(nic);
  nic.mapping->end();
  remake(kVram, {});
  EXPECT_EQ(nic.invalidations, 1) << "told when the context went";
  EXPECT_FALSE(nic.device.registered());
  auto late = nic.mapping->begin();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kUnavailable);
  nic.mapping->end();
  nic.mapping.reset();
}

TEST_P(PeerTest, ADeviceThatOnlyReadsKeepsTheCopyInVram) {
  if (kernel()) GTEST_SKIP() << "the module keeps each page in one place";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 63);
  (void)to_device(base, kBytes);
  EXPECT_EQ(check(base, kBytes, 63), "");  // loads: RAM and VRAM have it
  Peer& disk = peer(base, kBytes, milliseconds(0), PeerAccess::kRead);
  auto generation = disk.mapping->begin();
  if (full()) {
    // Registering for io_uring is a write; the pages themselves are as they were before it.
    ASSERT_TRUE(generation) << generation.error().to_string();
  }
  EXPECT_EQ(seen_by(disk, base, kBytes, 63), "");
  disk.mapping->end();
}

// The race itself: two devices and a mover, each on a thread of its own.
TEST_P(PeerTest, TransfersAndMovesInterleaveWithoutALostByte) {
  constexpr std::size_t kPart = kBlockBytes / 4;
#ifdef __SANITIZE_THREAD__
  constexpr std::uint32_t kRounds = 40;  // ten times as slow
#else
  constexpr std::uint32_t kRounds = 200;
#endif
  std::byte* base = region(kBytes);
  fill(base, kBytes, 70);
  Peer& disk = peer(base + kPart, kPart, milliseconds(5000));
  Peer& nic = peer(base + kBytes - kPart, kPart, milliseconds(5000));
  std::atomic<bool> done{false};
  std::atomic<std::uint32_t> moves{0};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!done) {
      (void)to_device(base, kBytes);
      ++moves;
      if (moves % 3 == 0) (void)to_host(base, kBytes);
    }
  });
  // One thread a peer: a buffer is its device's while the device writes it.
  std::array<std::string, 2> wrong;
  int index = 0;
  for (Peer* each : {&disk, &nic}) {
    threads.emplace_back([&, each, index] {
      std::byte* part = each->mapping->pages().data();
      for (std::uint32_t round = 1;
           round <= kRounds && wrong[static_cast<std::size_t>(index)].empty(); ++round) {
        auto generation = each->mapping->begin();
        if (!generation) {
          wrong[static_cast<std::size_t>(index)] = generation.error().to_string();
          return;
        }
        if (each->device.write_to(part, pattern_bytes(kPart, 100 + round)) != 0) {
          wrong[static_cast<std::size_t>(index)] = "no DMA";
        }
        // A simulated load is not one step: over the fake host, before the pages may go.
        if (!fake()) each->mapping->end();
        if (wrong[static_cast<std::size_t>(index)].empty()) {
          wrong[static_cast<std::size_t>(index)] = check(part, kPart, 100 + round);
        }
        if (fake()) each->mapping->end();
      }
    });
    ++index;
  }
  threads[1].join();
  threads[2].join();
  while (moves < 4) std::this_thread::yield();
  done = true;
  threads[0].join();
  EXPECT_EQ(wrong[0], "");
  EXPECT_EQ(wrong[1], "");
  EXPECT_GT(disk.invalidations + nic.invalidations, 0);
  RecordProperty("moves", static_cast<int>(moves.load()));
  RecordProperty("invalidations", disk.invalidations + nic.invalidations);
}

INSTANTIATE_TEST_SUITE_P(Engines, PeerTest, ::testing::ValuesIn(all_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
