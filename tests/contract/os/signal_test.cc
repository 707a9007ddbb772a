// SPDX-License-Identifier: MIT
// The application's own signals: its SIGSEGV and SIGBUS handlers get its own faults and nothing
// else, and a signal that arrives in the middle of a migration or of a fault changes nothing.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;

// What handlers use; a handler has no other way to its data.
std::atomic<std::byte*> outside{nullptr};  // a page of the application, not managed
std::atomic<std::byte*> managed{nullptr};  // touched by handlers where set
std::atomic<int> handled{0};
std::atomic<int> wrong{0};  // faults that were not the application's

void touch_managed(std::uint32_t seed) {
  std::byte* base = managed;
  if (base == nullptr) return;
  const std::size_t page = static_cast<std::size_t>(handled.load()) % (kBytes / kPageBytes);
  std::uint32_t word = 0;
  std::memcpy(&word, base + page * kPageBytes, sizeof(word));
  if (word != pattern(page * kPageBytes / 4, seed)) ++wrong;
}

void on_segv(int /*signal*/, siginfo_t* info, void* /*context*/) {
  if (info->si_addr != outside || info->si_code != SEGV_ACCERR) ++wrong;
  ++handled;
  touch_managed(1);
  ::mprotect(outside, kPageBytes, PROT_READ | PROT_WRITE);
}

void on_bus(int /*signal*/, siginfo_t* info, void* /*context*/) {
  if (info->si_addr != outside) ++wrong;
  ++handled;
  touch_managed(1);
  ::mmap(outside, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
         0);
}

void on_tick(int /*signal*/) {
  ++handled;
  touch_managed(1);
}

/// A handler on an alternate stack; the former one and the former stack come back at the end.
class Handler {
 public:
  Handler(int signal, void (*function)(int, siginfo_t*, void*)) : signal_(signal) {
    handled = 0;
    wrong = 0;
    stack_t stack = {};
    stack.ss_sp = space_.data();
    stack.ss_size = space_.size();
    EXPECT_EQ(::sigaltstack(&stack, &stack_before_), 0);
    struct sigaction action = {};
    action.sa_sigaction = function;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    EXPECT_EQ(::sigaction(signal, &action, &before_), 0);
  }
  ~Handler() {
    ::sigaction(signal_, &before_, nullptr);
    ::sigaltstack(&stack_before_, nullptr);
    managed = nullptr;
  }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

 private:
  int signal_;
  struct sigaction before_ = {};
  stack_t stack_before_ = {};
  std::vector<std::byte> space_ = std::vector<std::byte>(1 << 18);
};

/// SIGALRM at 1 kHz, without SA_RESTART: system calls of the test itself see EINTR.
class Ticker {
 public:
  Ticker() {
    handled = 0;
    wrong = 0;
    struct sigaction action = {};
    action.sa_handler = on_tick;
    EXPECT_EQ(::sigaction(SIGALRM, &action, &before_), 0);
    const itimerval every{{0, 1000}, {0, 1000}};
    EXPECT_EQ(::setitimer(ITIMER_REAL, &every, nullptr), 0);
  }
  ~Ticker() {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    ::sigaction(SIGALRM, &before_, nullptr);
    managed = nullptr;
  }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  struct sigaction before_ = {};
};

