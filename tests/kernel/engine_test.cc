// SPDX-License-Identifier: MIT
// The engine of the soft device, a thread: who waits for a copy copies along, each byte is copied once, and nobody helps with what
// is to be slow.
#include <chrono>
#include <cstdlib>
#include <string>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

const std::string kParameters = "/sys/module/godwit_soft/parameters/";

// Both page sizes: true is huge pages.
class Engine : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  void TearDown() override {
    EXPECT_EQ(write_file(kParameters + "slow_copies", "0"), 0);
    DeviceTest::TearDown();
  }
  Memory::Kind kind() const { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }
  // Parts of copies that were not the engine's.
  static long helped() { return std::atol(read_file(kParameters + "helped").c_str()); }
  void there_and_back(const Memory& memory, uint64_t seed) const {
    fill(memory.data(), memory.size(), seed);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), seed);
  }
};

// The engine may be at all of it before we are: not always.
TEST_P(Engine, WhoWaitsCopiesAlong) {
  Memory memory(kHuge, kind());
  const long before = helped();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  for (uint64_t round = 0; helped() == before; ++round) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the engine did it all " << round << " times";
    there_and_back(memory, round);
  }
}

TEST_P(Engine, NobodyHelpsWithACopyThatIsToBeSlow) {
  Memory memory(4 * kHuge, kind());
  ASSERT_EQ(write_file(kParameters + "slow_copies", "100"), 0);
  const long before = helped();
  for (uint64_t round = 0; round < 4; ++round) there_and_back(memory, 10 + round);
  EXPECT_EQ(helped(), before);
}

// Pieces end where they do, parts every 16 pages; up to 32 pages are no request at all.
TEST_P(Engine, EveryByteArrivesWhateverTheLength) {
  for (const size_t pages : {31u, 32u, 33u, 47u, 48u, 49u, 100u, 511u, 512u, 513u, 545u, 1024u, 1100u}) {
    Memory memory(pages * kPage, kind());
    there_and_back(memory, pages);
  }
}

// What was never touched has no page to be copied from: its frames are cleared, in parts as well. They have held other bytes.
TEST_P(Engine, WhatWasNeverTouchedArrivesAsZeros) {
  {
    Memory before(4 * kHuge, kind());
    there_and_back(before, 1);
  }
  for (const size_t every : {1u, 3u, 700u}) {
    Memory memory(4 * kHuge, kind());
    for (size_t page = every; page < memory.size() / kPage; page += every + 1) fill(memory.page(page), kPage, page);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    gpu_.to_ram(memory.data(), memory.size());
    for (size_t page = 0; page < memory.size() / kPage; ++page) {
      const bool touched = page % (every + 1) == every;
      EXPECT_TRUE(touched ? differs(memory.page(page), kPage, page) == -1 : all_zero(memory.page(page), kPage))
          << page << " of " << every;
    }
  }
}

// Processes, so that nothing but the device is in common.
TEST_P(Engine, EveryByteArrivesForManyAtATime) {
  in_children(4, [this](uint64_t seed) {
    Device gpu;
    Memory memory(2 * kHuge, kind());
    for (uint64_t round = 0; round < 10; ++round) {
      fill(memory.data(), memory.size(), 100 * seed + round);
      gpu.to_vram(memory.data(), memory.size());
      gpu.to_ram(memory.data(), memory.size());
      EXPECT_BYTES(memory.data(), memory.size(), 100 * seed + round);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(PageSize, Engine, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

}  // namespace
}  // namespace godwit::guest
