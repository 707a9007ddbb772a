// SPDX-License-Identifier: MIT
// The execution queue: what each command does to memory wherever that is, and which faults it takes.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "tests/kernel/jobs.h"
#include "tests/kernel/settings.h"

namespace godwit::guest {
namespace {

using Queue = DeviceTest;

constexpr uint32_t kInPlace = GODWIT_COMMAND_IN_PLACE;
constexpr uint32_t kNoFault = GODWIT_COMMAND_NO_FAULT;
constexpr const char* kQueueIdle = "/sys/module/godwit/parameters/queue_idle";

// Threads of queues that the system has.
size_t queue_threads() {
  size_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error))
    count += read_file(entry.path() / "comm").rfind("godwit-queue/", 0) == 0;
  return count;
}

TEST_F(Queue, EachCommandDoesWhatItSays) {
  Memory memory(size_t{1} << 20), other(size_t{1} << 20);
  fill(memory.data(), memory.size(), 1);
  const uint64_t sum = fnv(memory.data() + 3, 10001);
  std::vector<uint8_t> bytes(9000), stored(9000, 0x5a);
  const std::vector<uint8_t> expected(memory.data() + 100, memory.data() + 9100);
  const Done done = execute(gpu_, {
      op::read(memory.data() + 100, bytes.data(), bytes.size()),
      op::checksum(memory.data() + 3, 10001),
      op::copy(other.data() + 5, memory.data() + 4090, 70000),
      op::write(memory.data() + 4000, stored.data(), stored.size()),
      op::fill(memory.data() + 50001, 4099, 0x0807060504030201u),
      op::nop(),
  });
  ASSERT_TRUE(done.ok()) << done.error << " " << done.status;
  EXPECT_EQ(bytes, expected);
  EXPECT_EQ(done.results[1].value, sum);
  EXPECT_EQ(done.results[0].done, bytes.size());
  EXPECT_EQ(done.results[2].done, 70000u);
  Memory before(memory.size());
  fill(before.data(), before.size(), 1);
  EXPECT_EQ(memcmp(other.data() + 5, before.data() + 4090, 70000), 0);
  EXPECT_EQ(other.data()[4], 0);
  EXPECT_EQ(other.data()[70005], 0);
  EXPECT_EQ(memcmp(memory.data(), before.data(), 4000), 0);
  EXPECT_EQ(memcmp(memory.data() + 4000, stored.data(), stored.size()), 0);
  EXPECT_EQ(memory.data()[13000], before.data()[13000]);
  for (size_t i = 0; i < 4099; ++i) ASSERT_EQ(memory.data()[50001 + i], i % 8 + 1) << i;
  EXPECT_EQ(memory.data()[50000], before.data()[50000]);
  EXPECT_EQ(memory.data()[54100], before.data()[54100]);
}

TEST_F(Queue, AtomicAddAddsToEachWordAndGivesTheLastOldValue) {
  Memory memory(4 * kPage);
  auto* words = reinterpret_cast<uint64_t*>(memory.data());
  words[1023] = 40;
  const Done done = execute(
      gpu_, {op::add(words + 510, 514 * sizeof(uint64_t), 2), op::add(words + 1023, 8, ~0ull)});
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done.results[0].value, 40u);
  EXPECT_EQ(done.results[1].value, 42u);
  EXPECT_EQ(words[509], 0u);
  EXPECT_EQ(words[510], 2u);
  EXPECT_EQ(words[1023], 41u);
  EXPECT_EQ(words[1024], 0u);
}

TEST_F(Queue, FaultBringsPagesToVramAndIsReported) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 2);
  const uint64_t faults = gpu_.stat(GODWIT_STAT_DEVICE_FAULTS);
  Done done = execute(gpu_, {op::checksum(memory.data(), memory.size())});
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done.results[0].pages_moved, memory.size() / kPage);
  EXPECT_GE(done.results[0].faults, 1u);
  EXPECT_LE(done.results[0].faults, memory.size() / kPage);
  EXPECT_EQ(done.results[0].pages_mapped, 0u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_DEVICE_FAULTS), faults + done.results[0].faults);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  // Everything is mapped now.
  EXPECT_EQ(gpu_.residency(memory.data(), memory.size()).mapped, memory.size() / kPage);
  done = execute(gpu_, {op::checksum(memory.data(), memory.size())});
  EXPECT_EQ(done.results[0].faults, 0u);
  EXPECT_EQ(done.results[0].pages_moved, 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
}