class Signals : public OsContract {
 protected:
  void SetUp() override {
    OsContract::SetUp();
    outside = static_cast<std::byte*>(
        ::mmap(nullptr, kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  void TearDown() override {
    ::munmap(outside, kPageBytes);
    OsContract::TearDown();
  }
};

TEST_P(Signals, TheProgramsSegvHandlerGetsItsOwnFaultsOnly) {
  const Watchdog watchdog("a SIGSEGV handler");
  constexpr int kFaults = 500;
  std::byte* base = region(kBytes);
  fill(base, kBytes, 1);
  const Handler handler(SIGSEGV, on_segv);
  managed = base;
  std::atomic<bool> done{false};
  std::thread demoter([&] {
    while (!done.load()) (void)to_device(base, kBytes);
  });
  for (int round = 0; round < kFaults; ++round) {
    ::mprotect(outside, kPageBytes, PROT_READ);
    *reinterpret_cast<volatile unsigned char*>(outside.load()) = 1;
  }
  done = true;
  demoter.join();
  EXPECT_EQ(handled, kFaults);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(Signals, TheProgramsBusHandlerGetsItsOwnFaultsOnly) {
  const Watchdog watchdog("a SIGBUS handler");
  constexpr int kFaults = 200;
  std::byte* base = region(kBytes);
  fill(base, kBytes, 1);
  const TempFile file;  // empty: its first page is beyond its end
  const Handler handler(SIGBUS, on_bus);
  managed = base;
  std::atomic<bool> done{false};
  std::thread demoter([&] {
    while (!done.load()) (void)to_device(base, kBytes);
  });
  for (int round = 0; round < kFaults; ++round) {
    ::mmap(outside, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.fd(), 0);
    *reinterpret_cast<volatile unsigned char*>(outside.load()) = 1;
  }
  done = true;
  demoter.join();
  EXPECT_EQ(handled, kFaults);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(Signals, TicksInTheMiddleOfFaultsChangeNothing) {
  const Watchdog watchdog("ticks during faults");
  std::byte* base = region(kBytes);
  fill(base, kBytes, 2);
  const Ticker ticker;
  for (int round = 0; round < 60 || handled < 100; ++round) {
    EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
    ASSERT_EQ(check(base, kBytes, 2), "");
  }
}

TEST_P(Signals, TicksDoNotLeakIntoTheEnginesAnswers) {
  const Watchdog watchdog("ticks during engine calls");
  std::byte* base = region(kBytes);
  const Ticker ticker;
  for (std::uint32_t round = 0; round < 60 || handled < 100; ++round) {
    fill(base, kBytes, round);
    EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
    auto added = device_add(base, kBytes, 1);
    ASSERT_TRUE(added) << added.error().to_string();
    EXPECT_EQ(to_host(base, kBytes).stayed, 0U);
    std::uint32_t word = 0;
    std::memcpy(&word, base + kBlockBytes, sizeof(word));
    ASSERT_EQ(word, pattern(kBlockBytes / 4, round) + 1);
    std::byte* other = region(kBlockBytes);
    ASSERT_TRUE(engine().discard(base, kBytes));
    ASSERT_TRUE(engine().free(other));
  }
}

TEST_P(Signals, TicksInTheMiddleOfSystemCallsOnVram) {
  const Watchdog watchdog("ticks during system calls");
  std::byte* from = region(kBytes);
  std::byte* to = region(kBytes);
  fill(from, kBytes, 3);
  std::array<int, 2> ends = {-1, -1};
  const Ticker ticker;
  for (std::uint32_t round = 0; round < 10 || handled < 100; ++round) {
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    EXPECT_EQ(to_device(from, kBytes).stayed, 0U);
    EXPECT_EQ(to_device(to, kBytes).stayed, 0U);
    std::thread writer([&] {
      for (std::size_t done = 0; done < kBytes;) {
        const ssize_t now = ::write(ends[1], from + done, kBytes - done);
        if (now < 0 && errno == EINTR) continue;
        ASSERT_GT(now, 0) << std::strerror(errno);
        done += static_cast<std::size_t>(now);
      }
    });
    for (std::size_t done = 0; done < kBytes;) {
      const ssize_t now = ::read(ends[0], to + done, kBytes - done);
      if (now < 0 && errno == EINTR) continue;
      EXPECT_GT(now, 0) << std::strerror(errno);
      if (now <= 0) break;
      done += static_cast<std::size_t>(now);
    }
    writer.join();
    ::close(ends[0]);
    ::close(ends[1]);
    ASSERT_EQ(check(to, kBytes, 3), "");
    fill(to, kBytes, 4);
  }
}

// The thread that the signal interrupts may be the one that moves the very page.
TEST_P(Signals, AHandlerMayTouchMemoryThatItsOwnThreadIsMoving) {
  const std::string end = in_fresh_child([this] {
    std::byte* base = region(kBytes);
    fill(base, kBytes, 1);
    const Ticker ticker;
    managed = base;
    for (int round = 0; round < 100 || handled < 200; ++round) {
      EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
      (void)to_host(base, kBytes);
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(check(base, kBytes, 1), "");
  });
  EXPECT_EQ(end, "");
}

TEST_P(Signals, AHandlerMayTouchMemoryWhileItsThreadRunsACommand) {
  const std::string end = in_fresh_child([this] {
    std::byte* base = region(kBytes);
    std::byte* operand = region(kBytes);
    fill(base, kBytes, 1);
    fill(operand, kBytes, 2);
    const Ticker ticker;
    managed = base;
    for (int round = 0; round < 50 || handled < 200; ++round) {
      (void)to_device(base, kBytes);
      auto sum = device_sum(operand, kBytes);
      EXPECT_TRUE(sum) << sum.error().to_string();
    }
    EXPECT_EQ(wrong, 0);
  });
  EXPECT_EQ(end, "");
}

INSTANTIATE_TEST_SUITE_P(Engines, Signals, ::testing::ValuesIn(user_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
