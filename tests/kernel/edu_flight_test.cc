// SPDX-License-Identifier: MIT
// A peer's transfer that is under way while its memory is to move, or goes: who waits for whom, and
// where the last bytes land. Each transfer here writes all but its first bytes after its driver was
// told to let go.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/kernel/edu_fixture.h"

namespace godwit::guest {
namespace {

TEST_F(Peer, IsToldBeforePagesMoveAndMapsAgain) {
  const Device gpu;
  const Loan loan(gpu, 10);
  for (uint64_t round = 1; round <= 5; ++round) {
    loan.read(0);
    EXPECT_EQ(loan.edu.counts().maps, round);
    EXPECT_EQ(loan.edu.counts().invalidations, round - 1);
    if (round % 2 != 0) {
      loan.to_vram();
    } else {
      loan.to_ram();
    }
    EXPECT_EQ(loan.edu.counts().invalidations, round);
  }
  // What is there already is not disturbed.
  loan.read(0);
  EXPECT_EQ(gpu.to_vram(loan.memory.data(), loan.memory.size()).already, kPages);
  EXPECT_EQ(loan.edu.counts().invalidations, 5u);
  EXPECT_BYTES(loan.memory.data(), loan.memory.size(), 10u);
}

void a_move_waits(const Device& gpu, const Loan& loan, bool vram,
                  const std::function<void()>& move) {
  const Piece written = pattern(12);
  Transfer transfer(loan.edu, kPage, written);
  move();
  EXPECT_EQ(gpu.in_vram(loan.memory.data(), loan.memory.size()), vram ? 0u : kPages);
  EXPECT_TRUE(loan.has(kPage, written)) << "it has moved without what was written last";
  EXPECT_EQ(transfer.wait(), 0);
  EXPECT_EQ(loan.edu.counts().waited, 1u);
}

TEST_F(Peer, AMoveWaitsForTheTransferUnderWay) {
  const Device gpu;
  for (const uint32_t mode : {EDU_DYNAMIC, EDU_HELPER}) {
    for (const bool vram : {false, true}) {
      SCOPED_TRACE((mode == EDU_HELPER ? "helpers, " : "") + std::string(vram ? "VRAM" : "RAM"));
      const Loan loan(gpu, 11, {.in_vram = vram, .mode = mode});
      a_move_waits(gpu, loan, vram, [&] { vram ? loan.to_ram() : loan.to_vram(); });
    }
  }
}

TEST_F(Peer, AnEvictionWaitsForTheTransferUnderWay) {
  const Device gpu;
  for (const bool range : {false, true}) {
    const Loan loan(gpu, 11, {.in_vram = true});
    a_move_waits(gpu, loan, true, [&] {
      const auto done = range
                            ? gpu.evict(GODWIT_EVICT_RANGE, loan.memory.data(), loan.memory.size())
                            : gpu.evict(GODWIT_EVICT_DEVICE);
      EXPECT_EQ(done.evicted, kPages);
    });
  }
}

TEST_F(Peer, AMoveWaitsForAllImporters) {
  const Device gpu;
  const Loan loan(gpu, 13);
  const Edu second(1), third(Edu::count() - 1);
  ASSERT_EQ(second.import(loan.shared.fd(), EDU_HELPER), 0);
  ASSERT_EQ(third.import(loan.shared.fd()), 0);
  const Piece written = pattern(14);
  {
    Transfer one(loan.edu, 0, written), two(second, kPage, written),
        three(third, 2 * kPage, written);
    loan.to_vram();
    EXPECT_EQ(one.wait(), 0);
    EXPECT_EQ(two.wait(), 0);
    EXPECT_EQ(three.wait(), 0);
  }
  for (uint64_t page = 0; page < 3; ++page) EXPECT_TRUE(loan.has(page * kPage, written)) << page;
  EXPECT_EQ(loan.edu.counts().waited + second.counts().waited + third.counts().waited, 3u);
}

// Who was told and has unmapped may map again while others are still busy, and is not waited for.
TEST_F(Peer, ARevocationIsNotAboutWhatIsMappedAfterIt) {
  const Device gpu;
  const Loan loan(gpu, 15);
  const Edu slow(1);
  // By the helpers: for fences, which these do not have, it waits with mappings locked out.
  ASSERT_EQ(slow.import(loan.shared.fd(), EDU_HELPER), 0);
  loan.read(0);
  const Piece written = pattern(16);
  Transfer transfer(slow, 5 * kPage, written, EDU_UNTIL_ASKED);
  ASSERT_EQ(madvise(loan.memory.page(9), kPage, MADV_DONTNEED), 0);
  wait_for_revokes(gpu, 1);
  ASSERT_EQ(loan.edu.counts().invalidations, 1u);
  loan.read(0);
  EXPECT_EQ(transfer.finish(), 0);
  // The next one comes when this one is over.
  ASSERT_EQ(madvise(loan.memory.page(9), kPage, MADV_DONTNEED), 0);
  wait_for_revokes(gpu, 2);
  EXPECT_EQ(loan.edu.counts().invalidations, 2u);
  EXPECT_EQ(gpu.stat(GODWIT_STAT_PEER_TIMEOUTS), 0u) << "it waited for who had let go";
  EXPECT_TRUE(loan.has(5 * kPage, written));
}

TEST_F(Peer, ACpuTouchWaitsForTheTransferUnderWay) {
  const Device gpu;
  const Loan loan(gpu, 13);
  for (uint64_t round = 1; round <= 3; ++round) {
    gpu.to_vram(loan.memory.data(), loan.memory.size());
    const Piece written = pattern(14 + round);
    Transfer transfer(loan.edu, 3 * kPage, written);
    volatile uint8_t* byte = loan.memory.page(3) + kPage - 1;
    *byte = static_cast<uint8_t>(round);
    EXPECT_TRUE(loan.has(3 * kPage, written)) << "the page came home without what was written last";
    EXPECT_EQ(*byte, static_cast<uint8_t>(round));
    EXPECT_EQ(transfer.wait(), 0);
    EXPECT_EQ(loan.edu.counts().waited, round);
  }
}

// Memory that takes all of VRAM: frames that somebody gave up are among its own.
class Heir {
 public:
  explicit Heir(const Device& gpu) : memory_(16 * kMiB) {
    fill(memory_.data(), memory_.size(), 20);
    EXPECT_GT(gpu.to_vram(memory_.data(), memory_.size()).moved, 0u);
  }
  void check() const {
    EXPECT_EQ(differs(memory_.data(), memory_.size(), 20), -1)
        << "a device wrote to frames that were given up";
  }

