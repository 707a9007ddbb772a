// SPDX-License-Identifier: MIT
// Pins: what they hold, what they count against, and when they end.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/kernel/guest.h"
#include "tests/kernel/proc.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

uint64_t max_memlock() {
  rlimit limit = {};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return limit.rlim_cur;
}

using Pin = DeviceTest;

TEST_F(Pin, PagesInAListOfAnotherProcessorCanBePinned) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two processors";
  const Processor processor;
  const Memory memory(kHuge);
  fill(memory.data(), memory.size(), 1);
  processor.free_elsewhere(memory);
  uint32_t handle = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), 0);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_EQ(gpu_.unpin(handle), 0);
}

TEST_F(Pin, InVramItMovesThereAndStaysUnderPressure) {
  const size_t vram = gpu_.info().vram_total;
  Memory memory(8 * kMiB), first(vram - 8 * kMiB), second(vram - 8 * kMiB);
  fill(memory.data(), memory.size(), 1);
  fill(first.data(), first.size(), 2);
  fill(second.data(), second.size(), 3);
  uint32_t handle = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), 0);
  EXPECT_NE(handle, 0u);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  ASSERT_EQ(gpu_.to_vram(first.data(), first.size()).moved, first.size() / kPage);
  EXPECT_EQ(gpu_.to_vram(second.data(), second.size()).moved, second.size() / kPage);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_ADVICE], memory.size() / kPage);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).stayed, memory.size() / kPage);
  ASSERT_EQ(gpu_.unpin(handle), 0);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  EXPECT_BYTES(first.data(), first.size(), 2u);
  EXPECT_BYTES(second.data(), second.size(), 3u);
}

TEST_F(Pin, InRamItComesHomeAndStays) {
  Memory memory(4 * kMiB);
  fill(memory.data(), memory.size(), 4);
  gpu_.to_vram(memory.data(), memory.size());
  uint32_t handle = 0;
  ASSERT_EQ(gpu_.pin(memory.page(3), 7 * kPage, GODWIT_PLACE_SYSTEM, &handle), 0);
  EXPECT_EQ(gpu_.in_vram(memory.page(3), 7 * kPage), 0u);
  std::vector<uint8_t> reasons;
  const auto answer = gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, 0, &reasons);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_ADVICE], 7u);
  EXPECT_EQ(reasons[2], GODWIT_STAY_NONE);
  EXPECT_EQ(reasons[3], GODWIT_STAY_ADVICE);
  EXPECT_EQ(reasons[9], GODWIT_STAY_ADVICE);
  EXPECT_EQ(reasons[10], GODWIT_STAY_NONE);
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
  ASSERT_EQ(gpu_.unpin(handle), 0);
  EXPECT_EQ(gpu_.to_vram(memory.page(3), 7 * kPage).moved, 7u);
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
}

TEST_F(Pin, ReadOnlyMemoryIsPinnedInRam) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 5);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ), 0);
  uint32_t handle = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_SYSTEM, &handle), 0);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_ADVICE], memory.size() / kPage);
  EXPECT_EQ(gpu_.unpin(handle), 0);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 5u);
}

TEST_F(Pin, AllPagesOrNone) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 6);
  ASSERT_NE(mmap(memory.page(100), kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            MAP_FAILED);
  uint32_t handle = 7;
  EXPECT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), -EBUSY);
  EXPECT_EQ(handle, 0u);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_ADVICE], 0u);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  // Nothing of the budget is gone.
  const uint64_t limit = gpu_.limits().max_pinned;
  Memory all(limit);
  EXPECT_EQ(gpu_.pin(all.data(), limit, GODWIT_PLACE_VRAM, &handle), 0);
}

