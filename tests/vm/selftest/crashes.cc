// SPDX-License-Identifier: MIT
// A program that dies in its second case.
#include <gtest/gtest.h>

#include <cstdlib>

namespace {

TEST(Crashes, PassesBefore) {}

TEST(Crashes, Aborts) { std::abort(); }

TEST(Crashes, NeverRuns) {}

}  // namespace
