// SPDX-License-Identifier: MIT
// Devices that are driven from user space: pages do not move under their transfers, they are told
// before pages go, and what does not let go keeps its pages, and is reported.
#include "godwit/peer.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/contract/fixture.h"
#include "tests/contract/peer_device.h"

namespace godwit::contract {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBytes = 2 * kBlockBytes;
constexpr std::size_t kPages = kBytes / kPageBytes;

std::vector<std::byte> pattern_bytes(std::size_t bytes, std::uint32_t seed) {
  std::vector<std::byte> result(bytes);
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
    const std::uint32_t word = pattern(at / sizeof(word), seed);
    std::memcpy(result.data() + at, &word, sizeof(word));
  }
  return result;
}

std::size_t stayed(const MoveReport& report, StayReason reason) {
  return report.stayed_for[static_cast<std::size_t>(reason)];
}

/// A peer with a device of its own, which is registered as long as the mapping says it may be.
struct Peer {
  explicit Peer(FakeHost* host) : device(host) {}
  PeerDevice device;
  std::unique_ptr<PeerMapping> mapping;
  std::atomic<int> remaps{0};
  std::atomic<int> invalidations{0};
  std::atomic<int> wanted{0};
  std::atomic<bool> stubborn{false};  // says no
  std::atomic<bool> careless{false};  // says yes, and keeps its pins
};

class PeerTest : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    if (IsSkipped()) return;
    const PeerDevice probe(host());
    if (probe.error() != 0) GTEST_SKIP() << "lacks io_uring: " << std::strerror(-probe.error());
  }
  void TearDown() override {
    peers_.clear();
    Contract::TearDown();
  }
  [[nodiscard]] std::size_t orphans() { return fake() ? fake_host().orphans() : 0; }
  [[nodiscard]] FakeHost* host() { return fake() ? &fake_host() : nullptr; }

  Peer& peer(std::byte* base, std::size_t bytes, milliseconds patience = milliseconds(2000),
             PeerAccess access = PeerAccess::kReadWrite) {
    peers_.push_back(std::make_unique<Peer>(host()));
    Peer& peer = *peers_.back();
    PeerOptions options;
    options.access = access;
    options.patience = patience;
    options.on_remap = [&peer](std::span<std::byte> pages, std::uint64_t) {
      ++peer.remaps;
      return peer.device.take(pages) == 0;
    };
    options.on_invalidate = [&peer](std::span<std::byte>) {
      ++peer.invalidations;
      if (peer.stubborn) return false;
      return peer.careless || peer.device.let_go() == 0;
    };
    options.on_wanted = [&peer] { ++peer.wanted; };
    auto mapping = engine().map_peer(base, bytes, std::move(options));
    EXPECT_TRUE(mapping) << mapping.error().to_string();
    if (mapping) peer.mapping = std::move(*mapping);
    return peer;
  }
  static std::uint64_t begin(Peer& peer) {
    auto generation = peer.mapping->begin();
    EXPECT_TRUE(generation) << generation.error().to_string();
    EXPECT_TRUE(peer.device.registered());
    return generation ? *generation : 0;
  }
  void dma(Peer& peer, std::byte* to, std::size_t bytes, std::uint32_t seed) {
    EXPECT_EQ(peer.device.write_to(to, pattern_bytes(bytes, seed)), 0);
  }
  /// Empty, or what the device read differs from the pattern.
  std::string seen_by(Peer& peer, const std::byte* from, std::size_t bytes, std::uint32_t seed) {
    std::vector<std::byte> got(bytes);
    if (const int error = peer.device.read_from(from, got); error != 0)
      return std::strerror(-error);
    return got == pattern_bytes(bytes, seed) ? "" : "the device reads other bytes";
  }
  /// Where the whole range went when somebody wanted it in VRAM.
  [[nodiscard]] Residency away() const { return full() ? Residency::kDevice : Residency::kBoth; }

  std::vector<std::unique_ptr<Peer>> peers_;
};

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

TEST_P(PeerTest, NoMoveHappensBetweenBeginAndEnd) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 20);
  Peer& nic = peer(base, kBytes, milliseconds(0));
  const std::uint64_t generation = begin(nic);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(stayed(report, StayReason::kPeer), kPages) << describe(report);
  EXPECT_EQ(report.moved, 0U);
  EXPECT_EQ(count(base, kBytes, Residency::kHost), kPages);
  EXPECT_EQ(nic.invalidations, 0) << "nothing may be unregistered under a transfer";
  EXPECT_EQ(nic.mapping->generation(), generation);
  dma(nic, base, kBytes, 21);
  EXPECT_EQ(check(base, kBytes, 21), "");
  nic.mapping->end();
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(nic.invalidations, 1);
  EXPECT_EQ(check(base, kBytes, 21), "");
  EXPECT_GE(statistics().peer_refusals, 1U);
}

