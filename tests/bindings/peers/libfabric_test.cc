// SPDX-License-Identifier: MIT
// libfabric takes Godwit's monitor and is told of moves. A cache that drops a registration takes a
// provider with memory registration, so RDMA hardware, or rxe in the VM: rdma_cache_test.cc.
#include <gtest/gtest.h>
#include <rdma/fabric.h>
#include <rdma/fi_ext.h>

#include <cerrno>
#include <cstring>

#include "godwit_libfabric.h"

namespace {

constexpr size_t kBytes = 4U << 20;

class Libfabric : public ::testing::Test {
 protected:
  void SetUp() override {
    godwit_options options{};
    options.size = sizeof(options);
    options.device = "soft";
    options.vram_bytes = 16U << 20;
    options.arena_bytes = 256U << 20;
    options.pool_bytes = 8U << 20;
    const int code = godwit_context_create(&options, &context_);
    if (code == GODWIT_UNAVAILABLE) GTEST_SKIP() << "lacks userfaultfd: " << godwit_last_error();
    ASSERT_EQ(code, GODWIT_OK) << godwit_last_error();
  }
  void TearDown() override { godwit_context_destroy(context_); }
  godwit_context* context_ = nullptr;
};

TEST_F(Libfabric, TakesOneMonitorAndIsNotToldWhileNoCacheListens) {
  godwit_libfabric* exporter = nullptr;
  godwit_libfabric* second = nullptr;
  ASSERT_EQ(godwit_libfabric_export(context_, &exporter), 0);
  EXPECT_EQ(godwit_libfabric_export(context_, &second), -EBUSY) << "libfabric has one at most";
  EXPECT_EQ(second, nullptr);
  void* base = nullptr;
  ASSERT_EQ(godwit_allocate(context_, kBytes, 0, &base), GODWIT_OK);
  std::memset(base, 1, kBytes);
  godwit_move_report report{};
  ASSERT_EQ(godwit_prefetch(context_, base, kBytes, GODWIT_DEVICE, &report), GODWIT_OK);
  EXPECT_EQ(report.stayed, 0U);
  uint64_t told = 1;
  uint64_t subscribed = 1;
  godwit_libfabric_counts(exporter, &told, &subscribed);
  EXPECT_EQ(told, 0U);
  EXPECT_EQ(subscribed, 0U);
  godwit_libfabric_end(exporter);
  godwit_libfabric_end(nullptr);
  // Moves go on without it.
  EXPECT_EQ(godwit_prefetch(context_, base, kBytes, GODWIT_HOST, &report), GODWIT_OK);
  EXPECT_EQ(report.stayed, 0U);
}

}  // namespace
