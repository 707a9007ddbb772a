// SPDX-License-Identifier: MIT
// A peer's DMA to memory that comes home because the system is about to sleep.
#include <cerrno>

#include "tests/kernel/edu_fixture.h"
#include "tests/kernel/system_sleep.h"

namespace godwit::guest {
namespace {

class PeerSleep : public Peer {
 protected:
  void SetUp() override {
    Peer::SetUp();
    if (system_.status() == -ENOENT) GTEST_SKIP() << "a kernel without PM_DEBUG does not test its sleep";
    ASSERT_EQ(system_.status(), 0);
  }
  const SystemSleep system_;
};

TEST_F(PeerSleep, FollowsMemoryHomeAndBack) {
  const Device gpu;
  const Loan loan(gpu, 71, {.in_vram = true});
  const Piece before = loan.read(0), written = pattern(72), again = pattern(73);
  ASSERT_EQ(loan.in_vram(), kPages);
  ASSERT_EQ(system_.once(), 0);
  EXPECT_EQ(loan.in_vram(), 0u);
  EXPECT_EQ(loan.read(0), before);
  loan.write(kPage, written);
  EXPECT_TRUE(loan.has(kPage, written));
  loan.to_vram();
  loan.write(2 * kPage, again);
  EXPECT_TRUE(loan.has(2 * kPage, again));
}

TEST_F(PeerSleep, TheSystemWaitsForATransferUnderWay) {
  const Device gpu;
  const Loan loan(gpu, 74, {.in_vram = true});
  const Piece written = pattern(75);
  Transfer transfer(loan.edu, 5 * kPage, written);
  EXPECT_EQ(system_.once(), 0);
  EXPECT_EQ(transfer.wait(), 0);
  EXPECT_EQ(loan.in_vram(), 0u);
  EXPECT_TRUE(loan.has(5 * kPage, written));
}

// What the peer would go on to use is VRAM that forgets.
TEST_F(PeerSleep, IsRefusedWhileAPeerDoesNotLetGo) {
  const Device gpu;
  const Loan loan(gpu, 76, {.in_vram = true, .mode = EDU_STUBBORN});
  const Piece written = pattern(77);
  loan.read(0);
  EXPECT_EQ(system_.once(), -EBUSY);
  EXPECT_EQ(loan.in_vram(), kPages);
  loan.write(0, written);
  ASSERT_EQ(loan.edu.release(), 0);
  EXPECT_EQ(system_.once(), 0);
  EXPECT_EQ(loan.in_vram(), 0u);
  EXPECT_TRUE(loan.has(0, written));
}

}  // namespace
}  // namespace godwit::guest
