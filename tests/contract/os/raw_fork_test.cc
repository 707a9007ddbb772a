// SPDX-License-Identifier: MIT
// Forks that nobody announces: the raw system call, vfork, posix_spawn. The kernel's fork event is
// all that the engine learns. A child of the raw call may not allocate: it answers by exit codes.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/contract/os/support.h"

extern char** environ;

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;

/// check() without an allocation: 0, or an exit code.
int verdict(const std::byte* base, std::size_t bytes, std::uint32_t seed) {
  for (std::size_t at = 0; at < bytes; at += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, base + at, sizeof(word));
    if (word == pattern(at / 4, seed)) continue;
    return word == 0 ? 10 : 11;
  }
  return 0;
}

constexpr const char* kZeros = "the child exited with 10";

class RawFork : public OsContract {
 protected:
  void SetUp() override {
    OsContract::SetUp();
    if (!IsSkipped() && ::geteuid() != 0) {
      GTEST_SKIP() << "lacks the privilege (CAP_SYS_PTRACE) for fork events";
    }
  }
};

TEST_P(RawFork, TheChildSeesBytesThatWereInVram) {
  const Watchdog watchdog("a raw fork");
  std::byte* base = in_vram(kBytes, 1);
  const pid_t child = raw_fork();
  if (child == 0) ::_exit(verdict(base, kBytes, 1));
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(RawFork, TheLibrarysForkWithoutHooksIsOneToo) {
  const Watchdog watchdog("fork() without hooks");
  std::byte* base = in_vram(kBytes, 2);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(verdict(base, kBytes, 2));
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 2), "");
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
}

TEST_P(RawFork, NeitherSideSeesWhatTheOtherStores) {
  const Watchdog watchdog("stores after a raw fork");
  std::byte* base = in_vram(kBytes, 3);
  const Turn to_child;
  const Turn to_parent;
  const pid_t child = raw_fork();
  if (child == 0) {
    for (std::size_t at = 0; at < kBytes; at += kPageBytes) base[at] = std::byte{1};
    to_parent.give();
    if (!to_child.take()) ::_exit(20);
    for (std::size_t at = 0; at < kBytes; at += kPageBytes) {
      if (base[at] != std::byte{1}) ::_exit(21);
    }
    ::_exit(0);
  }
  EXPECT_TRUE(to_parent.take());
  EXPECT_EQ(check(base, kBytes, 3), "");
  fill(base, kBytes, 4);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 4), "");
  to_child.give();
  EXPECT_EQ(reap(child), "");
}

// The kernel lets the parent go on as soon as the event is read, before the child has its bytes:
// what the parent touches, moves or computes in that moment must not be the child's.
TEST_P(RawFork, AParentThatStoresAtOnceTakesNothingFromTheChild) {
  const Watchdog watchdog("a parent that stores at once");
  for (std::uint32_t round = 0; round < 10; ++round) {
    std::byte* base = in_vram(kBytes, 5 + round);
    const pid_t child = raw_fork();
    if (child == 0) ::_exit(verdict(base, kBytes, 5 + round));
    for (std::size_t at = kBytes; at != 0; at -= 16 * kPageBytes) base[at - 1] = std::byte{0xaa};
    const std::string end = reap(child);
    EXPECT_EQ(end, "") << "round " << round << (end == kZeros ? ": zeros" : ": the parent's bytes");
    EXPECT_TRUE(engine().free(base));
    if (!end.empty()) break;
  }
}

TEST_P(RawFork, ADiscardAtOnceTakesNothingFromTheChild) {
  const Watchdog watchdog("a parent that discards at once");
  for (std::uint32_t round = 0; round < 10; ++round) {
    std::byte* base = in_vram(kBytes, 20 + round);
    const pid_t child = raw_fork();
    if (child == 0) ::_exit(verdict(base, kBytes, 20 + round));
    EXPECT_TRUE(engine().free(base));
    const std::string end = reap(child);
    EXPECT_EQ(end, "") << "round " << round;
    if (!end.empty()) break;
  }
}