TEST_F(Queue, FaultInPlaceMovesNothing) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 3);
  const Done done = execute(gpu_, {op::add(memory.data(), memory.size(), 1, kInPlace)});
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done.results[0].pages_moved, 0u);
  EXPECT_EQ(done.results[0].pages_mapped, memory.size() / kPage);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  std::vector<uint32_t> pages;
  gpu_.residency(memory.data(), memory.size(), &pages);
  for (const uint32_t page : pages) {
    EXPECT_TRUE(page & GODWIT_PAGE_MAPPED_WRITE);
    EXPECT_EQ(page & GODWIT_PAGE_PLACE, GODWIT_PLACE_SYSTEM);
  }
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_PAGES_TO_VRAM), 0u);
  auto* words = reinterpret_cast<uint64_t*>(memory.data());
  for (size_t i = 0; i < memory.size() / 8; ++i) words[i] -= 1;
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

TEST_F(Queue, AdviceDecidesWhetherAFaultMovesThePage) {
  Memory memory(64 * kPage);
  fill(memory.data(), memory.size(), 14);
  for (const auto& [advice, value] : {std::pair<uint32_t, uint32_t>{GODWIT_ADVICE_IN_PLACE, 1},
                                      {GODWIT_ADVICE_PREFERRED, GODWIT_PLACE_SYSTEM}}) {
    gpu_.to_ram(memory.data(), memory.size());
    ASSERT_EQ(gpu_.advise(memory.page(5), 20 * kPage, advice, value), 0);
    ASSERT_TRUE(execute(gpu_, {op::checksum(memory.data(), memory.size())}).ok());
    std::vector<uint32_t> pages;
    gpu_.residency(memory.data(), memory.size(), &pages);
    for (size_t i = 0; i < pages.size(); ++i) {
      EXPECT_EQ(pages[i] & GODWIT_PAGE_PLACE,
                i >= 5 && i < 25 ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM) << i;
      EXPECT_TRUE(pages[i] & GODWIT_PAGE_MAPPED) << i;
    }
    ASSERT_EQ(gpu_.advise(memory.page(5), 20 * kPage, GODWIT_ADVICE_UNSET, 0), 0);
  }
}

TEST_F(Queue, NoFaultEndsTheCommandAndSaysWhere) {
  Memory memory(4 * kPage);
  fill(memory.data(), memory.size(), 4);
  ASSERT_TRUE(execute(gpu_, {op::checksum(memory.data(), kPage)}).ok());
  gpu_.to_ram(memory.data(), memory.size());
  ASSERT_TRUE(execute(gpu_, {op::checksum(memory.data(), kPage)}).ok());
  gpu_.to_ram(memory.page(1), kPage);
  const Done done = execute(
      gpu_, {op::checksum(memory.data(), 2 * kPage, kNoFault), op::add(memory.data(), 8, 1)});
  EXPECT_EQ(done.error, 0);
  EXPECT_EQ(done.status, -EFAULT);
  EXPECT_EQ(done.results[0].status, -EFAULT);
  EXPECT_EQ(done.results[0].fault_addr, address(memory.page(1)));
  EXPECT_EQ(done.results[0].done, kPage);
  EXPECT_EQ(done.results[0].faults, 0u);
  EXPECT_EQ(done.results[1].status, -ECANCELED);
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
}

TEST_F(Queue, HoleIsEfaultAndReadOnlyMemoryIsEaccesForWrites) {
  Memory memory(4 * kPage);
  fill(memory.data(), memory.size(), 5);
  ASSERT_EQ(munmap(memory.page(2), kPage), 0);
  ASSERT_EQ(mprotect(memory.page(1), kPage, PROT_READ), 0);
  for (const uint32_t flags : {0u, kInPlace}) {
    Done done = execute(gpu_, {op::fill(memory.data(), 3 * kPage, 0, flags)});
    EXPECT_EQ(done.status, -EACCES) << flags;
    EXPECT_EQ(done.results[0].fault_addr, address(memory.page(1)));
    done = execute(gpu_, {op::checksum(memory.page(1), 2 * kPage, flags)});
    EXPECT_EQ(done.status, -EFAULT) << flags;
    EXPECT_EQ(done.results[0].fault_addr, address(memory.page(2)));
    EXPECT_EQ(done.results[0].done, kPage);
  }
  EXPECT_TRUE(all_zero(memory.data(), kPage));
  Memory before(2 * kPage);
  fill(before.data(), before.size(), 5);
  EXPECT_EQ(memcmp(memory.page(1), before.page(1), kPage), 0);
}

