// SPDX-License-Identifier: MIT
// System calls on buffers that are in VRAM: the kernel touches them as a program does, and must get
// the right bytes and no EFAULT.
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>

#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;
constexpr std::size_t kSkew = 1000;  // into a page, so that both ends share pages with other bytes

class SystemCalls : public OsContract {
 protected:
  /// The region holds pattern `seed`, except `bytes` from `offset` on, which come from `inside`.
  void expect_only(const std::byte* base, std::uint32_t seed, std::size_t offset,
                   std::span<const std::byte> inside) {
    std::vector<std::byte> wanted = pattern_bytes(kBytes, seed);
    std::memcpy(wanted.data() + offset, inside.data(), inside.size());
    EXPECT_EQ(difference({base, kBytes}, wanted), "");
  }
};

TEST_P(SystemCalls, WriteTakesItsBytesFromVram) {
  const Watchdog watchdog("write");
  std::byte* base = in_vram(kBytes, 1);
  const TempFile file;
  const std::size_t bytes = kBytes - 2 * kSkew;
  ASSERT_EQ(::write(file.fd(), base + kSkew, bytes), static_cast<ssize_t>(bytes))
      << std::strerror(errno);
  const std::vector<std::byte> wanted = pattern_bytes(kBytes, 1);
  EXPECT_EQ(difference(file.get(bytes), std::span(wanted).subspan(kSkew, bytes)), "");
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(SystemCalls, ReadPutsItsBytesWherePagesWereInVram) {
  const Watchdog watchdog("read");
  const TempFile file;
  const std::vector<std::byte> data = pattern_bytes(kBytes - 2 * kSkew, 2);
  file.put(data);
  std::byte* base = in_vram(kBytes, 1);
  ASSERT_EQ(::read(file.fd(), base + kSkew, data.size()), static_cast<ssize_t>(data.size()))
      << std::strerror(errno);
  expect_only(base, 1, kSkew, data);
}

TEST_P(SystemCalls, PreadAndPwriteAtOffsets) {
  const Watchdog watchdog("pread and pwrite");
  const TempFile file;
  file.put(pattern_bytes(kBytes, 3));
  std::byte* base = in_vram(kBytes, 1);
  constexpr std::size_t kPiece = 300001;
  ASSERT_EQ(::pread(file.fd(), base + kBlockBytes - 7, kPiece, 4096), static_cast<ssize_t>(kPiece));
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  ASSERT_EQ(::pwrite(file.fd(), base + kBlockBytes - 7, kPiece, 12), static_cast<ssize_t>(kPiece));
  std::vector<std::byte> wanted = pattern_bytes(kBytes, 3);
  expect_only(base, 1, kBlockBytes - 7, std::span(wanted).subspan(4096, kPiece));
  std::memmove(wanted.data() + 12, wanted.data() + 4096, kPiece);
  EXPECT_EQ(difference(file.get(kBytes), wanted), "");
}

TEST_P(SystemCalls, ReadvAndWritevOverManyPieces) {
  const Watchdog watchdog("readv and writev");
  std::byte* base = in_vram(kBytes, 1);
  std::vector<std::byte> plain = pattern_bytes(5000, 4);
  const std::vector<std::byte> plain_before = plain;
  std::array<iovec, 4> pieces = {{{base + 5, 70000},
                                  {plain.data(), plain.size()},
                                  {base + kBlockBytes - 100, 200},
                                  {base + 2 * kBlockBytes, kBlockBytes}}};
  std::vector<std::byte> wanted;
  std::size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  const std::vector<std::byte> before = pattern_bytes(kBytes, 1);
  for (const iovec& piece : pieces) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    if (from == plain.data()) {
      wanted.insert(wanted.end(), plain.begin(), plain.end());
    } else {
      wanted.insert(wanted.end(), before.begin() + (from - base),
                    before.begin() + (from - base) + static_cast<std::ptrdiff_t>(piece.iov_len));
    }
  }
  const TempFile file;
  ASSERT_EQ(::writev(file.fd(), pieces.data(), pieces.size()), static_cast<ssize_t>(total));
  EXPECT_EQ(difference(file.get(total), wanted), "");

  fill(base, kBytes, 5);
  plain.assign(plain.size(), std::byte{0});
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  ASSERT_EQ(::lseek(file.fd(), 0, SEEK_SET), 0);
  ASSERT_EQ(::readv(file.fd(), pieces.data(), pieces.size()), static_cast<ssize_t>(total));
  EXPECT_EQ(plain, plain_before);
  std::vector<std::byte> expected = pattern_bytes(kBytes, 5);
  for (const iovec& piece : pieces) {
    const auto* to = static_cast<const std::byte*>(piece.iov_base);
    if (to == plain.data()) continue;
    std::memcpy(expected.data() + (to - base), before.data() + (to - base), piece.iov_len);
  }
  EXPECT_EQ(difference({base, kBytes}, expected), "");
}

