// SPDX-License-Identifier: MIT
// Peers that cannot follow pages that move, and memory that peers may not write.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/kernel/edu_fixture.h"

namespace godwit::guest {
namespace {

TEST_F(Peer, AStaticImporterHasAPinInRam) {
  const Device gpu;
  const Loan loan(gpu, 31, {.in_vram = true, .mode = EDU_STATIC});
  EXPECT_EQ(loan.in_vram(), 0u);
  EXPECT_EQ(gpu.to_vram(loan.memory.data(), loan.memory.size()).stayed[GODWIT_STAY_BUSY], kPages);
  const Piece written = pattern(32);
  loan.write(0, written);
  EXPECT_TRUE(loan.has(0, written));
  // The failed move disturbed the range, and left the pages where they are: so do others get them.
  {
    const Edu second(1);
    EXPECT_EQ(second.import(loan.shared.fd(), EDU_STATIC), 0);
    Piece seen(kPiece);
    EXPECT_EQ(second.read(0, seen.data(), kPiece), 0);
    EXPECT_EQ(seen, written);
  }
  // One that can follow gets the same pages.
  {
    const Edu other;
    ASSERT_EQ(other.import(loan.shared.fd()), 0);
    Piece seen(kPiece);
    ASSERT_EQ(other.read(0, seen.data(), kPiece), 0);
    EXPECT_EQ(seen, written);
  }
  ASSERT_EQ(loan.edu.release(), 0);
  loan.to_vram();
}

// All of it is held by a pin, and no peer was in the way.
void stays_pinned(const Loan& loan) {
  EXPECT_EQ(loan.device.to_vram(loan.memory.data(), loan.memory.size()).stayed[GODWIT_STAY_BUSY],
            kPages);
  EXPECT_EQ(loan.device.stat(GODWIT_STAT_PEER_TIMEOUTS), 0u);
}

TEST_F(Peer, PinnedPagesAreMappedAsLongAsTheyAreThoseOfTheRange) {
  const Device gpu;
  const Loan loan(gpu, 37);
  ASSERT_EQ(loan.edu.pin(), 0);
  stays_pinned(loan);
  const Piece written = pattern(38);
  loan.write(0, written);
  EXPECT_TRUE(loan.has(0, written));
  const Edu second(1);
  ASSERT_EQ(second.import(loan.shared.fd()), 0);
  ASSERT_EQ(mprotect(loan.memory.page(4), kPage, PROT_READ), 0);
  // It waits for nothing: for as long as others are being told to let go it says so.
  int status = second.pin();
  while (status == -EBUSY) status = second.pin();
  ASSERT_EQ(status, 0);
  Piece seen(kPiece);
  // It maps for both directions.
  EXPECT_EQ(second.read(0, seen.data(), kPiece), -EACCES);
  ASSERT_EQ(mprotect(loan.memory.page(4), kPage, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(second.read(0, seen.data(), kPiece), 0);
  EXPECT_EQ(seen, written);
  EXPECT_EQ(loan.edu.counts().invalidations, 0u);
  // What is there now is not what is pinned.
  ASSERT_EQ(madvise(loan.memory.page(9), kPage, MADV_DONTNEED), 0);
  const Edu third(Edu::count() - 1);
  EXPECT_EQ(third.import(loan.shared.fd(), EDU_STATIC), -EFAULT);
  ASSERT_EQ(third.import(loan.shared.fd()), 0);
  EXPECT_EQ(third.pin(), -EFAULT);
  EXPECT_EQ(third.read(0, seen.data(), kPiece), 0);
  EXPECT_EQ(seen, written);
}

TEST_F(Peer, WhatWasMappedUnderAPinIsGivenBackAfterIt) {
  const Device gpu;
  const Loan loan(gpu, 39);
  const Edu second(1);
  ASSERT_EQ(second.import(loan.shared.fd()), 0);
  Piece seen(kPiece);
  ASSERT_EQ(loan.edu.pin(), 0);
  ASSERT_EQ(second.pin(), 0);
  loan.read(0);
  ASSERT_EQ(second.read(0, seen.data(), kPiece), 0);
  // The second one's pin stays, and what the first one has mapped is of that.
  ASSERT_EQ(loan.edu.unpin(), 0);
  wait_for_revokes(gpu, 1);
  EXPECT_EQ(loan.edu.counts().invalidations, 1u);
  EXPECT_EQ(second.counts().invalidations, 0u);
  loan.read(0);
  stays_pinned(loan);
  EXPECT_EQ(loan.edu.counts().invalidations, 2u);
  // Nobody pins it any more.
  ASSERT_EQ(second.unpin(), 0);
  loan.to_vram();
  EXPECT_EQ(second.counts().invalidations, 1u);
  EXPECT_EQ(gpu.stat(GODWIT_STAT_PEER_TIMEOUTS), 0u);
}

TEST_F(Peer, NobodyWaitsForWhatIsPinnedAfterItWasMapped) {
  const Device gpu;
  const Loan loan(gpu, 40);
  loan.read(0);
  ASSERT_EQ(loan.edu.pin(), 0);
  stays_pinned(loan);
  EXPECT_EQ(loan.edu.counts().invalidations, 0u);
  const Piece written = pattern(41);
  loan.write(0, written);
  EXPECT_EQ(loan.edu.counts().maps, 1u);
  EXPECT_TRUE(loan.has(0, written));
  ASSERT_EQ(loan.edu.unpin(), 0);
  loan.to_vram();
  EXPECT_EQ(loan.edu.counts().invalidations, 1u);
}

TEST_F(Peer, WhoHasOtherPagesMappedPinsNothing) {
  const Device gpu;
  const Loan loan(gpu, 42, {.mode = EDU_STUBBORN});
  loan.read(0);
  ASSERT_EQ(madvise(loan.memory.page(9), kPage, MADV_DONTNEED), 0);
  *loan.memory.page(9) = 1;
  wait_for_revokes(gpu, 1);
  EXPECT_EQ(loan.edu.pin(), -EBUSY);
  ASSERT_EQ(loan.edu.import(loan.shared.fd()), 0);
  loan.read(0);
  EXPECT_EQ(loan.edu.pin(), 0);
}

TEST_F(Peer, PinsOfStaticImportersHaveABudget) {
  EXPECT_TRUE(exited_well(in_child([] {
    const Device gpu;
    const Loan loan(gpu, 33);
    const Export less(gpu, loan.memory.data(), kPage);
    const rlimit limit = {8 * kPage, 8 * kPage};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    ASSERT_EQ(setuid(65534), 0);
    EXPECT_EQ(loan.edu.import(loan.shared.fd(), EDU_STATIC), -EDQUOT);
    EXPECT_EQ(loan.edu.import(less.fd(), EDU_STATIC), 0);
    EXPECT_EQ(loan.edu.import(loan.shared.fd()), 0) << "one that can follow needs none";
  })));
}

TEST_F(Peer, WhatAStaticImporterPinnedStaysItsOwnAfterMunmap) {
  const Device gpu;
  const Bait bait;
  Loan loan(gpu, 34, {.mode = EDU_STATIC});
  munmap(loan.memory.data(), loan.memory.size());
  loan.memory.release();
  const Piece written = pattern(35);
  loan.write(0, written);
  EXPECT_EQ(loan.read(0), written);
}

TEST_F(Peer, MemoryThatMayNotBeWrittenIsNotMappedForWriting) {
  const Device gpu;
  const Loan loan(gpu, 36);
  ASSERT_EQ(mprotect(loan.memory.page(4), kPage, PROT_READ), 0);
  const Export start(gpu, loan.memory.data(), 4 * kPage);
  Piece seen(kPiece);
  // It maps for both directions.
  EXPECT_EQ(loan.edu.read(0, seen.data(), kPiece), -EACCES);
  ASSERT_EQ(loan.edu.import(start.fd()), 0);
  EXPECT_EQ(loan.edu.read(0, seen.data(), kPiece), 0);
  ASSERT_EQ(loan.edu.import(loan.shared.fd(), EDU_HELPER), 0);
  EXPECT_EQ(loan.edu.read(4 * kPage, seen.data(), kPiece), 0);
  EXPECT_EQ(memcmp(seen.data(), loan.memory.page(4), kPiece), 0);
  EXPECT_EQ(loan.edu.write(4 * kPage, seen.data(), kPiece), -EACCES);
}

}  // namespace
}  // namespace godwit::guest
