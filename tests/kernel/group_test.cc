// SPDX-License-Identifier: MIT
// Memory cgroups: a page in VRAM counts for its owner's group as it does in RAM.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string_view>
#include <thread>

#include "tests/kernel/group.h"
#include "tests/kernel/jobs.h"
#include "tests/kernel/objects.h"

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

// Touches pages until the group, in which this process is, has `bytes`. It is looked at less often while there is much left.
void fill_up(const Group& group, const Memory& memory, size_t bytes) {
  for (size_t page = 0, charged = group.charged(); charged < bytes; charged = group.charged())
    for (size_t last = page + 1 + (bytes - charged) / kPage / 2; page < last; ++page) memory.page(page)[0] = 1;
}

// A process in a group with an object in VRAM, for which the group has no RAM.
class FullGroup {
 public:
  FullGroup(const Group& group, size_t limit, size_t size) {
    EXPECT_EQ(pipe(told_), 0);
    EXPECT_EQ(pipe(heard_), 0);
    process_ = std::thread([&group, limit, size, this] {
      status_ = in_group(group, [&](const Device& gpu) { run(gpu, group, limit, size); });
      // It may have been killed.
      say(heard_, "!!!");
    });
    hear();
  }
  ~FullGroup() {
    if (process_.joinable()) end();
    for (const int fd : {told_[0], told_[1], heard_[0], heard_[1]}) close(fd);
  }
  FullGroup(const FullGroup&) = delete;
  FullGroup& operator=(const FullGroup&) = delete;

  // There is room from now on.
  void make_room() {
    say(told_, "r");
    hear();
  }
  // Whether the object is in VRAM.
  bool in_vram() {
    say(told_, "p");
    return hear() == 'v';
  }
  // The wait status. It ends well if it has the bytes of the object.
  int end() {
    say(told_, "e");
    process_.join();
    return status_;
  }

 private:
  static void say(const int (&pipe)[2], std::string_view what) {
    EXPECT_EQ(write(pipe[1], what.data(), what.size()), static_cast<ssize_t>(what.size()));
  }
  static char get(const int (&pipe)[2]) {
    char what = '!';
    EXPECT_EQ(read(pipe[0], &what, 1), 1);
    return what;
  }
  char hear() { return get(heard_); }

  void run(const Device& gpu, const Group& group, size_t limit, size_t size) const {
    // The kernel takes some pages ahead, for each processor.
    Processor processor;
    processor.run_on(0);
    const Object object(gpu, size);
    fill(object.data(), object.size(), 1);
    std::optional<Memory> more(limit);
    fill_up(group, *more, limit - 8 * kPage);
    say(heard_, "f");
    for (char what = get(told_); what != 'e'; what = get(told_)) {
      if (what == 'r') more.reset();
      say(heard_, object.place() == GODWIT_PLACE_VRAM ? "v" : "r");
    }
    more.reset();
    EXPECT_BYTES(object.data(), object.size(), 1u);
  }

  int told_[2], heard_[2], status_ = 0;
  std::thread process_;
};

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
      fill_up(group, more, 63 * kMiB);
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

// It is not what was used longest ago any more.
TEST_F(GroupCalls, AnObjectThatCouldNotLeaveIsNotTheFirstToBeTriedAgain) {
  const Group group("64M");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  const size_t quarter = gpu_.info().vram_total / 4;
  FullGroup full(group, 64 * kMiB, quarter);
  const Object first(gpu_, quarter), second(gpu_, quarter), third(gpu_, quarter);
  const Object fourth(gpu_, quarter);
  EXPECT_EQ(first.place(), GODWIT_PLACE_SYSTEM);
  full.make_room();
  const Object fifth(gpu_, quarter);
  EXPECT_EQ(second.place(), GODWIT_PLACE_SYSTEM);
  EXPECT_TRUE(full.in_vram());
  const int status = full.end();
  EXPECT_TRUE(exited_well(status)) << status;
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

TEST_F(GroupCalls, AnEventRingIsChargedAndFreed) {
  const Group group("max");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  const int status = in_group(group, [&](const Device&) {
    drm_godwit_events ring = {};
    uint64_t before = 0;
    {
      const Device gpu;
      before = group.charged();
      ring.capacity = gpu.limits().max_ring_records;
      ring.types = uint64_t{1} << GODWIT_EVENT_MIGRATE;
      ASSERT_EQ(gpu.call(DRM_IOCTL_GODWIT_EVENTS, &ring), 0);
      ASSERT_GE(ring.map_length, 4 * kMiB);
      EXPECT_GE(group.charged(), before + ring.map_length / 4 * 3);
    }
    EXPECT_TRUE(soon([&] { return group.charged() < before + ring.map_length / 4; })) << group.charged() << ", before " << before;
  });
  EXPECT_TRUE(exited_well(status)) << status;
}

INSTANTIATE_TEST_SUITE_P(PageSize, GroupTest, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

}  // namespace
}  // namespace godwit::guest
