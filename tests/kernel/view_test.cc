// SPDX-License-Identifier: MIT
// The device view: touching it is an access of the device, touching the memory brings it back, and both see every store.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/kernel/jobs.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

class ViewTest : public DeviceTest {};

// Both page sizes: true is huge pages.
class ViewOf : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  Memory::Kind kind() const { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }
};

INSTANTIATE_TEST_SUITE_P(Pages, ViewOf, ::testing::Bool(), [](const auto& each) {
  return each.param ? std::string("Huge") : std::string("Small");
});

uint8_t load(const uint8_t* at) { return *static_cast<const volatile uint8_t*>(at); }
void store(uint8_t* at, uint8_t value) { *static_cast<volatile uint8_t*>(at) = value; }

TEST_P(ViewOf, TouchingTheViewBringsPagesToVramAndTouchingTheMemoryBringsThemBack) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 1);
  View view(gpu_, memory);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_BYTES(view.data(), view.size(), 1u);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
}

TEST_P(ViewOf, StoresOfEitherSideAreSeenByTheOther) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 2);
  View view(gpu_, memory);
  for (uint64_t round = 3; round < 9; ++round) {
    fill(round % 2 ? view.data() : memory.data(), memory.size(), round);
    EXPECT_BYTES(round % 2 ? memory.data() : view.data(), memory.size(), round);
  }
}

TEST_P(ViewOf, StoresAfterForkAreOnesOwn) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 4);
  View view(gpu_, memory);
  EXPECT_BYTES(view.data(), view.size(), 4u);
  int go[2], done[2];
  ASSERT_EQ(pipe(go), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  if (child == 0) {
    char c = 0;
    // The parent has written through its view: the child's memory is still what it was.
    if (read(go[0], &c, 1) != 1) _exit(2);
    if (differs(memory.data(), memory.size(), 4) != -1) _exit(3);
    fill(memory.data(), memory.size(), 5);
    // The view shows the parent's memory, and not the child's.
    const View mine(view.fd(), view.size());
    if (differs(mine.data(), mine.size(), 6) != -1) _exit(4);
    fill(mine.data(), mine.size(), 7);
    if (differs(memory.data(), memory.size(), 5) != -1) _exit(5);
    _exit(0);
  }
  fill(view.data(), view.size(), 6);
  EXPECT_BYTES(memory.data(), memory.size(), 6u);
  EXPECT_BYTES(view.data(), view.size(), 6u);
  ASSERT_EQ(write(go[1], "x", 1), 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_TRUE(exited_well(status)) << WEXITSTATUS(status);
  EXPECT_BYTES(memory.data(), memory.size(), 7u);
  for (int fd : {go[0], go[1], done[0], done[1]}) close(fd);
}

TEST_P(ViewOf, ForkBeforeTheFirstTouchAndMemoryWrittenOnBothSides) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 8);
  gpu_.to_vram(memory.data(), memory.size());
  View view(gpu_, memory);
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();
  if (child == 0) {
    char c = 0;
    if (read(go[0], &c, 1) != 1) _exit(2);
    _exit(differs(memory.data(), memory.size(), 8) == -1 ? 0 : 3);
  }
  for (size_t i = 0; i < kHuge / kPage; ++i) {
    store((i % 2 ? view.page(i) : memory.page(i)) + 5, static_cast<uint8_t>(i));
  }
  ASSERT_EQ(write(go[1], "x", 1), 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_TRUE(exited_well(status)) << WEXITSTATUS(status);
  for (size_t i = 0; i < kHuge / kPage; ++i) {
    ASSERT_EQ(load(memory.page(i) + 5), static_cast<uint8_t>(i)) << i;
    ASSERT_EQ(load(view.page(i) + 5), static_cast<uint8_t>(i)) << i;
  }
  close(go[0]);
  close(go[1]);
}