TEST_P(PeerTest, OnlyThePagesOfTheRangeStay) {
  std::byte* base = region(kBytes);
  // The kernel's pins, and with them the kernel engine's, hold a huge page as a whole.
  ::madvise(base, kBytes, MADV_NOHUGEPAGE);
  fill(base, kBytes, 22);
  std::byte* lent = base + kBlockBytes / 2;
  constexpr std::size_t kLent = 5 * kPageBytes;
  PeerOptions options;
  options.patience = milliseconds(0);
  auto mapping = engine().map_peer(lent, kLent, std::move(options));
  ASSERT_TRUE(mapping) << mapping.error().to_string();
  ASSERT_TRUE((*mapping)->begin());
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(stayed(report, StayReason::kPeer), 5U) << describe(report);
  EXPECT_EQ(report.moved, kPages - 5) << describe(report);
  EXPECT_EQ(count(lent, kLent, Residency::kHost), 5U);
  (*mapping)->end();
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 22), "");
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

TEST_P(PeerTest, APeerThatDoesNotLetGoIsReportedAndItsPageStays) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 33);
  Peer& nic = peer(base, kBytes);
  nic.stubborn = true;
  (void)begin(nic);
  nic.mapping->end();
  for (int round = 0; round < 3; ++round) {
    const MoveReport report = to_device(base, kBytes);
    EXPECT_EQ(stayed(report, StayReason::kPeer), kPages) << describe(report);
    ASSERT_FALSE(report.stays.empty());
    EXPECT_EQ(count(base, kBytes, Residency::kHost), kPages);
  }
  EXPECT_GE(statistics().peer_refusals, 3U);
  EXPECT_EQ(statistics().peer_revocations, 0U);
  dma(nic, base, kBytes, 34);
  EXPECT_EQ(check(base, kBytes, 34), "");
  nic.stubborn = false;
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 34), "");
}

TEST_P(PeerTest, APeerWhoseCallbackHangsIsWaitedForOnce) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 35);
  std::atomic<bool> leave{false};
  PeerOptions options;
  options.patience = milliseconds(50);
  options.on_invalidate = [&](std::span<std::byte>) {
    while (!leave) std::this_thread::yield();
    return true;
  };
  auto mapping = engine().map_peer(base, kBytes, std::move(options));
  ASSERT_TRUE(mapping) << mapping.error().to_string();
  ASSERT_TRUE((*mapping)->begin());
  (*mapping)->end();
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < 10; ++round) {
    EXPECT_EQ(stayed(to_device(base, kBytes), StayReason::kPeer), kPages);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(count(base, kBytes, Residency::kHost), kPages);
  // Nor may a new transfer begin meanwhile.
  auto early = (*mapping)->begin(milliseconds(20));
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, Code::kRetry);
  leave = true;
  // Once it has returned, it counts, though nobody waited for it.
  ASSERT_TRUE((*mapping)->begin());
  (*mapping)->end();
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 35), "");
  mapping->reset();
}

// It says yes and keeps its pins: the operating system knows better.
TEST_P(PeerTest, APeerThatLiesKeepsItsPagesAllTheSame) {
  if (!full()) GTEST_SKIP() << "at the resident level no page leaves RAM";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 36);
  Peer& nic = peer(base, kBytes);
  nic.careless = true;
  (void)begin(nic);
  nic.mapping->end();
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(stayed(report, StayReason::kPinned), kPages) << describe(report);
  dma(nic, base, kBytes, 37);
  EXPECT_EQ(check(base, kBytes, 37), "");
}

TEST_P(PeerTest, AMoveWaitsForEnd) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 40);
  Peer& nic = peer(base, kBytes, milliseconds(20000));
  (void)begin(nic);
  std::atomic<bool> moved{false};
  std::thread mover([&] {
    EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
    moved = true;
  });
  // It says that it waits; only then the transfer ends.
  while (nic.wanted == 0 && !moved) std::this_thread::yield();
  EXPECT_FALSE(moved);
  EXPECT_EQ(nic.invalidations, 0);
  dma(nic, base, kBytes, 41);
  nic.mapping->end();
  mover.join();
  EXPECT_EQ(nic.invalidations, 1);
  EXPECT_EQ(check(base, kBytes, 41), "");
}