// Whatever of it is unmapped first: nothing is held then, and nothing counts.
TEST_F(Pin, InRamAnUnmapWhileItIsMadeLeavesNothing) {
  using Clock = std::chrono::steady_clock;
  const uint64_t before = figure("/proc/self/status", "VmPin");
  // Of one that nobody disturbs.
  Clock::duration takes{};
  int made = 0;
  for (int round = 0; round < 400; ++round) {
    Memory memory(4 * kMiB);
    fill(memory.data(), memory.size(), 8);
    std::atomic<bool> begun{false};
    uint32_t handle = 0;
    if (round == 0) {
      const auto start = Clock::now();
      ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_SYSTEM, &handle), 0);
      takes = Clock::now() - start;
      ASSERT_EQ(gpu_.unpin(handle), 0);
      handle = 0;
    }
    std::thread pinning([&] {
      begun = true;
      made += gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_SYSTEM, &handle) == 0;
    });
    while (!begun) std::this_thread::yield();
    // In each round somewhere else in it; in the last ones after it.
    const auto then = Clock::now() + takes * (round % 40) / 20;
    while (Clock::now() < then) {
    }
    ASSERT_EQ(munmap(memory.data(), memory.size()), 0);
    memory.release();
    pinning.join();
    ASSERT_EQ(figure("/proc/self/status", "VmPin"), before) << "round " << round;
    if (handle != 0) {
      ASSERT_EQ(gpu_.unpin(handle), 0);
    }
  }
  EXPECT_GT(made, 0);
}

// The last page of a pin is mapped anew all the time: it gives up, or catches a moment; it does not try for ever.
TEST_F(Pin, InRamWhatIsMappedAnewWithoutPauseEndsIt) {
  const Memory memory(4 * kMiB);
  fill(memory.data(), memory.size(), 9);
  uint8_t* last = memory.data() + memory.size() - kPage;
  {
    const Meanwhile mapping(1, [last] {
      EXPECT_NE(mmap(last, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), MAP_FAILED);
      return uint64_t{1};
    });
    while (!mapping.seen()) std::this_thread::yield();
    for (int round = 0; round < 20; ++round) {
      uint32_t handle = 0;
      const int error = gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_SYSTEM, &handle);
      EXPECT_TRUE(error == 0 || error == -EBUSY) << error;
      if (error == 0) {
        EXPECT_EQ(gpu_.unpin(handle), 0);
      }
    }
  }
  uint32_t handle = 0;
  EXPECT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_SYSTEM, &handle), 0);
  EXPECT_EQ(figure("/proc/self/status", "VmPin"), memory.size() / 1024);
  EXPECT_EQ(gpu_.unpin(handle), 0);
  EXPECT_EQ(figure("/proc/self/status", "VmPin"), 0u);
  EXPECT_BYTES(memory.data(), memory.size() - kPage, 9u);
}

TEST_F(Pin, AHoleIsRefused) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 7);
  ASSERT_EQ(munmap(memory.page(30), kPage), 0);
  uint32_t handle = 0;
  EXPECT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), -EFAULT);
  EXPECT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_SYSTEM, &handle), -EFAULT);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_ADVICE], 0u);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_ADVICE], 0u);
}

TEST_F(Pin, TheLimitOfVramIsKept) {
  const uint64_t limit = gpu_.limits().max_pinned;
  Memory memory(limit + kPage);
  uint32_t handle = 0, second = 0;
  EXPECT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), -EDQUOT);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  ASSERT_EQ(gpu_.pin(memory.data(), limit, GODWIT_PLACE_VRAM, &handle), 0);
  EXPECT_EQ(gpu_.pin(memory.data() + limit, kPage, GODWIT_PLACE_VRAM, &second), -EDQUOT);
  // Advice counts against the same limit.
  EXPECT_EQ(gpu_.advise(memory.data() + limit, kPage, GODWIT_ADVICE_PINNED, 1), -EDQUOT);
  ASSERT_EQ(gpu_.unpin(handle), 0);
  EXPECT_EQ(gpu_.pin(memory.data() + limit, kPage, GODWIT_PLACE_VRAM, &second), 0);
}

