// SPDX-License-Identifier: MIT
// Processes that may do less: no root, a seccomp filter, little address space. What the engine
// cannot have it names, and what is left works. Each test runs in a child, which gives rights up.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <fstream>

#include "runtime/src/host/user/user_host.h"
#include "tests/contract/os/support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GODWIT_SANITIZED 1
#else
#define GODWIT_SANITIZED 0
#endif

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{4} << 20;
constexpr uid_t kNobody = 65534;

/// In a child made before any engine: empty, or how it ended.
std::string in_child(const std::function<void()>& body) {
  (void)std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    leave_child();
  }
  return reap(child);
}

Result<std::unique_ptr<ManagedEngine>> engine_over(std::unique_ptr<HostMemory> host,
                                                   Telemetry& telemetry, std::size_t arena) {
  ManagedEngineOptions options;
  options.arena_bytes = arena;
  options.pool_bytes = std::size_t{8} << 20;
  options.threads = 2;
  options.make_device = [] { return make_device(DeviceKind::kSoft, kVram, nullptr); };
  return ManagedEngine::create(std::move(host), telemetry, std::move(options));
}

std::string all_of(const Error& error) {
  std::string text = error.message;
  for (const std::string& reason : error.reasons) text += "\n" + reason;
  return text;
}

void become_nobody() {
  ASSERT_EQ(::setresgid(kNobody, kNobody, kNobody), 0) << std::strerror(errno);
  ASSERT_EQ(::setresuid(kNobody, kNobody, kNobody), 0) << std::strerror(errno);
}

/// As a program that was started by that user: /proc/self is its own.
void become_a_program_of_nobody() {
  become_nobody();
  ASSERT_EQ(::prctl(PR_SET_DUMPABLE, 1), 0);
}

/// A filter by which userfaultfd(2), and opening with the flags that the runtime opens
/// /dev/userfaultfd with, answer EPERM. (A filter cannot see a path.)
void install_filter() {
  constexpr std::uint32_t kNumber = offsetof(seccomp_data, nr);
  constexpr std::uint32_t kFlags = offsetof(seccomp_data, args) + 2 * sizeof(std::uint64_t);
  std::array<sock_filter, 7> code = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFlags),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, O_RDWR | O_CLOEXEC, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  }};
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0) << std::strerror(errno);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0) << std::strerror(errno);
}

class Privileges : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "lacks root, whose rights the child gives up";
    std::ifstream file("/proc/sys/vm/unprivileged_userfaultfd");
    int allowed = 0;
    if (file >> allowed && allowed != 0) {
      GTEST_SKIP() << "lacks a system with vm.unprivileged_userfaultfd=0";
    }
  }
};

TEST_F(Privileges, WithoutRootPagesStayInRamAndSystemCallsWork) {
  EXPECT_EQ(in_child([] {
              ASSERT_NO_FATAL_FAILURE(become_a_program_of_nobody());
              auto host = make_user_host({.level = HostLevelWish::kAuto, .handlers = 2});
              ASSERT_TRUE(host) << host.error().to_string();
              EXPECT_EQ((*host)->info().level, HostLevel::kResident);
              ASSERT_EQ((*host)->info().reasons.size(), 2U);
              EXPECT_NE((*host)->info().reasons[0].find("/dev/userfaultfd"), std::string::npos);
              EXPECT_NE((*host)->info().reasons[1].find("userfaultfd(2)"), std::string::npos);
              auto telemetry = Telemetry::create("", 64);
              auto engine = engine_over(std::move(*host), **telemetry, std::size_t{64} << 20);
              ASSERT_TRUE(engine) << engine.error().to_string();
              EXPECT_EQ((*engine)->info().level, "resident");
              auto region = (*engine)->allocate(kBytes, 1);
              ASSERT_TRUE(region);
              auto* base = static_cast<std::byte*>(*region);
              const std::vector<std::byte> data = pattern_bytes(kBytes, 1);
              std::memcpy(base, data.data(), kBytes);
              auto report = (*engine)->prefetch(base, kBytes, Place::kDevice);
              ASSERT_TRUE(report) << report.error().to_string();
              EXPECT_EQ(report->stayed, 0U);
              std::array<int, 2> ends = {-1, -1};
              ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
              ASSERT_EQ(::write(ends[1], base + kPageBytes, 5000), 5000) << std::strerror(errno);
              ASSERT_EQ(::read(ends[0], base + 9 * kPageBytes, 5000), 5000) << std::strerror(errno);
              EXPECT_EQ(difference({base + 9 * kPageBytes, 5000},
                                   std::span(data).subspan(kPageBytes, 5000)),
                        "");
            }),
            "");
}