 private:
  const Memory memory_;
};

TEST_F(Peer, UnmappedMemoryIsNobodyElsesUntilTheTransferEnds) {
  const Device gpu;
  const Bait bait;
  for (const bool vram : {false, true}) {
    const Loan loan(gpu, 18, {.in_vram = vram});
    const Piece written = pattern(19);
    Transfer transfer(loan.edu, 0, written, EDU_UNTIL_ASKED);
    // The addresses stay empty, so that nothing else is there.
    ASSERT_EQ(mmap(loan.memory.data(), loan.memory.size(), PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              loan.memory.data());
    const Heir heir(gpu);
    EXPECT_EQ(transfer.finish(), 0);
    EXPECT_EQ(loan.edu.counts().waited, 1u);
    heir.check();
    EXPECT_EQ(loan.edu.write(0, written.data(), kPiece), -EFAULT);
  }
  EXPECT_EQ(wait_for_free(gpu, gpu.info().vram_total), gpu.info().vram_total);
}

TEST_F(Peer, MemoryOfAProcessThatEndedIsNotMapped) {
  const Line line;
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const Device gpu;
    const Memory memory(kBytes);
    fill(memory.data(), memory.size(), 21);
    gpu.to_vram(memory.data(), memory.size());
    const Export shared(gpu, memory.data(), memory.size());
    send_descriptor(line.there(), shared.fd());
    // Ends while the other's transfer is under way.
    _exit(Line::hear(line.there()) && !HasFailure() ? 0 : 1);
  }
  const int fd = take_descriptor(line.here());
  ASSERT_GE(fd, 0);
  const Edu edu;
  ASSERT_EQ(edu.import(fd), 0);
  const Memory same(kBytes);
  fill(same.data(), same.size(), 21);
  Piece seen(kPiece);
  ASSERT_EQ(edu.read(4 * kPage, seen.data(), kPiece), 0);
  EXPECT_EQ(memcmp(seen.data(), same.page(4), kPiece), 0);
  const Piece written = pattern(22);
  {
    const Bait bait;
    const Device gpu;
    Transfer transfer(edu, 0, written, EDU_UNTIL_ASKED);
    ASSERT_TRUE(Line::say(line.here()));
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_well(status));
    const Heir heir(gpu);
    EXPECT_EQ(transfer.finish(), 0);
    heir.check();
  }
  EXPECT_EQ(edu.read(0, seen.data(), kPiece), -ESRCH);
  ::close(fd);
  const Device gpu;
  EXPECT_EQ(wait_for_free(gpu, gpu.info().vram_total), gpu.info().vram_total);
}

TEST_F(Peer, APeerThatDoesNotLetGoIsCountedAndKeepsItsPages) {
  const Device gpu;
  const Loan loan(gpu, 23, {.in_vram = true, .mode = EDU_STUBBORN});
  loan.read(0);
  EXPECT_EQ(gpu.to_ram(loan.memory.data(), loan.memory.size()).stayed[GODWIT_STAY_BUSY], kPages);
  EXPECT_EQ(gpu.stat(GODWIT_STAT_PEER_TIMEOUTS), 1u);
  const Piece written = pattern(24);
  loan.write(0, written);
  EXPECT_EQ(loan.edu.counts().maps, 1u) << "not with the addresses that it was told to let go of";
  EXPECT_EQ(loan.in_vram(), kPages);
  ASSERT_EQ(loan.edu.release(), 0);
  loan.to_ram();
  EXPECT_TRUE(loan.has(0, written));
}

constexpr const char* kTouchPatience = "/sys/module/godwit/parameters/touch_patience";

// The kernel's log from here on.
class Log {
 public:
  Log() : fd_(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) { lseek(fd_, 0, SEEK_END); }
  ~Log() { ::close(fd_); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Waits for a record with this in it; false after a minute.
  bool has(const std::string& text) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    char record[8192];
    while (std::chrono::steady_clock::now() < deadline) {
      const ssize_t got = ::read(fd_, record, sizeof(record));
      const std::string_view seen(record, got > 0 ? static_cast<size_t>(got) : 0);
      if (seen.find(text) != std::string_view::npos) return true;
      pollfd wait = {fd_, POLLIN, 0};
      if (got < 0) poll(&wait, 1, 100);
    }
    return false;
  }

