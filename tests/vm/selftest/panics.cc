// SPDX-License-Identifier: MIT
// A program that takes the kernel with it in its second case.
#include <gtest/gtest.h>

#include <fstream>

namespace {

TEST(Panics, PassesBefore) {}

TEST(Panics, CrashesTheKernel) { std::ofstream("/proc/sysrq-trigger") << "c"; }

TEST(Panics, NeverRuns) {}

}  // namespace
