// SPDX-License-Identifier: MIT
// Mapped files and the operating system: system calls, forks, dying handlers, files that fail.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <thread>

#include "runtime/src/host/user/user_host.h"
#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;

class OsFile : public OsContract {
 protected:
  [[nodiscard]] static std::string path_of(const TempFile& file) {
    return "/proc/self/fd/" + std::to_string(file.fd());
  }
  void end_all_handlers() {
    while (threads_named("godwit-fault") != 0) {
      const std::size_t before = threads_named("godwit-fault");
      kill_one_handler(*core().host);
      while (threads_named("godwit-fault") == before) std::this_thread::yield();
    }
  }
  /// What is stored now is in the file after a sync.
  void expect_written(const TempFile& file, std::byte* base) {
    fill(base, kBytes, 4);
    auto synced = engine().sync(base, kBytes);
    ASSERT_TRUE(synced) << synced.error().to_string();
    EXPECT_EQ(*synced, kBytes / kPageBytes);
    EXPECT_EQ(difference(file.get(kBytes), pattern_bytes(kBytes, 4)), "");
  }
  [[nodiscard]] std::byte* map(const TempFile& file, Sharing sharing = Sharing::kPrivate) {
    file.put(pattern_bytes(kBytes, 1));
    auto mapped = engine().map(path_of(file), {.sharing = sharing});
    EXPECT_TRUE(mapped) << mapped.error().to_string();
    return static_cast<std::byte*>(*mapped);
  }
};

TEST_P(OsFile, ASystemCallReadsAndWritesPagesThatNobodyTouched) {
  const TempFile file;
  std::byte* base = map(file, Sharing::kShared);
  const TempFile other;
  ASSERT_EQ(::pwrite(other.fd(), base, kBytes / 2, 0), static_cast<ssize_t>(kBytes / 2));
  const std::vector<std::byte> wanted = pattern_bytes(kBytes, 1);
  EXPECT_EQ(difference(other.get(kBytes / 2), std::span(wanted).first(kBytes / 2)), "");
  const std::vector<std::byte> news = pattern_bytes(kPageBytes, 2);
  other.put(news);
  ASSERT_EQ(::pread(other.fd(), base + kBytes - kPageBytes, kPageBytes, 0),
            static_cast<ssize_t>(kPageBytes));
  auto synced = engine().sync(base, kBytes);
  ASSERT_TRUE(synced) << synced.error().to_string();
  EXPECT_EQ(*synced, 1U);
  const std::vector<std::byte> now = file.get(kBytes);
  EXPECT_EQ(difference(std::span(now).last(kPageBytes), news), "");
  EXPECT_EQ(difference(std::span(now).first(kBytes - kPageBytes),
                       std::span(wanted).first(kBytes - kPageBytes)),
            "");
}