// Whatever holds: a pin, advice, a pinned object (gem_test).
TEST_F(Pin, TheLimitOfAllDescriptorsTogetherIsKept) {
  const uint64_t limit = gpu_.limits().max_pinned, rest = gpu_.info().vram_total * 3 / 4 - limit;
  const Memory memory(2 * limit);
  const Device other;
  uint32_t first = 0, second = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), limit, GODWIT_PLACE_VRAM, &first), 0);
  EXPECT_EQ(other.pin(memory.data() + limit, limit, GODWIT_PLACE_VRAM, &second), -EDQUOT);
  EXPECT_EQ(other.advise(memory.data() + limit, limit, GODWIT_ADVICE_PINNED, 1), -EDQUOT);
  ASSERT_EQ(other.advise(memory.data() + limit, rest, GODWIT_ADVICE_PINNED, 1), 0);
  EXPECT_EQ(other.pin(memory.data() + limit + rest, kPage, GODWIT_PLACE_VRAM, &second), -EDQUOT);
  // What is unmapped, and what is unset, is there for the other one.
  ASSERT_EQ(munmap(memory.data() + limit, kPage), 0);
  ASSERT_EQ(other.advise(memory.data() + limit + kPage, kPage, GODWIT_ADVICE_UNSET, 0), 0);
  EXPECT_EQ(other.pin(memory.data() + limit + rest, 3 * kPage, GODWIT_PLACE_VRAM, &second), -EDQUOT);
  EXPECT_EQ(other.pin(memory.data() + limit + rest, 2 * kPage, GODWIT_PLACE_VRAM, &second), 0);
}

TEST_F(Pin, TheLimitOfLockedMemoryIsKept) {
  EXPECT_TRUE(exited_well(in_child([&] {
    const rlimit limit = {8 * kPage, 8 * kPage};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    ASSERT_EQ(max_memlock(), 8 * kPage);
    Memory memory(kMiB);
    uint32_t handle = 0, second = 0;
    EXPECT_EQ(gpu_.pin(memory.data(), 9 * kPage, GODWIT_PLACE_SYSTEM, &handle), -EDQUOT);
    ASSERT_EQ(gpu_.pin(memory.data(), 8 * kPage, GODWIT_PLACE_SYSTEM, &handle), 0);
    EXPECT_EQ(gpu_.pin(memory.page(8), kPage, GODWIT_PLACE_SYSTEM, &second), -EDQUOT);
    // What is unmapped no longer counts, though the handle is still there.
    ASSERT_EQ(munmap(memory.page(1), 2 * kPage), 0);
    EXPECT_EQ(gpu_.pin(memory.page(8), 2 * kPage, GODWIT_PLACE_SYSTEM, &second), 0);
    EXPECT_EQ(gpu_.unpin(handle), 0);
    EXPECT_EQ(gpu_.pin(memory.page(10), 6 * kPage, GODWIT_PLACE_SYSTEM, &handle), 0);
    EXPECT_EQ(gpu_.pin(memory.page(20), kPage, GODWIT_PLACE_SYSTEM, &handle), -EDQUOT);
  })));
}

TEST_F(Pin, MunmapFreesVramAtOnce) {
  const uint64_t limit = gpu_.limits().max_pinned;
  uint32_t handle = 0, again = 0;
  {
    Memory memory(limit);
    ASSERT_EQ(gpu_.pin(memory.data(), limit, GODWIT_PLACE_VRAM, &handle), 0);
    EXPECT_EQ(gpu_.info().vram_free, gpu_.info().vram_total - limit);
  }
  EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
  Memory memory(limit);
  EXPECT_EQ(gpu_.pin(memory.data(), limit, GODWIT_PLACE_VRAM, &again), 0);
  // The old handle lets go of nothing that is the new one's.
  EXPECT_EQ(gpu_.unpin(handle), 0);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).evicted, 0u);
  EXPECT_EQ(gpu_.unpin(again), 0);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).evicted, limit / kPage);
}

