// SPDX-License-Identifier: MIT
// What a process can have mapped besides its memory: rings of the kernel, other drivers' pages, what must not be read. Every call
// and every access answers something, and the kernel lives.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <string>

#include "runtime/src/host/user/uffd_abi.h"
#include "tests/kernel/jobs.h"
#include "tests/kernel/objects.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

class Mappings : public DeviceTest {
 protected:
  // Whatever answer it is, it is one of those that a user can be told.
  static void expect_answer(int error, const char* call, const std::string& what) {
    switch (-error) {
      case 0:
      case EFAULT:
      case EACCES:
      case EBUSY:
      case EINVAL:
      case ENOSPC:
      case EOPNOTSUPP: return;
      default: ADD_FAILURE() << call << " of " << what << ": " << strerror(-error);
    }
  }

  // Nobody else uses it: that it was not to be had is no answer.
  void job(const drm_godwit_command& command, const char* call, const std::string& what) const {
    const Done done = execute(gpu_, {command});
    EXPECT_EQ(done.error, 0) << call << " of " << what;
    EXPECT_NE(done.status, -EBUSY) << call << " of " << what;
    expect_answer(done.status, call, what);
  }

  // Everything that changes no byte, to a page of it.
  void use(uint8_t* page, const std::string& what, bool write) const {
    (void)gpu_.residency(page, kPage);
    for (const uint32_t place : {GODWIT_PLACE_VRAM, GODWIT_PLACE_SYSTEM, GODWIT_PLACE_VRAM}) {
      drm_godwit_migrate args = {};
      args.addr = address(page);
      args.length = kPage;
      args.to = place;
      expect_answer(gpu_.call(DRM_IOCTL_GODWIT_MIGRATE, &args), "MIGRATE", what);
      for (const uint32_t flags : {0u, GODWIT_COMMAND_IN_PLACE}) {
        job(op::checksum(page, kPage, flags), "a device's load", what);
        if (write) job(op::add(page, sizeof(uint64_t), 0, flags), "a device's store", what);
      }
      drm_godwit_pin pin = {};
      pin.addr = address(page);
      pin.length = kPage;
      pin.place = place;
      const int error = gpu_.call(DRM_IOCTL_GODWIT_PIN, &pin);
      expect_answer(error, "PIN", what);
      drm_godwit_unpin unpin = {};
      unpin.handle = pin.handle;
      EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_UNPIN, &unpin), error == 0 ? 0 : -ENOENT);
    }
    const int view = make_view(gpu_, page, kPage);
    expect_answer(view < 0 ? view : 0, "VIEW", what);
    if (view >= 0) close(view);
  }

  // A mapping of so many bytes: its first page, one in the middle, and its last.
  void use_all(void* data, size_t bytes, const std::string& what, bool write = true) const {
    auto* const first = static_cast<uint8_t*>(data);
    for (const size_t page : {size_t{0}, bytes / kPage / 2, bytes / kPage - 1}) use(first + page * kPage, what, write);
  }

  // Maps what a descriptor has, uses it, and takes it away again.
  void use_mapped(int fd, size_t bytes, const std::string& what, uint64_t offset = 0, int flags = MAP_SHARED, bool write = true) const {
    void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
    ASSERT_NE(data, MAP_FAILED) << what << ": " << strerror(errno);
    use_all(data, bytes, what, write);
    EXPECT_EQ(munmap(data, bytes), 0);
  }
};

TEST_F(Mappings, OurOwn) {
  drm_godwit_events events = {};
  events.capacity = 256;
  events.types = 0xfe;
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EVENTS, &events), 0);
  use_mapped(gpu_.fd(), events.map_length, "the event ring", events.map_offset, MAP_SHARED, false);
  for (const uint32_t place : {GODWIT_PLACE_SYSTEM, GODWIT_PLACE_VRAM}) {
    const Object object(gpu_, 16 * kPage, place);
    ASSERT_TRUE(object);
    use_all(object.data(), object.size(), "an object");
  }
  const Memory memory(16 * kPage);
  fill(memory.data(), memory.size(), 1);
  const View view(gpu_, memory);
  view.data()[0] = 2;
  use_all(view.data(), view.size(), "a view");
}

TEST_F(Mappings, RingsOfTheKernel) {
  io_uring_params parameters = {};
  const int uring = static_cast<int>(syscall(SYS_io_uring_setup, 8, &parameters));
  if (uring >= 0) use_mapped(uring, kPage, "io_uring", IORING_OFF_SQES);
  aio_context_t aio = 0;
  if (syscall(SYS_io_setup, 8, &aio) == 0) {
    use_all(reinterpret_cast<void*>(aio), kPage, "aio");
    EXPECT_EQ(syscall(SYS_io_destroy, aio), 0);
  }
  perf_event_attr attributes = {};
  attributes.size = sizeof(attributes);
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_CPU_CLOCK;
  const int perf = static_cast<int>(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
  if (perf >= 0) use_mapped(perf, 3 * kPage, "perf");
  const int packets = socket(AF_PACKET, SOCK_RAW, 0);
  const tpacket_req ring = {4 * kPage, 1, 2048, 8};
  if (packets >= 0 && setsockopt(packets, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)) == 0) {
    use_mapped(packets, 4 * kPage, "a packet ring");
  }
  for (const int fd : {uring, perf, packets}) {
    if (fd >= 0) close(fd);
  }
}

