// SPDX-License-Identifier: MIT
// A peer's DMA to memory that moves: what it reads and writes, where, and who waits for whom.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "tests/kernel/card.h"
#include "tests/kernel/guest.h"
#include "tests/kernel/peer.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kBytes = 16 * kPage;
constexpr size_t kPiece = EDU_MAX;

using Piece = std::vector<uint8_t>;

Piece pattern(uint64_t seed) {
  Piece piece(kPiece);
  fill(piece.data(), piece.size(), seed);
  return piece;
}

// BAR 2 of a card, as the bus has it.
bool in_bar(int card, uint64_t address) {
  const auto cards = pci_devices("0x1af4", "0x1110");
  const std::string lines = read_file("/sys/bus/pci/devices/" + cards.at(static_cast<size_t>(card)) + "/resource");
  unsigned long long start = 0, end = 0;
  size_t at = 0;
  for (int line = 0; line < 2; ++line) at = lines.find('\n', at) + 1;
  EXPECT_EQ(sscanf(lines.c_str() + at, "%llx %llx", &start, &end), 2);
  return address >= start && address <= end;
}

// The driver is loaded for the length of the program.
class Environment : public ::testing::Environment {
 public:
  void TearDown() override {
    if (Edu::there()) {
      EXPECT_EQ(system("rmmod godwit_edu"), 0);
    }
  }
};

const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new Environment);

class Peer : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Edu::load()) GTEST_SKIP() << "no driver for the edu device in this VM (/modules/drivers/edu)";
  }
};

// A transfer that is under way while the test does something else. It has begun, or is about to, when this is made.
class Transfer {
 public:
  Transfer(const Edu& edu, uint64_t offset, const Piece& bytes)
      : thread_([this, &edu, offset, &bytes] { status_ = edu.write(offset, bytes.data(), bytes.size()); }) {}
  ~Transfer() { wait(); }
  int wait() {
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  int status_ = -1;
  std::thread thread_;
};

// ---- where the data goes --------------------------------------------------------------------

void reads_and_writes(const Device& device, uint32_t mode) {
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 1);
  Export shared(device, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd(), mode), 0);
  for (const bool vram : {false, true, false}) {
    if (vram) {
      ASSERT_EQ(device.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    }
    const Piece before(memory.page(0), memory.page(0) + kPiece);
    if (vram) {
      ASSERT_EQ(device.to_vram(memory.data(), memory.size()).moved, device.info().kind == GODWIT_KIND_PRIVATE ? 16u : 0u);
    }
    Piece seen(kPiece);
    ASSERT_EQ(edu.read(0, seen.data(), seen.size()), 0);
    EXPECT_EQ(seen, before);
    const Piece written = pattern(vram ? 2 : 3);
    ASSERT_EQ(edu.write(5 * kPage + kPiece, written.data(), written.size()), 0);
    EXPECT_EQ(device.in_vram(memory.data(), memory.size()), vram ? memory.size() / kPage : 0u);
    EXPECT_EQ(memcmp(memory.page(5) + kPiece, written.data(), kPiece), 0);
    if (vram) device.to_ram(memory.data(), memory.size());
  }
}

TEST_F(Peer, UsesMemoryOfASoftDeviceWhereItIs) { reads_and_writes(Device(), EDU_DYNAMIC); }

TEST_F(Peer, ByTheHelpersToo) { reads_and_writes(Device(), EDU_HELPER); }