TEST_F(Pin, ExitLetsGo) {
  EXPECT_TRUE(exited_well(in_child([&] {
    Memory memory(4 * kMiB);
    uint32_t vram = 0, ram = 0;
    ASSERT_EQ(gpu_.pin(memory.data(), 2 * kMiB, GODWIT_PLACE_VRAM, &vram), 0);
    ASSERT_EQ(gpu_.pin(memory.data() + 2 * kMiB, 2 * kMiB, GODWIT_PLACE_SYSTEM, &ram), 0);
    memory.release();
  })));
  // The descriptor was ours: only the end of the address space can have let go.
  const uint64_t limit = gpu_.limits().max_pinned;
  Memory memory(limit);
  uint32_t handle = 0;
  EXPECT_EQ(gpu_.pin(memory.data(), limit, GODWIT_PLACE_VRAM, &handle), 0);
}

TEST_F(Pin, CloseLetsGo) {
  Memory memory(2 * kMiB);
  fill(memory.data(), memory.size(), 8);
  {
    Device other;
    uint32_t handle = 0;
    ASSERT_EQ(other.pin(memory.data(), kMiB, GODWIT_PLACE_VRAM, &handle), 0);
    ASSERT_EQ(other.pin(memory.data() + kMiB, kMiB, GODWIT_PLACE_SYSTEM, &handle), 0);
    EXPECT_EQ(gpu_.to_ram(memory.data(), kMiB).moved, 0u);
    EXPECT_EQ(gpu_.to_vram(memory.data() + kMiB, kMiB).moved, 0u);
  }
  EXPECT_EQ(gpu_.to_ram(memory.data(), kMiB).moved, kMiB / kPage);
  EXPECT_EQ(gpu_.to_vram(memory.data() + kMiB, kMiB).moved, kMiB / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
}

TEST_F(Pin, ThePagesOfAnotherDescriptorAreHeldToo) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 9);
  gpu_.to_vram(memory.data(), memory.size());
  Device other;
  uint32_t handle = 0;
  ASSERT_EQ(other.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), 0);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, 0u);
  EXPECT_EQ(gpu_.unpin(handle), -ENOENT);
  EXPECT_EQ(other.unpin(handle), 0);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
}

TEST_F(Pin, TwoPinsHoldTwice) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 10);
  uint32_t first = 0, second = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &first), 0);
  ASSERT_EQ(gpu_.pin(memory.page(4), 4 * kPage, GODWIT_PLACE_VRAM, &second), 0);
  EXPECT_NE(first, second);
  ASSERT_EQ(gpu_.unpin(first), 0);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_ADVICE], 4u);
  ASSERT_EQ(gpu_.unpin(second), 0);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, 4u);
  EXPECT_EQ(gpu_.unpin(second), -ENOENT);
  EXPECT_BYTES(memory.data(), memory.size(), 10u);
}

TEST_F(Pin, ElsewhereIsRefusedWhereItIsPinnedAlready) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 11);
  uint32_t ram = 0, vram = 0;
  ASSERT_EQ(gpu_.pin(memory.page(5), kPage, GODWIT_PLACE_SYSTEM, &ram), 0);
  EXPECT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &vram), -EBUSY);
  EXPECT_EQ(gpu_.unpin(ram), 0);
  EXPECT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &vram), 0);
}

TEST_F(Pin, ACpuTouchIsServedAndTheRestStays) {
  if (gpu_.info().kind != GODWIT_KIND_PRIVATE) GTEST_SKIP() << "the CPU uses coherent VRAM in place";
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 12);
  uint32_t handle = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), 0);
  volatile uint8_t* byte = memory.page(33);
  EXPECT_EQ(*byte, *byte);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage - 1);
  EXPECT_EQ(gpu_.unpin(handle), 0);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage - 1);
  EXPECT_BYTES(memory.data(), memory.size(), 12u);
}