TEST_F(Privileges, WithoutRootTheFullLevelIsRefusedWithARemedy) {
  EXPECT_EQ(in_child([] {
              ASSERT_NO_FATAL_FAILURE(become_a_program_of_nobody());
              auto host = make_user_host({.level = HostLevelWish::kFull, .handlers = 2});
              ASSERT_FALSE(host);
              EXPECT_EQ(host.error().code, Code::kUnavailable);
              const std::string text = all_of(host.error());
              EXPECT_NE(text.find("run as root"), std::string::npos) << text;
              EXPECT_NE(text.find("/dev/userfaultfd"), std::string::npos) << text;
              EXPECT_NE(text.find("vm.unprivileged_userfaultfd"), std::string::npos) << text;
              EXPECT_EQ(host.error().reasons.size(), 2U) << text;
            }),
            "");
}

// A daemon that dropped its rights: /proc/self belongs to root still.
TEST_F(Privileges, ADaemonThatDroppedRootIsToldWhatItLacks) {
  EXPECT_EQ(in_child([] {
              ASSERT_NO_FATAL_FAILURE(become_nobody());
              if (::prctl(PR_GET_DUMPABLE) == 1) return;
              auto host = make_user_host({.level = HostLevelWish::kAuto, .handlers = 2});
              ASSERT_FALSE(host);
              EXPECT_EQ(host.error().code, Code::kUnavailable);
              const std::string text = all_of(host.error());
              EXPECT_NE(text.find("/proc/self/pagemap"), std::string::npos) << text;
            }),
            "");
}

TEST_F(Privileges, UnderASeccompFilterEverythingIsRefusedWithReasons) {
  EXPECT_EQ(in_child([] {
              ASSERT_NO_FATAL_FAILURE(install_filter());
              auto host = make_user_host({.level = HostLevelWish::kAuto, .handlers = 2});
              ASSERT_FALSE(host);
              EXPECT_EQ(host.error().code, Code::kUnavailable);
              ASSERT_EQ(host.error().reasons.size(), 3U) << all_of(host.error());
              for (const std::string& reason : host.error().reasons) {
                EXPECT_NE(reason.find(std::strerror(EPERM)), std::string::npos) << reason;
              }
              const HostProbe probe = probe_user_host();
              EXPECT_FALSE(probe.usable);
              EXPECT_EQ(probe.reasons.size(), 3U);
            }),
            "");
}

constexpr int kRefused = 10;  // exit codes of children
constexpr int kSmaller = 11;
constexpr int kThrown = 12;

/// Makes an engine with an arena of any size that fits, down to the least there is, and uses it.
int use_an_engine() {
  auto host = make_user_host({.level = HostLevelWish::kAuto, .handlers = 2});
  if (!host) return host.error().code == Code::kUnavailable ? kRefused : 21;
  auto telemetry = Telemetry::create("", 64);
  if (!telemetry) return kRefused;
  auto engine = engine_over(std::move(*host), **telemetry, 0);
  if (!engine) {
    const bool says = engine.error().code == Code::kOutOfMemory ||
                      engine.error().message.find("emory") != std::string::npos;
    return says ? kRefused : 22;
  }
  auto region = (*engine)->allocate(kBytes, 1);
  if (!region) return 23;
  std::memset(*region, 1, kBytes);
  auto report = (*engine)->prefetch(*region, kBytes, Place::kDevice);
  if (!report && report.error().code != Code::kOutOfMemory) return 24;
  if (*static_cast<unsigned char*>(*region) != 1) return 25;
  return (*engine)->bounds().size() < std::size_t{2} << 30 ? kSmaller : 0;
}

std::string ended_with(int code) { return "the child exited with " + std::to_string(code); }

// At every limit on address space there is an engine, or an error that says what to do.
TEST(AddressSpace, ALimitGivesAnErrorOrASmallerArenaAndNoCrash) {
  if (GODWIT_SANITIZED != 0) GTEST_SKIP() << "lacks address space: the sanitizer takes it all";
  bool refused = false;
  bool worked = false;
  bool smaller = false;
  // In steps of one thread's stack: whatever is asked for last fails at one of them.
  for (std::size_t limit = std::size_t{200} << 20; limit <= std::size_t{2600} << 20;
       limit += std::size_t{6} << 20) {
    const pid_t child = ::fork();
    if (child == 0) {
      const rlimit wanted{limit, limit};
      if (::setrlimit(RLIMIT_AS, &wanted) != 0) ::_exit(20);
      int code = 0;
      try {
        code = use_an_engine();
      } catch (const std::exception& thrown) {
        (void)std::fprintf(stderr, "thrown: %s\n", thrown.what());
        code = kThrown;
      }
      ::_exit(code);
    }
    const std::string end = reap(child);
    refused = refused || end == ended_with(kRefused);
    smaller = smaller || end == ended_with(kSmaller);
    worked = worked || end.empty() || smaller;
    if (end != ended_with(kRefused) && end != ended_with(kSmaller)) {
      EXPECT_EQ(end, "") << "at " << (limit >> 20) << " MiB";
    }
  }
  EXPECT_TRUE(refused);
  EXPECT_TRUE(worked);
  EXPECT_TRUE(smaller);
}

}  // namespace
}  // namespace godwit::contract