void through_the_switch(const std::string& kind) {
  Card card(0, kind);
  ASSERT_TRUE(card.bound());
  const Device& device = card.device();
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 4);
  Export shared(device, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd()), 0);
  EXPECT_EQ(edu.counts().reach, 2) << "through the switch";
  const Piece first(memory.page(2), memory.page(2) + kPiece);
  ASSERT_EQ(device.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  Piece seen(kPiece);
  uint64_t address = 0;
  ASSERT_EQ(edu.read(2 * kPage, seen.data(), seen.size(), &address), 0);
  EXPECT_EQ(seen, first);
  EXPECT_TRUE(in_bar(0, address)) << std::hex << address;
  const Piece half = pattern(5);
  ASSERT_EQ(edu.write(3 * kPage, half.data(), half.size(), &address), 0);
  ASSERT_EQ(edu.write(3 * kPage + kPiece, half.data(), half.size(), &address), 0);
  EXPECT_TRUE(in_bar(0, address)) << std::hex << address;
  EXPECT_EQ(device.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  Piece page(half);
  page.insert(page.end(), half.begin(), half.end());
  EXPECT_TRUE(card.holds(page.data())) << "the host does not see it in the BAR";
  EXPECT_EQ(device.stat(GODWIT_STAT_PEER_BYTES_HOME), 0u);
  EXPECT_EQ(memcmp(memory.page(3), page.data(), kPage), 0);
}

TEST_F(Peer, ReachesPrivateVramThroughTheSwitch) { through_the_switch("private"); }

TEST_F(Peer, ReachesCoherentVramThroughTheSwitch) { through_the_switch("coherent"); }

void across_root_ports(int number, const std::string& kind, uint32_t mode) {
  Card card(number, kind);
  ASSERT_TRUE(card.bound());
  const Device& device = card.device();
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 6);
  Export shared(device, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd(), mode), 0);
  EXPECT_EQ(edu.counts().reach, number == 0 ? 2 : 0);
  const Piece first(memory.page(2), memory.page(2) + kPiece);
  ASSERT_EQ(device.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  Piece seen(kPiece);
  uint64_t address = 0;
  ASSERT_EQ(edu.read(2 * kPage, seen.data(), seen.size(), &address), 0);
  EXPECT_EQ(seen, first);
  EXPECT_FALSE(in_bar(number, address)) << std::hex << address;
  EXPECT_EQ(device.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_EQ(device.stat(GODWIT_STAT_PEER_BYTES_HOME), memory.size());
  const Piece written = pattern(7);
  ASSERT_EQ(edu.write(9 * kPage, written.data(), written.size()), 0);
  EXPECT_EQ(memcmp(memory.page(9), written.data(), kPiece), 0);
}

TEST_F(Peer, AcrossRootPortsPrivateVramComesToRam) { across_root_ports(1, "private", EDU_DYNAMIC); }

TEST_F(Peer, AcrossRootPortsCoherentVramComesToRam) { across_root_ports(1, "coherent", EDU_DYNAMIC); }

TEST_F(Peer, AnImporterOfRamOnlyGetsRam) { across_root_ports(0, "private", EDU_NO_PEER); }

TEST_F(Peer, ASecondImporterThatCannotReachVramBringsItHomeForBoth) {
  Card card(0, "private");
  ASSERT_TRUE(card.bound());
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 8);
  Export shared(card.device(), memory.data(), memory.size());
  Edu first, second;
  ASSERT_EQ(first.import(shared.fd()), 0);
  card.device().to_vram(memory.data(), memory.size());
  const Piece written = pattern(9);
  uint64_t address = 0;
  ASSERT_EQ(first.write(0, written.data(), kPiece, &address), 0);
  EXPECT_TRUE(in_bar(0, address));
  ASSERT_EQ(second.import(shared.fd(), EDU_NO_PEER), 0);
  Piece seen(kPiece);
  ASSERT_EQ(second.read(0, seen.data(), kPiece, &address), 0);
  EXPECT_EQ(seen, written);
  EXPECT_FALSE(in_bar(0, address));
  ASSERT_EQ(first.read(0, seen.data(), kPiece, &address), 0);
  EXPECT_FALSE(in_bar(0, address));
  EXPECT_EQ(first.counts().invalidations, 1u);
}

// ---- who waits for whom -----------------------------------------------------------------------

