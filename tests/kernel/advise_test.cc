// SPDX-License-Identifier: MIT
// Advice: what it holds in VRAM, and when it ends.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

int pin(const Device& device, const Memory& memory) {
  return device.advise(memory.data(), memory.size(), GODWIT_ADVICE_PINNED, 1);
}

int unset(const Device& device, const void* addr, size_t length) {
  return device.advise(addr, length, GODWIT_ADVICE_UNSET, 0);
}

size_t advised(const Device& device, const void* addr, size_t length) {
  std::vector<uint32_t> pages;
  device.residency(addr, length, &pages);
  size_t count = 0;
  for (const uint32_t page : pages) count += (page & GODWIT_PAGE_ADVISED) != 0;
  return count;
}

using Advise = DeviceTest;

TEST_F(Advise, PinnedPagesStayWhenOthersNeedTheRoom) {
  const size_t vram = gpu_.info().vram_total;
  Memory kept(8 * kMiB), first(vram - 8 * kMiB), second(vram - 8 * kMiB);
  fill(kept.data(), kept.size(), 1);
  fill(first.data(), first.size(), 2);
  fill(second.data(), second.size(), 3);
  ASSERT_EQ(pin(gpu_, kept), 0);
  ASSERT_EQ(gpu_.to_vram(kept.data(), kept.size()).moved, kept.size() / kPage);
  ASSERT_EQ(gpu_.to_vram(first.data(), first.size()).moved, first.size() / kPage);
  EXPECT_EQ(gpu_.to_vram(second.data(), second.size()).moved, second.size() / kPage);
  EXPECT_EQ(gpu_.in_vram(kept.data(), kept.size()), kept.size() / kPage);
  EXPECT_EQ(gpu_.in_vram(first.data(), first.size()), 0u);
  EXPECT_BYTES(kept.data(), kept.size(), 1u);
  EXPECT_BYTES(first.data(), first.size(), 2u);
  EXPECT_BYTES(second.data(), second.size(), 3u);
}

TEST_F(Advise, PinnedPagesStayOnRequestsAndSayWhy) {
  Memory memory(4 * kMiB);
  fill(memory.data(), memory.size(), 4);
  ASSERT_EQ(gpu_.advise(memory.page(10), 5 * kPage, GODWIT_ADVICE_PINNED, 1), 0);
  gpu_.to_vram(memory.data(), memory.size());
  std::vector<uint8_t> reasons;
  const auto answer = gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_SYSTEM, 0, &reasons);
  EXPECT_EQ(answer.moved, memory.size() / kPage - 5);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_ADVICE], 5u);
  EXPECT_EQ(reasons[9], GODWIT_STAY_NONE);
  EXPECT_EQ(reasons[10], GODWIT_STAY_ADVICE);
  EXPECT_EQ(reasons[14], GODWIT_STAY_ADVICE);
  EXPECT_EQ(reasons[15], GODWIT_STAY_NONE);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_RANGE, memory.data(), memory.size()).stayed, 5u);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_CLIENT).stayed, 5u);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).stayed, 5u);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 5u);
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
}

TEST_F(Advise, PagesInVramAlreadyAreHeldFromNowOn) {
  Memory memory(4 * kMiB);
  fill(memory.data(), memory.size(), 5);
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(pin(gpu_, memory), 0);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_CLIENT).evicted, 0u);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_PINNED, 0), 0);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_CLIENT).evicted, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 5u);
}

TEST_F(Advise, UnsetForgetsEverything) {
  Memory memory(2 * kMiB);
  fill(memory.data(), memory.size(), 6);
  ASSERT_EQ(pin(gpu_, memory), 0);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_PREFERRED, GODWIT_PLACE_SYSTEM), 0);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_IN_PLACE, 1), 0);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), memory.size() / kPage);
  ASSERT_EQ(unset(gpu_, memory.page(1), kPage), 0);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), memory.size() / kPage - 1);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, 1u);
  ASSERT_EQ(unset(gpu_, memory.data(), memory.size()), 0);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), 0u);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage - 1);
  EXPECT_BYTES(memory.data(), memory.size(), 6u);
}

TEST_F(Advise, EachKindCanBeTakenBackAlone) {
  Memory memory(kMiB);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_IN_PLACE, 1), 0);
  ASSERT_EQ(pin(gpu_, memory), 0);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_PINNED, 0), 0);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), memory.size() / kPage);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_IN_PLACE, 0), 0);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), 0u);
}

TEST_F(Advise, MovesNothing) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 7);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_PREFERRED, GODWIT_PLACE_VRAM), 0);
  ASSERT_EQ(pin(gpu_, memory), 0);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
}

