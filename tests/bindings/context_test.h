// SPDX-License-Identifier: MIT
// A context of the C interface, over the soft device with little VRAM.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "godwit.h"

namespace godwit {

inline godwit_options small_options() {
  godwit_options options{};
  options.size = sizeof(options);
  options.device = "soft";
  options.vram_bytes = 16U << 20;
  options.arena_bytes = 256U << 20;
  options.pool_bytes = 8U << 20;
  return options;
}

/// A derived SetUp() calls this one, and returns where `context_` is null after it.
class ContextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const godwit_options options = small_options();
    const int code = godwit_context_create(&options, &context_);
    if (code == GODWIT_UNAVAILABLE) GTEST_SKIP() << "lacks userfaultfd: " << godwit_last_error();
    ASSERT_EQ(code, GODWIT_OK) << godwit_last_error();
  }
  void TearDown() override { godwit_context_destroy(context_); }

  [[nodiscard]] char* region(size_t bytes) {
    void* made = nullptr;
    EXPECT_EQ(godwit_allocate(context_, bytes, 0, &made), GODWIT_OK) << godwit_last_error();
    return static_cast<char*>(made);
  }
  /// All of it, to the device or home.
  void move(char* at, size_t bytes, int place) {
    godwit_move_report report{};
    ASSERT_EQ(godwit_prefetch(context_, at, bytes, place, &report), GODWIT_OK);
    EXPECT_EQ(report.stayed, 0U);
  }

  godwit_context* context_ = nullptr;
};

}  // namespace godwit
