// SPDX-License-Identifier: MIT
// Every kind of memory that a range can hold: what moves, what stays, and what it is told.
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/kernel/jobs.h"
#include "tests/kernel/proc.h"
#include "tests/kernel/settings.h"

namespace godwit::guest {
namespace {

using Kinds = DeviceTest;

TEST_F(Kinds, SharedMemoryStaysAndKeepsItsBytes) {
  Memory memory(size_t{1} << 20, Memory::kShared);
  fill(memory.data(), memory.size(), 1);
  const auto answer = gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(answer.moved, 0u);
  EXPECT_EQ(answer.stayed[GODWIT_STAY_FILE], memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

TEST_F(Kinds, MemfdStaysAndKeepsItsBytes) {
  const int fd = memfd_create("godwit", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, 1 << 20), 0);
  {
    Memory memory(size_t{1} << 20, MAP_SHARED, fd, PROT_READ | PROT_WRITE);
    fill(memory.data(), memory.size(), 2);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_FILE],
              memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 2u);
  }
  close(fd);
}

TEST_F(Kinds, SharedFileStaysAndKeepsItsBytes) {
  const int fd = temporary_file(size_t{1} << 20, 3);
  {
    Memory memory(size_t{1} << 20, MAP_SHARED, fd, PROT_READ | PROT_WRITE);
    EXPECT_BYTES(memory.data(), memory.size(), 3u);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_FILE],
              memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 3u);
  }
  close(fd);
}

// memfd_secret(): nobody but the process may read it, the kernel included.
TEST_F(Kinds, SecretMemoryIsNotForTheDevice) {
  const int fd = static_cast<int>(syscall(SYS_memfd_secret, 0));
  if (fd < 0) GTEST_SKIP() << "no memfd_secret() in this kernel: " << strerror(errno);
  ASSERT_EQ(ftruncate(fd, 8 * kPage), 0);
  // In the middle of memory that the device may use, so that it is beside what a fault maps.
  const Memory memory(kHuge);
  fill(memory.data(), memory.size(), 1);
  void* const secret = mmap(memory.page(8), 8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  ASSERT_EQ(secret, memory.page(8));
  fill(secret, 8 * kPage, 2);

  const drm_godwit_migrate moved = gpu_.to_vram(memory.page(8), 16 * kPage);
  EXPECT_EQ(moved.stayed[GODWIT_STAY_SPECIAL], 8u);
  EXPECT_EQ(moved.moved, 8u);
  EXPECT_TRUE(execute(gpu_, {op::checksum(memory.page(7), kPage, GODWIT_COMMAND_IN_PLACE)}).ok());
  EXPECT_EQ(execute(gpu_, {op::checksum(memory.page(8), kPage)}).status, -EFAULT);
  EXPECT_EQ(execute(gpu_, {op::fill(memory.page(12), kPage, 3)}).status, -EFAULT);
  EXPECT_EQ(execute(gpu_, {op::checksum(memory.page(15), kPage, GODWIT_COMMAND_IN_PLACE)}).status, -EFAULT);
  EXPECT_TRUE(execute(gpu_, {op::checksum(memory.page(16), kPage)}).ok());
  EXPECT_BYTES(secret, 8 * kPage, 2u);
  close(fd);
}

TEST_F(Kinds, WrittenPagesOfAPrivateFileMoveTheOthersStay) {
  const size_t bytes = size_t{1} << 20;
  const int fd = temporary_file(bytes, 4);
  {
    Memory memory(bytes, MAP_PRIVATE, fd, PROT_READ | PROT_WRITE);
    EXPECT_BYTES(memory.data(), bytes, 4u);  // all pages are there
    fill(memory.page(3), 2 * kPage, 5);
    fill(memory.page(200), kPage, 6);
    std::vector<uint8_t> reasons;
    const auto answer = gpu_.migrate(memory.data(), bytes, GODWIT_PLACE_VRAM, 0, &reasons);
    EXPECT_EQ(answer.moved, 3u);
    EXPECT_EQ(answer.stayed[GODWIT_STAY_FILE], bytes / kPage - 3);
    EXPECT_EQ(reasons[2], GODWIT_STAY_FILE);
    EXPECT_EQ(reasons[3], GODWIT_STAY_NONE);
    EXPECT_EQ(reasons[200], GODWIT_STAY_NONE);
    EXPECT_EQ(gpu_.in_vram(memory.data(), bytes), 3u);
    EXPECT_BYTES(memory.page(3), 2 * kPage, 5u);
    EXPECT_BYTES(memory.page(200), kPage, 6u);
  }
  std::vector<uint64_t> file(bytes / 8);
  ASSERT_EQ(pread(fd, file.data(), bytes, 0), static_cast<ssize_t>(bytes));
  EXPECT_BYTES(file.data(), bytes, 4u) << "the file was written";
  close(fd);
}

// 2 MiB of a file that are a huge page, one page of which a private mapping has written. The kernel warns where it finds a page of a
// device among the others, when it looks whether they could be mapped as one.
TEST_F(Kinds, WrittenPagesOfAHugePageOfAFile) {
  const Settings huge({{"/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always"}});
  const int fd = memfd_create("godwit", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, kHuge), 0);
  const Memory room(kHuge), file(kHuge, MAP_SHARED, fd, PROT_READ | PROT_WRITE);
  fill(file.data(), kHuge, 4);
  ASSERT_EQ(mmap(room.data(), kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0), room.data());
  EXPECT_BYTES(room.data(), kHuge, 4u);
  fill(room.page(3), kPage, 5);
  const size_t moved = gpu_.to_vram(room.data(), kHuge).moved, warned = logged("WARNING: mm/khugepaged.c");
  EXPECT_EQ(moved, gpu_.info().kind == GODWIT_KIND_COHERENT ? 0u : 1u);
  EXPECT_EQ(madvise(room.data(), kHuge, MADV_COLLAPSE), -1);
  EXPECT_EQ(logged("WARNING: mm/khugepaged.c"), warned);
  EXPECT_EQ(gpu_.in_vram(room.data(), kHuge), moved);
  EXPECT_BYTES(room.page(3), kPage, 5u);
  close(fd);
}

