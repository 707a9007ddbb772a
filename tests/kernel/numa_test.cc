// SPDX-License-Identifier: MIT
// NUMA balancing hides pages, to see who touches them next. They are there all the same, and a device that gets one has touched
// it.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/kernel/jobs.h"
#include "tests/kernel/proc.h"
#include "tests/kernel/settings.h"

namespace godwit::guest {
namespace {

constexpr size_t kBytes = size_t{8} << 20;

constexpr char kSwitch[] = "/proc/sys/kernel/numa_balancing";
const std::string kScan = "/sys/kernel/debug/sched/numa_balancing/";

// Of how many pages the kernel has taken the access, since it began.
size_t hidden_so_far() { return figure("/proc/vmstat", "numa_pte_updates"); }

class Hidden : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  // Once for all: each time the kernel patches its scheduler, which the emulator sometimes does not get right (docs/vm.md).
  static void SetUpTestSuite() {
    if (access(kSwitch, W_OK) == 0) on_ = new Settings({{kSwitch, "1"}});
  }
  static void TearDownTestSuite() {
    delete on_;
    on_ = nullptr;
  }
  void SetUp() override {
    DeviceTest::SetUp();
    if (on_ == nullptr) GTEST_SKIP() << "this kernel has no NUMA balancing";
    if (huge() && gpu_.info().huge_page_size == 0) GTEST_SKIP() << "the device has one page size";
    fill(memory().data(), kBytes, 1);
    ASSERT_TRUE(hide());
  }
  void TearDown() override {
    memory_.reset();
    DeviceTest::TearDown();
  }

  bool huge() const { return GetParam(); }
  const Memory& memory() {
    if (!memory_) memory_ = std::make_unique<Memory>(kBytes, huge() ? Memory::kHugePages : Memory::kAnonymous);
    return *memory_;
  }

  // Only who has two threads has its pages looked after where they are already: afterwards it is as if it were off.
  static bool balance_until(const std::function<bool()>& is_so) {
    const Settings hurry{{kScan + "scan_delay_ms", "10"}, {kScan + "scan_period_min_ms", "10"}, {kScan + "scan_size_mb", "256"}};
    const Meanwhile busy(1, [] { return 1; });
    return soon(is_so);
  }

  // Nearly all pages, when it returns; it begins with no more.
  static bool hide() {
    const size_t before = hidden_so_far();
    return balance_until([before] { return hidden_so_far() - before >= kBytes / kPage; });
  }

  // The pages that may be written.
  size_t writable() {
    std::vector<uint32_t> pages;
    gpu_.residency(memory().data(), kBytes, &pages);
    return static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](uint32_t page) { return page & GODWIT_PAGE_WRITABLE; }));
  }

 private:
  inline static const Settings* on_ = nullptr;
  std::unique_ptr<Memory> memory_;
};

TEST_P(Hidden, PagesAreWhereTheyAre) {
  std::vector<uint32_t> pages;
  EXPECT_EQ(gpu_.residency(memory().data(), kBytes, &pages).in_system, kBytes / kPage);
  EXPECT_EQ(gpu_.to_ram(memory().data(), kBytes).already, kBytes / kPage);
  EXPECT_BYTES(memory().data(), kBytes, 1u);
}

TEST_P(Hidden, PagesMoveAndMayBeWrittenThere) {
  const auto moved = gpu_.migrate(memory().data(), kBytes, GODWIT_PLACE_VRAM, GODWIT_MIGRATE_SKIP_EMPTY);
  EXPECT_EQ(moved.moved, kBytes / kPage);
  EXPECT_EQ(moved.moved_huge, huge() ? kBytes / kPage : 0);
  const uint64_t faults = gpu_.stat(GODWIT_STAT_CPU_FAULTS);
  EXPECT_TRUE(execute(gpu_, {op::add(memory().data(), kBytes, 0)}).ok());
  // What comes home to be written.
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_CPU_FAULTS), faults);
  EXPECT_EQ(gpu_.in_vram(memory().data(), kBytes), kBytes / kPage);
  EXPECT_BYTES(memory().data(), kBytes, 1u);
}

TEST_P(Hidden, PagesComeWhenTheDeviceTouchesThem) {
  EXPECT_TRUE(execute(gpu_, {op::add(memory().data(), kBytes, 0)}).ok());
  std::vector<uint32_t> pages;
  EXPECT_EQ(gpu_.residency(memory().data(), kBytes, &pages).in_vram, kBytes / kPage);
  if (huge()) {
    for (size_t i = 0; i < pages.size(); ++i) ASSERT_TRUE(pages[i] & GODWIT_PAGE_HUGE) << i;
  }
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_CPU_FAULTS), 0u);
  EXPECT_BYTES(memory().data(), kBytes, 1u);
}

// The kernel takes the right to write from pages in VRAM as well, and a touch is all that gives it back. They come home
// together, as for a CPU, and not one for each page that is written.
TEST_P(Hidden, PagesInVramComeHomeTogetherToBeWritten) {
  gpu_.to_vram(memory().data(), kBytes);
  ASSERT_EQ(writable(), kBytes / kPage);
  ASSERT_TRUE(balance_until([this] { return writable() == 0; }));
  EXPECT_EQ(gpu_.in_vram(memory().data(), kBytes), kBytes / kPage);
  EXPECT_TRUE(execute(gpu_, {op::checksum(memory().data(), kBytes)}).ok());
  const uint64_t faults = gpu_.stat(GODWIT_STAT_CPU_FAULTS);
  EXPECT_TRUE(execute(gpu_, {op::add(memory().data(), kBytes, 0)}).ok());
  EXPECT_LE(gpu_.stat(GODWIT_STAT_CPU_FAULTS) - faults, kBytes / (huge() ? kHuge : 16 * kPage));
  EXPECT_EQ(gpu_.in_vram(memory().data(), kBytes), kBytes / kPage);
  EXPECT_BYTES(memory().data(), kBytes, 1u);
}

// What docs/residency.md advises.
TEST_P(Hidden, PagesWithALocalPolicyAreLeftAlone) {
  constexpr int kLocal = 4;
  ASSERT_EQ(syscall(SYS_mbind, memory().data(), kBytes, kLocal, nullptr, 0, 0), 0) << strerror(errno);
  gpu_.to_vram(memory().data(), kBytes);
  const Memory other(kBytes);
  fill(other.data(), kBytes, 2);
  const size_t before = writable();
  ASSERT_EQ(before, kBytes / kPage);
  ASSERT_TRUE(hide());
  EXPECT_EQ(writable(), before);
}

TEST_P(Hidden, PagesAreUsedInPlace) {
  EXPECT_TRUE(execute(gpu_, {op::add(memory().data(), kBytes, 0, GODWIT_COMMAND_IN_PLACE)}).ok());
  EXPECT_EQ(gpu_.residency(memory().data(), kBytes).in_system, kBytes / kPage);
  EXPECT_BYTES(memory().data(), kBytes, 1u);
}

INSTANTIATE_TEST_SUITE_P(Pages, Hidden, ::testing::Values(false, true),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

}  // namespace
}  // namespace godwit::guest
