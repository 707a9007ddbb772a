// SPDX-License-Identifier: MIT
// What only the debug kernel sees.
#include <gtest/gtest.h>

#include <fstream>

namespace {

void misbehave(const char* how) {
  std::ofstream file("/sys/module/godwit_selftest/parameters/misbehave");
  file << how << std::flush;
  EXPECT_TRUE(file.good()) << how;
}

TEST(DebugChecks, PassesBefore) {}

// First: lockdep goes off at the first complaint of any other kind.
TEST(DebugChecks, InvertsLocks) { misbehave("invert_locks"); }

TEST(DebugChecks, UsesMemoryAfterFree) { misbehave("use_after_free"); }

// KASAN goes on after its first report.
TEST(DebugChecks, UsesMemoryAfterFreeAgain) { misbehave("use_after_free"); }

TEST(DebugChecks, SleepsWhileAtomic) { misbehave("sleep_while_atomic"); }

// Found when all is over.
TEST(DebugChecks, LeaksMemory) { misbehave("leak"); }

TEST(DebugChecks, PassesAfter) {}

}  // namespace
