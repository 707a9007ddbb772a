// SPDX-License-Identifier: MIT
// A NIC that pages on demand, and memory that never rests; and one that pins. rxe is in software,
// but its page tables, its notifier and its pins are those of the kernel's RDMA core.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>

#include "tests/kernel/jobs.h"
#include "tests/kernel/peers/target.h"
#include "tests/kernel/peers/verbs.h"

namespace godwit::guest {
namespace {

constexpr size_t kBytes = 256 << 10;
// A mover that never pauses has operations given up at once on a slow machine (below).
constexpr std::chrono::milliseconds kPause(3);

// What goes over one connection.
struct Wires {
  Wires(const Memory& source, const Memory& sink, const Target& target)
      : near(link, source.data(), source.size(), Region::kPinned),
        back(link, sink.data(), sink.size(), Region::kPinned),
        far(link, target.data(), target.size(), Region::kOnDemand) {}
  bool ready() const { return link.ready() && near && back && far; }
  Connection link;
  Region near, back, far;
};

class Rdma : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (const std::string missing = make_nic(); !missing.empty()) GTEST_SKIP() << missing;
    link_ = std::make_unique<Connection>();
    ASSERT_TRUE(link_->ready());
  }
  std::unique_ptr<Connection> link_;
};

TEST_P(Rdma, OnDemandEveryByteIsRightWhileItMoves) {
  const Place place(GetParam(), 0);
  ASSERT_TRUE(place.ready());
  const Target target(place, kBytes);
  ASSERT_NE(target.data(), nullptr);
  Memory source(kBytes), sink(kBytes);
  fill(target.data(), kBytes, 1);
  ASSERT_TRUE(target.to_vram());
  auto wires = std::make_unique<Wires>(source, sink, target);
  ASSERT_TRUE(wires->ready());
  // The RDMA core gives up on a page, and the NIC on the operation and the connection, when the
  // region was invalidated without pause for a second. As every application has to: connect, and do
  // it again.
  uint64_t given_up = 0;
  const auto carried = [&](const std::function<int(Wires&)>& operation) {
    for (int tries = 0; tries < 5; ++tries) {
      if (operation(*wires) == IBV_WC_SUCCESS) return true;
      ++given_up;
      wires = std::make_unique<Wires>(source, sink, target);
      if (!wires->ready()) return false;
    }
    return false;
  };
  const auto write = [](Wires& on) { return on.link.write(on.near, on.far, kBytes); };
  const auto send = [](Wires& on) { return on.link.send(on.near, on.far, kBytes); };
  const auto read = [](Wires& on) { return on.link.read(on.far, on.back, kBytes); };
  const auto mover = target.mover(kPause);
  const uint64_t enough = kLength * (target.object() != nullptr ? 4 : 512);
  uint64_t turn = 0;
  for (; turn < rounds(200 * kLength) && (turn < 6 * kLength || mover->moved() < enough) &&
         !HasFailure();
       ++turn) {
    const uint64_t seed = 100 + 3 * turn;
    // The NIC writes, the CPU reads.
    fill(source.data(), kBytes, seed);
    ASSERT_TRUE(carried(write)) << "turn " << turn;
    ASSERT_EQ(differs(target.data(), kBytes, seed), -1) << "turn " << turn;
    // The CPU writes, the NIC reads.
    fill(target.data(), kBytes, seed + 1);
    ASSERT_TRUE(carried(read)) << "turn " << turn;
    ASSERT_EQ(differs(sink.data(), kBytes, seed + 1), -1) << "turn " << turn;
    // The NIC writes, the NIC reads: no CPU has seen it in between.
    fill(source.data(), kBytes, seed + 2);
    ASSERT_TRUE(carried(send)) << "turn " << turn;
    ASSERT_TRUE(carried(read)) << "turn " << turn;
    ASSERT_EQ(differs(sink.data(), kBytes, seed + 2), -1) << "turn " << turn;
  }
  mover->stop();
  EXPECT_GE(mover->moved(), enough) << "after " << turn << " turns";
  EXPECT_LE(given_up, turn / 4 + 2) << "of " << 4 * turn << " operations";
}

TEST_P(Rdma, APinHoldsForAsLongAsItsRegionLives) {
  if (GetParam() == Kind::kExplicit)
    GTEST_SKIP() << "peer-to-peer pages cannot be held for long: matrix_test shows the refusal";
  const Place place(GetParam(), 0);
  ASSERT_TRUE(place.ready());
  const Target target(place, kBytes);
  Memory source(kBytes);
  fill(target.data(), kBytes, 1);
  ASSERT_TRUE(target.to_vram());
  Region near(*link_, source.data(), kBytes, Region::kPinned);
  ASSERT_TRUE(near);
  {
    // It comes home to be pinned, and then nothing takes it away.
    Region far(*link_, target.data(), kBytes, Region::kPinned);
    ASSERT_TRUE(far) << strerror(far.error());
    EXPECT_TRUE(target.in_ram());
    for (uint64_t turn = 0; turn < 5; ++turn) {
      const auto tried = place.device().to_vram(target.data(), kBytes);
      EXPECT_EQ(tried.moved, 0u);
      EXPECT_EQ(tried.stayed[GODWIT_STAY_BUSY], kBytes / kPage);
      fill(source.data(), kBytes, 10 + turn);
      ASSERT_EQ(link_->write(near, far, kBytes), IBV_WC_SUCCESS);
      EXPECT_BYTES(target.data(), kBytes, 10 + turn);
    }
  }
  EXPECT_TRUE(target.to_vram()) << "the region is gone, the pages are still held";
  EXPECT_BYTES(target.data(), kBytes, 14u);
}

TEST_P(Rdma, PartsOfARegionGoTheirOwnWays) {
  const Place place(GetParam(), 0);
  ASSERT_TRUE(place.ready());
  if (GetParam() == Kind::kExplicit) GTEST_SKIP() << "an object moves as a whole";
  const Target target(place, kBytes);
  Memory source(kBytes);
  fill(target.data(), kBytes, 1);
  fill(source.data(), kBytes, 2);
  Region near(*link_, source.data(), kBytes, Region::kPinned),
      far(*link_, target.data(), kBytes, Region::kOnDemand);
  ASSERT_TRUE(near && far);
  // Every other 64 KiB in VRAM, and one write across all of them.
  for (size_t at = 0; at < kBytes; at += 128 << 10)
    place.device().to_vram(target.data() + at, 64 << 10);
  EXPECT_EQ(place.device().in_vram(target.data(), kBytes), kBytes / kPage / 2);
  ASSERT_EQ(link_->write(near, far, kBytes), IBV_WC_SUCCESS);
  EXPECT_EQ(place.device().in_vram(target.data(), kBytes),
            GetParam() == Kind::kCoherent ? kBytes / kPage / 2 : 0);
  EXPECT_BYTES(target.data(), kBytes, 2u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Rdma,
                         ::testing::Values(Kind::kSoft, Kind::kPrivate, Kind::kCoherent,
                                           Kind::kExplicit),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace godwit::guest
