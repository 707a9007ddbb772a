// SPDX-License-Identifier: MIT
// What processes do while their pages are under way, on a device that takes its time to copy.
// Nothing depends on what comes first: the bytes stay right, nobody waits for ever, and the VRAM is
// free again.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

constexpr const char* kSlowCopies = "/sys/module/godwit_soft/parameters/slow_copies";
constexpr const char* kFailCopies = "/sys/module/godwit_soft/parameters/fail_copies";
constexpr const char* kSlowSwitch = "/sys/module/godwit/parameters/slow_switch";

// What is under way, and where it takes its time: in the copy, or where the kernel switches to it.
struct Way {
  const char* name;
  Memory::Kind kind;
  const char* copy_us;
  const char* switch_us;
};

class Slow : public DeviceTest, public ::testing::WithParamInterface<Way> {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    ASSERT_EQ(write_file(kSlowCopies, GetParam().copy_us), 0);
    ASSERT_EQ(write_file(kSlowSwitch, GetParam().switch_us), 0);
  }
  void TearDown() override {
    for (const char* parameter : {kSlowCopies, kFailCopies, kSlowSwitch})
      EXPECT_EQ(write_file(parameter, "0"), 0) << parameter;
    DeviceTest::TearDown();
  }
  // Whether an eviction of all moved anything. It may be interrupted: children end all the time.
  bool evict() const {
    drm_godwit_evict args = {};
    args.what = GODWIT_EVICT_DEVICE;
    const int error = gpu_.call(DRM_IOCTL_GODWIT_EVICT, &args);
    EXPECT_TRUE(error == 0 || error == -EINTR) << error;
    return args.evicted != 0;
  }
  // To VRAM, as much as can be moved at the moment.
  void to_vram(const Memory& memory) const {
    drm_godwit_migrate args = {};
    args.addr = address(memory.data());
    args.length = memory.size();
    args.to = GODWIT_PLACE_VRAM;
    const int error = gpu_.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
    EXPECT_TRUE(error == 0 || error == -EINTR) << error;
  }
  // Memory that was filled with 1 keeps its bytes: frames that are taken for free are somebody else's soon.
  void expect_own_frames(const Memory& memory) const {
    Memory other(kHuge, kind());
    fill(other.data(), other.size(), 2);
    to_vram(other);
    EXPECT_BYTES(memory.data(), memory.size(), 1u);
    EXPECT_BYTES(other.data(), other.size(), 2u);
  }
  Memory::Kind kind() const { return GetParam().kind; }
};

INSTANTIATE_TEST_SUITE_P(Pages, Slow,
                         ::testing::Values(Way{"Small", Memory::kAnonymous, "10000", "0"},
                                           Way{"Huge", Memory::kHugePages, "10000", "0"},
                                           Way{"HugeAtTheSwitch", Memory::kHugePages, "0", "5000"}),
                         [](const auto& each) { return std::string(each.param.name); });

// The fork copies the entries of pages that are under way, and the exit zaps them.
TEST_P(Slow, ChildrenThatExitWhileItIsEvictedLeaveTheParentItsBytes) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 1);
  {
    const Meanwhile evicting(rounds(20), [&] {
      to_vram(memory);
      return uint64_t{evict()};
    });
    for (unsigned round = 0; round < rounds(40) || !evicting.seen(); ++round) {
      const pid_t child = fork();
      if (child == 0)
        _exit(round % 4 != 0 || differs(memory.data(), memory.size(), 1) == -1 ? 0 : 1);
      int status = -1;
      waitpid(child, &status, 0);
      ASSERT_TRUE(exited_well(status)) << status << " in round " << round;
    }
  }
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

// What cannot be copied stays, and gets its mappings back.
TEST_P(Slow, ChildrenThatExitWhileItStaysLeaveTheParentItsBytes) {
  const uint64_t free_before = gpu_.info().vram_free;
  for (uint64_t round = 0; round < rounds(6); ++round) {
    Memory memory(kHuge, kind());
    fill(memory.data(), memory.size(), 1);
    to_vram(memory);
    ASSERT_EQ(write_file(kFailCopies, "1000000"), 0);
    {
      const auto evicting = [&] {
        evict();
        return uint64_t{1};
      };
      // The second finds it under way, or just let go of.
      const Meanwhile first(4, evicting), second(4, evicting);
      for (unsigned children = 0; children < 12 || !first.seen() || !second.seen(); ++children) {
        const pid_t child = fork();
        if (child == 0) _exit(0);
        int status = -1;
        waitpid(child, &status, 0);
        ASSERT_TRUE(exited_well(status)) << status << " in round " << round;
      }
    }
    ASSERT_EQ(write_file(kFailCopies, "0"), 0);
    EXPECT_NE(gpu_.in_vram(memory.data(), memory.size()), 0u);
    expect_own_frames(memory);
  }
  EXPECT_EQ(wait_for_free(gpu_, free_before), free_before);
}

