// SPDX-License-Identifier: MIT
#include "runtime/src/blas/cost_model.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

constexpr GemmRates kGpu{20e9, 20e9, 10e-6, 10e12, 100e9};

TEST(CostModel, CountsRealAndComplexOperations) {
  EXPECT_EQ(gemm_flops(false, 10, 20, 30), 2.0 * 10 * 20 * 30);
  EXPECT_EQ(gemm_flops(true, 10, 20, 30), 8.0 * 10 * 20 * 30);
  EXPECT_EQ(gemm_flops(false, 10, 20, 0), 2.0 * 10 * 20);
}

TEST(CostModel, FlopsOfHugeShapesDoNotOverflow) {
  EXPECT_EQ(gemm_flops(false, 1ULL << 31, 1ULL << 31, 2), 4.0 * 4611686018427387904.0);
}

TEST(CostModel, LargeProductGoesToAFastDevice) {
  const double flops = gemm_flops(false, 4096, 4096, 4096);
  const GemmTraffic traffic{3U << 27, 1U << 27, 0};
  const GemmDecision decision = decide_gemm(flops, traffic, kGpu, 1e12);
  EXPECT_TRUE(decision.offload) << decision.why;
  EXPECT_LT(decision.device_seconds, decision.cpu_seconds);
}

TEST(CostModel, SmallProductStaysBecauseOfTheLaunch) {
  const GemmDecision decision = decide_gemm(gemm_flops(false, 32, 32, 32), {}, kGpu, 1e12);
  EXPECT_FALSE(decision.offload) << decision.why;
}

TEST(CostModel, ThinProductStaysBecauseOfItsBytes) {
  const double flops = gemm_flops(false, 8192, 8192, 1);
  EXPECT_FALSE(decide_gemm(flops, {8192UL * 8192 * 8, 8192UL * 8192 * 8, 0}, kGpu, 1e12).offload);
  // The same product on data that is there already, and only there.
  EXPECT_TRUE(decide_gemm(flops, {0, 0, 8192UL * 8192 * 8}, kGpu, 1e12).offload);
}

TEST(CostModel, SlowDeviceIsNotUsed) {
  GemmRates rates = kGpu;
  rates.device_flops = 50e9;
  EXPECT_FALSE(decide_gemm(gemm_flops(false, 4096, 4096, 4096), {}, rates, 1e12).offload);
}

TEST(CostModel, UnknownDeviceIsNotUsed) {
  GemmRates rates = kGpu;
  rates.device_flops = 0;
  const GemmDecision decision =
      decide_gemm(gemm_flops(false, 4096, 4096, 4096), {}, rates, 1e12);
  EXPECT_FALSE(decision.offload);
  EXPECT_NE(decision.why.find("not known"), std::string::npos) << decision.why;
}

TEST(CostModel, UnknownCpuIsTakenToBeFast) {
  const double flops = gemm_flops(false, 4096, 4096, 4096);
  GemmRates rates = kGpu;
  rates.cpu_flops = 0;
  rates.device_flops = 90e9;
  EXPECT_FALSE(decide_gemm(flops, {}, rates, assumed_cpu_flops(true, 2)).offload);
  rates.device_flops = 10e12;
  EXPECT_TRUE(decide_gemm(flops, {}, rates, assumed_cpu_flops(true, 2)).offload);
}

TEST(CostModel, UnknownLinkHasAFiniteRate) {
  GemmRates rates = kGpu;
  rates.to_device = rates.from_device = 0;
  const GemmDecision decision = decide_gemm(1e6, {6000000000, 0, 0}, rates, 1e12);
  EXPECT_GT(decision.device_seconds, 0.5);
  EXPECT_LT(decision.device_seconds, 5);
}

TEST(CostModel, SaysWhatItRestsOn) {
  const GemmDecision decision =
      decide_gemm(2e12, {5UL << 20, 3UL << 10, 7UL << 30}, kGpu, 1e12);
  for (const char* part : {"5.0 MiB", "3.0 KiB", "7.00 GiB", "10000.0 GFLOP/s", "measured"}) {
    EXPECT_NE(decision.why.find(part), std::string::npos) << part << " in: " << decision.why;
  }
}

}  // namespace
}  // namespace godwit