TEST_P(SystemCalls, SendAndRecvOverASocketPair) {
  const Watchdog watchdog("send and recv");
  std::byte* from = in_vram(kBytes, 6);
  std::byte* to = in_vram(kBytes, 7);
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  std::thread sender([&] {
    for (std::size_t done = 0; done < kBytes;) {
      const ssize_t now = ::send(ends[0], from + done, kBytes - done, 0);
      ASSERT_GT(now, 0) << std::strerror(errno);
      done += static_cast<std::size_t>(now);
    }
  });
  for (std::size_t done = 0; done < kBytes;) {
    const ssize_t now = ::recv(ends[1], to + done, kBytes - done, 0);
    ASSERT_GT(now, 0) << std::strerror(errno);
    done += static_cast<std::size_t>(now);
  }
  sender.join();
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(check(to, kBytes, 6), "");
  EXPECT_EQ(check(from, kBytes, 6), "");
}

TEST_P(SystemCalls, DirectInputAndOutput) {
  const Watchdog watchdog("O_DIRECT");
  const TempFile file;
  file.put(pattern_bytes(kBytes, 8));
  const int direct = file.reopen(O_RDWR | O_DIRECT);
  if (direct < 0) GTEST_SKIP() << "lacks O_DIRECT on the file system of the temporary folder";
  std::byte* base = in_vram(kBytes, 1);
  constexpr std::size_t kPiece = 3 << 20;
  ASSERT_EQ(::pread(direct, base + kBlockBytes, kPiece, kBlockBytes), static_cast<ssize_t>(kPiece))
      << std::strerror(errno);
  std::vector<std::byte> data = pattern_bytes(kBytes, 8);
  expect_only(base, 1, kBlockBytes, std::span(data).subspan(kBlockBytes, kPiece));
  fill(base, kBytes, 9);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  expect_in_vram(base, kBytes);
  ASSERT_EQ(::pwrite(direct, base, kBytes, 0), static_cast<ssize_t>(kBytes))
      << std::strerror(errno);
  ::close(direct);
  EXPECT_EQ(difference(file.get(kBytes), pattern_bytes(kBytes, 9)), "");
  EXPECT_EQ(check(base, kBytes, 9), "");
}

TEST_P(SystemCalls, ProcessVmCallsOnThisProcess) {
  const Watchdog watchdog("process_vm_readv");
  std::byte* base = in_vram(kBytes, 10);
  std::vector<std::byte> got(kBytes);
  iovec local{got.data(), kBytes};
  iovec remote{base, kBytes};
  ASSERT_EQ(::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0), static_cast<ssize_t>(kBytes))
      << std::strerror(errno);
  EXPECT_EQ(difference(got, pattern_bytes(kBytes, 10)), "");
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  got = pattern_bytes(kBytes, 11);
  local.iov_base = got.data();
  ASSERT_EQ(::process_vm_writev(::getpid(), &local, 1, &remote, 1, 0), static_cast<ssize_t>(kBytes))
      << std::strerror(errno);
  EXPECT_EQ(check(base, kBytes, 11), "");
}