TEST_F(Advise, HugeFoliosAreHeldAsAWhole) {
  Memory memory(4 * kMiB, Memory::kHugePages);
  fill(memory.data(), memory.size(), 8);
  gpu_.to_vram(memory.data(), memory.size());
  // One page of the first folio: eviction takes the second, and leaves the first.
  ASSERT_EQ(gpu_.advise(memory.page(100), kPage, GODWIT_ADVICE_PINNED, 1), 0);
  gpu_.evict(GODWIT_EVICT_CLIENT);
  EXPECT_GE(gpu_.in_vram(memory.data(), kHuge), 1u);
  EXPECT_EQ(gpu_.in_vram(memory.data() + kHuge, kHuge), 0u);
  EXPECT_EQ(gpu_.in_vram(memory.page(100), kPage), 1u);
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
}

TEST_F(Advise, ACpuTouchIsServed) {
  if (gpu_.info().kind == GODWIT_KIND_COHERENT) GTEST_SKIP() << "CPUs use it in place";
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 9);
  ASSERT_EQ(pin(gpu_, memory), 0);
  gpu_.to_vram(memory.data(), memory.size());
  volatile uint8_t* byte = memory.page(17);
  EXPECT_EQ(*byte, *byte);
  EXPECT_EQ(gpu_.in_vram(memory.page(17), kPage), 0u);
  // Its neighbours, which would come along, are held.
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage - 1);
  EXPECT_BYTES(memory.data(), memory.size(), 9u);
}

TEST_F(Advise, MoreThanTheLimitIsRefusedAndChangesNothing) {
  const uint64_t limit = gpu_.limits().max_pinned;
  ASSERT_GT(limit, 0u);
  Memory memory(limit + kPage);
  EXPECT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_PINNED, 1), -EDQUOT);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), 0u);
  EXPECT_EQ(gpu_.advise(memory.data(), limit, GODWIT_ADVICE_PINNED, 1), 0);
  // Again is not twice.
  EXPECT_EQ(gpu_.advise(memory.data(), limit, GODWIT_ADVICE_PINNED, 1), 0);
  EXPECT_EQ(gpu_.advise(memory.data() + limit, kPage, GODWIT_ADVICE_PINNED, 1), -EDQUOT);
  EXPECT_EQ(unset(gpu_, memory.data(), kPage), 0);
  EXPECT_EQ(gpu_.advise(memory.data() + limit, kPage, GODWIT_ADVICE_PINNED, 1), 0);
}

// Only one of them has room.
TEST_F(Advise, TwoCallsAtATimeDoNotExceedTheLimitTogether) {
  const uint64_t limit = gpu_.limits().max_pinned;
  const Memory first(limit), second(limit);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> ready{0};
    int one = 0;
    std::thread other([&] {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      one = pin(gpu_, first);
    });
    ++ready;
    while (ready < 2) std::this_thread::yield();
    const int two = pin(gpu_, second);
    other.join();
    ASSERT_NE(one == 0 && two == 0, true) << "round " << round;
    EXPECT_EQ(advised(gpu_, first.data(), limit) + advised(gpu_, second.data(), limit), one == 0 || two == 0 ? limit / kPage : 0);
    EXPECT_EQ(unset(gpu_, first.data(), limit), 0);
    EXPECT_EQ(unset(gpu_, second.data(), limit), 0);
  }
  // Nothing of the budget is gone.
  EXPECT_EQ(pin(gpu_, first), 0);
}

TEST_F(Advise, MunmapEndsItAndGivesTheBudgetBack) {
  const uint64_t limit = gpu_.limits().max_pinned;
  for (int round = 0; round < 3; ++round) {
    Memory memory(limit);
    ASSERT_EQ(pin(gpu_, memory), 0) << "round " << round;
  }
  Memory memory(kMiB);
  ASSERT_EQ(pin(gpu_, memory), 0);
  ASSERT_EQ(munmap(memory.page(3), 2 * kPage), 0);
  ASSERT_NE(mmap(memory.page(3), 2 * kPage, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            MAP_FAILED);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), memory.size() / kPage - 2);
  EXPECT_EQ(advised(gpu_, memory.page(3), 2 * kPage), 0u);
}

TEST_F(Advise, MremapEndsItAndThePageIsHeldUntilUnset) {
  Memory memory(kMiB), room(kMiB);
  fill(memory.data(), memory.size(), 10);
  ASSERT_EQ(pin(gpu_, memory), 0);
  ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  void* moved = mremap(memory.data(), memory.size(), memory.size(), MREMAP_MAYMOVE | MREMAP_FIXED, room.data());
  ASSERT_EQ(moved, room.data());
  memory.release();
  EXPECT_EQ(advised(gpu_, room.data(), room.size()), 0u);
  EXPECT_EQ(gpu_.to_ram(room.data(), room.size()).stayed[GODWIT_STAY_ADVICE], room.size() / kPage);
  ASSERT_EQ(unset(gpu_, room.data(), room.size()), 0);
  EXPECT_EQ(gpu_.to_ram(room.data(), room.size()).moved, room.size() / kPage);
  EXPECT_BYTES(room.data(), room.size(), 10u);
}

