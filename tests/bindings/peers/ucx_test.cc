// SPDX-License-Identifier: MIT
// UCX's own registration cache drops what Godwit moves. What it registers here is counted, not
// pinned: no RDMA hardware is needed to see the cache at work.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <ucm/api/ucm.h>
extern "C" {
#include <ucs/memory/rcache.h>
}

#include <atomic>
#include <cstring>

#include "godwit_ucx.h"
#include "tests/bindings/context_test.h"

namespace {

constexpr size_t kBytes = 4U << 20;

struct Counts {
  std::atomic<int> registered{0};
  std::atomic<int> dropped{0};
};

ucs_status_t register_region(void* context, ucs_rcache_t*, void*, ucs_rcache_region_t*, uint16_t) {
  ++static_cast<Counts*>(context)->registered;
  return UCS_OK;
}
void drop_region(void* context, ucs_rcache_t*, ucs_rcache_region_t*) {
  ++static_cast<Counts*>(context)->dropped;
}
void dump_region(void*, ucs_rcache_t*, ucs_rcache_region_t*, char* text, size_t most) {
  if (most != 0) *text = '\0';
}

class Ucx : public godwit::ContextTest {
 protected:
  void SetUp() override {
    ContextTest::SetUp();
    if (context_ == nullptr) return;
    base_ = region(kBytes);
    std::memset(base_, 1, kBytes);

    static const ucs_rcache_ops_t ops = {register_region, drop_region, dump_region};
    ucs_rcache_params_t params{};
    params.region_struct_size = sizeof(ucs_rcache_region_t);
    params.alignment = 4096;
    params.max_alignment = 4096;
    params.ucm_events = UCM_EVENT_VM_UNMAPPED;
    params.ucm_event_priority = 1000;
    params.ops = &ops;
    params.context = &counts_;
    params.max_regions = 1000;
    params.max_size = size_t{1} << 30;
    params.max_unreleased = size_t{1} << 30;
    ASSERT_EQ(ucs_rcache_create(&params, "godwit", nullptr, &cache_), UCS_OK);
  }
  void TearDown() override {
    if (cache_ != nullptr) ucs_rcache_destroy(cache_);
    godwit_ucx_end(exporter_);
    ContextTest::TearDown();
  }
  /// A transfer from these bytes: a registration, from the cache where it has one.
  void use(char* at, size_t bytes) {
    ucs_rcache_region_t* region = nullptr;
    ASSERT_EQ(ucs_rcache_get(cache_, at, bytes, PROT_READ | PROT_WRITE, nullptr, &region), UCS_OK);
    ucs_rcache_region_put(cache_, region);
  }

  godwit_ucx* exporter_ = nullptr;
  ucs_rcache_t* cache_ = nullptr;
  char* base_ = nullptr;
  Counts counts_;
};

TEST_F(Ucx, ARegistrationCacheDropsWhatMoves) {
  ASSERT_EQ(godwit_ucx_export(context_, &exporter_), GODWIT_OK) << godwit_last_error();
  char* other = base_ + kBytes / 2;
  use(base_, 8192);
  use(other, 8192);
  use(base_, 8192);
  EXPECT_EQ(counts_.registered, 2) << "the third was in the cache";
  move(base_, kBytes / 2, GODWIT_DEVICE);
  EXPECT_GE(godwit_ucx_told(exporter_), 1U);
  use(base_, 8192);
  EXPECT_EQ(counts_.registered, 3) << "registered anew";
  EXPECT_EQ(counts_.dropped, 1);
  use(other, 8192);
  EXPECT_EQ(counts_.registered, 3) << "what has not moved is still in the cache";
}

// What the exporter is for: without it the cache answers with a registration of pages that are
// gone.
TEST_F(Ucx, WithoutTheExporterTheCacheKeepsWhatIsGone) {
  use(base_, 8192);
  move(base_, kBytes / 2, GODWIT_DEVICE);
  use(base_, 8192);
  EXPECT_EQ(counts_.registered, 1);
  EXPECT_EQ(counts_.dropped, 0);
}

TEST_F(Ucx, AHandlerSeesTheRangeBeforeThePagesGo) {
  struct Seen {
    const char* base = nullptr;
    std::atomic<size_t> bytes{0};
    std::atomic<bool> in_ram{true};
    godwit_context* context = nullptr;
  } seen;
  seen.base = base_;
  seen.context = context_;
  const auto handler = [](ucm_event_type_t, ucm_event_t* event, void* argument) {
    auto* to = static_cast<Seen*>(argument);
    const auto* at = static_cast<const char*>(event->vm_unmapped.address);
    if (at < to->base || at >= to->base + kBytes) return;  // UCX's own view of munmap and the like
    uint8_t state = 0;
    if (godwit_residency(to->context, at, 1, &state, 1) != GODWIT_OK || state != GODWIT_PAGE_HOST) {
      to->in_ram = false;
    }
    to->bytes += event->vm_unmapped.size;
  };
  ASSERT_EQ(ucm_set_event_handler(UCM_EVENT_VM_UNMAPPED, 1000, handler, &seen), UCS_OK);
  ASSERT_EQ(godwit_ucx_export(context_, &exporter_), GODWIT_OK);
  move(base_, kBytes, GODWIT_DEVICE);
  ucm_unset_event_handler(UCM_EVENT_VM_UNMAPPED, handler, &seen);
  EXPECT_GE(seen.bytes, kBytes);
  EXPECT_TRUE(seen.in_ram) << "told after the move";
}

}  // namespace