TEST_P(ViewOf, ProtectionFollowsTheMemory) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 9);
  View view(gpu_, memory);
  store(view.page(1), 1);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ), 0);
  EXPECT_EQ(signal_of([&] { store(view.page(1), 2); }), SIGBUS);
  EXPECT_EQ(load(view.page(1)), 1);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_NONE), 0);
  EXPECT_EQ(signal_of([&] { load(view.page(1)); }), SIGBUS);
  ASSERT_EQ(mprotect(memory.data(), memory.size(), PROT_READ | PROT_WRITE), 0);
  // Mapped for reading first, and written then.
  EXPECT_EQ(load(view.page(1)), 1);
  store(view.page(1), 3);
  EXPECT_EQ(load(memory.page(1)), 3);
}

TEST_P(ViewOf, MunmapOfTheMemoryIsSigbusInTheView) {
  Memory memory(kHuge, kind());
  fill(memory.data(), memory.size(), 10);
  View view(gpu_, memory);
  EXPECT_BYTES(view.data(), view.size(), 10u);
  ASSERT_EQ(munmap(memory.page(100), kPage), 0);
  EXPECT_EQ(signal_of([&] { load(view.page(100)); }), SIGBUS);
  EXPECT_EQ(signal_of([&] { store(view.page(100), 1); }), SIGBUS);
  EXPECT_BYTES(view.page(0), kPage, 10u);
  // New memory at the same address is shown.
  ASSERT_NE(mmap(memory.page(100), kPage, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), MAP_FAILED);
  EXPECT_EQ(load(view.page(100)), 0);
  store(memory.page(100), 42);
  EXPECT_EQ(load(view.page(100)), 42);
}

TEST_P(ViewOf, EvictionAndMigrationUnderTheView) {
  Memory memory(2 * kHuge, kind());
  fill(memory.data(), memory.size(), 11);
  View view(gpu_, memory);
  for (int round = 0; round < 4; ++round) {
    EXPECT_BYTES(view.data(), view.size(), 11u);
    if (round == 0) gpu_.evict(GODWIT_EVICT_DEVICE);
    if (round == 1) gpu_.to_ram(memory.data(), memory.size());
    if (round == 2) madvise(memory.data(), memory.size(), MADV_PAGEOUT);
  }
  ASSERT_EQ(madvise(memory.data(), kPage, MADV_DONTNEED), 0);
  EXPECT_TRUE(all_zero(view.data(), kPage));
}

TEST_F(ViewTest, InAnotherProcess) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 12);
  const int fd = make_view(gpu_, memory.data(), memory.size());
  ASSERT_GE(fd, 0);
  EXPECT_TRUE(exited_well(in_child([&] {
    View view(fd, memory.size());
    EXPECT_BYTES(view.data(), view.size(), 12u);
    fill(view.data(), view.size(), 13);
    EXPECT_BYTES(memory.data(), memory.size(), 12u);
  })));
  EXPECT_BYTES(memory.data(), memory.size(), 13u);
  close(fd);
}

TEST_F(ViewTest, AChildMapsTheDescriptorThatItInherits) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 14);
  const View view(gpu_, memory);
  EXPECT_BYTES(view.data(), view.size(), 14u);
  EXPECT_TRUE(exited_well(in_child([&] {
    // What is mapped does not come along.
    unsigned char there = 0;
    EXPECT_EQ(mincore(view.data(), kPage, &there), -1);
    EXPECT_EQ(errno, ENOMEM);
    const View mine(view.fd(), view.size());
    EXPECT_BYTES(mine.data(), mine.size(), 14u);
    fill(mine.data(), mine.size(), 15);
  })));
  EXPECT_BYTES(memory.data(), memory.size(), 15u);
}

