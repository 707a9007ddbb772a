// SPDX-License-Identifier: MIT
// Memory cgroups: a page in VRAM counts for its owner's group as it does in RAM.
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>

#include "tests/kernel/group.h"
#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// In a child that belongs to the group: its wait status.
int in_group(const Group& group, const std::function<void(const Device&)>& body) {
  return in_child([&] {
    ASSERT_TRUE(group.enter());
    body(Device());
  });
}

// Both page sizes: true is huge pages.
class GroupTest : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  static Memory::Kind kind() { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }
};

using GroupCalls = DeviceTest;

TEST_P(GroupTest, PagesInVramAreChargedAsThoseInRam) {
  const Group group("96M");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  const int status = in_group(group, [&](const Device& gpu) {
    Memory memory(32 * kMiB, kind());
    fill(memory.data(), memory.size(), 1);
    const auto expect_charged = [&](const char* when) {
      EXPECT_GE(group.charged(), 32 * kMiB) << when;
      EXPECT_LE(group.charged(), 36 * kMiB) << when;
    };
    expect_charged("in RAM");
    gpu.to_vram(memory.data(), memory.size());
    expect_charged("in VRAM");
    gpu.to_ram(memory.data(), memory.size());
    expect_charged("home again");
  });
  EXPECT_TRUE(exited_well(status)) << status;
}

TEST_P(GroupTest, ComingHomeAtTheLimitKillsNobody) {
  const Group group("64M");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  const int status = in_group(group, [&](const Device& gpu) {
    Memory memory(40 * kMiB, kind()), more(40 * kMiB);
    for (const bool touch : {false, true}) {
      fill(memory.data(), memory.size(), touch);
      gpu.to_vram(memory.data(), memory.size());
      for (size_t page = 0; group.charged() < 63 * kMiB; ++page) more.page(page)[0] = 1;
      if (!touch) gpu.to_ram(memory.data(), memory.size());
      EXPECT_BYTES(memory.data(), memory.size(), touch);
      EXPECT_EQ(gpu.in_vram(memory.data(), memory.size()), 0u);
    }
  });
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_EQ(group.killed(), 0u);
}

// As if the CPU had touched it.
TEST_P(GroupTest, WhatADeviceTouchesBeyondTheLimitIsTheEndOfItsOwner) {
  const Group group("32M");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  const int status = in_group(group, [](const Device& gpu) {
    Memory memory(48 * kMiB, kind());
    execute(gpu, {op::fill(memory.data(), memory.size(), 1)});
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_EQ(group.killed(), 1u);
  const uint64_t total = gpu_.info().vram_total;
  EXPECT_EQ(wait_for_free(gpu_, total), total);
}

// Huge ones: the kernel kills nobody for want of those.
TEST_F(GroupCalls, HugePagesThatAreMadeStopAtTheLimit) {
  const Group group("32M");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  const int status = in_group(group, [&](const Device& gpu) {
    Memory memory(48 * kMiB, Memory::kHugePages);
    const drm_godwit_migrate moved = gpu.to_vram(memory.data(), memory.size());
    EXPECT_GT(moved.moved, 16 * kMiB / kPage);
    EXPECT_EQ(moved.moved + moved.stayed[GODWIT_STAY_BUSY], memory.size() / kPage);
    EXPECT_LE(group.charged(), 32 * kMiB);
  });
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_EQ(group.killed(), 0u);
}

// A device that reads one page here and one there has a leaf of its page table for each, of 4 KiB. The pages are the zero page,
// and what the CPU needs to see it was charged before. The kernel counts some pages of a group later, or ahead.
TEST_F(GroupCalls, PageTablesOfTheDeviceAreChargedAndFreed) {
  const Group group("max");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  constexpr size_t kLeaves = 1024, kEach = 64;
  const int status = in_group(group, [&](const Device&) {
    const Memory memory(kLeaves * kHuge, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, PROT_READ | PROT_WRITE);
    ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE), 0);
    for (size_t leaf = 0; leaf < kLeaves; ++leaf) EXPECT_EQ(*static_cast<volatile uint8_t*>(memory.data() + leaf * kHuge), 0);
    const uint64_t before = group.charged(), leaves = kLeaves * 4096;
    {
      const Device gpu;
      for (size_t leaf = 0; leaf < kLeaves; leaf += kEach) {
        Commands commands;
        for (size_t i = 0; i < kEach; ++i)
          commands.push_back(op::checksum(memory.data() + (leaf + i) * kHuge, 8, GODWIT_COMMAND_IN_PLACE));
        ASSERT_EQ(execute_all(gpu, commands), 0);
      }
      EXPECT_GE(group.charged(), before + leaves / 2);
    }
    EXPECT_TRUE(soon([&] { return group.charged() < before + leaves / 4; })) << group.charged() << ", before " << before;
  });
  EXPECT_TRUE(exited_well(status)) << status;
}

INSTANTIATE_TEST_SUITE_P(PageSize, GroupTest, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

}  // namespace
}  // namespace godwit::guest