TEST_F(Kinds, UntouchedPrivateFileStays) {
  const int fd = temporary_file(size_t{1} << 20, 7);
  {
    Memory memory(size_t{1} << 20, MAP_PRIVATE, fd, PROT_READ | PROT_WRITE);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_FILE],
              memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 7u);
  }
  close(fd);
}

TEST_F(Kinds, HugetlbStaysAndKeepsItsBytes) {
  ASSERT_EQ(write_file("/proc/sys/vm/nr_hugepages", "4"), 0);
  {
    Memory memory(2 * kHuge, Memory::kHugetlb);
    if (!memory) {
      write_file("/proc/sys/vm/nr_hugepages", "0");
      GTEST_SKIP() << "no hugetlb pages";
    }
    fill(memory.data(), memory.size(), 8);
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_SPECIAL],
              memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 8u);
  }
  write_file("/proc/sys/vm/nr_hugepages", "0");
}

TEST_F(Kinds, ReadOnlyMemoryMovesAndStaysReadOnly) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 9);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ), 0);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(signal_of([&] { *const_cast<volatile uint8_t*>(memory.data()) = 1; }), SIGSEGV);
  EXPECT_BYTES(memory.data(), memory.size(), 9u);
}

TEST_F(Kinds, MemoryThatMayNotBeReadStays) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 10);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_NONE), 0);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_HOLE],
            memory.size() / kPage);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 10u);
}

