// SPDX-License-Identifier: MIT
// What ends when a descriptor, a mapping, a mirror or a process does, and what may stay: nothing of one must be left to another.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/jobs.h"
#include "tests/kernel/objects.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

using Lifetime = DeviceTest;

int advise_pinned(const Device& device, const Memory& memory) {
  return device.advise(memory.data(), memory.size(), GODWIT_ADVICE_PINNED, 1);
}

int detach(const Device& device) {
  drm_godwit_attach args = {};
  args.client_version = GODWIT_UAPI_VERSION;
  args.flags = GODWIT_ATTACH_DETACH;
  return device.call(DRM_IOCTL_GODWIT_ATTACH, &args);
}

// Wherever the end of the address space meets it: nothing holds what it was given for.
TEST_F(Lifetime, OfAnAddressSpaceEndsWhileItIsBeingAdvised) {
  const Memory memory(gpu_.limits().max_pinned);
  fill(memory.data(), memory.size(), 3);
  unsigned ended = 0;
  for (unsigned round = 0; round < rounds(40); ++round) {
    ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    std::atomic<bool> begun{false};
    int error = 0;
    std::thread advising([&] {
      begun = true;
      error = advise_pinned(gpu_, memory);
    });
    while (!begun) std::this_thread::yield();
    // In each round somewhere else in it.
    const auto then = std::chrono::steady_clock::now() + std::chrono::microseconds(100 * (round % 30));
    while (std::chrono::steady_clock::now() < then) {
    }
    ASSERT_EQ(detach(gpu_), 0);
    advising.join();
    ASSERT_TRUE(error == 0 || error == -ESRCH) << error;
    ended += error != 0;
    // One that began after it has attached anew, and holds.
    const int again = detach(gpu_);
    ASSERT_TRUE(again == 0 || again == -ENOENT) << again;
    ASSERT_EQ(gpu_.evict(GODWIT_EVICT_DEVICE).stayed, 0u) << "round " << round;
  }
  EXPECT_GT(ended, 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

// A descriptor with O_PATH keeps the name of a dma-buf, and so the dma-buf, but not its file: what has the file's place by then
// must not lose what is mapped of it.
TEST_F(Lifetime, OfAFileOfAViewEndsBeforeTheView) {
  constexpr size_t kFiles = 256;
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 1);
  int fd = make_view(gpu_, memory.data(), memory.size());
  ASSERT_GE(fd, 0);
  {
    const View view(fd, memory.size());
    EXPECT_BYTES(view.data(), view.size(), 1u);
  }
  const int name = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_PATH | O_CLOEXEC);
  ASSERT_GE(name, 0);
  ASSERT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  close(fd);
  std::vector<int> files;
  std::vector<std::unique_ptr<Memory>> copies;
  for (size_t i = 0; i < kFiles; ++i) {
    files.push_back(open("/tmp", O_TMPFILE | O_RDWR, 0600));
    ASSERT_GE(files.back(), 0);
    ASSERT_EQ(ftruncate(files.back(), kMiB), 0);
    copies.push_back(std::make_unique<Memory>(kMiB, MAP_PRIVATE, files.back(), PROT_READ | PROT_WRITE));
    ASSERT_TRUE(*copies.back());
    *copies.back()->data() = 7;
  }
  // Zaps what the view has, if it were still mapped.
  gpu_.to_ram(memory.data(), memory.size());
  for (size_t i = 0; i < kFiles; ++i) {
    EXPECT_EQ(*copies[i]->data(), 7) << "file " << i;
    close(files[i]);
  }
  close(name);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

// In a process that made no other call, by the kernel, with a signal that waits: nobody looks at signals in such a fault.
TEST_F(Lifetime, OfASignalIsNotThatOfAFault) {
  EXPECT_TRUE(exited_well(in_child([] {
    Device mine;
    Memory memory(kMiB);
    const int fd = make_view(mine, memory.data(), memory.size());
    ASSERT_GE(fd, 0);
    const View view(fd, memory.size());
    sigset_t waiting, before;
    sigemptyset(&waiting);
    sigaddset(&waiting, SIGUSR1);
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
    ASSERT_EQ(sigprocmask(SIG_BLOCK, &waiting, &before), 0);
    ASSERT_EQ(raise(SIGUSR1), 0);
    // The signal is there from the moment on that the mask is set; the old one is stored after that.
    EXPECT_EQ(syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &waiting, view.data(), sizeof(uint64_t)), 0);
  })));
}

