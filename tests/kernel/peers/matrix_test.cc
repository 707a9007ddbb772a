// SPDX-License-Identifier: MIT
// Kinds of VRAM x peers x topology: where the data of each goes, and that it is right.
// docs/peers-devices.md has the table.
#include <cerrno>
#include <cstring>
#include <tuple>

#include "tests/kernel/peers/peer.h"

namespace godwit::guest {
namespace {

constexpr size_t kBytes = 256 << 10;

// Where a peer finds bytes that are in VRAM.
enum class Way {
  // There: nothing moves.
  kInPlace,
  // In RAM, to which they come first.
  kHome,
  // It is refused. In RAM, where the program moves them, it works.
  kRefused,
};

// What the kernel's own rules make of it. Nothing here is this module's choice but that of explicit
// objects: to be of pages that I/O may use where the bus lets it, and to stay where they are for a
// driver that maps them in the kernel.
Way way_of(Kind kind, PeerKind peer, int card) {
  const bool cpu_copies = peer == PeerKind::kNvmeBuffered;
  switch (kind) {
    case Kind::kSoft:
    case Kind::kPrivate:
      // No address that another device, or the CPU, could use.
      return Way::kHome;
    case Kind::kCoherent:
      // As RAM, also for what no bus would carry: no check is made. But whoever holds pages for
      // long gets none of a device's, and an object has none here.
      if (cpu_copies || peer == PeerKind::kNvme || peer == PeerKind::kRdmaOnDemand)
        return Way::kInPlace;
      return Way::kHome;
    case Kind::kExplicit:
      // rxe is software: its copies are the CPU's.
      if (cpu_copies || peer == PeerKind::kRdmaOnDemand || peer == PeerKind::kCameraDmaBuf)
        return Way::kInPlace;
      if (peer == PeerKind::kNvme) return card == 0 ? Way::kInPlace : Way::kRefused;
      // Peer-to-peer pages are not to be held for long.
      return Way::kRefused;
  }
  return Way::kRefused;
}

// With which error: of the bus (the disk's driver), or of get_user_pages.
bool is_refusal(PeerKind peer, int status) {
  if (peer == PeerKind::kNvme) return status == -EREMOTEIO || status == -EINVAL;
  return status == -EREMOTEIO || status == -EFAULT;
}

class Matrix : public ::testing::TestWithParam<std::tuple<Kind, int, PeerKind>> {
 protected:
  // Bytes that no cell before had: they may lie about in freed VRAM, where the host finds them.
  const uint64_t seed_ = 4 * ++cells_;

 private:
  static inline uint64_t cells_ = 0;
};

TEST_P(Matrix, TheBytesAreRightAndWhereTheyShouldBe) {
  const auto [kind, card, peer_kind] = GetParam();
  const Way way = way_of(kind, peer_kind, card);
  const auto peer = Peer::make(peer_kind);
  if (const std::string missing = peer->missing(); !missing.empty()) GTEST_SKIP() << missing;
  const Place place(kind, card);
  ASSERT_TRUE(place.ready());
  // Only objects have a dma-buf of their own.
  const Target target(place, kBytes, peer_kind == PeerKind::kCameraDmaBuf);
  ASSERT_NE(target.data(), nullptr);
  std::vector<uint8_t> before(kBytes);
  fill(before.data(), before.size(), seed_);
  memcpy(target.data(), before.data(), kBytes);
  ASSERT_TRUE(target.to_vram());

  // The peer writes.
  const std::vector<uint8_t> wanted = peer->expected(kBytes, seed_ + 1);
  ASSERT_NE(memcmp(wanted.data(), before.data(), wanted.size()), 0);
  int status = peer->into(target, seed_ + 1);
  if (way == Way::kRefused) {
    EXPECT_TRUE(is_refusal(peer_kind, status)) << strerror(-status);
    EXPECT_TRUE(target.in_vram());
    EXPECT_EQ(memcmp(target.data(), before.data(), kBytes), 0) << "refused, and yet it wrote";
    ASSERT_TRUE(target.to_ram());
    status = peer->into(target, seed_ + 1);
  }
  ASSERT_EQ(status, 0) << strerror(-status);
  EXPECT_EQ(target.in_vram(), way == Way::kInPlace);
  EXPECT_EQ(target.in_ram(), way != Way::kInPlace);
  // The host's view first: the CPU's look would bring private pages home.
  if (kind != Kind::kSoft) {
    EXPECT_EQ(place.holds(wanted.data() + 3 * kPage), way == Way::kInPlace);
  }
  EXPECT_EQ(memcmp(target.data(), wanted.data(), wanted.size()), 0)
      << "the peer's bytes are not there";
  // What it did not write is as it was.
  EXPECT_EQ(
      memcmp(target.data() + wanted.size(), before.data() + wanted.size(), kBytes - wanted.size()),
      0);

  // To VRAM, and what the peer wrote is there: by the host's eyes, where it is a card.
  ASSERT_TRUE(target.to_vram());
  if (kind != Kind::kSoft) {
    EXPECT_TRUE(place.holds(wanted.data() + 3 * kPage));
  }
  EXPECT_EQ(memcmp(target.data(), wanted.data(), wanted.size()), 0);

  // The peer reads what the CPU wrote last.
  if (!peer->reads()) return;
  std::vector<uint8_t> after(kBytes);
  fill(after.data(), after.size(), seed_ + 2);
  memcpy(target.data(), after.data(), kBytes);
  ASSERT_TRUE(target.to_vram());
  status = peer->out_of(target, after);
  if (way == Way::kRefused) {
    EXPECT_TRUE(is_refusal(peer_kind, status)) << strerror(-status);
    ASSERT_TRUE(target.to_ram());
    status = peer->out_of(target, after);
  }
  EXPECT_EQ(status, 0) << strerror(-status);
  EXPECT_EQ(target.in_vram(), way == Way::kInPlace);
  EXPECT_EQ(memcmp(target.data(), after.data(), kBytes), 0);
}

std::string cell_name(const ::testing::TestParamInfo<Matrix::ParamType>& info) {
  const auto [kind, card, peer] = info.param;
  return std::string(name_of(kind)) +
         (kind == Kind::kSoft ? ""
          : card == 0         ? "SameSwitch"
                              : "OtherRootPort") +
         "_" + name_of(peer);
}

INSTANTIATE_TEST_SUITE_P(Cards, Matrix,
                         ::testing::Combine(::testing::Values(Kind::kPrivate, Kind::kCoherent,
                                                              Kind::kExplicit),
                                            ::testing::Values(0, 1), ::testing::ValuesIn(kPeers)),
                         cell_name);
// A soft device is not on a bus.
INSTANTIATE_TEST_SUITE_P(Soft, Matrix,
                         ::testing::Combine(::testing::Values(Kind::kSoft), ::testing::Values(0),
                                            ::testing::ValuesIn(kPeers)),
                         cell_name);

}  // namespace
}  // namespace godwit::guest
