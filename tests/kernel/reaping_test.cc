// SPDX-License-Identifier: MIT
// Memory that is taken from a dying process by somebody who may not wait: the OOM reaper, and
// process_mrelease(), which is the same code. The notifiers are called in a section in which
// sleeping is forbidden (the debug kernel checks that), while the process's own threads still
// migrate, and its device and views still use the pages.
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "tests/kernel/group.h"
#include "tests/kernel/guest.h"
#include "tests/kernel/jobs.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

constexpr size_t kBytes = size_t{12} << 20;

// Never returns: two threads migrate the memory, one touches it as the device sees it, and the
// queue counts in it.
[[noreturn]] void be_busy(int started) {
  Device gpu;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 1);
  View view(gpu, memory);
  for (int i = 0; i < 4; ++i) submit(gpu, Commands(64, op::add(memory.data(), memory.size(), 1)));
  const auto shuttle = [&](size_t offset) {
    for (;;) {
      gpu.to_vram(memory.data() + offset, kBytes / 2);
      gpu.to_ram(memory.data() + offset, kBytes / 2);
    }
  };
  std::thread first(shuttle, 0), second(shuttle, kBytes / 2);
  std::thread toucher([&] {
    for (size_t page = 0;; page = (page + 7) % (kBytes / kPage)) ++view.page(page)[8];
  });
  while (gpu.stat(GODWIT_STAT_PAGES_HOME) == 0) std::this_thread::yield();
  if (write(started, "", 1) != 1) _exit(2);
  for (;;) pause();
}

// Never returns: the device has used all of the memory, half of which is in VRAM, and does not now.
[[noreturn]] void be_at_rest(int started) {
  Device gpu;
  Memory memory(kBytes);
  fill(memory.data(), memory.size(), 1);
  gpu.to_vram(memory.data(), kBytes / 2);
  if (!execute(gpu, {op::add(memory.data(), memory.size(), 1)}).ok()) _exit(2);
  if (write(started, "", 1) != 1) _exit(3);
  for (;;) pause();
}

// A process that is as `being` has it by the time this returns.
pid_t child_that(void (*being)(int started)) {
  int started[2];
  EXPECT_EQ(pipe(started), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(started[0]);
    being(started[1]);
  }
  close(started[1]);
  char byte;
  EXPECT_EQ(read(started[0], &byte, 1), 1) << "the child ended";
  close(started[0]);
  return child;
}

class Reaping : public DeviceTest {
 protected:
  struct Reaped {
    unsigned whole = 0, in_part = 0;
  };

  // Kills a process, and takes its memory before it ends by itself, so many times.
  // `held`: its own end waits at its beginning until then, so that the two never meet.
  static Reaped reap(void (*being)(int started), unsigned rounds, bool held = false) {
    Reaped reaped;
    for (unsigned round = 0; round < rounds && !HasFatalFailure(); ++round) {
      reap_one(child_that(being), held, &reaped);
    }
    std::printf("%u processes reaped whole, %u times in part\n", reaped.whole, reaped.in_part);
    return reaped;
  }

 private:
  static void reap_one(pid_t child, bool held, Reaped* reaped) {
    const int handle = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
    ASSERT_GE(handle, 0) << strerror(errno);
    int status = 0;
    if (held) {
      ASSERT_EQ(ptrace(PTRACE_SEIZE, child, nullptr, PTRACE_O_TRACEEXIT), 0) << strerror(errno);
    }
    ASSERT_EQ(kill(child, SIGKILL), 0);
    if (held) {
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_EQ(status >> 8, SIGTRAP | (PTRACE_EVENT_EXIT << 8)) << "it is not held at its exit";
    }
    // EAGAIN: a notifier would have had to wait, so that range was left to the process's own end. One that is held has none.
    int error = 0;
    do {
      error = syscall(SYS_process_mrelease, handle, 0) == 0 ? 0 : errno;
      reaped->whole += error == 0;
      reaped->in_part += error == EAGAIN;
    } while (error == EAGAIN && !held);
    EXPECT_TRUE(error == 0 || error == ESRCH) << strerror(error);
    close(handle);
    if (held) {
      ASSERT_EQ(ptrace(PTRACE_CONT, child, nullptr, nullptr), 0) << strerror(errno);
    }
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
  }
};

TEST_F(Reaping, AKilledProcessIsReapedWhileItsPagesMove) {
  const Reaped reaped = reap(be_busy, rounds(12));
  EXPECT_GT(reaped.whole + reaped.in_part, 0u) << "each process was gone before it could be reaped";
}

// Nobody has to wait for anything there.
TEST_F(Reaping, AKilledProcessAtRestIsReapedWhole) {
  const uint64_t refused = gpu_.stat(GODWIT_STAT_INVALIDATIONS_REFUSED, true);
  const unsigned wanted = rounds(20);
  const Reaped reaped = reap(be_at_rest, wanted, true);
  EXPECT_EQ(reaped.whole, wanted);
  EXPECT_EQ(reaped.in_part, 0u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_INVALIDATIONS_REFUSED, true), refused);
}

TEST_F(Reaping, TheOomKillerTakesAProcessWhosePagesMove) {
  const Group group("64M");
  if (!group.lacking().empty()) GTEST_SKIP() << group.lacking();
  for (unsigned round = 0; round < rounds(5); ++round) {
    const pid_t child = fork();
    if (child == 0) {
      if (!group.enter()) _exit(2);
      int started[2];
      if (pipe(started) != 0) _exit(3);
      std::thread busy([&] { be_busy(started[1]); });
      char byte;
      if (read(started[0], &byte, 1) != 1) _exit(4);
      for (;;) {
        void* more =
            mmap(nullptr, kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED) _exit(5);
        memset(more, 1, kHuge);
      }
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    EXPECT_EQ(group.killed(), round + 1);
  }
}

}  // namespace
}  // namespace godwit::guest
