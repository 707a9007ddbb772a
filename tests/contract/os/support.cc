// SPDX-License-Identifier: MIT
#include "tests/contract/os/support.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

// A child that has an engine of its own starts threads, which ThreadSanitizer forbids by default.
extern "C" const char* __tsan_default_options();  // NOLINT: the sanitizer's name
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }  // NOLINT

namespace godwit::contract {
namespace {

constexpr int kPatienceMilliseconds =
    static_cast<int>(std::chrono::milliseconds(kHangPatience).count());

thread_local sigjmp_buf landing;  // of signal_of()
thread_local volatile int caught = 0;

void land(int signal) {
  caught = signal;
  siglongjmp(landing, 1);
}

}  // namespace

std::vector<Setup> both_level_setups() {
  std::vector<Setup> setups;
  for (const Setup& setup : all_setups()) {
    if (setup.host == HostKind::kUser) setups.push_back(setup);
  }
  return setups;
}

std::vector<std::byte> pattern_bytes(std::size_t bytes, std::uint32_t seed) {
  std::vector<std::byte> result(bytes);
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
    const std::uint32_t word = pattern(at / sizeof(word), seed);
    std::memcpy(result.data() + at, &word, std::min(sizeof(word), bytes - at));
  }
  return result;
}

std::string difference(std::span<const std::byte> got, std::span<const std::byte> wanted) {
  if (got.size() != wanted.size()) {
    return std::to_string(got.size()) + " bytes, wanted " + std::to_string(wanted.size());
  }
  const auto [at, other] = std::mismatch(got.begin(), got.end(), wanted.begin());
  if (at == got.end()) return "";
  return "byte " + std::to_string(at - got.begin()) + " is " +
         std::to_string(std::to_integer<int>(*at)) + ", wanted " +
         std::to_string(std::to_integer<int>(*other));
}

TempFile::TempFile() {
  std::string path = ::testing::TempDir() + "/godwit-os-XXXXXX";
  fd_ = ::mkostemp(path.data(), O_CLOEXEC);
  EXPECT_GE(fd_, 0) << path;
  ::unlink(path.c_str());
}

TempFile::~TempFile() { ::close(fd_); }

int TempFile::reopen(int flags) const {
  return ::open(("/proc/self/fd/" + std::to_string(fd_)).c_str(), flags | O_CLOEXEC);
}

void TempFile::put(std::span<const std::byte> bytes) const {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t now =
        ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    ASSERT_GT(now, 0) << std::strerror(errno);
    done += static_cast<std::size_t>(now);
  }
}

std::vector<std::byte> TempFile::get(std::size_t bytes) const {
  std::vector<std::byte> result(bytes);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t now = ::pread(fd_, result.data() + done, bytes - done, static_cast<off_t>(done));
    if (now <= 0) {
      result.resize(done);
      break;
    }
    done += static_cast<std::size_t>(now);
  }
  return result;
}

Turn::Turn() { EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }

Turn::~Turn() {
  ::close(ends_[0]);
  ::close(ends_[1]);
}

void Turn::give() const {
  const char token = 1;
  while (::write(ends_[1], &token, 1) < 0 && errno == EINTR) {
  }
}

bool Turn::take() const {
  pollfd wait{ends_[0], POLLIN, 0};
  while (true) {
    const int ready = ::poll(&wait, 1, kPatienceMilliseconds);
    if (ready < 0 && errno == EINTR) continue;
    char token = 0;
    return ready == 1 && ::read(ends_[0], &token, 1) == 1;
  }
}

std::string reap(pid_t child) {
  if (child < 0) return std::string("no child: ") + std::strerror(errno);
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  if (handle < 0) return std::string("pidfd_open: ") + std::strerror(errno);
  pollfd wait{handle, POLLIN, 0};
  int ready = ::poll(&wait, 1, kPatienceMilliseconds);
  while (ready < 0 && errno == EINTR) ready = ::poll(&wait, 1, kPatienceMilliseconds);
  ::close(handle);
  if (ready != 1) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return std::string("waitpid: ") + std::strerror(errno);
  }
  if (ready != 1) return "the child hung";
  if (WIFSIGNALED(status)) return std::string("the child died of ") + strsignal(WTERMSIG(status));
  const int code = WEXITSTATUS(status);
  return code == 0 ? "" : "the child exited with " + std::to_string(code);
}

pid_t fork_with(Engine& engine) {
  (void)std::fflush(nullptr);
  engine.prepare_fork();
  const pid_t child = ::fork();
  if (child == 0) {
    engine.after_fork_in_child();
  } else {
    engine.after_fork_in_parent();
  }
  return child;
}

pid_t raw_fork() {
  return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

void leave_child() {
  (void)std::fflush(nullptr);
  ::_exit(::testing::Test::HasFailure() ? 1 : 0);
}

Watchdog::Watchdog(const char* what) {
  watch_ = std::async(std::launch::async, [what, done = done_.get_future()] {
    if (done.wait_for(kHangPatience) == std::future_status::ready) return;
    (void)std::fprintf(stderr, "hangs: %s\n", what);
    std::abort();
  });
}

Watchdog::~Watchdog() {
  done_.set_value();
  watch_.get();
}

int signal_of(std::byte* address, Touch touch) {
  struct sigaction action = {};
  action.sa_handler = land;
  struct sigaction segv = {};
  struct sigaction bus = {};
  ::sigaction(SIGSEGV, &action, &segv);
  ::sigaction(SIGBUS, &action, &bus);
  caught = 0;
  if (sigsetjmp(landing, 1) == 0) {
    volatile auto* byte = reinterpret_cast<volatile unsigned char*>(address);
    const unsigned char value = touch == Touch::kLoad ? *byte : 0;
    if (touch == Touch::kStore) *byte = value;
  }
  ::sigaction(SIGSEGV, &segv, nullptr);
  ::sigaction(SIGBUS, &bus, nullptr);
  return caught;
}

std::size_t threads_named(const std::string& name) {
  std::size_t count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "comm");
    std::string comm;
    if (std::getline(file, comm) && comm == name) ++count;
  }
  return count;
}

std::byte* OsContract::in_vram(std::size_t bytes, std::uint32_t seed) {
  std::byte* base = region(bytes);
  fill(base, bytes, seed);
  EXPECT_EQ(to_device(base, bytes).stayed, 0U);
  expect_in_vram(base, bytes);
  return base;
}

void OsContract::expect_in_vram(const std::byte* base, std::size_t bytes) {
  EXPECT_EQ(count(base, bytes, full() ? Residency::kDevice : Residency::kBoth), bytes / kPageBytes);
}

std::string OsContract::stays_of(const MoveReport& report) {
  std::string text;
  for (const Stay& stay : report.stays) {
    text +=
        std::to_string(stay.pages) + " pages " + std::string(stay_reason_name(stay.reason)) + "; ";
  }
  return text;
}

std::string OsContract::in_fresh_child(const std::function<void()>& body) {
  const pid_t child = fork_with(engine());
  if (child == 0) {
    remake(kVram, {});
    if (!HasFatalFailure()) body();
    leave_child();
  }
  return reap(child);
}

}  // namespace godwit::contract
