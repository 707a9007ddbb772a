// SPDX-License-Identifier: MIT
// A program that takes the kernel with it in its second case.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>

namespace {

// With the agent stopped: what a program has written before a panic needs nobody to bring it out.
TEST(Panics, PassesBefore) { ASSERT_EQ(kill(getppid(), SIGSTOP), 0); }

TEST(Panics, CrashesTheKernel) { std::ofstream("/proc/sysrq-trigger") << "c"; }

TEST(Panics, NeverRuns) {}

}  // namespace
