// SPDX-License-Identifier: MIT
// libfabric takes Godwit's monitor and is told of moves. A cache that drops a registration takes a
// provider with memory registration, so RDMA hardware, or rxe in the VM: rdma_cache_test.cc.
#include <gtest/gtest.h>
#include <rdma/fabric.h>
#include <rdma/fi_ext.h>

#include <cerrno>
#include <cstring>

#include "godwit_libfabric.h"
#include "tests/bindings/context_test.h"

namespace {

constexpr size_t kBytes = 4U << 20;

class Libfabric : public godwit::ContextTest {};

TEST_F(Libfabric, TakesOneMonitorAndIsNotToldWhileNoCacheListens) {
  godwit_libfabric* exporter = nullptr;
  godwit_libfabric* second = nullptr;
  ASSERT_EQ(godwit_libfabric_export(context_, &exporter), 0);
  EXPECT_EQ(godwit_libfabric_export(context_, &second), -EBUSY) << "libfabric has one at most";
  EXPECT_EQ(second, nullptr);
  char* base = region(kBytes);
  std::memset(base, 1, kBytes);
  move(base, kBytes, GODWIT_DEVICE);
  uint64_t told = 1;
  uint64_t subscribed = 1;
  godwit_libfabric_counts(exporter, &told, &subscribed);
  EXPECT_EQ(told, 0U);
  EXPECT_EQ(subscribed, 0U);
  godwit_libfabric_end(exporter);
  godwit_libfabric_end(nullptr);
  // Moves go on without it.
  move(base, kBytes, GODWIT_HOST);
}

}  // namespace
