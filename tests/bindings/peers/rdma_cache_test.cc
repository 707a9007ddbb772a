// SPDX-License-Identifier: MIT
// In the VM: libfabric's registration cache, over a NIC in software, drops what Godwit moves.
#include <gtest/gtest.h>
#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_ext.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "godwit_libfabric.h"
#include "tests/bindings/context_test.h"

namespace {

constexpr size_t kBytes = 4U << 20;
constexpr size_t kBuffer = 64U << 10;

/// Empty, or why there is no NIC.
std::string make_nic() {
  if (std::system(
          "modprobe rdma_rxe && modprobe ib_uverbs && modprobe rdma_ucm && modprobe dummy") != 0) {
    return "this kernel has no rxe";
  }
  if (std::system("rdma link show | grep -q rxe0") == 0) return "";
  return std::system(
             "ip link add nic0 type dummy && ip link set nic0 mtu 9000 up && "
             "ip address add 10.77.0.1/24 dev nic0 && "
             "rdma link add rxe0 type rxe netdev nic0") == 0
             ? ""
             : "no NIC can be made";
}

class RdmaCache : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string lacking = make_nic();
    if (!lacking.empty()) GTEST_SKIP() << lacking;
    ::setenv("FI_VERBS_MR_CACHE_ENABLE", "1", 1);
    ::setenv("GODWIT_ENGINE", GetParam(), 1);
    godwit_options options = godwit::small_options();
    options.engine = GetParam();
    ASSERT_EQ(godwit_context_create(&options, &context_), GODWIT_OK) << godwit_last_error();
    void* region = nullptr;
    ASSERT_EQ(godwit_allocate(context_, kBytes, 0, &region), GODWIT_OK);
    base_ = static_cast<char*>(region);
    std::memset(base_, 1, kBytes);
    ASSERT_EQ(godwit_libfabric_export(context_, &exporter_), 0);

    fi_info* hints = fi_allocinfo();
    hints->fabric_attr->prov_name = ::strdup("verbs");
    hints->ep_attr->type = FI_EP_MSG;
    hints->caps = FI_MSG | FI_RMA;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    const int error = fi_getinfo(FI_VERSION(1, 14), nullptr, nullptr, 0, hints, &info_);
    fi_freeinfo(hints);
    if (error != 0) GTEST_SKIP() << "libfabric has no verbs provider here: " << fi_strerror(-error);
    ASSERT_EQ(fi_fabric(info_->fabric_attr, &fabric_, nullptr), 0);
    ASSERT_EQ(fi_domain(fabric_, info_, &domain_, nullptr), 0);
  }
  void TearDown() override {
    if (domain_ != nullptr) {
      EXPECT_EQ(fi_close(&domain_->fid), 0);
    }
    if (fabric_ != nullptr) {
      EXPECT_EQ(fi_close(&fabric_->fid), 0);
    }
    if (info_ != nullptr) fi_freeinfo(info_);
    godwit_libfabric_end(exporter_);
    godwit_context_destroy(context_);
  }
  /// What a transfer does: a registration, from the cache where it has one. Its key.
  uint64_t use(char* at, size_t bytes) {
    fid_mr* region = nullptr;
    const int error =
        fi_mr_reg(domain_, at, bytes, FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_WRITE, 0,
                  0, 0, &region, nullptr);
    EXPECT_EQ(error, 0) << fi_strerror(-error);
    if (error != 0) return 0;
    const uint64_t key = fi_mr_key(region);
    EXPECT_EQ(fi_close(&region->fid), 0);
    return key;
  }
  uint64_t told() const {
    uint64_t count = 0;
    godwit_libfabric_counts(exporter_, &count, nullptr);
    return count;
  }
  godwit_move_report move(char* at, size_t bytes) {
    godwit_move_report report{};
    EXPECT_EQ(godwit_prefetch(context_, at, bytes, GODWIT_DEVICE, &report), GODWIT_OK);
    return report;
  }

  godwit_context* context_ = nullptr;
  godwit_libfabric* exporter_ = nullptr;
  char* base_ = nullptr;
  fi_info* info_ = nullptr;
  fid_fabric* fabric_ = nullptr;
  fid_domain* domain_ = nullptr;
};

TEST_P(RdmaCache, DropsARegistrationWhosePagesAreToMove) {
  const uint64_t first = use(base_, kBuffer);
  ASSERT_EQ(use(base_, kBuffer), first) << "there is no cache";
  uint64_t subscribed = 0;
  godwit_libfabric_counts(exporter_, nullptr, &subscribed);
  EXPECT_EQ(subscribed, 1U) << "the cache does not use the monitor";
  // The cache forgets the registration at once, and ends it, pin and all, at its next use.
  (void)move(base_, kBuffer);
  EXPECT_GE(told(), 1U);
  (void)use(base_ + kBytes / 2, kBuffer);
  const godwit_move_report report = move(base_, kBuffer);
  EXPECT_EQ(report.stayed, 0U);
  uint8_t state = 0;
  ASSERT_EQ(godwit_residency(context_, base_, 1, &state, 1), GODWIT_OK);
  EXPECT_EQ(state, GODWIT_PAGE_DEVICE);
  EXPECT_NE(use(base_, kBuffer), first) << "the cache answered with what it had registered before";
}

INSTANTIATE_TEST_SUITE_P(Engines, RdmaCache, ::testing::Values("user", "kernel"));

}  // namespace
