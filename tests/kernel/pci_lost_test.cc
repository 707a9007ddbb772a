// SPDX-License-Identifier: MIT
// Cards that are pulled out, and that are reset: what they had is missing until they are there again, or for ever; nobody is told
// that the bytes of a bus on which nobody answers are his.
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include "tests/kernel/card.h"
#include "tests/kernel/guest.h"
#include "tests/kernel/objects.h"
#include "tests/kernel/proc.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

int touch(const uint8_t* at) {
  return signal_of([&] { (void)*static_cast<const volatile uint8_t*>(at); });
}

// A card is away for as long as this lives.
class Away {
 public:
  Away(const std::string& address, bool reset) {
    if (reset) {
      reset_.emplace(address);
    } else {
      cut_.emplace(address);
    }
  }

 private:
  std::optional<Cut> cut_;
  std::optional<Reset> reset_;
};

class PciLost : public ::testing::TestWithParam<bool> {
 protected:
  // Card 1 is alone below its bridge.
  void SetUp() override { ASSERT_TRUE(card_.bound()); }
  Away away() const { return Away(card_.address(), GetParam()); }

  Card card_{1, "private"};
};

TEST_P(PciLost, ACpusTouchIsSigbusAndTheByteIsThereAgain) {
  const Memory memory(kMiB), huge(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 1);
  fill(huge.data(), huge.size(), 2);
  ASSERT_EQ(card_.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_EQ(card_.device().to_vram(huge.data(), huge.size()).moved_huge, huge.size() / kPage);
  {
    const Away lost = away();
    EXPECT_EQ(touch(memory.page(5)), SIGBUS);
    EXPECT_EQ(touch(huge.page(7)), SIGBUS);
    EXPECT_EQ(card_.device().in_vram(memory.data(), memory.size()), memory.size() / kPage);
    EXPECT_EQ(card_.device().to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_COPY], memory.size() / kPage);
  }
  EXPECT_GT(card_.device().stat(GODWIT_STAT_COPY_ERRORS, true), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  EXPECT_BYTES(huge.data(), huge.size(), 2u);
}

TEST_P(PciLost, NothingGoesThere) {
  const Memory memory(kMiB), huge(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 3);
  fill(huge.data(), huge.size(), 4);
  {
    const Away lost = away();
    EXPECT_EQ(card_.device().to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_COPY], memory.size() / kPage);
    EXPECT_EQ(card_.device().to_vram(huge.data(), huge.size()).stayed[GODWIT_STAY_COPY], huge.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 3u);
    EXPECT_BYTES(huge.data(), huge.size(), 4u);
  }
  EXPECT_EQ(card_.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

// From a soft device, whose VRAM the card copies from by itself: what it does not take stays there.
TEST_P(PciLost, NothingGoesThereFromAnotherDevice) {
  const SoftDevice soft("private:16M");
  const Device other(soft.index());
  const Memory memory(kMiB);
  fill(memory.data(), memory.size(), 5);
  ASSERT_EQ(other.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  {
    const Away lost = away();
    EXPECT_EQ(card_.device().to_vram(memory.data(), memory.size()).moved, 0u);
    EXPECT_BYTES(memory.data(), memory.size(), 5u);
  }
}

TEST_P(PciLost, UnbindPoisonsWhatWasOnlyThere) {
  const Memory memory(kMiB), huge(kHuge, Memory::kHugePages), other(kMiB);
  const Object object(card_.device(), kMiB);
  ASSERT_TRUE(object);
  fill(memory.data(), memory.size(), 6);
  fill(huge.data(), huge.size(), 7);
  fill(other.data(), other.size(), 8);
  fill(object.data(), kMiB, 9);
  ASSERT_EQ(card_.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_EQ(card_.device().to_vram(huge.data(), huge.size()).moved_huge, huge.size() / kPage);
  const uint64_t poisoned = poisoned_pages();
  {
    const Away lost = away();
    EXPECT_EQ(card_.unbind(), 0);
  }
  for (size_t page = 0; page < memory.size() / kPage; ++page) EXPECT_EQ(touch(memory.page(page)), SIGBUS) << page;
  for (size_t page = 0; page < huge.size() / kPage; ++page) EXPECT_EQ(touch(huge.page(page)), SIGBUS) << page;
  EXPECT_EQ(poisoned_pages() - poisoned, (memory.size() + huge.size()) / kPage);
  EXPECT_EQ(touch(object.data()), SIGBUS);
  EXPECT_BYTES(other.data(), other.size(), 8u);
  // As good as before for whoever comes then.
  const Card again(1, "private");
  ASSERT_TRUE(again.bound());
  EXPECT_EQ(again.device().to_vram(other.data(), other.size()).moved, other.size() / kPage);
  EXPECT_BYTES(other.data(), other.size(), 8u);
}

INSTANTIATE_TEST_SUITE_P(How, PciLost, ::testing::Bool(),
                         [](const auto& how) { return how.param ? "Reset" : "PulledOut"; });

TEST(PciLostCoherent, UnbindPoisonsWhatWasOnlyThere) {
  Card card(1, "coherent");
  ASSERT_TRUE(card.bound());
  const Memory memory(kMiB);
  fill(memory.data(), memory.size(), 11);
  ASSERT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  const uint64_t poisoned = poisoned_pages();
  {
    const Cut cut(card.address());
    EXPECT_EQ(card.unbind(), 0);
  }
  for (size_t page = 0; page < memory.size() / kPage; ++page) EXPECT_EQ(touch(memory.page(page)), SIGBUS) << page;
  EXPECT_EQ(poisoned_pages() - poisoned, memory.size() / kPage);
}

// Two cards below one switch: the one copies from the other without a stop in RAM.
TEST(PciLostPeer, WhatAnotherCardCannotReadStaysThere) {
  const auto strangers = pci_devices("0x1234", "0x1111");
  ASSERT_EQ(strangers.size(), 1u);
  const Card card(0, "private");
  ASSERT_TRUE(card.bound());
  ASSERT_EQ(write_file(std::string(kDriver) + "new_id", "1234 1111"), 0);
  auto stranger = device_of(strangers[0]);
  ASSERT_NE(stranger, nullptr);
  {
    const Memory memory(kMiB);
    fill(memory.data(), memory.size(), 12);
    ASSERT_EQ(stranger->to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    {
      const Cut cut(strangers[0]);
      EXPECT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, 0u);
    }
    EXPECT_EQ(stranger->in_vram(memory.data(), memory.size()), memory.size() / kPage);
    EXPECT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_EQ(card.device().stat(GODWIT_STAT_PEER_FETCHES), memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 12u);
  }
  stranger.reset();
  EXPECT_EQ(write_file(std::string(kDriver) + "unbind", strangers[0]), 0);
  EXPECT_EQ(write_file(std::string(kDriver) + "remove_id", "1234 1111"), 0);
}

}  // namespace
}  // namespace godwit::guest
