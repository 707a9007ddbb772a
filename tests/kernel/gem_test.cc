// SPDX-License-Identifier: MIT
// Objects: their bytes, their pointer, and who may move them.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <thread>

#include "tests/kernel/objects.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

using Gem = DeviceTest;

TEST_F(Gem, StartsAsZerosWhereOthersLeftBytes) {
  const size_t vram = gpu_.info().vram_total;
  {
    Object dirty(gpu_, vram, GODWIT_PLACE_VRAM);
    fill(dirty.data(), dirty.size(), 1);
    EXPECT_EQ(dirty.info().place, GODWIT_PLACE_VRAM);
  }
  Object object(gpu_, vram, GODWIT_PLACE_VRAM);
  EXPECT_TRUE(all_zero(object.data(), object.size()));
  Object system(gpu_, 4 * kMiB, GODWIT_PLACE_SYSTEM);
  EXPECT_TRUE(all_zero(system.data(), system.size()));
}

TEST_F(Gem, ThePagesOfOthersAreClearedToo) {
  if (gpu_.info().kind == GODWIT_KIND_EXPLICIT) GTEST_SKIP() << "pages do not migrate to this device";
  const size_t vram = gpu_.info().vram_total;
  {
    Memory memory(vram);
    fill(memory.data(), memory.size(), 2);
    ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, vram / kPage);
  }
  wait_for_free(gpu_, vram);
  Object object(gpu_, vram, GODWIT_PLACE_VRAM);
  EXPECT_TRUE(all_zero(object.data(), object.size()));
}

TEST_F(Gem, ThePointerAndTheBytesSurviveEveryMove) {
  Object object(gpu_, 3 * kMiB + kPage, GODWIT_PLACE_VRAM);
  const uint64_t free = gpu_.info().vram_free;
  for (uint64_t round = 0; round < 4; ++round) {
    fill(object.data(), object.size(), 10 + round);
    ASSERT_EQ(object.move(GODWIT_PLACE_SYSTEM), 0);
    EXPECT_EQ(object.info().place, GODWIT_PLACE_SYSTEM);
    EXPECT_EQ(gpu_.info().vram_free, free + object.size());
    EXPECT_BYTES(object.data(), object.size(), 10 + round);
    fill(object.data(), object.size(), 20 + round);
    ASSERT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
    EXPECT_EQ(object.info().place, GODWIT_PLACE_VRAM);
    EXPECT_EQ(gpu_.info().vram_free, free);
    EXPECT_BYTES(object.data(), object.size(), 20 + round);
  }
  EXPECT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
}

TEST_F(Gem, NoStoreIsLostWhileItMoves) {
  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  auto* words = reinterpret_cast<uint64_t*>(object.data());
  const size_t stride = kPage / sizeof(uint64_t), pages = object.size() / kPage;
  std::atomic<bool> stop{false};
  uint64_t rounds = 0;
  std::thread writer([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      for (size_t page = 0; page < pages; ++page) {
        volatile uint64_t* word = &words[page * stride];
        *word = *word + 1;
      }
      ++rounds;
    }
  });
  int moves = 0;
  for (; moves < 60; ++moves) {
    const int status = object.move(moves % 2 == 0 ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM);
    EXPECT_EQ(status, 0) << "move " << moves;
  }
  stop = true;
  writer.join();
  EXPECT_GT(rounds, 0u);
  for (size_t page = 0; page < pages; ++page) EXPECT_EQ(words[page * stride], rounds) << "page " << page;
}