TEST_F(Peer, IsToldBeforePagesMoveAndMapsAgain) {
  Device gpu;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 10);
  Export shared(gpu, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd()), 0);
  Piece seen(kPiece);
  for (uint64_t round = 1; round <= 5; ++round) {
    ASSERT_EQ(edu.read(0, seen.data(), kPiece), 0);
    EXPECT_EQ(edu.counts().maps, round);
    EXPECT_EQ(edu.counts().invalidations, round - 1);
    const auto moved = round % 2 ? gpu.to_vram(memory.data(), memory.size()) : gpu.to_ram(memory.data(), memory.size());
    EXPECT_EQ(moved.moved, memory.size() / kPage);
    EXPECT_EQ(edu.counts().invalidations, round);
  }
  // What is there already is not disturbed.
  ASSERT_EQ(edu.read(0, seen.data(), kPiece), 0);
  EXPECT_EQ(gpu.to_vram(memory.data(), memory.size()).already, memory.size() / kPage);
  EXPECT_EQ(edu.counts().invalidations, 5u);
  EXPECT_BYTES(memory.data(), memory.size(), 10u);
}

TEST_F(Peer, AMoveWaitsForTheTransferUnderWay) {
  Device gpu;
  for (const bool vram : {false, true}) {
    Memory memory(kBytes);
    fill(memory.data(), memory.size(), 11);
    if (vram) gpu.to_vram(memory.data(), memory.size());
    Export shared(gpu, memory.data(), memory.size());
    Edu edu;
    ASSERT_EQ(edu.import(shared.fd()), 0);
    const Piece written = pattern(12);
    {
      Transfer transfer(edu, kPage, written);
      // Again and again, until one of them met the transfer.
      for (int round = 0; round < 200; ++round) {
        if (vram) {
          gpu.to_ram(memory.data(), memory.size());
          gpu.to_vram(memory.data(), memory.size());
        } else {
          gpu.to_vram(memory.data(), memory.size());
          gpu.to_ram(memory.data(), memory.size());
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      EXPECT_EQ(transfer.wait(), 0);
    }
    EXPECT_GE(edu.counts().waited, 1u) << "no move met the transfer";
    EXPECT_EQ(memcmp(memory.page(1), written.data(), kPiece), 0) << (vram ? "VRAM" : "RAM");
  }
}

TEST_F(Peer, ACpuTouchWaitsForTheTransferUnderWay) {
  Device gpu;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 13);
  Export shared(gpu, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd()), 0);
  for (uint64_t seed = 14; seed < 18; ++seed) {
    gpu.to_vram(memory.data(), memory.size());
    const Piece written = pattern(seed);
    Transfer transfer(edu, 3 * kPage, written);
    // 100 ms for the engine's buffer, 100 ms for the memory.
    std::this_thread::sleep_for(std::chrono::milliseconds(130 + 10 * (seed - 14)));
    volatile uint8_t* byte = memory.page(3) + kPage - 1;
    *byte = static_cast<uint8_t>(seed);
    EXPECT_EQ(transfer.wait(), 0);
    EXPECT_EQ(*byte, static_cast<uint8_t>(seed));
    EXPECT_EQ(memcmp(memory.page(3), written.data(), kPiece), 0);
  }
  EXPECT_GE(edu.counts().waited, 1u);
}