TEST_F(Lifetime, OfAPinnedObjectInRamCountsAndGivesBackWhatItTook) {
  const size_t limit = gpu_.limits().max_pinned;
  for (int round = 0; round < 2; ++round) {
    drm_godwit_gem_create args;
    ASSERT_EQ(create(gpu_, limit, GODWIT_PLACE_SYSTEM, GODWIT_GEM_PINNED, &args), 0);
    drm_godwit_gem_create more;
    EXPECT_EQ(create(gpu_, kPage, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED, &more), -EDQUOT);
    EXPECT_EQ(close_handle(gpu_, args.handle), 0);
  }
  const Object one(gpu_, limit, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
  EXPECT_TRUE(one);
  drm_godwit_gem_create args;
  EXPECT_EQ(create(gpu_, kPage, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED, &args), -EDQUOT);
}

// A view of other memory stays, and with it the mirror.
TEST_F(Lifetime, OfPinsAndAdviceEndsWithADetach) {
  const size_t limit = gpu_.limits().max_pinned;
  Memory viewed(kMiB), pinned(limit - kMiB), advised(kMiB);
  const View view(gpu_, viewed);
  *view.data() = 1;
  ASSERT_EQ(gpu_.pin(pinned.data(), pinned.size(), GODWIT_PLACE_VRAM), 0);
  ASSERT_EQ(advise_pinned(gpu_, advised), 0);
  gpu_.to_vram(advised.data(), advised.size());
  EXPECT_EQ(gpu_.pin(viewed.data(), viewed.size(), GODWIT_PLACE_VRAM), -EDQUOT);
  ASSERT_EQ(detach(gpu_), 0);
  EXPECT_EQ(gpu_.to_ram(pinned.data(), pinned.size()).moved, pinned.size() / kPage);
  EXPECT_EQ(gpu_.to_ram(advised.data(), advised.size()).moved, advised.size() / kPage);
  EXPECT_EQ(gpu_.pin(pinned.data(), pinned.size(), GODWIT_PLACE_VRAM), 0);
  EXPECT_EQ(gpu_.pin(advised.data(), advised.size(), GODWIT_PLACE_VRAM), 0);
}

TEST_F(Lifetime, OfPinsAndAdviceEndsWithTheDescriptor) {
  Memory viewed(kMiB), pinned(kMiB), advised(kMiB);
  auto other = std::make_unique<Device>();
  const int fd = make_view(*other, viewed.data(), viewed.size());
  ASSERT_GE(fd, 0);
  ASSERT_EQ(other->pin(pinned.data(), pinned.size(), GODWIT_PLACE_VRAM), 0);
  ASSERT_EQ(advise_pinned(*other, advised), 0);
  other->to_vram(advised.data(), advised.size());
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_RANGE, pinned.data(), pinned.size()).evicted, 0u);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_RANGE, advised.data(), advised.size()).evicted, 0u);
  other.reset();
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_RANGE, pinned.data(), pinned.size()).evicted, pinned.size() / kPage);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_RANGE, advised.data(), advised.size()).evicted, advised.size() / kPage);
  {
    // The view outlives it.
    const View view(fd, viewed.size());
    EXPECT_TRUE(all_zero(view.data(), view.size()));
  }
  close(fd);
}

TEST_F(Lifetime, OfAChildThatGaveNoAdviceIsNotThatOfItsParents) {
  Memory memory(kMiB);
  ASSERT_EQ(advise_pinned(gpu_, memory), 0);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_TRUE(exited_well(in_child([this] {
    const Memory mine(kMiB);
    gpu_.to_vram(mine.data(), mine.size());
  })));
  // Forgets the child.
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_EQ(gpu_.evict(GODWIT_EVICT_RANGE, memory.data(), memory.size()).evicted, 0u);
}

TEST_F(Lifetime, OfAPinIsThatOfItsMemoryForDiscardToo) {
  for (const uint32_t place : {GODWIT_PLACE_VRAM, GODWIT_PLACE_SYSTEM}) {
    Memory memory(16 * kPage);
    fill(memory.data(), memory.size(), 3);
    ASSERT_EQ(gpu_.pin(memory.data(), memory.size(), place), 0);
    // Other memory in the place of a half of it, of which the pin knows nothing.
    ASSERT_NE(mmap(memory.page(8), 8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              MAP_FAILED);
    fill(memory.page(8), 8 * kPage, 4);
    const drm_godwit_discard args = gpu_.discard(memory.data(), memory.size());
    EXPECT_EQ(args.skipped, 8u);
    EXPECT_EQ(args.discarded, 8u);
    EXPECT_BYTES(memory.data(), 8 * kPage, 3u);
    EXPECT_TRUE(all_zero(memory.page(8), 8 * kPage));
  }
}

TEST_F(Lifetime, OfAJobEndsWithWhoMayFetchIt) {
  constexpr uint64_t kChildren = 300;
  for (uint64_t child = 0; child < kChildren; ++child) {
    const int status = in_child([this] { EXPECT_EQ(submit(gpu_, {op::nop()}).error, 0); });
    ASSERT_TRUE(exited_well(status)) << "child " << child;
  }
  EXPECT_TRUE(execute(gpu_, {op::nop()}).ok());
}

}  // namespace
}  // namespace godwit::guest
