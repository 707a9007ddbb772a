// SPDX-License-Identifier: MIT
// What a device that is driven from user space holds does not move, is not given up, and is
// reported as such.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/contract/peer_fixture.h"

namespace godwit::contract {
namespace {

using std::chrono::milliseconds;

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

TEST_P(PeerTest, WhatATransferStoresWhileACommandHasACopyIsNotLost) {
  if (kernel()) GTEST_SKIP() << "the kernel's device works on the page where it is: there is no copy";
  std::byte* base = region(kBytes);
  fill(base, kBytes, 57);
  Peer& nic = peer(base, kBytes, milliseconds(20));
  (void)begin(nic);
  const Operand operand{.base = base, .bytes = kBytes, .access = Access::kRead};
  auto hold = engine().acquire({&operand, 1});
  ASSERT_TRUE(hold) << hold.error().to_string();
  dma(nic, base, kBytes, 58);
  nic.mapping->end();
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 58)) << "not the copy that the running command has";
  EXPECT_FALSE(nic.device.registered());
  hold->reset();
  EXPECT_EQ(check(base, kBytes, 58), "");
}

}  // namespace
}  // namespace godwit::contract