TEST_P(OsFile, AChildSeesPagesThatNobodyTouched) {
  const TempFile file;
  std::byte* base = map(file);
  const pid_t child = fork_with(engine());
  if (child == 0) {
    EXPECT_EQ(check(base, kBytes, 1), "");
    leave_child();
  }
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(OsFile, AChildOfARawForkSeesThemToo) {
  if (::geteuid() != 0) GTEST_SKIP() << "lacks the privilege (CAP_SYS_PTRACE) for fork events";
  const Watchdog watchdog("a raw fork with a file");
  const TempFile file;
  std::byte* base = map(file);
  const pid_t child = raw_fork();
  if (child == 0) {
    for (std::size_t at = 0; at < kBytes; at += 4) {
      std::uint32_t word = 0;
      std::memcpy(&word, base + at, sizeof(word));
      if (word != pattern(at / 4, 1)) ::_exit(word == 0 ? 10 : 11);
    }
    ::_exit(0);
  }
  EXPECT_EQ(reap(child), "");
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(OsFile, WhatCannotBeReadIsSigbusAndTheRestGoesOn) {
  if (!full()) GTEST_SKIP() << "at the resident level a file is read at once";
  const std::string end = in_fresh_child([this] {
    const TempFile file;
    std::byte* base = map(file);
    EXPECT_EQ(check(base, kPageBytes, 1), "");
    std::byte* other = in_vram(kBlockBytes, 2);
    // The library's own descriptor of the file becomes one that cannot be read.
    char name[PATH_MAX] = {};
    ASSERT_GT(::readlink(path_of(file).c_str(), name, sizeof(name) - 1), 0);
    const int folder = ::open("/", O_RDONLY | O_DIRECTORY);
    std::size_t replaced = 0;
    for (int fd = 3; fd < 2048; ++fd) {
      char link[PATH_MAX] = {};
      const std::string proc = "/proc/self/fd/" + std::to_string(fd);
      if (fd == file.fd() || ::readlink(proc.c_str(), link, sizeof(link) - 1) <= 0) continue;
      if (std::strcmp(link, name) == 0 && ::dup2(folder, fd) == fd) ++replaced;
    }
    ASSERT_EQ(replaced, 1U);
    EXPECT_EQ(signal_of(base + kBytes - 1, Touch::kLoad), SIGBUS);
    EXPECT_EQ(check(base, kPageBytes, 1), "");
    EXPECT_EQ(check(other, kBlockBytes, 2), "");
    auto freed = engine().free(base);
    EXPECT_TRUE(freed) << freed.error().to_string();
  });
  EXPECT_EQ(end, "");
}

TEST_P(OsFile, ASharedMappingThatCannotBeWrittenBackStays) {
  const std::string end = in_fresh_child([this] {
    const TempFile file;
    std::byte* base = map(file, Sharing::kShared);
    fill(base, kBytes, 3);
    rlimit limit{kBytes / 2, RLIM_INFINITY};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    (void)::signal(SIGXFSZ, SIG_IGN);
    auto freed = engine().free(base);
    ASSERT_FALSE(freed);
    EXPECT_EQ(freed.error().code, Code::kIo) << freed.error().to_string();
    EXPECT_EQ(check(base, kBytes, 3), "");
    limit.rlim_cur = RLIM_INFINITY;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    ASSERT_TRUE(engine().free(base));
    EXPECT_EQ(difference(file.get(kBytes), pattern_bytes(kBytes, 3)), "");
  });
  EXPECT_EQ(end, "");
}

TEST_P(OsFile, AfterTheLastHandlersDeathItsBytesAreThere) {
  if (!full()) GTEST_SKIP() << "no handlers at the resident level";
  const std::string end = in_fresh_child([this] {
    const TempFile file;
    std::byte* base = map(file);
    end_all_handlers();
    EXPECT_EQ(check(base, kBytes, 1), "");
  });
  EXPECT_EQ(end, "");
}

TEST_P(OsFile, AfterTheLastHandlersDeathStoresToDiscardedPagesReachTheFile) {
  if (!full()) GTEST_SKIP() << "no handlers at the resident level";
  const std::string end = in_fresh_child([this] {
    const TempFile file;
    std::byte* base = map(file, Sharing::kShared);
    EXPECT_EQ(check(base, kBytes, 1), "");
    end_all_handlers();
    ASSERT_TRUE(engine().discard(base, kBytes));
    EXPECT_EQ(count(base, kBytes, Residency::kUntouched), kBytes / kPageBytes);
    auto synced = engine().sync(base, kBytes);
    ASSERT_TRUE(synced) << synced.error().to_string();
    EXPECT_EQ(*synced, 0U);
    expect_written(file, base);
  });
  EXPECT_EQ(end, "");
}

TEST_P(OsFile, AFileCanBeMappedAfterTheLastHandlersDeath) {
  if (!full()) GTEST_SKIP() << "no handlers at the resident level";
  const std::string end = in_fresh_child([this] {
    end_all_handlers();
    const TempFile file;
    std::byte* base = map(file, Sharing::kShared);
    EXPECT_EQ(check(base, kBytes, 1), "");
    expect_written(file, base);
    EXPECT_TRUE(engine().free(base));
  });
  EXPECT_EQ(end, "");
}

// The first block had a region, and is still armed when the handlers die; the others are fresh.
TEST_P(OsFile, AFileCanBeMappedIntoARecycledBlockAfterTheLastHandlersDeath) {
  if (!full()) GTEST_SKIP() << "no handlers at the resident level";
  const std::string end = in_fresh_child([this] {
    std::byte* before = in_vram(3 * kChunkBytes, 2);
    EXPECT_TRUE(engine().free(before));
    end_all_handlers();
    const TempFile file;
    std::byte* base = map(file, Sharing::kShared);
    EXPECT_EQ(base, before);
    EXPECT_EQ(check(base, kBytes, 1), "");
    expect_written(file, base);
    EXPECT_TRUE(engine().free(base));
  });
  EXPECT_EQ(end, "");
}

// To open one waits for whoever opens the other end, and here nobody does.
TEST_P(OsFile, AFifoIsRefusedAtOnce) {
  const Watchdog watchdog("a map of a fifo");
  const std::string path =
      ::testing::TempDir() + "/godwit-fifo-" + std::to_string(::getpid()) + "-" + GetParam().name;
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0) << std::strerror(errno);
  for (const Sharing sharing : {Sharing::kPrivate, Sharing::kShared}) {
    auto refused = engine().map(path, {.sharing = sharing});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_NE(refused.error().message.find("not a regular file"), std::string::npos)
        << refused.error().message;
  }
  ::unlink(path.c_str());
}

INSTANTIATE_TEST_SUITE_P(Engines, OsFile, ::testing::ValuesIn(both_level_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
