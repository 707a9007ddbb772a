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