TEST_F(Gem, ObjectsMakeRoomForEachOther) {
  const size_t vram = gpu_.info().vram_total;
  Object first(gpu_, vram / 2, GODWIT_PLACE_VRAM);
  fill(first.data(), first.size(), 3);
  Object second(gpu_, vram / 2, GODWIT_PLACE_VRAM);
  fill(second.data(), second.size(), 4);
  Object third(gpu_, vram / 2, GODWIT_PLACE_VRAM);
  fill(third.data(), third.size(), 5);
  // The one that was used longest ago.
  EXPECT_EQ(first.info().place, GODWIT_PLACE_SYSTEM);
  EXPECT_EQ(second.info().place, GODWIT_PLACE_VRAM);
  EXPECT_EQ(third.info().place, GODWIT_PLACE_VRAM);
  EXPECT_BYTES(first.data(), first.size(), 3u);
  EXPECT_BYTES(second.data(), second.size(), 4u);
  EXPECT_BYTES(third.data(), third.size(), 5u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_PAGES_EVICTED), vram / 2 / kPage);
}

TEST_F(Gem, PagesAndObjectsMakeRoomForEachOther) {
  if (gpu_.info().kind == GODWIT_KIND_EXPLICIT) GTEST_SKIP() << "pages do not migrate to this device";
  const size_t vram = gpu_.info().vram_total;
  Memory memory(vram);
  fill(memory.data(), memory.size(), 6);
  ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, vram / kPage);
  Object object(gpu_, vram / 2, GODWIT_PLACE_VRAM);
  fill(object.data(), object.size(), 7);
  EXPECT_EQ(object.info().place, GODWIT_PLACE_VRAM);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_NO_VRAM], 0u);
  EXPECT_BYTES(object.data(), object.size(), 7u);
  EXPECT_BYTES(memory.data(), memory.size(), 6u);
}

TEST_F(Gem, EvictBringsObjectsToRam) {
  Object object(gpu_, 4 * kMiB, GODWIT_PLACE_VRAM);
  fill(object.data(), object.size(), 8);
  const auto answer = gpu_.evict(GODWIT_EVICT_CLIENT);
  EXPECT_EQ(answer.evicted, object.size() / kPage);
  EXPECT_EQ(answer.stayed, 0u);
  EXPECT_EQ(object.info().place, GODWIT_PLACE_SYSTEM);
  EXPECT_BYTES(object.data(), object.size(), 8u);
  ASSERT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).evicted, object.size() / kPage);
  EXPECT_BYTES(object.data(), object.size(), 8u);
}

TEST_F(Gem, PinnedObjectsStayAndCount) {
  const uint64_t limit = gpu_.limits().max_pinned;
  const size_t vram = gpu_.info().vram_total;
  auto pinned = std::make_unique<Object>(gpu_, limit, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
  fill(pinned->data(), pinned->size(), 9);
  EXPECT_EQ(pinned->info().flags, GODWIT_GEM_PINNED);
  drm_godwit_gem_create args;
  EXPECT_EQ(create(gpu_, kPage, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED, &args), -EDQUOT);
  EXPECT_EQ(pinned->move(GODWIT_PLACE_SYSTEM), -EBUSY);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).stayed, limit / kPage);
  EXPECT_EQ(create(gpu_, vram - limit + kPage, GODWIT_PLACE_VRAM, 0, &args), -ENOSPC);
  EXPECT_EQ(pinned->info().place, GODWIT_PLACE_VRAM);
  EXPECT_BYTES(pinned->data(), pinned->size(), 9u);
  pinned.reset();
  Object again(gpu_, limit, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
}

