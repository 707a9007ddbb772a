// SPDX-License-Identifier: MIT
// Where the data of a peer's DMA goes: to VRAM where the peer reaches it, to RAM where not.
#include <cstring>
#include <string>

#include "tests/kernel/edu_fixture.h"

namespace godwit::guest {
namespace {

void reads_and_writes(const Device& device, uint32_t mode) {
  const Loan loan(device, 1, {.mode = mode});
  for (const bool vram : {false, true, false}) {
    if (vram) loan.to_vram();
    const Piece before(loan.memory.page(0), loan.memory.page(0) + kPiece);
    // To look was to bring the pages home.
    if (vram) loan.to_vram();
    EXPECT_EQ(loan.read(0), before);
    const Piece written = pattern(vram ? 2 : 3);
    loan.write(5 * kPage + kPiece, written);
    EXPECT_EQ(loan.in_vram(), vram ? kPages : 0u);
    EXPECT_TRUE(loan.has(5 * kPage + kPiece, written));
    if (vram) device.to_ram(loan.memory.data(), loan.memory.size());
  }
}

TEST_F(Peer, UsesMemoryOfASoftDeviceWhereItIs) { reads_and_writes(Device(), EDU_DYNAMIC); }

TEST_F(Peer, ByTheHelpersToo) { reads_and_writes(Device(), EDU_HELPER); }

void through_the_switch(const std::string& kind) {
  const Card card(0, kind);
  ASSERT_TRUE(card.bound());
  const Loan loan(card.device(), 4);
  EXPECT_EQ(loan.edu.counts().reach, 2) << "through the switch";
  const Piece first(loan.memory.page(2), loan.memory.page(2) + kPiece);
  loan.to_vram();
  uint64_t address = 0;
  EXPECT_EQ(loan.read(2 * kPage, &address), first);
  EXPECT_TRUE(in_bar(0, address)) << std::hex << address;
  const Piece half = pattern(5);
  loan.write(3 * kPage, half, &address);
  EXPECT_TRUE(in_bar(0, address)) << std::hex << address;
  loan.write(3 * kPage + kPiece, half, &address);
  EXPECT_TRUE(in_bar(0, address)) << std::hex << address;
  EXPECT_EQ(loan.in_vram(), kPages);
  Piece page(half);
  page.insert(page.end(), half.begin(), half.end());
  EXPECT_TRUE(card.holds(page.data())) << "the host does not see it in the BAR";
  EXPECT_EQ(card.device().stat(GODWIT_STAT_PEER_BYTES_HOME), 0u);
  EXPECT_TRUE(loan.has(3 * kPage, page));
}

TEST_F(Peer, ReachesPrivateVramThroughTheSwitch) { through_the_switch("private"); }

TEST_F(Peer, ReachesCoherentVramThroughTheSwitch) { through_the_switch("coherent"); }

void comes_to_ram(int number, const std::string& kind, uint32_t mode) {
  const Card card(number, kind);
  ASSERT_TRUE(card.bound());
  const Loan loan(card.device(), 6, {.mode = mode});
  EXPECT_EQ(loan.edu.counts().reach, number == 0 ? 2 : 0);
  const Piece first(loan.memory.page(2), loan.memory.page(2) + kPiece);
  loan.to_vram();
  uint64_t address = 0;
  EXPECT_EQ(loan.read(2 * kPage, &address), first);
  EXPECT_FALSE(in_bar(number, address)) << std::hex << address;
  EXPECT_EQ(loan.in_vram(), 0u);
  EXPECT_EQ(card.device().stat(GODWIT_STAT_PEER_BYTES_HOME), kBytes);
  const Piece written = pattern(7);
  loan.write(9 * kPage, written);
  EXPECT_TRUE(loan.has(9 * kPage, written));
}

TEST_F(Peer, AcrossRootPortsPrivateVramComesToRam) { comes_to_ram(1, "private", EDU_DYNAMIC); }

TEST_F(Peer, AcrossRootPortsCoherentVramComesToRam) { comes_to_ram(1, "coherent", EDU_DYNAMIC); }

TEST_F(Peer, AnImporterOfRamOnlyGetsRam) { comes_to_ram(0, "private", EDU_NO_PEER); }

void brings_it_home_for_both(int engine, uint32_t mode) {
  const Card card(0, "private");
  ASSERT_TRUE(card.bound());
  const Loan first(card.device(), 8, {.in_vram = true});
  const Piece written = pattern(9);
  uint64_t address = 0;
  first.write(0, written, &address);
  EXPECT_TRUE(in_bar(0, address));
  const Edu second(engine);
  ASSERT_EQ(second.import(first.shared.fd(), mode), 0);
  Piece seen(kPiece);
  ASSERT_EQ(second.read(0, seen.data(), kPiece, &address), 0);
  EXPECT_EQ(seen, written);
  EXPECT_FALSE(in_bar(0, address));
  EXPECT_EQ(first.read(0, &address), written);
  EXPECT_FALSE(in_bar(0, address));
  EXPECT_EQ(first.edu.counts().invalidations, 1u);
}

TEST_F(Peer, ASecondImporterOfRamOnlyBringsVramHomeForBoth) {
  brings_it_home_for_both(0, EDU_NO_PEER);
}

TEST_F(Peer, ASecondImporterAcrossRootPortsBringsVramHomeForBoth) {
  brings_it_home_for_both(Edu::count() - 1, EDU_DYNAMIC);
}

TEST_F(Peer, TwoBelowTheSwitchUseTheSameVram) {
  const Card card(0, "private");
  ASSERT_TRUE(card.bound());
  const Loan first(card.device(), 10, {.in_vram = true});
  const Edu second(1);
  ASSERT_EQ(second.import(first.shared.fd()), 0);
  const Piece written = pattern(11);
  uint64_t by_first = 0, by_second = 0;
  first.write(kPage, written, &by_first);
  Piece seen(kPiece);
  ASSERT_EQ(second.read(kPage, seen.data(), kPiece, &by_second), 0);
  EXPECT_EQ(seen, written);
  EXPECT_EQ(by_first, by_second);
  EXPECT_TRUE(in_bar(0, by_second)) << std::hex << by_second;
  EXPECT_EQ(first.edu.counts().invalidations, 0u);
}

}  // namespace
}  // namespace godwit::guest
