// SPDX-License-Identifier: MIT
// What the tests of a peer's DMA to memory that moves have in common.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "tests/kernel/card.h"
#include "tests/kernel/guest.h"
#include "tests/kernel/peer.h"

namespace godwit::guest {

inline constexpr size_t kMiB = size_t{1} << 20;
inline constexpr size_t kPages = 16;
inline constexpr size_t kBytes = kPages * kPage;
inline constexpr size_t kPiece = EDU_MAX;

// What one transfer moves.
using Piece = std::vector<uint8_t>;
Piece pattern(uint64_t seed);

// Loads the driver, which stays for the length of the program.
class Peer : public ::testing::Test {
 protected:
  void SetUp() override;
};

// Memory with fill(seed) that a device exports and an engine imports.
struct Loan {
  struct Options {
    bool in_vram = false;
    uint32_t mode = EDU_DYNAMIC;
    Memory::Kind kind = Memory::kAnonymous;
  };
  Loan(const Device& owner, uint64_t seed, const Options& options);
  Loan(const Device& owner, uint64_t seed) : Loan(owner, seed, Options()) {}

  // All of it, or the test fails.
  void to_vram() const;
  void to_ram() const;
  size_t in_vram() const;
  // A piece, by the engine; fails the test where it cannot.
  Piece read(uint64_t offset, uint64_t* address = nullptr) const;
  void write(uint64_t offset, const Piece& piece, uint64_t* address = nullptr) const;
  // What the CPU has at an offset.
  bool has(uint64_t offset, const Piece& piece) const;

  const Device& device;
  Memory memory;
  Export shared;
  Edu edu;
};

// A transfer that is under way when this has been made, and lasts until its driver is told to let
// go of the memory (EDU_UNTIL_TOLD) or until it is asked for its end (EDU_UNTIL_ASKED). All but the
// first 8 bytes are written after that only.
class Transfer {
 public:
  Transfer(const Edu& edu, uint64_t offset, const Piece& bytes, uint32_t until = EDU_UNTIL_TOLD);
  ~Transfer() { wait(); }
  // Its end: 0 or a negative errno.
  int finish();
  int wait();

 private:
  const Edu& edu_;
  int status_ = -1;
  std::thread thread_;
};

// Waits until importers were told to let go so often.
void wait_for_revokes(const Device& device, uint64_t count);

// Two ends of a connection, for a process and its child.
class Line {
 public:
  Line();
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  int here() const { return ends_[0]; }
  int there() const { return ends_[1]; }
  // A byte; whether that worked.
  static bool say(int end);
  static bool hear(int end);

 private:
  int ends_[2] = {-1, -1};
};

// Whether an address of the bus is in the VRAM of a card.
bool in_bar(int card, uint64_t address);

}  // namespace godwit::guest