TEST_F(Gem, DescriptorsTogetherLeaveAQuarterUnpinned) {
  const uint64_t limit = gpu_.limits().max_pinned;
  const size_t vram = gpu_.info().vram_total;
  auto first = std::make_unique<Object>(gpu_, limit, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
  const Device other, third;
  drm_godwit_gem_create args;
  EXPECT_EQ(create(other, limit, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED, &args), -EDQUOT);
  const Object second(other, vram * 3 / 4 - limit, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
  EXPECT_EQ(create(third, kPage, GODWIT_PLACE_SYSTEM, GODWIT_GEM_PINNED, &args), -EDQUOT);
  const Object rest(third, vram / 4, GODWIT_PLACE_VRAM);
  EXPECT_EQ(rest.info().place, GODWIT_PLACE_VRAM);
  first.reset();
  const Object again(third, limit, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
}

TEST_F(Gem, TooLargeIsRefusedAndTakesNothing) {
  drm_godwit_gem_create args;
  EXPECT_EQ(create(gpu_, gpu_.info().vram_total + kPage, GODWIT_PLACE_VRAM, 0, &args), -ENOSPC);
  EXPECT_EQ(args.handle, 0u);
  EXPECT_EQ(gpu_.info().vram_free, gpu_.info().vram_total);
  Object object(gpu_, gpu_.info().vram_total + kPage, GODWIT_PLACE_SYSTEM);
  fill(object.data(), 2 * kPage, 1);
  EXPECT_EQ(object.move(GODWIT_PLACE_VRAM), -ENOSPC);
  EXPECT_EQ(object.info().place, GODWIT_PLACE_SYSTEM);
  EXPECT_BYTES(object.data(), 2 * kPage, 1u);
}

TEST_F(Gem, SizeIsRoundedUpToPages) {
  drm_godwit_gem_create args;
  ASSERT_EQ(create(gpu_, 1, GODWIT_PLACE_VRAM, 0, &args), 0);
  EXPECT_EQ(args.size, kPage);
  EXPECT_EQ(close_handle(gpu_, args.handle), 0);
}

TEST_F(Gem, TheMappingOutlivesTheHandle) {
  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  fill(object.data(), object.size(), 11);
  const uint32_t handle = object.handle();
  object.close();
  drm_godwit_gem_info info = {};
  info.handle = handle;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_GEM_INFO, &info), -ENOENT);
  EXPECT_BYTES(object.data(), object.size(), 11u);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).evicted, object.size() / kPage);
  EXPECT_BYTES(object.data(), object.size(), 11u);
}

TEST_F(Gem, ExitFreesEverything) {
  EXPECT_TRUE(exited_well(in_child([] {
    Device own;
    drm_godwit_gem_create args;
    ASSERT_EQ(create(own, 4 * kMiB, GODWIT_PLACE_VRAM, 0, &args), 0);
    void* at = mmap(nullptr, 4 * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, own.fd(), static_cast<off_t>(args.map_offset));
    ASSERT_NE(at, MAP_FAILED);
    fill(at, 4 * kMiB, 1);
    _exit(0);
  })));
  EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
}