TEST_F(Kinds, PinnedPageStaysItsNeighboursMove) {
  // A page in a pipe is pinned by the pipe.
  Memory memory(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 11);
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
  ASSERT_EQ(gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, GODWIT_MIGRATE_SMALL).moved,
            kHuge / kPage);
  gpu_.to_ram(memory.data(), memory.size(), GODWIT_MIGRATE_SMALL);
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  iovec piece = {memory.page(100), kPage};
  ASSERT_EQ(vmsplice(pipe_fds[1], &piece, 1, 0), static_cast<ssize_t>(kPage));
  std::vector<uint8_t> reasons;
  const auto answer =
      gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM, 0, &reasons);
  EXPECT_EQ(answer.moved, kHuge / kPage - 1);
  EXPECT_EQ(reasons[100], GODWIT_STAY_BUSY);
  EXPECT_BYTES(memory.data(), memory.size(), 11u);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  EXPECT_EQ(gpu_.to_vram(memory.page(100), kPage).moved, 1u) << "free again, it moves";
}

TEST_F(Kinds, LockedMemoryMoves) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 12);
  ASSERT_EQ(mlock(memory.data(), memory.size()), 0);
  const auto answer = gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(answer.moved + answer.stayed[GODWIT_STAY_BUSY], memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 12u);
}

// Kilobytes that are locked. Pages that only lists of a processor still hold are freed before.
uint64_t locked() {
  EXPECT_EQ(write_file("/proc/sys/vm/drop_caches", "1"), 0);
  EXPECT_EQ(write_file("/proc/sys/vm/stat_refresh", "1"), 0);
  return figure("/proc/meminfo", "Mlocked");
}

// munlock() passes over pages of VRAM.
TEST_F(Kinds, MemoryThatIsUnlockedInVramIsNotCountedWhenItIsGone) {
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    const uint64_t before = locked();
    for (const bool home : {false, true}) {
      Memory memory(2 * kHuge, kind);
      fill(memory.data(), memory.size(), 14);
      ASSERT_EQ(mlock(memory.data(), memory.size()), 0);
      ASSERT_GT(gpu_.to_vram(memory.data(), memory.size()).moved, 0u);
      EXPECT_EQ(locked(), before + memory.size() / 1024);
      ASSERT_EQ(munlock(memory.data(), memory.size()), 0);
      if (home) {
        EXPECT_BYTES(memory.data(), memory.size(), 14u);
      }
    }
    EXPECT_EQ(locked(), before);
  }
}

// Locked pages that a child moves are unevictable as they arrive, those that are read again and again are active. None is both: a
// kernel with DEBUG_VM panics.
TEST_F(Kinds, FramesForgetThatTheirPagesWereLocked) {
  const SoftDevice soft("private:4M");
  const Device gpu(soft.index());
  {
    Memory memory(2 * kHuge);
    fill(memory.data(), memory.size(), 15);
    ASSERT_EQ(mlock(memory.data(), memory.size()), 0);
    EXPECT_TRUE(exited_well(in_child([&] {
      EXPECT_EQ(Device(soft.index()).to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    })));
    EXPECT_EQ(gpu.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  }
  Memory memory(2 * kHuge), to(2 * kHuge);
  fill(memory.data(), memory.size(), 15);
  const iovec here = {to.data(), to.size()}, there = {memory.data(), memory.size()};
  for (int time = 0; time < 3; ++time)
    ASSERT_EQ(process_vm_readv(getpid(), &here, 1, &there, 1, 0), static_cast<ssize_t>(to.size()));
  ASSERT_GT(gpu.to_vram(memory.data(), memory.size()).moved, 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 15u);
}

TEST_F(Kinds, SystemCallsReadAndWriteMemoryInVram) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 13);
  gpu_.to_vram(memory.data(), memory.size());
  const int fd = memfd_create("godwit", MFD_CLOEXEC);
  ASSERT_EQ(write(fd, memory.data(), memory.size()), static_cast<ssize_t>(memory.size()));
  memset(memory.data(), 0, memory.size());
  gpu_.to_vram(memory.data(), memory.size());
  ASSERT_EQ(pread(fd, memory.data(), memory.size(), 0), static_cast<ssize_t>(memory.size()));
  EXPECT_BYTES(memory.data(), memory.size(), 13u);
  close(fd);
}

}  // namespace
}  // namespace godwit::guest