// The same while it moves and stays, and is wanted here and there: nothing of it is let go of by the
// kernel itself, or by who comes second, without that what was zapped meanwhile is made up for.
TEST_P(Slow, ChildrenThatExitWhileManyMoveItLeaveItsBytes) {
  const uint64_t free_before = gpu_.info().vram_free;
  {
    Memory memory(kHuge, kind());
    fill(memory.data(), memory.size(), 1);
    const auto evicting = [&] {
      evict();
      return uint64_t{1};
    };
    const Meanwhile first(rounds(40), evicting), second(rounds(40), evicting);
    const Meanwhile bringing(rounds(40), [&] {
      to_vram(memory);
      return uint64_t{1};
    });
    const Meanwhile touching(rounds(40), [&] {
      EXPECT_EQ(differs(memory.data(), kPage, 1), -1);
      return uint64_t{1};
    });
    const auto seen = [&] {
      return first.seen() && second.seen() && bringing.seen() && touching.seen();
    };
    for (unsigned round = 0; round < rounds(100) || !seen(); ++round) {
      const pid_t child = fork();
      if (child == 0)
        _exit(round % 8 != 0 || differs(memory.data(), memory.size(), 1) == -1 ? 0 : 1);
      int status = -1;
      waitpid(child, &status, 0);
      ASSERT_TRUE(exited_well(status)) << status << " in round " << round;
      if (round % 16 == 0) expect_own_frames(memory);
    }
  }
  EXPECT_EQ(wait_for_free(gpu_, free_before), free_before);
}

// The same entry is zapped where it was shared before, and the other side keeps the page.
TEST_P(Slow, DontneedWhileItIsEvictedLeavesTheChildItsBytes) {
  for (uint64_t round = 0; round < rounds(12); ++round) {
    Memory memory(kHuge, kind());
    fill(memory.data(), memory.size(), round);
    ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, kHuge / kPage);
    int go[2];
    ASSERT_EQ(pipe(go), 0);
    fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      char byte = 0;
      if (read(go[0], &byte, 1) != 1) _exit(2);
      _exit(differs(memory.data(), memory.size(), round) == -1 ? 0 : 1);
    }
    std::thread evicting([&] { evict(); });
    usleep(static_cast<useconds_t>(1000 * (round % 12)));  // any moment will do
    EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
    evicting.join();
    EXPECT_TRUE(all_zero(memory.data(), memory.size()));
    EXPECT_EQ(write(go[1], "x", 1), 1);
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(exited_well(status)) << status << " in round " << round;
    close(go[0]);
    close(go[1]);
  }
}

// The eviction is left with pages that nobody has, and with reverse maps that nobody else keeps.
// Long enough for the kernel to really free what the owner had (KASAN tells who uses it then).
TEST_P(Slow, OwnersThatExitWhileTheirPagesAreEvictedFreeTheVram) {
  ASSERT_EQ(write_file(kSlowCopies, "200000"), 0);
  const uint64_t free_before = gpu_.info().vram_free;
  {
    const Meanwhile evicting(6, [&] { return uint64_t{evict()}; });
    for (unsigned owner = 0; owner < 8 || !evicting.seen(); ++owner) {
      EXPECT_TRUE(exited_well(in_child([&] {
        const Device own;
        // Not in a VMA of the parent: nobody else has this reverse map.
        Memory memory(kHuge, kind());
        fill(memory.data(), memory.size(), owner);
        own.to_vram(memory.data(), memory.size());
        memory.release();
        usleep(static_cast<useconds_t>(20000 * (owner % 8)));  // any moment will do
      })));
    }
  }
  EXPECT_EQ(wait_for_free(gpu_, free_before), free_before);
}

}  // namespace
}  // namespace godwit::guest