TEST_P(SystemCalls, AChildReadsAndWritesTheParentsPages) {
  const Watchdog watchdog("process_vm_readv from a child");
  std::byte* base = region(kBytes);
  std::vector<std::byte> got(kBytes);
  const std::vector<std::byte> before = pattern_bytes(kBytes, 12);
  const std::vector<std::byte> after = pattern_bytes(kBytes, 13);
  const Turn start;
  const pid_t parent = ::getpid();
  const pid_t child = fork_with(engine());
  if (child == 0) {
    iovec local{got.data(), kBytes};
    iovec remote{base, kBytes};
    if (!start.take()) ::_exit(2);
    if (::process_vm_readv(parent, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(kBytes)) {
      ::_exit(errno == EPERM ? 77 : 3);
    }
    if (got != before) ::_exit(4);
    local.iov_base = const_cast<std::byte*>(after.data());
    ::_exit(::process_vm_writev(parent, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(kBytes)
                ? 0
                : 5);
  }
  fill(base, kBytes, 12);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  expect_in_vram(base, kBytes);
  start.give();
  const std::string end = reap(child);
  if (end == "the child exited with 77") {
    GTEST_SKIP() << "lacks the right to read another process (yama ptrace_scope)";
  }
  ASSERT_EQ(end, "");
  EXPECT_EQ(check(base, kBytes, 13), "");
}

// The kernel reads another address space through this file without a way to wait for a fault, so
// that a page which is not in RAM is EIO there (mm/memory.c: __access_remote_vm). Debuggers use it.
TEST_P(SystemCalls, ProcSelfMemReadsWhatIsInRamAndNeverWrongBytes) {
  const Watchdog watchdog("/proc/self/mem");
  std::byte* base = in_vram(kBytes, 14);
  const int memory = ::open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (memory < 0) GTEST_SKIP() << "lacks /proc/self/mem: " << std::strerror(errno);
  const std::vector<std::byte> wanted = pattern_bytes(kBytes, 14);
  std::vector<std::byte> got(kBytes);
  const auto at = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(base));
  const ssize_t now = ::pread(memory, got.data(), kBytes, at);
  if (now < 0) {
    EXPECT_EQ(errno, EIO);
    (void)to_host(base, kBytes);
    ASSERT_EQ(::pread(memory, got.data(), kBytes, at), static_cast<ssize_t>(kBytes));
  } else {
    ASSERT_EQ(now, static_cast<ssize_t>(kBytes));
  }
  EXPECT_EQ(difference(got, wanted), "");
  const std::vector<std::byte> other = pattern_bytes(kBytes, 15);
  ASSERT_EQ(::pwrite(memory, other.data(), kBytes, at), static_cast<ssize_t>(kBytes));
  ::close(memory);
  EXPECT_EQ(check(base, kBytes, 15), "");
  if (now < 0) GTEST_SKIP() << "lacks /proc/self/mem on pages in VRAM: this kernel answers EIO";
}

TEST_P(SystemCalls, PathsStructuresAndArraysMayBeInVram) {
  const Watchdog watchdog("small arguments");
  std::byte* base = region(kBlockBytes);
  auto* path = reinterpret_cast<char*>(base + kPageBytes - 4);  // over the edge of a page
  std::strcpy(path, "/proc/self/exe");
  auto* status = reinterpret_cast<struct stat*>(base + 64 * kPageBytes);
  auto* wait = reinterpret_cast<pollfd*>(base + 128 * kPageBytes);
  auto* ends = reinterpret_cast<int*>(base + 192 * kPageBytes);
  EXPECT_EQ(to_device(base, kBlockBytes).stayed, 0U);
  struct stat plain = {};
  ASSERT_EQ(::stat("/proc/self/exe", &plain), 0);
  ASSERT_EQ(::stat(path, status), 0) << std::strerror(errno);
  EXPECT_EQ(status->st_ino, plain.st_ino);
  EXPECT_EQ(to_device(base, kBlockBytes).stayed, 0U);
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0) << std::strerror(errno);
  *wait = {ends[1], POLLOUT, 0};
  EXPECT_EQ(to_device(base, kBlockBytes).stayed, 0U);
  EXPECT_EQ(::poll(wait, 1, 0), 1) << std::strerror(errno);
  EXPECT_EQ(wait->revents, POLLOUT);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_P(SystemCalls, AFutexMayBeInVram) {
#ifdef __SANITIZE_THREAD__
  // The copy is read while stores go on, and made again where the kernel reports a store.
  if (!full()) GTEST_SKIP() << "lacks, under ThreadSanitizer, a kernel whose tracking it can see";
#endif
  const Watchdog watchdog("futex");
  std::byte* base = region(kBlockBytes);
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    int turn = 0;
  };
  auto* shared = new (base) Shared;
  constexpr int kTurns = 200;
  const auto play = [&](int mine) {
    for (int round = 0; round < kTurns; ++round) {
      std::unique_lock guard(shared->mutex);
      shared->changed.wait(guard, [&] { return shared->turn % 2 == mine; });
      ++shared->turn;
      shared->changed.notify_all();
    }
  };
  std::thread other([&] { play(1); });
  std::thread mover([&] {
    for (int round = 0; round < kTurns; ++round) (void)to_device(base, kBlockBytes);
  });
  play(0);
  other.join();
  mover.join();
  EXPECT_EQ(shared->turn, 2 * kTurns);
  shared->~Shared();
}

// vmsplice lends pages to a pipe by a plain reference, not a pin: the kernel lets us move them.
TEST_P(SystemCalls, APipeThatWasLentPagesGetsTheirBytes) {
  const Watchdog watchdog("vmsplice");
  constexpr std::size_t kLent = 8 * kPageBytes;
  std::byte* base = region(kBlockBytes);
  std::byte* other = region(kBlockBytes);
  for (std::byte* each : {base, other}) ::madvise(each, kBlockBytes, MADV_NOHUGEPAGE);
  fill(base, kBlockBytes, 16);
  fill(other, kBlockBytes, 17);
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  EXPECT_EQ(to_device(other, kBlockBytes).stayed, 0U);
  iovec lent{base, kLent};
  ASSERT_EQ(::vmsplice(ends[1], &lent, 1, 0), static_cast<ssize_t>(kLent)) << std::strerror(errno);
  (void)to_device(base, kBlockBytes);
  (void)to_host(other, kBlockBytes);  // into whatever pages are ready for it
  fill(other, kBlockBytes, 18);
  std::vector<std::byte> got(kLent);
  ASSERT_EQ(::read(ends[0], got.data(), kLent), static_cast<ssize_t>(kLent));
  ::close(ends[0]);
  ::close(ends[1]);
  if (!difference(got, pattern_bytes(kLent, 16)).empty()) {
    GTEST_SKIP() << "lacks a way to see that a page is lent by reference (vmsplice, MSG_ZEROCOPY): "
                    "the kernel moves it, and the pipe gets what is stored in it later";
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, SystemCalls, ::testing::ValuesIn(both_level_setups()),
                         setup_name);

}  // namespace
}  // namespace godwit::contract