TEST_F(ViewTest, EndOfTheOwnersProcessIsSigbus) {
  int ready[2], go[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();
  if (child == 0) {
    Device mine;
    Memory memory(kHuge);
    fill(memory.data(), memory.size(), 16);
    const int fd = make_view(mine, memory.data(), memory.size());
    if (write(ready[1], &fd, sizeof(fd)) != sizeof(fd)) _exit(1);
    char c = 0;
    _exit(read(go[0], &c, 1) == 1 ? 0 : 1);
  }
  int theirs = -1;
  ASSERT_EQ(read(ready[0], &theirs, sizeof(theirs)), static_cast<ssize_t>(sizeof(theirs)));
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  ASSERT_GE(pidfd, 0);
  const int fd = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, theirs, 0));
  ASSERT_GE(fd, 0);
  {
    View view(fd, kHuge);
    EXPECT_BYTES(view.data(), view.size(), 16u);
    ASSERT_EQ(write(go[1], "x", 1), 1);
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(exited_well(status));
    EXPECT_EQ(signal_of([&] { load(view.page(3)); }), SIGBUS);
    EXPECT_EQ(signal_of([&] { store(view.page(4), 1); }), SIGBUS);
    EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
  }
  for (int each : {fd, pidfd, ready[0], ready[1], go[0], go[1]}) close(each);
}

TEST_F(ViewTest, OutlivesTheDescriptorAndNotTheDetach) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 17);
  {
    Device other;
    View view(other, memory);
    other.close();
    EXPECT_BYTES(view.data(), view.size(), 17u);
    EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 17u);
  }
  Device other;
  View view(other, memory);
  EXPECT_BYTES(view.data(), view.size(), 17u);
  drm_godwit_attach attach = {};
  attach.client_version = GODWIT_UAPI_VERSION;
  attach.flags = GODWIT_ATTACH_DETACH;
  ASSERT_EQ(other.call(DRM_IOCTL_GODWIT_ATTACH, &attach), 0);
  EXPECT_EQ(signal_of([&] { load(view.page(5)); }), SIGBUS);
  EXPECT_BYTES(memory.data(), memory.size(), 17u);
}

TEST_F(ViewTest, InPlaceMovesNothing) {
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 18);
  View view(gpu_, memory, GODWIT_VIEW_IN_PLACE);
  EXPECT_BYTES(view.data(), view.size(), 18u);
  fill(view.data(), view.size(), 19);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_PAGES_TO_VRAM), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 19u);
}