TEST_F(Peer, UnmappedMemoryIsNobodyElsesUntilTheTransferEnds) {
  Device gpu;
  Bait bait;
  for (const bool vram : {false, true}) {
    Memory memory(kBytes);
    fill(memory.data(), memory.size(), 18);
    if (vram) gpu.to_vram(memory.data(), memory.size());
    Export shared(gpu, memory.data(), memory.size());
    Edu edu;
    ASSERT_EQ(edu.import(shared.fd()), 0);
    Piece seen(kPiece);
    ASSERT_EQ(edu.read(0, seen.data(), kPiece), 0);
    const Piece written = pattern(19);
    Transfer transfer(edu, 0, written);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    // The addresses stay empty, so that nothing else is there.
    ASSERT_EQ(mmap(memory.data(), memory.size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), memory.data());
    // Memory in VRAM as well that somebody else could get the frames of.
    Memory other(16 * kMiB);
    fill(other.data(), other.size(), 20);
    gpu.to_vram(other.data(), other.size());
    const int status = transfer.wait();
    EXPECT_TRUE(status == 0 || status == -EFAULT) << status;
    EXPECT_BYTES(other.data(), other.size(), 20u);
    EXPECT_EQ(edu.write(0, written.data(), kPiece), -EFAULT);
  }
  EXPECT_EQ(wait_for_free(gpu, gpu.info().vram_total), gpu.info().vram_total);
}

TEST_F(Peer, MemoryOfAProcessThatEndedIsNotMapped) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    Device gpu;
    Memory memory(kBytes);
    fill(memory.data(), memory.size(), 21);
    gpu.to_vram(memory.data(), memory.size());
    Export shared(gpu, memory.data(), memory.size());
    send_descriptor(sockets[1], shared.fd());
    char byte;
    // Ends while the other's transfer may be under way.
    _exit(read(sockets[1], &byte, 1) == 1 && !::testing::Test::HasFailure() ? 0 : 1);
  }
  const int fd = take_descriptor(sockets[0]);
  ASSERT_GE(fd, 0);
  Edu edu;
  ASSERT_EQ(edu.import(fd), 0);
  Memory same(kBytes);
  fill(same.data(), same.size(), 21);
  Piece seen(kPiece);
  ASSERT_EQ(edu.read(4 * kPage, seen.data(), kPiece), 0);
  EXPECT_EQ(memcmp(seen.data(), same.page(4), kPiece), 0);
  const Piece written = pattern(22);
  {
    Transfer transfer(edu, 0, written);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    ASSERT_EQ(write(sockets[0], "x", 1), 1);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_well(status));
    const int result = transfer.wait();
    EXPECT_TRUE(result == 0 || result == -ESRCH) << result;
  }
  EXPECT_EQ(edu.read(0, seen.data(), kPiece), -ESRCH);
  ::close(fd);
  ::close(sockets[0]);
  ::close(sockets[1]);
  Device gpu;
  EXPECT_EQ(wait_for_free(gpu, gpu.info().vram_total), gpu.info().vram_total);
}

TEST_F(Peer, APeerThatDoesNotLetGoIsCountedAndKeepsItsPages) {
  Device gpu;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 23);
  gpu.to_vram(memory.data(), memory.size());
  Export shared(gpu, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd(), EDU_STUBBORN), 0);
  Piece seen(kPiece);
  ASSERT_EQ(edu.read(0, seen.data(), kPiece), 0);
  EXPECT_EQ(gpu.to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_BUSY], memory.size() / kPage);
  EXPECT_EQ(gpu.stat(GODWIT_STAT_PEER_TIMEOUTS), 1u);
  const Piece written = pattern(24);
  ASSERT_EQ(edu.write(0, written.data(), kPiece), 0);
  ASSERT_EQ(edu.release(), 0);
  EXPECT_EQ(gpu.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(memcmp(memory.page(0), written.data(), kPiece), 0);
}

TEST_F(Peer, AnUnpluggedDeviceWaitsForTransfersAndMapsNoMore) {
  SoftDevice soft("private:16M");
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 25);
  Edu edu;
  const Piece written = pattern(26);
  Device gpu(soft.index());
  gpu.to_vram(memory.data(), memory.size());
  Export shared(gpu, memory.data(), memory.size());
  ASSERT_EQ(edu.import(shared.fd()), 0);
  {
    Transfer transfer(edu, 0, written);
    std::this_thread::sleep_for(std::chrono::milliseconds(130));
    gpu.close();
    soft.remove();
    const int status = transfer.wait();
    EXPECT_TRUE(status == 0 || status == -ENODEV) << status;
    if (status == 0) {
      EXPECT_EQ(memcmp(memory.page(0), written.data(), kPiece), 0);
    }
  }
  Piece seen(kPiece);
  EXPECT_EQ(edu.read(0, seen.data(), kPiece), -ENODEV);
}