TEST_P(PeerTest, TwoPeersOnOneRange) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 42);
  Peer& disk = peer(base, kBytes);
  Peer& nic = peer(base + kBlockBytes, kBlockBytes);
  (void)begin(disk);
  (void)begin(nic);
  dma(disk, base, kBytes, 43);
  std::vector<std::byte> seen(kBlockBytes);
  ASSERT_EQ(nic.device.read_from(base + kBlockBytes, seen), 0);
  EXPECT_EQ(std::memcmp(seen.data(), pattern_bytes(kBytes, 43).data() + kBlockBytes, kBlockBytes),
            0)
      << "one peer does not see what the other stored";
  disk.mapping->end();
  nic.mapping->end();
  nic.stubborn = true;
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(stayed(report, StayReason::kPeer), kPagesPerBlock) << describe(report);
  EXPECT_EQ(disk.invalidations, 1);
  EXPECT_GE(nic.invalidations, 1);
  EXPECT_EQ(count(base, kBlockBytes, away()), kPagesPerBlock);
  nic.stubborn = false;
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 43), "");
  (void)begin(disk);
  disk.mapping->end();
  EXPECT_EQ(disk.remaps, 2);
  EXPECT_EQ(nic.remaps, 1) << "nobody asked for it";
}

TEST_P(PeerTest, WhatAPeerHoldsIsNotDiscarded) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 44);
  Peer& nic = peer(base, kBytes, milliseconds(0));
  (void)begin(nic);
  auto refused = engine().discard(base, kBytes);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kBusy) << refused.error().to_string();
  EXPECT_EQ(check(base, kBytes, 44), "");
  dma(nic, base, kBytes, 45);
  EXPECT_EQ(check(base, kBytes, 45), "");
  nic.mapping->end();
  auto done = engine().discard(base, kBytes);
  EXPECT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(nic.invalidations, 1);
  EXPECT_EQ(check_zero(base, kBytes), "");
  EXPECT_EQ(orphans(), 0U) << "a page was dropped under a pin";
  // The next transfer finds the pages that are there now.
  (void)begin(nic);
  dma(nic, base, kBytes, 46);
  nic.mapping->end();
  EXPECT_EQ(check(base, kBytes, 46), "");
}

TEST_P(PeerTest, FreeWhileAPeerHoldsIt) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 47);
  Peer& nic = peer(base, kBytes, milliseconds(0));
  (void)begin(nic);
  auto refused = engine().free(base);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kBusy) << refused.error().to_string();
  EXPECT_EQ(engine().size_of(base), kBytes) << "the region is still there";
  dma(nic, base, kBytes, 48);
  EXPECT_EQ(check(base, kBytes, 48), "");
  nic.mapping->end();
  auto freed = engine().free(base);
  EXPECT_TRUE(freed) << freed.error().to_string();
  EXPECT_FALSE(nic.device.registered());
  EXPECT_EQ(orphans(), 0U);
  auto late = nic.mapping->begin();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kInvalidArgument);
  // The address may be somebody else's now, and its moves are none of the old peer's business.
  std::byte* other = region(kBytes);
  fill(other, kBytes, 49);
  EXPECT_EQ(to_device(other, kBytes).stayed, 0U);
  EXPECT_EQ(nic.invalidations, 1);
}

TEST_P(PeerTest, ForkWhileAPeerHoldsIt) {
  if (fake()) GTEST_SKIP() << "the fake host has no child to look at";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 50);
  (void)to_device(base, kBytes);
  Peer& nic = peer(base, kBytes);
  (void)begin(nic);
  (void)std::fflush(nullptr);
  engine().prepare_fork();
  const pid_t child = ::fork();
  if (child == 0) {
    engine().after_fork_in_child();
    auto refused = nic.mapping->begin();
    const bool right = !refused && refused.error().code == Code::kUnavailable &&
                       nic.mapping->generation() == ~std::uint64_t{0} &&
                       check(base, kBytes, 50).empty();
    nic.mapping->end();
    nic.mapping.reset();
    ::_exit(right ? 0 : 1);
  }
  engine().after_fork_in_parent();
  // The transfer that was in flight lands in the parent's page, not in one that it shares.
  dma(nic, base, kBytes, 51);
  EXPECT_EQ(check(base, kBytes, 51), "");
  nic.mapping->end();
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  (void)begin(nic);
  dma(nic, base, kBytes, 52);
  nic.mapping->end();
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 52), "");
}

TEST_P(PeerTest, ACommandWaitsForATransferAndReadsACopyWhereItTakesTooLong) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 53);
  Peer& nic = peer(base, kBytes, milliseconds(20));
  (void)begin(nic);
  for (std::uint32_t round = 54; round < 57; ++round) {
    dma(nic, base, kBytes, round);
    auto sum = device_sum(base, kBytes);
    ASSERT_TRUE(sum) << sum.error().to_string();
    EXPECT_EQ(*sum, expected_sum(kBytes, round)) << "not the copy of an earlier command";
  }
  auto written = device_add(base, kBytes, 1);
  if (kernel()) {
    EXPECT_TRUE(written) << "the kernel's device works on the page where it is";
  } else {
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, full() ? Code::kBusy : Code::kUnsupported);
  }
  nic.mapping->end();
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