TEST_F(Mappings, MemoryOfOtherKinds) {
  constexpr size_t kBytes = 8 * kPage;
  const int segment = shmget(IPC_PRIVATE, kBytes, IPC_CREAT | 0600);
  ASSERT_GE(segment, 0);
  void* const shared = shmat(segment, nullptr, 0);
  EXPECT_EQ(shmctl(segment, IPC_RMID, nullptr), 0);
  use_all(shared, kBytes, "System V memory");
  EXPECT_EQ(shmdt(shared), 0);
  const int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
  use_mapped(zero, kBytes, "/dev/zero, private", 0, MAP_PRIVATE);
  use_mapped(zero, kBytes, "/dev/zero, shared");
  const int secret = static_cast<int>(syscall(SYS_memfd_secret, 0));
  if (secret >= 0 && ftruncate(secret, kBytes) == 0) use_mapped(secret, kBytes, "secret memory");
  const int empty = memfd_create("empty", 0);
  use_mapped(empty, kBytes, "what is beyond a file's end");
  for (const int fd : {zero, secret, empty}) {
    if (fd >= 0) close(fd);
  }
  const Memory guarded(kBytes);
  constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, since Linux 6.13
  if (madvise(guarded.page(4), kPage, kGuardInstall) == 0) use_all(guarded.data(), kBytes, "a guard");
}

// Nobody answers its faults.
TEST_F(Mappings, MemoryThatSomebodyElsePopulates) {
  const int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (fd < 0) GTEST_SKIP() << "no userfaultfd: " << strerror(errno);
  uffdio_api api = {};
  api.api = UFFD_API;
  ASSERT_EQ(ioctl(fd, UFFDIO_API, &api), 0);
  const Memory memory(64 * kPage);
  memory.page(40)[0] = 1;
  uffdio_register range = {};
  range.range = {address(memory.data()), memory.size()};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  ASSERT_EQ(ioctl(fd, UFFDIO_REGISTER, &range), 0);
  const drm_godwit_migrate moved = gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(moved.moved, 1u);
  EXPECT_EQ(execute(gpu_, {op::checksum(memory.page(3), kPage)}).status, -EFAULT);
  EXPECT_EQ(execute(gpu_, {op::fill(memory.page(3), kPage, 1, GODWIT_COMMAND_IN_PLACE)}).status, -EFAULT);
  EXPECT_TRUE(execute(gpu_, {op::checksum(memory.page(40), kPage)}).ok());
  EXPECT_EQ(gpu_.in_vram(memory.page(40), kPage), 1u);
  close(fd);
}

// UFFDIO_MOVE takes pages of RAM and of swap; to it private VRAM is neither. It moves what is before the first page of VRAM.
TEST_F(Mappings, MemoryThatUserfaultfdIsToMove) {
  const int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (fd < 0) GTEST_SKIP() << "no userfaultfd: " << strerror(errno);
  uffdio_api api = {};
  api.api = UFFD_API;
  api.features = abi::kFeatureMove;
  ASSERT_EQ(ioctl(fd, UFFDIO_API, &api), 0);
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    const Memory from(kHuge, kind), to(kHuge, kind);
    fill(from.data(), kHuge, 1);
    uffdio_register range = {};
    range.range = {address(to.data()), kHuge};
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    ASSERT_EQ(ioctl(fd, UFFDIO_REGISTER, &range), 0);
    const auto move = [&](size_t first, size_t pages) {
      abi::Move args = {};
      args.dst = address(to.page(first));
      args.src = address(from.page(first));
      args.len = pages * kPage;
      const bool all = ioctl(fd, abi::kIoctlMove, &args) == 0;
      // Bytes; where it was a part, less than none; or an errno.
      return all || args.moved < 0 ? args.moved : -args.moved;
    };
    ASSERT_EQ(gpu_.to_vram(from.data(), kHuge).moved, kHuge / kPage);
    EXPECT_EQ(move(0, kHuge / kPage), kind == Memory::kHugePages ? -ENOENT : -EFAULT);
    EXPECT_EQ(move(7, 9), -EFAULT);
    EXPECT_EQ(gpu_.in_vram(from.data(), kHuge), kHuge / kPage);
    const size_t home = 16;
    gpu_.to_ram(from.data(), home * kPage);
    EXPECT_EQ(move(0, 2 * home), -static_cast<int64_t>(home * kPage));
    gpu_.to_ram(from.data(), kHuge);
    EXPECT_EQ(move(home, kHuge / kPage - home), static_cast<int64_t>(kHuge - home * kPage));
    EXPECT_BYTES(to.data(), kHuge, 1u);
  }
  close(fd);
}

TEST_F(Mappings, AllThatAProcessHas) {
  std::istringstream lines(read_file("/proc/self/maps"));
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    uintptr_t from = 0, to = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "%lx-%lx", &from, &to), 2) << line;
    if (from >= uintptr_t{1} << 47) continue;  // vsyscall is no memory of the process
    use_all(reinterpret_cast<void*>(from), to - from, line, false);
  }
  EXPECT_GT(count, 10u);
  gpu_.evict(GODWIT_EVICT_CLIENT);
}

}  // namespace
}  // namespace godwit::guest
