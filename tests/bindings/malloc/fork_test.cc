// SPDX-License-Identifier: MIT
// fork(), vfork() and posix_spawn() of a program whose blocks are in VRAM.
#include <malloc.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/bindings/malloc/managed.h"

extern char** environ;

namespace godwit::testing {
namespace {

using Fork = Managed;

constexpr size_t kBytes = 4 * kLarge;

// Runs `child` in a forked process, which ends with what it returns; that status, or -1.
template <typename Child>
int in_child(Child child) {
  const pid_t pid = fork();
  if (pid == 0) {
    // A child that waits for what only its parent has must not hang the test.
    alarm(60);
    _exit(child());
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

TEST_F(Fork, ChildSeesBytesThatWereInVram) {
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  EXPECT_GT(push(block.get(), kBytes), 0u);
  EXPECT_EQ(in_child([&] { return first_difference(block.get(), kBytes, 1) == kBytes ? 0 : 1; }),
            0);
  EXPECT_EQ(first_difference(block.get(), kBytes, 1), kBytes);
}

TEST_F(Fork, WritesOfParentAndChildStayApart) {
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  EXPECT_GT(push(block.get(), kBytes), 0u);
  int to_child[2];
  int to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  char byte = 0;
  if (pid == 0) {
    alarm(60);
    fill(block.get(), kBytes / 2, 2);
    if (write(to_parent[1], &byte, 1) != 1) _exit(2);
    if (read(to_child[0], &byte, 1) != 1) _exit(3);
    if (first_difference(block.get(), kBytes / 2, 2) != kBytes / 2) _exit(4);
    for (size_t at = kBytes / 2; at < kBytes; ++at) {
      if (block.get()[at] != pattern(at, 1)) _exit(5);
    }
    _exit(0);
  }
  ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
  EXPECT_EQ(first_difference(block.get(), kBytes, 1), kBytes);
  fill(block.get(), kBytes, 3);
  godwit_prefetch(context(), block.get(), kBytes, GODWIT_DEVICE, nullptr);
  ASSERT_EQ(write(to_child[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(first_difference(block.get(), kBytes, 3), kBytes);
  for (const int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(fd);
}

TEST_F(Fork, ParentMigratesAfterwards) {
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  EXPECT_EQ(in_child([] { return 0; }), 0);
  fill(block.get(), kBytes, 2);
  EXPECT_GT(push(block.get(), kBytes), 0u);
  EXPECT_EQ(first_difference(block.get(), kBytes, 2), kBytes);
}

TEST_F(Fork, ChildAllocatesAndFrees) {
  Block inherited = make_block(kBytes);
  fill(inherited.get(), kBytes, 1);
  EXPECT_GT(push(inherited.get(), kBytes), 0u);
  EXPECT_EQ(in_child([&] {
              for (int round = 0; round < 50; ++round) {
                void* small = malloc(100);
                void* large = malloc(2 * kLarge);
                if (small == nullptr || large == nullptr) return 1;
                fill(large, 2 * kLarge, 7);
                if (first_difference(large, 2 * kLarge, 7) != 2 * kLarge) return 2;
                free(small);
                free(large);
              }
              void* grown = realloc(inherited.release(), 2 * kBytes);
              if (grown == nullptr || first_difference(grown, kBytes, 1) != kBytes) return 3;
              free(grown);
              return 0;
            }),
            0);
  EXPECT_EQ(first_difference(inherited.get(), kBytes, 1), kBytes);
}

TEST_F(Fork, ChildDiscardsOnlyItsOwnPages) {
  Block block(static_cast<unsigned char*>(memalign(kPageBytes, kBytes)));
  fill(block.get(), kBytes, 1);
  EXPECT_EQ(in_child([&] {
              if (madvise(block.get(), kBytes, MADV_DONTNEED) != 0) return 1;
              return all_zero(block.get(), kBytes) ? 0 : 2;
            }),
            0);
  EXPECT_EQ(first_difference(block.get(), kBytes, 1), kBytes);
}

TEST_F(Fork, GrandchildSeesTheBytes) {
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  EXPECT_GT(push(block.get(), kBytes), 0u);
  EXPECT_EQ(
      in_child([&] {
        if (first_difference(block.get(), kBytes, 1) != kBytes) return 1;
        return in_child([&] { return first_difference(block.get(), kBytes, 1) == kBytes ? 0 : 2; });
      }),
      0);
}

TEST_F(Fork, WhileOtherThreadsAllocate) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&stop, seed] {
      while (!stop.load()) {
        Block small = make_block(100 + seed);
        Block large = make_block(kMinBlock + seed * 70'000);
        fill(large.get(), 20'000, seed);
        EXPECT_EQ(first_difference(large.get(), 20'000, seed), 20'000u);
      }
    });
  }
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  for (int round = 0; round < 20; ++round) {
    if (round % 4 == 0) godwit_prefetch(context(), block.get(), kBytes, GODWIT_DEVICE, nullptr);
    EXPECT_EQ(in_child([&] {
                if (size_t d=first_difference(block.get(), kBytes, 1); d != kBytes) {size_t n=0,z=0; for(size_t i=0;i<kBytes;i++){ n+=block.get()[i]!=pattern(i,1); z+=block.get()[i]==0;} char b[200]; int l=snprintf(b,200,"round %d child %p diff at %zx n %zu zero %zu\n",round,block.get(),d,n,z); (void)!write(2,b,l); return 1;}
                Block other = make_block(kLarge);
                Block small = make_block(64);
                return other && small ? 0 : 2;
              }),
              0);
    EXPECT_EQ(first_difference(block.get(), kBytes, 1), kBytes);
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Fork, FromAnotherThread) {
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  EXPECT_GT(push(block.get(), kBytes), 0u);
  std::thread([&] {
    EXPECT_EQ(in_child([&] {
                if (first_difference(block.get(), kBytes, 1) != kBytes) return 1;
                block.reset();
                return make_block(kLarge) ? 0 : 2;
              }),
              0);
  }).join();
}

TEST_F(Fork, PosixSpawnAndVforkLeaveResidencyAlone) {
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  const size_t before = push(block.get(), kBytes);
  char program[] = "/bin/true";
  char* arguments[] = {program, nullptr};
  pid_t pid = 0;
  ASSERT_EQ(posix_spawn(&pid, program, nullptr, nullptr, arguments, environ), 0);
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  pid = vfork();
  if (pid == 0) {
    execv(program, arguments);
    _exit(9);
  }
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  // Under chaos others are pushed to VRAM all the time, and may need the room.
  if (getenv("GODWIT_CHAOS") == nullptr) {
    EXPECT_EQ(pages_on_device(block.get(), kBytes), before);
  }
  EXPECT_EQ(first_difference(block.get(), kBytes, 1), kBytes);
}

}  // namespace
}  // namespace godwit::testing