 private:
  int fd_;
};

TEST_F(Peer, ATouchThatAPeerHoldsUpIsReportedAndServedInTheEnd) {
  const Device gpu;
  const std::string usual = read_file(kTouchPatience);
  ASSERT_EQ(write_file(kTouchPatience, "100"), 0);
  const Loan loan(gpu, 27, {.in_vram = true, .mode = EDU_STUBBORN});
  const Piece before = loan.read(0);
  const Log log;
  bool right = false;
  std::thread toucher([&] { right = loan.has(0, before); });
  EXPECT_TRUE(log.has("waits for frame"));
  EXPECT_EQ(loan.in_vram(), kPages);
  EXPECT_EQ(loan.edu.release(), 0);
  toucher.join();
  EXPECT_TRUE(right);
  EXPECT_EQ(write_file(kTouchPatience, usual), 0);
}

// Within a system call, where nobody but the module looks for signals between two tries.
TEST_F(Peer, WhoTouchesWhatAPeerHoldsCanBeKilled) {
  const Line line;
  const pid_t child = fork();
  if (child == 0) {
    const Device gpu;
    const Loan loan(gpu, 28, {.in_vram = true, .mode = EDU_STUBBORN});
    loan.read(0);
    if (HasFailure() || !Line::say(line.there())) _exit(1);
    const int zeros = open("/dev/zero", O_RDONLY);
    _exit(::read(zeros, loan.memory.data(), kPage) < 0 ? 2 : 3);
  }
  ASSERT_TRUE(Line::hear(line.here()));
  const Device gpu;
  const uint64_t before = gpu.stat(GODWIT_STAT_CPU_FAULTS, true);
  while (gpu.stat(GODWIT_STAT_CPU_FAULTS, true) < before + 1) std::this_thread::yield();
  ASSERT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_EQ(wait_for_free(gpu, gpu.info().vram_total), gpu.info().vram_total);
}

// One of the two finds a mapping for the other direction, with a transfer that ends in this moment.
TEST_F(Peer, ATransferInEachDirectionAtTheSameTimeIsNotRefused) {
  const Device gpu;
  const Loan loan(gpu, 29, {.mode = EDU_HELPER});
  EXPECT_EQ(loan.edu.turns(2048), 0);
}

TEST_F(Peer, AnUnpluggedDeviceWaitsForTransfersAndMapsNoMore) {
  SoftDevice soft("private:16M");
  Device gpu(soft.index());
  const Loan loan(gpu, 25, {.in_vram = true});
  const Piece written = pattern(26);
  {
    Transfer transfer(loan.edu, 0, written);
    gpu.close();
    soft.remove();
    EXPECT_TRUE(loan.has(0, written)) << "the page came home without what was written last";
    EXPECT_EQ(transfer.wait(), 0);
  }
  EXPECT_EQ(loan.edu.counts().waited, 1u);
  Piece seen(kPiece);
  EXPECT_EQ(loan.edu.read(0, seen.data(), kPiece), -ENODEV);
}

}  // namespace
}  // namespace godwit::guest
