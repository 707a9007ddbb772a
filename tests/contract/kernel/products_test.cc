// SPDX-License-Identifier: MIT
// Products of memory that plain malloc gave, in the VM: by the soft device, and by a Vulkan driver
// that imports the module's views.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "godwit/context.h"
#include "runtime/src/blas/gemm.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit {
namespace {

class Products : public ::testing::TestWithParam<const char*> {};

/// C := A * B + C of n x n doubles in plain malloc memory.
void multiply(const char* device, std::int64_t n, bool fits) {
  ContextOptions options;
  options.engine = "kernel";
  options.device = device;
  auto context = Context::create(options);
  ASSERT_TRUE(context) << context.error().to_string();
  const auto count = static_cast<std::size_t>(n * n);
  std::vector<double> a(count);
  std::vector<double> b(count);
  std::vector<double> c(count);
  for (std::size_t i = 0; i < count; ++i) {
    a[i] = static_cast<double>(i % 7);
    b[i] = static_cast<double>(i % 5) - 2;
    c[i] = static_cast<double>(i % 3);
  }
  GemmRequest request;
  request.type = ScalarType::kDouble;
  request.m = request.n = request.k = n;
  request.alpha[0] = 1;
  request.beta[0] = 1;
  request.a = a.data();
  request.b = b.data();
  request.c = c.data();
  request.lda = request.ldb = request.ldc = n;
  request.offload = Offload::kAlways;
  const std::vector<double> before = c;
  const GemmOutcome outcome = (*context)->gemm().run(request);
  ASSERT_TRUE(outcome.offloaded) << outcome.why;
  const Statistics& statistics = (*context)->statistics();
  if (fits) {
    EXPECT_EQ(statistics.staged_bytes, 0U) << "operands are used where they are; " << outcome.why;
  } else {
    EXPECT_NE(outcome.why.find("in tiles"), std::string::npos) << outcome.why;
  }
  EXPECT_GT(of((*context)->telemetry().statistics(), Cause::kDeviceAccess).pages_to_device, 0U);
  const auto size = static_cast<std::size_t>(n);
  for (std::size_t column = 0; column < size; column += 3) {
    for (std::size_t row = 0; row < size; row += 5) {
      double wanted = before[column * size + row];
      for (std::size_t i = 0; i < size; ++i) wanted += a[i * size + row] * b[column * size + i];
      ASSERT_EQ(c[column * size + row], wanted) << row << ", " << column;
    }
  }
}

TEST_P(Products, OfPlainMallocMemoryAreMadeInPlace) { multiply(GetParam(), 300, true); }

// 16 MiB of VRAM, 3 x 7.6 MiB.
TEST_P(Products, LargerThanVramAreMadeInTiles) { multiply(GetParam(), 1000, false); }

INSTANTIATE_TEST_SUITE_P(Devices, Products, ::testing::Values("soft", "vulkan"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace godwit
