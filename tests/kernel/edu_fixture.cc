// SPDX-License-Identifier: MIT
#include "tests/kernel/edu_fixture.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace godwit::guest {
namespace {

// Takes the driver away at the end of the program.
class Unloader : public ::testing::Environment {
 public:
  void TearDown() override {
    if (Edu::loaded()) {
      EXPECT_EQ(system("rmmod godwit_edu"), 0);
    }
  }
};

const auto* const kUnloader = ::testing::AddGlobalTestEnvironment(new Unloader);

}  // namespace

Piece pattern(uint64_t seed) {
  Piece piece(kPiece);
  fill(piece.data(), piece.size(), seed);
  return piece;
}

void Peer::SetUp() {
  if (!Edu::load())
    GTEST_SKIP() << "no driver for the edu device in this VM (/modules/drivers/edu)";
}

namespace {

// The export is of memory that has its bytes, where they are to be.
const Memory& prepared(const Device& device, const Memory& memory, uint64_t seed, bool in_vram) {
  fill(memory.data(), memory.size(), seed);
  if (in_vram) {
    EXPECT_EQ(device.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  }
  return memory;
}

}  // namespace

Loan::Loan(const Device& owner, uint64_t seed, const Options& options)
    : device(owner),
      memory(kBytes, options.kind),
      shared(owner, prepared(owner, memory, seed, options.in_vram).data(), memory.size()) {
  EXPECT_EQ(edu.import(shared.fd(), options.mode), 0);
}

void Loan::to_vram() const {
  EXPECT_EQ(device.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
}

void Loan::to_ram() const {
  EXPECT_EQ(device.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
}

size_t Loan::in_vram() const { return device.in_vram(memory.data(), memory.size()); }

Piece Loan::read(uint64_t offset, uint64_t* address) const {
  Piece seen(kPiece);
  EXPECT_EQ(edu.read(offset, seen.data(), seen.size(), address), 0);
  return seen;
}

void Loan::write(uint64_t offset, const Piece& piece, uint64_t* address) const {
  EXPECT_EQ(edu.write(offset, piece.data(), piece.size(), address), 0);
}

bool Loan::has(uint64_t offset, const Piece& piece) const {
  return memcmp(memory.data() + offset, piece.data(), piece.size()) == 0;
}

Transfer::Transfer(const Edu& edu, uint64_t offset, const Piece& bytes, uint32_t until)
    : edu_(edu) {
  uint64_t begun = edu.counts().begun;
  thread_ = std::thread([this, until, offset, &bytes] {
    status_ = edu_.write_until(until, offset, bytes.data(), bytes.size());
  });
  EXPECT_EQ(edu.await(&begun), 0) << "it does not begin";
}

int Transfer::finish() {
  EXPECT_EQ(edu_.finish(), 0);
  return wait();
}

int Transfer::wait() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

void wait_for_revokes(const Device& device, uint64_t count) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (device.stat(GODWIT_STAT_PEER_REVOKES) < count) {
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "nobody was told to let go";
      return;
    }
    std::this_thread::yield();
  }
}

Line::Line() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0) << strerror(errno); }

Line::~Line() {
  for (const int end : ends_) close(end);
}

bool Line::say(int end) { return ::write(end, "x", 1) == 1; }

bool Line::hear(int end) {
  char byte;
  return ::read(end, &byte, 1) == 1;
}

bool in_bar(int card, uint64_t address) {
  const auto cards = pci_devices("0x1af4", "0x1110");
  const std::string lines =
      read_file("/sys/bus/pci/devices/" + cards.at(static_cast<size_t>(card)) + "/resource");
  unsigned long long start = 0, end = 0;
  size_t at = 0;
  // Its BAR 2.
  for (int line = 0; line < 2; ++line) at = lines.find('\n', at) + 1;
  EXPECT_EQ(sscanf(lines.c_str() + at, "%llx %llx", &start, &end), 2);
  return address >= start && address <= end;
}

}  // namespace godwit::guest