TEST_F(Pin, ForkKeepsTheBytesOfBoth) {
  Memory memory(2 * kMiB);
  fill(memory.data(), memory.size(), 13);
  uint32_t vram = 0, ram = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), kMiB, GODWIT_PLACE_VRAM, &vram), 0);
  ASSERT_EQ(gpu_.pin(memory.data() + kMiB, kMiB, GODWIT_PLACE_SYSTEM, &ram), 0);
  EXPECT_TRUE(exited_well(in_child([&] {
    // A handle works in the address space that it was made in.
    EXPECT_EQ(gpu_.unpin(vram), -ENOENT);
    EXPECT_BYTES(memory.data(), memory.size(), 13u);
    fill(memory.data(), memory.size(), 14);
  })));
  EXPECT_BYTES(memory.data(), memory.size(), 13u);
  EXPECT_EQ(gpu_.unpin(vram), 0);
  EXPECT_EQ(gpu_.unpin(ram), 0);
}

TEST_F(Pin, DiscardLeavesPinnedPagesAlone) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 15);
  uint32_t handle = 0;
  ASSERT_EQ(gpu_.pin(memory.page(20), 3 * kPage, GODWIT_PLACE_SYSTEM, &handle), 0);
  const drm_godwit_discard discard = gpu_.discard(memory.data(), memory.size());
  EXPECT_EQ(discard.skipped, 3u);
  EXPECT_EQ(discard.discarded, memory.size() / kPage - 3);
  Memory same(kMiB);
  fill(same.data(), same.size(), 15);
  EXPECT_EQ(memcmp(memory.page(20), same.page(20), 3 * kPage), 0);
  EXPECT_TRUE(all_zero(memory.data(), 20 * kPage));
  EXPECT_TRUE(all_zero(memory.page(23), memory.size() - 23 * kPage));
}

TEST_F(Pin, MremapEndsIt) {
  Memory memory(kMiB), room(kMiB);
  fill(memory.data(), memory.size(), 16);
  uint32_t handle = 0;
  ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM, &handle), 0);
  ASSERT_EQ(mremap(memory.data(), kMiB, kMiB, MREMAP_MAYMOVE | MREMAP_FIXED, room.data()), room.data());
  memory.release();
  EXPECT_EQ(gpu_.to_ram(room.data(), room.size()).moved, room.size() / kPage);
  EXPECT_BYTES(room.data(), room.size(), 16u);
  EXPECT_EQ(gpu_.unpin(handle), 0);
}

TEST_F(Pin, OneWrongValueAField) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 17);
  const auto expect = [&](int error, const std::function<void(drm_godwit_pin&)>& spoil, int line) {
    drm_godwit_pin args = {};
    args.addr = reinterpret_cast<uintptr_t>(memory.data());
    args.length = memory.size();
    args.place = GODWIT_PLACE_VRAM;
    spoil(args);
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_PIN, &args), error) << "line " << line;
    EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u) << "line " << line;
  };
  expect(-EINVAL, [](auto& args) { args.addr += 8; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.addr = ~uint64_t{0} - kPage + 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.length = 0; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.length += 1; }, __LINE__);
  expect(-E2BIG, [](auto& args) { args.addr = 0, args.length = GODWIT_MAX_RANGE + kPage; }, __LINE__);
  expect(-E2BIG, [](auto& args) { args.addr = 0, args.length = GODWIT_MAX_RANGE; }, __LINE__);
  for (const uint32_t place : {GODWIT_PLACE_NONE, GODWIT_PLACE_PEER, GODWIT_PLACE_ABSENT}) {
    expect(-EINVAL, [&](auto& args) { args.place = place; }, __LINE__);
  }
  expect(-EINVAL, [](auto& args) { args.flags = 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.pad = 1; }, __LINE__);
  drm_godwit_unpin args = {};
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_UNPIN, &args), -ENOENT);
  args.handle = 12345;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_UNPIN, &args), -ENOENT);
  args.pad = 1;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_UNPIN, &args), -EINVAL);
}

}  // namespace
}  // namespace godwit::guest