TEST_F(ViewTest, ReadOnlyViewCannotBeWritten) {
  Memory memory(4 * kPage);
  fill(memory.data(), memory.size(), 20);
  View view(gpu_, memory, GODWIT_VIEW_READ_ONLY, PROT_READ);
  EXPECT_BYTES(view.data(), view.size(), 20u);
  EXPECT_EQ(mprotect(view.data(), view.size(), PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(mmap(nullptr, view.size(), PROT_READ | PROT_WRITE, MAP_SHARED, view.fd(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(signal_of([&] { store(view.page(1), 1); }), SIGSEGV);
  EXPECT_BYTES(memory.data(), memory.size(), 20u);
}

TEST_F(ViewTest, PrivateAndTooLongMappingsAreRefused) {
  Memory memory(4 * kPage);
  const int fd = make_view(gpu_, memory.data(), memory.size());
  ASSERT_GE(fd, 0);
  EXPECT_EQ(mmap(nullptr, 4 * kPage, PROT_READ, MAP_PRIVATE, fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(mmap(nullptr, 5 * kPage, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 4 * kPage), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  close(fd);
}

TEST_F(ViewTest, PartsAndMovedMappingsShowTheRightAddresses) {
  Memory memory(64 * kPage);
  fill(memory.data(), memory.size(), 21);
  const int fd = make_view(gpu_, memory.data(), memory.size());
  ASSERT_GE(fd, 0);
  void* part = mmap(nullptr, 8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 40 * kPage);
  ASSERT_NE(part, MAP_FAILED);
  const std::vector<uint8_t> expected(memory.page(40), memory.page(48));
  EXPECT_EQ(memcmp(part, expected.data(), 8 * kPage), 0);
  load(static_cast<uint8_t*>(part));  // in VRAM again
  void* room = mmap(nullptr, 8 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* moved = mremap(part, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  ASSERT_EQ(moved, room);
  store(memory.page(41), 99);  // takes it from the mapping at its new place
  EXPECT_EQ(load(static_cast<uint8_t*>(moved) + kPage), 99);
  ASSERT_EQ(munmap(moved, kPage), 0);
  EXPECT_EQ(load(static_cast<uint8_t*>(moved) + kPage), 99);
  munmap(static_cast<uint8_t*>(moved) + kPage, 7 * kPage);
  close(fd);
}

TEST_F(ViewTest, FilesAndSharedMemoryAreShownInPlace) {
  const int fd = temporary_file(64 * kPage, 22);
  Memory file(64 * kPage, MAP_SHARED, fd, PROT_READ | PROT_WRITE);
  Memory anonymous(64 * kPage, Memory::kShared);
  fill(anonymous.data(), anonymous.size(), 22);
  for (Memory* memory : {&file, &anonymous}) {
    View view(gpu_, *memory);
    EXPECT_BYTES(view.data(), view.size(), 22u);
    fill(view.data(), view.size(), 23);
    EXPECT_BYTES(memory->data(), memory->size(), 23u);
    EXPECT_EQ(gpu_.in_vram(memory->data(), memory->size()), 0u);
  }
  ASSERT_EQ(msync(file.data(), file.size(), MS_SYNC), 0);
  std::vector<uint64_t> bytes(64 * kPage / 8);
  ASSERT_EQ(pread(fd, bytes.data(), 64 * kPage, 0), static_cast<ssize_t>(64 * kPage));
  EXPECT_BYTES(bytes.data(), 64 * kPage, 23u);
  // The end of the file: nothing is there any more.
  View view(gpu_, file);
  EXPECT_BYTES(view.data(), view.size(), 23u);
  ASSERT_EQ(ftruncate(fd, 8 * kPage), 0);
  EXPECT_EQ(signal_of([&] { load(view.page(9)); }), SIGBUS);
  EXPECT_EQ(signal_of([&] { load(view.page(7)); }), 0);
  close(fd);
}

TEST_F(ViewTest, SystemCallsReadAndWriteThroughIt) {
  Memory memory(16 * kPage);
  fill(memory.data(), memory.size(), 24);
  View view(gpu_, memory);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], view.page(2), 3 * kPage), static_cast<ssize_t>(3 * kPage));
  std::vector<uint8_t> bytes(3 * kPage);
  ASSERT_EQ(read(ends[0], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(memcmp(bytes.data(), memory.page(2), bytes.size()), 0);
  ASSERT_EQ(write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  ASSERT_EQ(read(ends[0], view.page(8), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(memcmp(bytes.data(), memory.page(8), bytes.size()), 0);
  // Where nothing is mapped the system call fails, and does not hang.
  ASSERT_EQ(munmap(memory.page(12), kPage), 0);
  EXPECT_EQ(write(ends[1], view.page(12), 8), -1);
  EXPECT_EQ(errno, EFAULT);
  // What pins pages gets none.
  iovec local = {bytes.data(), 8}, remote = {view.page(2), 8};
  EXPECT_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  close(ends[0]);
  close(ends[1]);
}

// Within the same 32 MiB one notifier covers the memory and the mapping of its view.
TEST_F(ViewTest, MappedNextToItsMemory) {
  Memory memory(4 * kHuge);
  const size_t half = memory.size() / 2;
  const int fd = make_view(gpu_, memory.data(), half);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(mmap(memory.data() + half, half, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
            memory.data() + half);
  for (uint64_t round = 0; round < 3; ++round) {
    fill(memory.data(), half, round);
    EXPECT_BYTES(memory.data() + half, half, round);
    gpu_.evict(GODWIT_EVICT_DEVICE);
    EXPECT_BYTES(memory.data() + half, half, round);
  }
  ASSERT_TRUE(execute(gpu_, {op::add(memory.data(), 8, 1)}).ok());
  // The device does not see through a view.
  EXPECT_EQ(execute(gpu_, {op::add(memory.data() + half, 8, 1)}).status, -EFAULT);
  EXPECT_EQ(gpu_.migrate(memory.data(), memory.size(), GODWIT_PLACE_VRAM).stayed[GODWIT_STAY_SPECIAL],
            half / kPage);
  close(fd);
}

TEST_F(ViewTest, AnAccessThatNeedsTwoPagesWhichCannotMoveIsServed) {
  Memory memory(16 * kPage);
  fill(memory.data(), memory.size(), 21);
  View view(gpu_, memory);
  // Pages in a pipe are pinned by it.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  iovec piece = {memory.page(3), 2 * kPage};
  ASSERT_EQ(vmsplice(ends[1], &piece, 1, 0), static_cast<ssize_t>(2 * kPage));
  struct __attribute__((packed)) Word { uint64_t value; };
  const auto* across = reinterpret_cast<const volatile Word*>(view.page(4) - 4);
  alarm(30);  // ends the program where each fault takes away what the one before has brought
  const uint64_t seen = across->value;
  alarm(0);
  EXPECT_EQ(memcmp(&seen, memory.page(4) - 4, 8), 0);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 14u);
  close(ends[0]);
  close(ends[1]);
  EXPECT_BYTES(memory.data(), memory.size(), 21u);
}

TEST_F(ViewTest, ViewOfAViewShowsNothing) {
  Memory memory(4 * kPage);
  View view(gpu_, memory);
  store(view.data(), 1);
  const int fd = make_view(gpu_, view.data(), view.size());
  ASSERT_GE(fd, 0);
  View second(fd, view.size());
  EXPECT_EQ(signal_of([&] { load(second.data()); }), SIGBUS);
  EXPECT_EQ(load(memory.data()), 1);
  close(fd);
}

TEST_F(ViewTest, CannotBeAttached) {
  Memory memory(4 * kPage);
  View view(gpu_, memory);
  drm_prime_handle prime = {};
  prime.fd = view.fd();
  EXPECT_NE(gpu_.call(DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime), 0);
}

TEST_F(ViewTest, ViewsAreBoundedAndClosingMakesRoom) {
  drm_godwit_limits limits = {};
  drm_godwit_query query = {};
  query.what = GODWIT_QUERY_LIMITS;
  query.size = sizeof(limits);
  query.data = address(&limits);
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_QUERY, &query), 0);
  Memory memory(kPage);
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  ASSERT_GT(files.rlim_cur, limits.max_views + 50);
  std::vector<int> fds;
  for (uint32_t i = 0; i < limits.max_views; ++i) {
    fds.push_back(make_view(gpu_, memory.data(), memory.size()));
    ASSERT_GE(fds.back(), 0) << i;
  }
  EXPECT_EQ(make_view(gpu_, memory.data(), memory.size()), -ENOSPC);
  close(fds.back());
  fds.back() = make_view(gpu_, memory.data(), memory.size());
  EXPECT_GE(fds.back(), 0);
  for (const int fd : fds) close(fd);
}

TEST_F(ViewTest, BadArgumentsAreRefusedAndChangeNothing) {
  Memory memory(4 * kPage);
  struct Case {
    const char* what;
    uint64_t addr, length;
    uint32_t flags;
    int error;
  };
  const uint64_t at = address(memory.data());
  const Case cases[] = {
      {"addr", at + 1, kPage, 0, EINVAL},
      {"length 0", at, 0, 0, EINVAL},
      {"length", at, kPage + 8, 0, EINVAL},
      {"end", ~uint64_t{0} & ~uint64_t{kPage - 1}, kPage, 0, EINVAL},
      {"wraps", at, ~uint64_t{0} & ~uint64_t{kPage - 1}, 0, EINVAL},
      {"flags", at, kPage, 4, EINVAL},
      {"too long", 0, (GODWIT_MAX_RANGE) + kPage, 0, E2BIG},
  };
  for (const Case& each : cases) {
    drm_godwit_view args = {};
    args.addr = each.addr;
    args.length = each.length;
    args.flags = each.flags;
    args.fd = 7777;
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_VIEW, &args), -each.error) << each.what;
    EXPECT_EQ(args.fd, -1) << each.what;
  }
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_MIRRORS), 0u) << "nothing was attached";
}

}  // namespace
}  // namespace godwit::guest