// ---- sharing ----------------------------------------------------------------------------------

TEST_F(Peer, AChildKeepsWhatItHadAtTheFork) {
  Device gpu;
  for (const bool vram : {false, true}) {
    Memory memory(kBytes);
    fill(memory.data(), memory.size(), 27);
    if (vram) gpu.to_vram(memory.data(), memory.size());
    Export shared(gpu, memory.data(), memory.size());
    Edu edu;
    ASSERT_EQ(edu.import(shared.fd()), 0);
    Piece seen(kPiece);
    // Mapped, for reading and writing.
    ASSERT_EQ(edu.read(0, seen.data(), kPiece), 0);
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      char byte;
      if (read(sockets[1], &byte, 1) != 1) _exit(2);
      _exit(differs(memory.data(), memory.size(), 27) == -1 ? 0 : 1);
    }
    const Piece written = pattern(28);
    ASSERT_EQ(edu.write(0, written.data(), kPiece), 0);
    ASSERT_EQ(edu.write(7 * kPage, written.data(), kPiece), 0);
    ASSERT_EQ(write(sockets[0], "x", 1), 1);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_well(status)) << (vram ? "VRAM: " : "RAM: ") << "the child saw what a peer wrote after the fork";
    EXPECT_EQ(memcmp(memory.page(0), written.data(), kPiece), 0);
    EXPECT_EQ(memcmp(memory.page(7), written.data(), kPiece), 0);
    ::close(sockets[0]);
    ::close(sockets[1]);
  }
}

TEST_F(Peer, TwoProcessesAndADeviceShareARangeThatMoves) {
  Device gpu;
  Memory memory(kBytes, Memory::kShared), own(kBytes);
  fill(memory.data(), memory.size(), 29);
  fill(own.data(), own.size(), 30);
  Export shared(gpu, own.data(), own.size());
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  fflush(nullptr);
  // The child knows the range by its dma-buf only.
  const pid_t child = fork();
  if (child == 0) {
    shared.close();
    const int fd = take_descriptor(sockets[1]);
    Edu edu;
    bool good = edu.import(fd) == 0;
    for (uint64_t page = 0; page < 8 && good; ++page) {
      const Piece written = pattern(100 + page);
      good = edu.write(page * kPage, written.data(), kPiece) == 0;
      good = good && write(sockets[1], "x", 1) == 1;
    }
    _exit(good ? 0 : 1);
  }
  send_descriptor(sockets[0], shared.fd());
  std::atomic<bool> stop{false};
  std::thread storm([&] {
    while (!stop) {
      gpu.to_vram(own.data(), own.size());
      gpu.to_ram(own.data(), own.size());
    }
  });
  for (uint64_t page = 0; page < 8; ++page) {
    char byte;
    ASSERT_EQ(read(sockets[0], &byte, 1), 1);
    EXPECT_EQ(memcmp(own.page(page), pattern(100 + page).data(), kPiece), 0) << page;
  }
  stop = true;
  storm.join();
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_well(status));
  Memory same(kBytes);
  fill(same.data(), same.size(), 30);
  for (size_t page = 8; page < 16; ++page) EXPECT_EQ(memcmp(own.page(page), same.page(page), kPage), 0);
  ::close(sockets[0]);
  ::close(sockets[1]);
}

// ---- importers that cannot follow -------------------------------------------------------------