// Writable again, the page is still in VRAM and mapped for reading: the write must not fault for ever.
TEST_F(Queue, WriteFaultAfterMprotectBothWays) {
  Memory memory(64 * kPage);
  fill(memory.data(), memory.size(), 6);
  ASSERT_TRUE(execute(gpu_, {op::add(memory.data(), memory.size(), 1)}).ok());
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ), 0);
  EXPECT_EQ(execute(gpu_, {op::add(memory.data(), memory.size(), 1)}).status, -EACCES);
  ASSERT_TRUE(execute(gpu_, {op::checksum(memory.data(), memory.size())}).ok());
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ | PROT_WRITE), 0);
  const Done done = execute(gpu_, {op::add(memory.data(), memory.size(), ~0ull)});
  ASSERT_TRUE(done.ok()) << done.status;
  EXPECT_EQ(done.results[0].done, memory.size());
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 6u);
}

TEST_F(Queue, WriteFaultAfterForkLeavesTheChildsBytes) {
  for (const bool huge : {false, true}) {
    Memory memory(kHuge, huge ? Memory::kHugePages : Memory::kAnonymous);
    fill(memory.data(), memory.size(), 7);
    ASSERT_TRUE(execute(gpu_, {op::checksum(memory.data(), memory.size())}).ok());
    int go[2];
    ASSERT_EQ(pipe(go), 0);
    const pid_t child = fork();
    if (child == 0) {
      char c = 0;
      close(go[1]);
      if (::read(go[0], &c, 1) != 1) _exit(2);
      _exit(differs(memory.data(), memory.size(), 7) == -1 ? 0 : 3);
    }
    const Done done = execute(gpu_, {op::add(memory.data(), memory.size(), 1)});
    EXPECT_TRUE(done.ok()) << done.status;
    ASSERT_EQ(::write(go[1], "x", 1), 1);
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(exited_well(status)) << status;
    ASSERT_TRUE(execute(gpu_, {op::add(memory.data(), memory.size(), ~0ull)}).ok());
    EXPECT_BYTES(memory.data(), memory.size(), 7u);
    close(go[0]);
    close(go[1]);
  }
}

TEST_F(Queue, UntouchedMemoryIsMadeOnTheDevice) {
  Memory memory(size_t{1} << 20), read_only(16 * kPage);
  uint8_t byte = 1;
  const Done done = execute(gpu_, {op::fill(memory.data(), memory.size(), 0x1111111111111111u),
                                   op::read(read_only.data(), &byte, 1)});
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(byte, 0);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  for (size_t i = 0; i < memory.size(); ++i) ASSERT_EQ(memory.data()[i], 0x11) << i;
}

TEST_F(Queue, HugePageComesAsOneFolio) {
  Memory memory(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 8);
  const Done done = execute(gpu_, {op::checksum(memory.page(17), 8)});
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done.results[0].faults, 1u);
  EXPECT_EQ(done.results[0].pages_moved, kHuge / kPage);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_HUGE_TO_VRAM), 1u);
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
}

