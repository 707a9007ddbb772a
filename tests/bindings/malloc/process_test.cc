// SPDX-License-Identifier: MIT
// Whole programs under the library: how they start and end, and what they are told.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

namespace godwit::testing {
namespace {

// Set by main() from the arguments.
std::string library;
std::string victim;

struct Ended {
  int status = -1;  // as of waitpid()
  bool in_time = false;
  std::string errors;
};

// Runs the victim with the library preloaded and these settings; it is killed after a minute.
Ended run(const std::string& mode, const std::vector<std::string>& settings) {
  Ended ended;
  int errors[2];
  if (pipe(errors) != 0) return ended;
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(errors[1], STDERR_FILENO);
    close(errors[0]);
    close(errors[1]);
    // Threads of the library block SIGALRM; the main thread gets it.
    alarm(60);
    std::vector<std::string> environment = {"LD_PRELOAD=" + library, "GODWIT_DEVICE=soft",
                                            "GODWIT_VRAM=64M", "PATH=/usr/bin:/bin"};
    environment.insert(environment.end(), settings.begin(), settings.end());
    std::vector<char*> pointers;
    for (std::string& setting : environment) pointers.push_back(setting.data());
    pointers.push_back(nullptr);
    std::string name = mode;
    char* arguments[] = {victim.data(), name.data(), nullptr};
    execve(victim.c_str(), arguments, pointers.data());
    _exit(127);
  }
  close(errors[1]);
  char buffer[512];
  for (ssize_t got = 0; (got = read(errors[0], buffer, sizeof buffer)) > 0;) {
    ended.errors.append(buffer, static_cast<size_t>(got));
  }
  close(errors[0]);
  waitpid(pid, &ended.status, 0);
  ended.in_time = !(WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGALRM);
  return ended;
}

const char* const kModes[] = {"return",         "_exit",  "quick_exit",
                              "exit-in-thread", "atexit", "threads-running",
                              "cancelled"};

class Process : public ::testing::TestWithParam<const char*> {};

TEST_P(Process, EndsQuietly) {
  const Ended ended = run(GetParam(), {});
  EXPECT_TRUE(ended.in_time);
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.errors, "");
}

TEST_P(Process, EndsQuietlyUnderChaos) {
  const Ended ended = run(GetParam(), {"GODWIT_CHAOS=evict", "GODWIT_MIN_BLOCK=64K"});
  EXPECT_TRUE(ended.in_time);
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.errors, "");
}

INSTANTIATE_TEST_SUITE_P(Ways, Process, ::testing::ValuesIn(kModes), [](const auto& way) {
  std::string name = way.param;
  std::erase_if(name, [](char letter) { return letter == '-' || letter == '_'; });
  return name;
});

TEST(ProcessTold, CrashIsTheProgramsOwn) {
  const Ended ended = run("crash", {"GODWIT_CHAOS=evict"});
  EXPECT_TRUE(WIFSIGNALED(ended.status));
  EXPECT_EQ(WTERMSIG(ended.status), SIGSEGV);
}

TEST(ProcessTold, LowDescriptorsAreTheProgramsOwn) {
  const Ended ended = run("low-descriptors", {"GODWIT_CHAOS=evict"});
  EXPECT_TRUE(ended.in_time);
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.errors, "");
}

size_t lines_of(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(ProcessTold, BadMinBlockIsOneLineAndTheDefaultIsUsed) {
  for (const char* value : {"abc", "1Q", "-5", "0", "100", "1KB", "99999999999999999999"}) {
    const Ended ended = run("return", {std::string("GODWIT_MIN_BLOCK=") + value});
    EXPECT_EQ(ended.status, 0) << value;
    EXPECT_EQ(lines_of(ended.errors), 1u) << ended.errors;
    EXPECT_NE(ended.errors.find("GODWIT_MIN_BLOCK="), std::string::npos) << ended.errors;
  }
}

TEST(ProcessTold, GoodMinBlocksAreSilent) {
  for (const char* value : {"", "4096", "64K", "1m", "2G"}) {
    const Ended ended = run("return", {std::string("GODWIT_MIN_BLOCK=") + value});
    EXPECT_EQ(ended.status, 0) << value;
    EXPECT_EQ(ended.errors, "") << value;
  }
}

TEST(ProcessTold, UnknownChaosIsOneLine) {
  const Ended ended = run("return", {"GODWIT_CHAOS=earthquake"});
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(lines_of(ended.errors), 1u) << ended.errors;
  EXPECT_NE(ended.errors.find("earthquake"), std::string::npos) << ended.errors;
}

TEST(ProcessTold, WithoutAContextEverythingStaysInRamAndOneLineSaysWhy) {
  for (const char* mode : kModes) {
    const Ended ended = run(mode, {"GODWIT_ENGINE=no-such-engine"});
    EXPECT_EQ(ended.status, 0) << mode;
    EXPECT_EQ(lines_of(ended.errors), 1u) << ended.errors;
    EXPECT_NE(ended.errors.find("memory stays in RAM"), std::string::npos) << ended.errors;
  }
}

}  // namespace
}  // namespace godwit::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 3) {
    fprintf(stderr, "usage: process_test LIBGODWIT_MALLOC_SO VICTIM\n");
    return 2;
  }
  godwit::testing::library = argv[1];
  godwit::testing::victim = argv[2];
  return RUN_ALL_TESTS();
}
