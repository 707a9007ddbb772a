// SPDX-License-Identifier: MIT
// Cases of every outcome, in the VM.
#include <gtest/gtest.h>

#include <fstream>

namespace {

TEST(Cases, Passes) {}

TEST(Cases, Fails) { EXPECT_EQ(1, 2) << "as it should"; }

TEST(Cases, Skips) { GTEST_SKIP() << "not today"; }

// The program notices nothing.
TEST(Cases, MakesTheKernelWarn) {
  std::ofstream("/sys/module/godwit_selftest/parameters/misbehave") << "warn";
}

TEST(Cases, PassesAfterTheWarning) {}

}  // namespace