TEST_F(Peer, AStaticImporterHasAPinInRam) {
  Device gpu;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 31);
  gpu.to_vram(memory.data(), memory.size());
  Export shared(gpu, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd(), EDU_STATIC), 0);
  EXPECT_EQ(gpu.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_EQ(gpu.to_vram(memory.data(), memory.size()).moved, 0u);
  const Piece written = pattern(32);
  ASSERT_EQ(edu.write(0, written.data(), kPiece), 0);
  EXPECT_EQ(memcmp(memory.page(0), written.data(), kPiece), 0);
  // One that can follow gets the same pages.
  Edu other;
  ASSERT_EQ(other.import(shared.fd()), 0);
  Piece seen(kPiece);
  ASSERT_EQ(other.read(0, seen.data(), kPiece), 0);
  EXPECT_EQ(seen, written);
  ASSERT_EQ(edu.release(), 0);
  EXPECT_EQ(gpu.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
}

TEST_F(Peer, PinsOfStaticImportersHaveABudget) {
  EXPECT_TRUE(exited_well(in_child([] {
    Device gpu;
    Edu edu;
    Memory memory(kBytes);
    fill(memory.data(), memory.size(), 33);
    Export shared(gpu, memory.data(), memory.size()), less(gpu, memory.data(), kPage);
    const rlimit limit = {8 * kPage, 8 * kPage};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    ASSERT_EQ(setuid(65534), 0);
    EXPECT_EQ(edu.import(shared.fd(), EDU_STATIC), -EDQUOT);
    EXPECT_EQ(edu.import(less.fd(), EDU_STATIC), 0);
    EXPECT_EQ(edu.import(shared.fd()), 0) << "one that can follow needs none";
  })));
}

TEST_F(Peer, WhatAStaticImporterPinnedStaysItsOwnAfterMunmap) {
  Device gpu;
  Bait bait;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 34);
  Export shared(gpu, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd(), EDU_STATIC), 0);
  munmap(memory.data(), memory.size());
  memory.release();
  const Piece written = pattern(35);
  ASSERT_EQ(edu.write(0, written.data(), kPiece), 0);
  Piece seen(kPiece);
  ASSERT_EQ(edu.read(0, seen.data(), kPiece), 0);
  EXPECT_EQ(seen, written);
}

TEST_F(Peer, MemoryThatMayNotBeWrittenIsNotMappedForWriting) {
  Device gpu;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 36);
  ASSERT_EQ(mprotect(memory.page(4), kPage, PROT_READ), 0);
  Export shared(gpu, memory.data(), memory.size()), start(gpu, memory.data(), 4 * kPage);
  Edu edu;
  Piece seen(kPiece);
  ASSERT_EQ(edu.import(shared.fd()), 0);
  // It maps for both directions.
  EXPECT_EQ(edu.read(0, seen.data(), kPiece), -EACCES);
  ASSERT_EQ(edu.import(start.fd()), 0);
  EXPECT_EQ(edu.read(0, seen.data(), kPiece), 0);
  ASSERT_EQ(edu.import(shared.fd(), EDU_HELPER), 0);
  EXPECT_EQ(edu.read(4 * kPage, seen.data(), kPiece), 0);
  EXPECT_EQ(memcmp(seen.data(), memory.page(4), kPiece), 0);
  EXPECT_EQ(edu.write(4 * kPage, seen.data(), kPiece), -EACCES);
}

// ---- storms -----------------------------------------------------------------------------------

struct Storm {
  // Pieces that were copied, and moves meanwhile.
  uint64_t copies = 0;
  std::atomic<uint64_t> moves{0};
};