TEST_F(Queue, FilesAndSharedMemoryAreUsedInPlace) {
  const int fd = temporary_file(64 * kPage, 9);
  Memory shared(64 * kPage, MAP_SHARED, fd, PROT_READ | PROT_WRITE);
  Memory anonymous(64 * kPage, Memory::kShared);
  fill(anonymous.data(), anonymous.size(), 9);
  for (Memory* memory : {&shared, &anonymous}) {
    const Done done = execute(gpu_, {op::add(memory->data(), memory->size(), 5)});
    ASSERT_TRUE(done.ok()) << done.status;
    EXPECT_EQ(done.results[0].pages_moved, 0u);
    EXPECT_EQ(gpu_.in_vram(memory->data(), memory->size()), 0u);
    auto* words = reinterpret_cast<uint64_t*>(memory->data());
    for (size_t i = 0; i < memory->size() / 8; ++i) words[i] -= 5;
    EXPECT_BYTES(memory->data(), memory->size(), 9u);
  }
  // What the device wrote is in the file, not only in this mapping.
  ASSERT_TRUE(execute(gpu_, {op::fill(shared.data(), shared.size(), 0x2222222222222222u)}).ok());
  ASSERT_EQ(msync(shared.data(), shared.size(), MS_SYNC), 0);
  std::vector<uint8_t> bytes(64 * kPage);
  ASSERT_EQ(pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(bytes, std::vector<uint8_t>(bytes.size(), 0x22));
  // A private mapping of it: written pages are this process's own.
  Memory mine(64 * kPage, MAP_PRIVATE, fd, PROT_READ | PROT_WRITE);
  ASSERT_TRUE(execute(gpu_, {op::fill(mine.data(), mine.size(), 0)}).ok());
  EXPECT_TRUE(all_zero(mine.data(), mine.size()));
  ASSERT_EQ(pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(bytes, std::vector<uint8_t>(bytes.size(), 0x22));
  close(fd);
}

TEST_F(Queue, ListIsWalkedAcrossEvictions) {
  struct Node {
    uint64_t value;
    Node* next;
  };
  const size_t vram = gpu_.info().vram_total;
  Memory memory(2 * vram);  // the list does not fit
  const size_t nodes = rounds(1000);
  std::vector<Node*> order(nodes);
  for (size_t i = 0; i < nodes; ++i) {
    const size_t page = (i * 7919) % (memory.size() / kPage);
    order[i] = reinterpret_cast<Node*>(memory.page(page) + (i * 48) % 4032);
  }
  for (size_t i = 0; i < nodes; ++i) {
    order[i]->value = i;
    order[i]->next = i + 1 < nodes ? order[i + 1] : nullptr;
  }
  std::atomic<bool> stop{false};
  std::thread evictor([&] {
    while (!stop) gpu_.evict(GODWIT_EVICT_DEVICE);
  });
  Done done = execute(gpu_, {op::walk(order[0], nodes, offsetof(Node, next))}, 60000);
  stop = true;
  evictor.join();
  ASSERT_TRUE(done.ok()) << done.status;
  EXPECT_EQ(done.results[0].value, nodes);
  EXPECT_GT(done.results[0].faults, 0u);

  done = execute(gpu_, {op::walk(order[0], nodes - 1, offsetof(Node, next))}, 60000);
  EXPECT_EQ(done.status, -ELOOP);
  EXPECT_EQ(done.results[0].value, nodes - 1);
  EXPECT_EQ(done.results[0].fault_addr, address(order[nodes - 1]));

  order[10]->next = reinterpret_cast<Node*>(address(order[11]) + 1);
  done = execute(gpu_, {op::walk(order[0], nodes, offsetof(Node, next))});
  EXPECT_EQ(done.status, -EINVAL);
  EXPECT_EQ(done.results[0].value, 11u);
  for (const uint64_t wild : {uint64_t{8}, uint64_t{1} << 47, ~uint64_t{7}}) {
    order[10]->next = reinterpret_cast<Node*>(wild);
    done = execute(gpu_, {op::walk(order[0], nodes, offsetof(Node, next))});
    EXPECT_EQ(done.status, -EFAULT) << wild;
    EXPECT_EQ(done.results[0].value, 11u);
  }
  EXPECT_EQ(execute(gpu_, {op::walk(nullptr, 1)}).results[0].value, 0u);
}

// Its translations are of pages that are somebody else's a moment later: the kernel's log tells when one is marked dirty then.
TEST_F(Queue, AClientThatClosesWhileItsPagesAreFreedTouchesNoneOfThem) {
  Memory memory(kHuge / 2);
  std::atomic<unsigned> closing{0};
  std::atomic<bool> stop{false};
  std::thread dropper([&] {
    for (unsigned seen = 0; !stop;) {
      if (closing == seen) continue;
      seen = closing;
      // One by one: some before the client is gone, some after.
      for (size_t at = 0; at < memory.size(); at += kPage) madvise(memory.data() + at, kPage, MADV_DONTNEED);
    }
  });
  for (unsigned round = 0; round < rounds(150); ++round) {
    memset(memory.data(), 1, memory.size());
    Device own;
    const Done done = execute(own, {op::add(memory.data(), memory.size(), 1, kInPlace)});
    EXPECT_TRUE(done.ok() || done.status == -EBUSY) << done.error << " " << done.status;
    ++closing;
    own.close();
  }
  stop = true;
  dropper.join();
  // What was freed is used again.
  memset(memory.data(), 2, memory.size());
}

TEST_F(Queue, NoThreadIsLeftOfOneWithoutJobs) {
  const Done spin = submit(gpu_, {op::spin()});
  ASSERT_EQ(spin.error, 0);
  // One that was told to end before may still be about to.
  EXPECT_TRUE(soon([] { return queue_threads() == 1; }));
  drm_godwit_attach detach = {};
  detach.client_version = GODWIT_UAPI_VERSION;
  detach.flags = GODWIT_ATTACH_DETACH;
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_ATTACH, &detach), 0);
  EXPECT_NE(wait(gpu_, spin.job, 1).status, 0);
  EXPECT_TRUE(soon([] { return queue_threads() == 0; }));
  EXPECT_TRUE(execute(gpu_, {op::nop()}).ok());
}