// The child holds the parent's userfaultfd, whose calls act on the parent's address space.
TEST_P(RawFork, AChildThatCallsTheEngineDoesNotReachTheParent) {
  const Watchdog watchdog("an engine call in a raw child");
  std::byte* base = region(kBytes);
  fill(base, kBytes, 30);
  std::byte* there = in_vram(kBlockBytes, 31);
  const pid_t child = raw_fork();
  if (child == 0) {
    // Whatever it answers (also if it dies of it): the parent is the one who must not notice.
    (void)engine().prefetch(base, kBlockBytes, Place::kDevice);
    (void)engine().prefetch(there, kBlockBytes, Place::kHost);
    ::_exit(0);
  }
  const std::string end = reap(child);
  for (std::size_t at = 0; at < kBlockBytes; at += kPageBytes) {
    ASSERT_EQ(signal_of(base + at, Touch::kLoad), 0) << "page " << at / kPageBytes;
    ASSERT_EQ(signal_of(there + at, Touch::kLoad), 0) << "page " << at / kPageBytes;
  }
  EXPECT_EQ(verdict(base, kBytes, 30), 0);
  EXPECT_EQ(verdict(there, kBlockBytes, 31), 0);
  EXPECT_EQ(end, "");
}

TEST_P(RawFork, ManyRawForksWhileOthersTouchAndDemote) {
  const Watchdog watchdog("raw forks while others touch and demote");
  std::byte* quiet = region(kBytes);
  std::byte* busy = region(kBytes);
  fill(quiet, kBytes, 40);
  std::atomic<bool> done{false};
  std::thread toucher([&] {
    while (!done.load()) {
      for (std::size_t at = 0; at < kBytes; at += kPageBytes) busy[at] = std::byte{1};
    }
  });
  std::thread demoter([&] {
    while (!done.load()) (void)to_device(busy, kBytes);
  });
  for (int index = 0; index < 30; ++index) {
    (void)to_device(quiet, kBytes);
    const pid_t child = raw_fork();
    if (child == 0) ::_exit(verdict(quiet, kBytes, 40));
    const std::string end = reap(child);
    EXPECT_EQ(end, "") << "fork " << index;
    if (!end.empty()) break;
  }
  done = true;
  toucher.join();
  demoter.join();
  EXPECT_EQ(check(quiet, kBytes, 40), "");
}

TEST_P(RawFork, AVforkChildReadsAndStoresInTheParentsMemory) {
  const Watchdog watchdog("vfork");
  std::byte* base = in_vram(kBytes, 50);
  const pid_t child = ::vfork();
  if (child == 0) {
    base[kBlockBytes] = std::byte{7};  // the same address space
    ::_exit(base[kBlockBytes + 1] == std::byte{8} ? 1 : 0);
  }
  EXPECT_EQ(reap(child), "");
  std::vector<std::byte> wanted = pattern_bytes(kBytes, 50);
  wanted[kBlockBytes] = std::byte{7};
  EXPECT_EQ(difference({base, kBytes}, wanted), "");
}

TEST_P(RawFork, PosixSpawnTakesItsArgumentsFromVramAndMovesNothingElse) {
  const Watchdog watchdog("posix_spawn");
  std::byte* base = in_vram(kBytes, 51);
  std::byte* words = region(kBlockBytes);
  auto* text = reinterpret_cast<char*>(words);
  std::strcpy(text, "test \"$0\" = godwit");
  std::strcpy(text + kPageBytes, "godwit");
  auto** arguments = reinterpret_cast<char**>(words + 2 * kPageBytes);
  static char shell[] = "sh";
  static char command[] = "-c";
  const std::array<char*, 5> wanted = {shell, command, text, text + kPageBytes, nullptr};
  std::memcpy(arguments, wanted.data(), sizeof(wanted));
  EXPECT_EQ(to_device(words, kBlockBytes).stayed, 0U);
  pid_t child = -1;
  ASSERT_EQ(::posix_spawn(&child, "/bin/sh", nullptr, nullptr, arguments, environ), 0);
  EXPECT_EQ(reap(child), "");
  expect_in_vram(base, kBytes);
  EXPECT_EQ(check(base, kBytes, 51), "");
}

INSTANTIATE_TEST_SUITE_P(Engines, RawFork, ::testing::ValuesIn(user_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