TEST_F(Gem, OnlySharedMappingsWithinTheObject) {
  drm_godwit_gem_create args;
  ASSERT_EQ(create(gpu_, kMiB, GODWIT_PLACE_VRAM, 0, &args), 0);
  const auto offset = static_cast<off_t>(args.map_offset);
  EXPECT_EQ(mmap(nullptr, kMiB, PROT_READ, MAP_PRIVATE, gpu_.fd(), offset), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(mmap(nullptr, kMiB + kPage, PROT_READ, MAP_SHARED, gpu_.fd(), offset), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  // Another descriptor has no right to it.
  Device other;
  EXPECT_EQ(mmap(nullptr, kMiB, PROT_READ, MAP_SHARED, other.fd(), offset), MAP_FAILED);
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(close_handle(gpu_, args.handle), 0);
}

TEST_F(Gem, AChildSharesTheMapping) {
  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  fill(object.data(), object.size(), 12);
  EXPECT_TRUE(exited_well(in_child([&] {
    EXPECT_BYTES(object.data(), object.size(), 12u);
    EXPECT_EQ(object.move(GODWIT_PLACE_SYSTEM), 0);
    fill(object.data(), object.size(), 13);
    // Not the child's: the handle belongs to the descriptor.
    object.move(GODWIT_PLACE_VRAM);
  })));
  EXPECT_BYTES(object.data(), object.size(), 13u);
}

TEST_F(Gem, PrimeGivesTheSameObjectToAnotherDescriptor) {
  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  fill(object.data(), object.size(), 14);
  const int dma_buf = object.dma_buf();
  ASSERT_GE(dma_buf, 0);
  Device other;
  drm_prime_handle import = {};
  import.fd = dma_buf;
  ASSERT_EQ(other.call(DRM_IOCTL_PRIME_FD_TO_HANDLE, &import), 0);
  drm_godwit_gem_info info = {};
  info.handle = import.handle;
  ASSERT_EQ(other.call(DRM_IOCTL_GODWIT_GEM_INFO, &info), 0);
  EXPECT_EQ(info.size, object.size());
  {
    Memory there(kMiB, MAP_SHARED, dma_buf, PROT_READ | PROT_WRITE);
    ASSERT_TRUE(there);
    EXPECT_BYTES(there.data(), kMiB, 14u);
    // The mapping of the dma-buf follows it as well.
    ASSERT_EQ(object.move(GODWIT_PLACE_SYSTEM), 0);
    fill(there.data(), kMiB, 15);
    EXPECT_BYTES(object.data(), kMiB, 15u);
    ASSERT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
    fill(object.data(), kMiB, 16);
    EXPECT_BYTES(there.data(), kMiB, 16u);
  }
  ::close(dma_buf);
}

TEST_F(Gem, ADescriptorThatCanOnlyBeReadCanBeMappedForThat) {
  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  fill(object.data(), object.size(), 14);
  const int dma_buf = object.dma_buf(false);
  ASSERT_GE(dma_buf, 0);
  {
    const Memory there(kMiB, MAP_SHARED, dma_buf, PROT_READ);
    ASSERT_TRUE(there);
    EXPECT_BYTES(there.data(), kMiB, 14u);
    ASSERT_EQ(object.move(GODWIT_PLACE_SYSTEM), 0);
    fill(object.data(), kMiB, 15);
    EXPECT_BYTES(there.data(), kMiB, 15u);
    EXPECT_EQ(mprotect(there.data(), kMiB, PROT_READ | PROT_WRITE), -1);
    EXPECT_EQ(signal_of([&] { *static_cast<volatile uint8_t*>(there.data()) = 1; }), SIGSEGV);
    // Pages of its own would stay behind when the object moves.
    EXPECT_EQ(mmap(nullptr, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE, dma_buf, 0), MAP_FAILED);
  }
  ::close(dma_buf);
}

TEST_F(Gem, APageThatIoHoldsKeepsTheObjectWhereItIs) {
  Object object(gpu_, kMiB, GODWIT_PLACE_SYSTEM);
  fill(object.data(), object.size(), 17);
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const iovec piece = {object.data() + 3 * kPage, kPage};
  ASSERT_EQ(vmsplice(pipe_fds[1], &piece, 1, 0), static_cast<ssize_t>(kPage));
  EXPECT_EQ(object.move(GODWIT_PLACE_VRAM), -EBUSY);
  EXPECT_EQ(object.info().place, GODWIT_PLACE_SYSTEM);
  EXPECT_BYTES(object.data(), object.size(), 17u);
  std::vector<uint8_t> page(kPage);
  ASSERT_EQ(read(pipe_fds[0], page.data(), kPage), static_cast<ssize_t>(kPage));
  EXPECT_EQ(memcmp(page.data(), object.data() + 3 * kPage, kPage), 0);
  EXPECT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
  EXPECT_EQ(gpu_.info().vram_total - gpu_.info().vram_free, object.size());
  EXPECT_BYTES(object.data(), object.size(), 17u);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST_F(Gem, SystemCallsReachItInBothPlaces) {
  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  const int file = temporary_file(kMiB, 18);
  for (const uint32_t place : {GODWIT_PLACE_VRAM, GODWIT_PLACE_SYSTEM}) {
    ASSERT_EQ(object.move(place), 0);
    memset(object.data(), 0, object.size());
    ASSERT_EQ(object.move(place), 0);
    ASSERT_EQ(pread(file, object.data(), kMiB, 0), static_cast<ssize_t>(kMiB));
    EXPECT_EQ(object.info().place, place);
    EXPECT_BYTES(object.data(), kMiB, 18u);
  }
  close(file);
}

TEST_F(Gem, FdinfoTellsOfIt) {
  Object object(gpu_, 4 * kMiB, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
  const std::string info = read_file("/proc/self/fdinfo/" + std::to_string(gpu_.fd()));
  EXPECT_NE(info.find("drm-total-memory:\t4 MiB"), std::string::npos) << info;
  EXPECT_NE(info.find("drm-resident-memory:\t4 MiB"), std::string::npos) << info;
  EXPECT_NE(info.find("godwit-vram-bytes:\t4194304"), std::string::npos) << info;
}

TEST_F(Gem, UnplugLeavesTheBytesToTheProgram) {
  if (gpu_.info().kind == GODWIT_KIND_EXPLICIT) GTEST_SKIP() << "see pci_test";
  SoftDevice soft("private:16M");
  Device device(soft.index());
  {
    Object object(device, 8 * kMiB, GODWIT_PLACE_VRAM);
    Object pinned(device, 8 * kMiB, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
    fill(object.data(), object.size(), 19);
    fill(pinned.data(), pinned.size(), 20);
    soft.remove();
    EXPECT_BYTES(object.data(), object.size(), 19u);
    EXPECT_BYTES(pinned.data(), pinned.size(), 20u);
    fill(object.data(), object.size(), 21);
    EXPECT_BYTES(object.data(), object.size(), 21u);
    EXPECT_EQ(object.move(GODWIT_PLACE_VRAM), -ENODEV);
  }
}

TEST_F(Gem, OneWrongValueAField) {
  const auto refused = [&](int error, const std::function<void(drm_godwit_gem_create&)>& spoil, int line) {
    drm_godwit_gem_create args = {};
    args.size = kMiB;
    args.place = GODWIT_PLACE_VRAM;
    spoil(args);
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_GEM_CREATE, &args), error) << "line " << line;
    EXPECT_EQ(args.handle, 0u) << "line " << line;
    EXPECT_EQ(gpu_.info().vram_free, gpu_.info().vram_total) << "line " << line;
  };
  refused(-EINVAL, [](auto& args) { args.size = 0; }, __LINE__);
  refused(-E2BIG, [](auto& args) { args.size = ~uint64_t{0}; }, __LINE__);
  refused(-E2BIG, [](auto& args) { args.size = (uint64_t{1} << 36) + 1; }, __LINE__);
  for (const uint32_t place : {GODWIT_PLACE_NONE, GODWIT_PLACE_PEER, GODWIT_PLACE_ABSENT}) {
    refused(-EINVAL, [&](auto& args) { args.place = place; }, __LINE__);
  }
  refused(-EINVAL, [](auto& args) { args.flags = 2; }, __LINE__);
  refused(-EINVAL, [](auto& args) { args.pad = 1; }, __LINE__);

  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  drm_godwit_gem_info info = {};
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_GEM_INFO, &info), -ENOENT);
  info.handle = object.handle();
  info.pad = 1;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_GEM_INFO, &info), -EINVAL);

  const auto unmoved = [&](int error, const std::function<void(drm_godwit_gem_move&)>& spoil, int line) {
    drm_godwit_gem_move args = {};
    args.handle = object.handle();
    args.place = GODWIT_PLACE_SYSTEM;
    spoil(args);
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_GEM_MOVE, &args), error) << "line " << line;
    EXPECT_EQ(object.info().place, GODWIT_PLACE_VRAM) << "line " << line;
  };
  unmoved(-ENOENT, [](auto& args) { args.handle = 0; }, __LINE__);
  unmoved(-ENOENT, [](auto& args) { args.handle += 1; }, __LINE__);
  unmoved(-EINVAL, [](auto& args) { args.place = GODWIT_PLACE_NONE; }, __LINE__);
  unmoved(-EINVAL, [](auto& args) { args.place = GODWIT_PLACE_PEER; }, __LINE__);
  unmoved(-EINVAL, [](auto& args) { args.flags = 1; }, __LINE__);
  unmoved(-EINVAL, [](auto& args) { args.pad = 1; }, __LINE__);
}

}  // namespace
}  // namespace godwit::guest