// Advice fills the limit of one descriptor and is left behind by mremap; then it fills that of `second_gpu`, which may be the
// same. Expects as many frames to be held.
void expect_held_beside_what_mremap_left(const Device& gpu, const Device& second_gpu, uint64_t frames) {
  const uint64_t limit = gpu.limits().max_pinned;
  Memory first(limit), second(limit), room(limit);
  fill(first.data(), limit, 11);
  ASSERT_EQ(pin(gpu, first), 0);
  ASSERT_EQ(gpu.to_vram(first.data(), limit).moved, limit / kPage);
  ASSERT_EQ(mremap(first.data(), limit, limit, MREMAP_MAYMOVE | MREMAP_FIXED, room.data()), room.data());
  first.release();
  fill(second.data(), limit, 12);
  ASSERT_EQ(pin(second_gpu, second), 0);
  ASSERT_EQ(second_gpu.to_vram(second.data(), limit).moved, limit / kPage);
  // All of VRAM would be held.
  EXPECT_EQ(gpu.evict(GODWIT_EVICT_DEVICE).stayed, frames);
  EXPECT_BYTES(room.data(), limit, 11u);
  EXPECT_BYTES(second.data(), limit, 12u);
}

TEST_F(Advise, MremapDoesNotAddUpBeyondTheLimit) {
  expect_held_beside_what_mremap_left(gpu_, gpu_, gpu_.limits().max_pinned / kPage);
}

TEST_F(Advise, MremapDoesNotAddUpWithThatOfAnotherDescriptor) {
  const Device other;
  expect_held_beside_what_mremap_left(gpu_, other, gpu_.info().vram_total / kPage * 3 / 4);
}

TEST_F(Advise, AChildHasNone) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 13);
  ASSERT_EQ(pin(gpu_, memory), 0);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_TRUE(exited_well(in_child([&] {
    EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), 0u);
    EXPECT_BYTES(memory.data(), memory.size(), 13u);
  })));
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 13u);
}

TEST_F(Advise, EndsWithTheDescriptor) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 14);
  {
    Device other;
    ASSERT_EQ(pin(other, memory), 0);
    other.to_vram(memory.data(), memory.size());
    EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).evicted, 0u);
  }
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).evicted, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 14u);
}

TEST_F(Advise, EndsWithADetach) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 15);
  ASSERT_EQ(pin(gpu_, memory), 0);
  gpu_.to_vram(memory.data(), memory.size());
  drm_godwit_attach detach = {};
  detach.client_version = GODWIT_UAPI_VERSION;
  detach.flags = GODWIT_ATTACH_DETACH;
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_ATTACH, &detach), 0);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), 0u);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).evicted, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 15u);
}

TEST_F(Advise, DiscardAndMprotectKeepIt) {
  Memory memory(kMiB);
  ASSERT_EQ(pin(gpu_, memory), 0);
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ), 0);
  EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), memory.size() / kPage);
}

TEST_F(Advise, OneWrongValueAField) {
  Memory memory(kMiB);
  const auto good = [&] {
    drm_godwit_advise args = {};
    args.addr = reinterpret_cast<uintptr_t>(memory.data());
    args.length = memory.size();
    args.advice = GODWIT_ADVICE_IN_PLACE;
    args.value = 1;
    return args;
  };
  const auto expect = [&](int error, const std::function<void(drm_godwit_advise&)>& spoil, int line) {
    drm_godwit_advise args = good();
    spoil(args);
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_ADVISE, &args), error) << "line " << line;
    EXPECT_EQ(advised(gpu_, memory.data(), memory.size()), 0u) << "line " << line;
  };
  expect(-EINVAL, [](auto& args) { args.addr += 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.addr = ~uint64_t{0} - kPage + 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.length = 0; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.length -= 1; }, __LINE__);
  expect(-E2BIG, [](auto& args) { args.addr = 0, args.length = GODWIT_MAX_RANGE + kPage; }, __LINE__);
  expect(-ENOSPC, [](auto& args) { args.addr = 0, args.length = GODWIT_MAX_RANGE; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.advice = 0; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.advice = GODWIT_ADVICE_UNSET + 1; }, __LINE__);
  expect(-EOPNOTSUPP, [](auto& args) { args.advice = GODWIT_ADVICE_READ_MOSTLY; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.value = 2; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.advice = GODWIT_ADVICE_PINNED, args.value = 2; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.advice = GODWIT_ADVICE_UNSET; }, __LINE__);
  for (const uint32_t place : {GODWIT_PLACE_NONE, GODWIT_PLACE_PEER, GODWIT_PLACE_ABSENT}) {
    expect(-EINVAL, [&](auto& args) { args.advice = GODWIT_ADVICE_PREFERRED, args.value = place; }, __LINE__);
  }
  expect(-EINVAL, [](auto& args) { args.flags = 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.pad = 1; }, __LINE__);
  drm_godwit_advise args = good();
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_ADVISE, &args), 0);
}

}  // namespace
}  // namespace godwit::guest
