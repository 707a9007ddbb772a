// SPDX-License-Identifier: MIT
// Runs with GODWIT_CHAOS=evict: a thread pushes every block to VRAM while these use them.
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "tests/bindings/malloc/managed.h"

namespace godwit::testing {
namespace {

using Chaos = Managed;
using std::chrono::steady_clock;

TEST_F(Chaos, BlocksAreReallyEvicted) {
  Block block = make_block(4 * kLarge);
  fill(block.get(), 4 * kLarge, 1);
  const auto limit = steady_clock::now() + std::chrono::seconds(30);
  size_t there = 0;
  while ((there = pages_on_device(block.get(), 4 * kLarge)) == 0 && steady_clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GT(there, 0u);  // it may have left again by now
  EXPECT_EQ(first_difference(block.get(), 4 * kLarge, 1), 4 * kLarge);
}

// A block that carries what it must contain.
struct Piece {
  Block block;
  size_t bytes = 0;
  unsigned seed = 0;

  void make(std::mt19937& random) {
    static constexpr size_t kSizes[] = {100, 5000, 200'000, kMinBlock, 300'000, kLarge};
    bytes = kSizes[random() % 6] + random() % 5000;
    seed = static_cast<unsigned>(random());
    switch (random() % 3) {
      case 0:
        block = make_block(bytes);
        break;
      case 1:
        block.reset(static_cast<unsigned char*>(calloc(1, bytes)));
        ASSERT_TRUE(block && all_zero(block.get(), std::min(bytes, size_t{8192})));
        break;
      default:
        block.reset(static_cast<unsigned char*>(memalign(256, bytes)));
        break;
    }
    ASSERT_TRUE(block);
    fill(block.get(), bytes, seed);
  }

  void check() const { ASSERT_EQ(first_difference(block.get(), bytes, seed), bytes); }

  void resize(std::mt19937& random) {
    const size_t wanted = kMinBlock / 2 + random() % kLarge;
    block.reset(static_cast<unsigned char*>(realloc(block.release(), wanted)));
    ASSERT_TRUE(block);
    const size_t kept = std::min(bytes, wanted);
    ASSERT_EQ(first_difference(block.get(), kept, seed), kept);
    bytes = wanted;
    fill(block.get(), bytes, seed);
  }
};

TEST_F(Chaos, SixtyFourThreadsFindWhatTheyWrote) {
  constexpr unsigned kThreads = 64;
  const auto limit = steady_clock::now() + std::chrono::seconds(15);
  std::atomic<size_t> rounds{0};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < kThreads; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      Piece pieces[4];
      while (steady_clock::now() < limit && !::testing::Test::HasFailure()) {
        Piece& piece = pieces[random() % 4];
        if (!piece.block) {
          piece.make(random);
        } else if (random() % 3 == 0) {
          piece.resize(random);
        } else {
          piece.check();
          if (random() % 2 == 0) piece.block.reset();
        }
        ++rounds;
      }
      for (const Piece& piece : pieces) {
        if (piece.block) piece.check();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Each thread got through some; how many is a matter of the machine.
  EXPECT_GT(rounds.load(), size_t{kThreads} * 4);
}

TEST_F(Chaos, DiscardRacesWithEviction) {
  Block block(static_cast<unsigned char*>(memalign(kPageBytes, 4 * kLarge)));
  for (int round = 0; round < 100; ++round) {
    memset(block.get(), 1, 4 * kLarge);
    ASSERT_EQ(madvise(block.get() + kLarge, kLarge, MADV_DONTNEED), 0);
    ASSERT_TRUE(all_zero(block.get() + kLarge, kLarge));
    ASSERT_EQ(block.get()[kLarge - 1], 1);
    ASSERT_EQ(block.get()[2 * kLarge], 1);
  }
}

TEST_F(Chaos, ForkedChildrenSeeTheParentsBytes) {
  constexpr size_t kBytes = 4 * kLarge;
  Block block = make_block(kBytes);
  for (unsigned round = 0; round < 20; ++round) {
    fill(block.get(), kBytes, round);
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(60);
      _exit(first_difference(block.get(), kBytes, round) == kBytes ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_EQ(status, 0) << "round " << round;
    ASSERT_EQ(first_difference(block.get(), kBytes, round), kBytes);
  }
}

TEST_F(Chaos, ManyForkedChildrenWriteAndTheParentDoesNotSeeIt) {
  constexpr size_t kBytes = 8 * kLarge;
  constexpr size_t kPart = kBytes / 4;
  Block block = make_block(kBytes);
  fill(block.get(), kBytes, 1);
  for (int round = 0; round < 10; ++round) {
    std::vector<pid_t> children;
    for (size_t part = 0; part < 4; ++part) {
      const pid_t pid = fork();
      if (pid == 0) {
        alarm(60);
        unsigned char* own = block.get() + part * kPart;
        for (int count = 0; count < 5; ++count) {
          if (first_difference(block.get(), part * kPart, 1) != part * kPart) _exit(1);
          fill(own, kPart, 2);
          if (first_difference(own, kPart, 2) != kPart) _exit(2);
          for (size_t at = (part + 1) * kPart; at < kBytes; ++at) {
            if (block.get()[at] != pattern(at, 1)) _exit(3);
          }
        }
        _exit(0);
      }
      children.push_back(pid);
    }
    for (const pid_t pid : children) {
      EXPECT_EQ(first_difference(block.get(), kBytes, 1), kBytes) << "round " << round;
      int status = -1;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      EXPECT_EQ(status, 0) << "round " << round;
    }
    ASSERT_EQ(first_difference(block.get(), kBytes, 1), kBytes) << "round " << round;
    ASSERT_FALSE(HasFailure());
  }
}

sigjmp_buf back;
std::atomic<int> signals{0};

void on_signal(int) {
  ++signals;
  siglongjmp(back, 1);
}

// True when the write raised a signal that on_signal() saw.
[[gnu::noinline]] bool write_is_signalled(volatile char* address) {
  if (sigsetjmp(back, 1) != 0) return true;
  *address = 1;
  return false;
}

TEST_F(Chaos, TheProgramsOwnSignalHandlersStillRun) {
  struct sigaction action {};
  action.sa_handler = on_signal;
  struct sigaction old_segv {
  }, old_bus{};
  ASSERT_EQ(sigaction(SIGSEGV, &action, &old_segv), 0);
  ASSERT_EQ(sigaction(SIGBUS, &action, &old_bus), 0);
  Block block = make_block(4 * kLarge);
  void* guarded = mmap(nullptr, kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(guarded, MAP_FAILED);
  for (unsigned round = 0; round < 50; ++round) {
    fill(block.get(), 4 * kLarge, round);
    EXPECT_TRUE(write_is_signalled(static_cast<char*>(guarded)));
    EXPECT_EQ(first_difference(block.get(), 4 * kLarge, round), 4 * kLarge);
  }
  EXPECT_EQ(signals.load(), 50);
  munmap(guarded, kPageBytes);
  sigaction(SIGSEGV, &old_segv, nullptr);
  sigaction(SIGBUS, &old_bus, nullptr);
}

}  // namespace
}  // namespace godwit::testing