// It ends whenever it finds no job, so each that is waited for finds it ended, or just ending.
TEST_F(Queue, JobsThatComeJustAsTheThreadEndsAreDone) {
  const Settings settings({{kQueueIdle, "0"}});
  Memory memory(2 * kPage);
  const unsigned count = rounds(300);
  const auto add = [&](size_t page) {
    for (unsigned i = 0; i < count; ++i) {
      const Done done = execute(gpu_, {op::add(memory.page(page), 8, 1)});
      if (!done.ok()) return ADD_FAILURE() << i << ": " << done.error << " " << done.status;
    }
  };
  std::thread other([&] { add(1); });
  add(0);
  other.join();
  for (size_t page = 0; page < 2; ++page) EXPECT_EQ(*reinterpret_cast<uint64_t*>(memory.page(page)), count);
  EXPECT_TRUE(soon([] { return queue_threads() == 0; }));
}

TEST_F(Queue, ThreadsOfADeviceAreLimited) {
  constexpr size_t kThreads = 512;
  const rlimit limit = {1 << 16, 1 << 16};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const Settings settings({{kQueueIdle, "600000"}});
  SoftDevice soft("private:16M");
  std::vector<std::unique_ptr<Device>> clients;
  int error = 0;
  while (error == 0 && clients.size() <= 2 * kThreads) {
    clients.push_back(std::make_unique<Device>(soft.index()));
    error = submit(*clients.back(), {op::nop()}).error;
  }
  EXPECT_EQ(error, -EAGAIN);
  EXPECT_EQ(clients.size(), kThreads + 1);
  EXPECT_EQ(queue_threads(), kThreads);
  EXPECT_TRUE(execute(*clients.front(), {op::nop()}).ok()) << "who has one keeps it";
  EXPECT_TRUE(execute(gpu_, {op::nop()}).ok()) << "it is another device's limit";
  EXPECT_EQ(submit(*clients.back(), {op::nop()}).error, -EAGAIN);
  clients.erase(clients.begin());
  EXPECT_TRUE(execute(*clients.back(), {op::nop()}).ok());
  const Device last(soft.index());
  EXPECT_EQ(submit(last, {op::nop()}).error, -EAGAIN);
  soft.remove();
  EXPECT_EQ(submit(last, {op::nop()}).error, -ENODEV);
  EXPECT_TRUE(soon([] { return queue_threads() <= 1; })) << "all but that of the first device";
}

TEST_F(Queue, WorkingSetOfFourTimesTheVramKeepsEveryByte) {
  const size_t vram = gpu_.info().vram_total;
  // On a slow kernel a quarter more than the VRAM has to do.
  Memory memory(rounds(100) == 100 ? 4 * vram : vram + vram / 4);
  fill(memory.data(), memory.size(), 10);
  for (int round = 0; round < 2; ++round) {
    const Done done = execute(gpu_, {op::add(memory.data(), memory.size(), 3)}, 60000);
    ASSERT_TRUE(done.ok()) << done.status;
    EXPECT_EQ(done.results[0].done, memory.size());
  }
  EXPECT_GT(gpu_.stat(GODWIT_STAT_PAGES_EVICTED), 0u);
  const Done done = execute(gpu_, {op::add(memory.data(), memory.size(), 0 - 6ull)}, 60000);
  ASSERT_TRUE(done.ok()) << done.status;
  EXPECT_BYTES(memory.data(), memory.size(), 10u);
}

}  // namespace
}  // namespace godwit::guest