// The peer copies pages of the range within it, as a model does in RAM, while the range moves between VRAM of two devices and
// RAM, is evicted and is touched by the CPU. In the end, and at times, every byte is compared.
void storm(const Device& first, const Device& second, uint32_t mode, int seconds) {
  constexpr size_t kPages = 24;
  Memory memory(kPages * kPage);
  fill(memory.data(), memory.size(), 40);
  std::vector<uint8_t> model(memory.data(), memory.data() + memory.size());
  Export shared(first, memory.data(), memory.size());
  Edu edu;
  ASSERT_EQ(edu.import(shared.fd(), mode), 0);
  Storm state;
  std::atomic<bool> stop{false};
  Bait bait;
  std::thread mover([&] {
    for (uint64_t round = 0; !stop; ++round) {
      switch (round % 6) {
        case 0:
        case 3:
          state.moves += first.to_vram(memory.data(), memory.size()).moved;
          break;
        case 1:
          state.moves += second.to_vram(memory.data(), memory.size()).moved;
          break;
        case 2:
          state.moves += second.evict(GODWIT_EVICT_DEVICE).evicted;
          break;
        case 4:
          state.moves += first.evict(GODWIT_EVICT_RANGE, memory.data(), memory.size()).evicted;
          break;
        default:
          state.moves += first.to_vram(memory.page(3), 5 * kPage).moved;
          state.moves += first.to_ram(memory.data(), memory.size()).moved;
      }
    }
  });
  std::thread toucher([&] {
    // Reads, of pages that may be in VRAM.
    volatile uint8_t sum = 0;
    for (size_t page = 0; !stop; page = (page + 7) % kPages) {
      sum = static_cast<uint8_t>(sum + *static_cast<volatile uint8_t*>(memory.page(page) + kPage - 8));
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  int status = 0;
  for (uint64_t random = 12345; std::chrono::steady_clock::now() < end && status == 0; ++state.copies) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const uint64_t from = (random >> 33) % (2 * kPages) * kPiece, to = (random >> 45) % (2 * kPages) * kPiece;
    status = edu.copy(from, to, kPiece);
    if (status == 0) memmove(model.data() + to, model.data() + from, kPiece);
    if (state.copies % 16 == 15 && memcmp(memory.data(), model.data(), model.size()) != 0) break;
  }
  stop = true;
  mover.join();
  toucher.join();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(memcmp(memory.data(), model.data(), model.size()), 0) << "after " << state.copies << " copies";
  const edu_counts counts = edu.counts();
  std::printf("%llu copies, %llu pages moved; maps %llu, again %llu, invalidations %llu, %llu of them during a transfer; timeouts %llu\n",
              static_cast<unsigned long long>(state.copies), static_cast<unsigned long long>(state.moves.load()),
              static_cast<unsigned long long>(counts.maps), static_cast<unsigned long long>(counts.again),
              static_cast<unsigned long long>(counts.invalidations), static_cast<unsigned long long>(counts.waited),
              static_cast<unsigned long long>(first.stat(GODWIT_STAT_PEER_TIMEOUTS)));
  EXPECT_GT(state.copies, 5u);
  EXPECT_GT(state.moves, 100u);
  if (mode == EDU_DYNAMIC) {
    EXPECT_GT(counts.waited, 0u);
  }
}

constexpr int kStormSeconds = 20;

TEST_F(Peer, StormOnSoftDevices) {
  SoftDevice soft("private:16M");
  storm(Device(), Device(soft.index()), EDU_DYNAMIC, kStormSeconds);
}

TEST_F(Peer, StormByTheHelpers) {
  SoftDevice soft("private:16M");
  storm(Device(), Device(soft.index()), EDU_HELPER, kStormSeconds);
}

TEST_F(Peer, StormBelowTheSwitchAndAcrossRootPorts) {
  Card near(0, "private"), far(1, "private");
  ASSERT_TRUE(near.bound() && far.bound());
  storm(near.device(), far.device(), EDU_DYNAMIC, kStormSeconds);
}

TEST_F(Peer, StormOnCoherentVram) {
  Card near(0, "coherent"), far(1, "coherent");
  ASSERT_TRUE(near.bound() && far.bound());
  storm(near.device(), far.device(), EDU_DYNAMIC, kStormSeconds);
}

}  // namespace
}  // namespace godwit::guest
