// SPDX-License-Identifier: MIT
// Allocations that fail, on a kernel with fault injection: errors are reported, and nothing is lost.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

const std::string kDebug = "/sys/kernel/debug/";
const std::string kReady = "/sys/module/godwit/parameters/ready";

// Allocations of this thread fail, with a chance of one in `one_in` each.
class Failing {
 public:
  Failing(const std::string& what, int one_in) : folder_(kDebug + what + "/") {
    set("task-filter", "1");
    set("verbose", "0");
    set("times", "-1");
    set("space", "0");
    set("ignore-gfp-wait", "0", true);
    set("ignore-gfp-highmem", "0", true);
    set("min-order", "0", true);
    set("interval", "1");
    set("probability", std::to_string(100 / one_in));
    EXPECT_EQ(own("1"), 0);
  }
  ~Failing() {
    // To say so takes allocations as well.
    int result = -ENOMEM;
    for (int attempt = 0; result != 0 && attempt < 10000; ++attempt) result = own("0");
    EXPECT_EQ(result, 0);
    set("probability", "0");
  }
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;

 private:
  void set(const std::string& name, const std::string& value, bool optional = false) {
    const int result = write_file(folder_ + name, value);
    EXPECT_TRUE(result == 0 || (optional && result == -ENOENT)) << folder_ + name;
  }
  static int own(const char* value) {
    return write_file("/proc/thread-self/make-it-fail", value);
  }
  std::string folder_;
};

struct Injection {
  const char* what;
  int one_in;
};

class Injected : public DeviceTest, public ::testing::WithParamInterface<Injection> {
 protected:
  void SetUp() override {
    struct stat found = {};
    if (stat((kDebug + GetParam().what).c_str(), &found) != 0) {
      GTEST_SKIP() << "this kernel has no fault injection";
    }
    // Code that is not in memory yet would have to be read through the failures.
    ASSERT_EQ(mlockall(MCL_CURRENT), 0);
    DeviceTest::SetUp();
    // Pages that are ready need no allocation that could fail.
    ready_ = read_file(kReady);
    ASSERT_EQ(write_file(kReady, "0"), 0);
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(write_file(kReady, ready_), 0);
    DeviceTest::TearDown();
    munlockall();
  }

  // The call as it is, with whatever errno.
  int move(const Memory& memory, uint32_t to, drm_godwit_migrate* args) {
    *args = {};
    args->addr = reinterpret_cast<uintptr_t>(memory.data());
    args->length = memory.size();
    args->to = to;
    return gpu_.call(DRM_IOCTL_GODWIT_MIGRATE, args);
  }

 private:
  std::string ready_;
};

uint64_t accounted(const drm_godwit_migrate& args) {
  uint64_t pages = args.moved + args.already;
  for (const uint64_t stayed : args.stayed) pages += stayed;
  return pages;
}

TEST_P(Injected, MigrationReportsAndLosesNothing) {
  int failed = 0, partial = 0;
  for (uint64_t round = 0; round < 40; ++round) {
    Memory memory(2 * kHuge, round % 2 ? Memory::kHugePages : Memory::kAnonymous);
    fill(memory.data(), memory.size(), round);
    drm_godwit_migrate up = {}, down = {};
    int result[2];
    {
      Failing failing(GetParam().what, GetParam().one_in);
      result[0] = move(memory, GODWIT_PLACE_VRAM, &up);
      result[1] = move(memory, GODWIT_PLACE_SYSTEM, &down);
    }
    for (int i = 0; i < 2; ++i) {
      const drm_godwit_migrate& args = i ? down : up;
      EXPECT_TRUE(result[i] == 0 || result[i] == -ENOMEM) << result[i];
      failed += result[i] != 0;
      if (result[i] == 0) {
        EXPECT_EQ(accounted(args), memory.size() / kPage);
        partial += args.moved + args.already < memory.size() / kPage;
      }
    }
    EXPECT_BYTES(memory.data(), memory.size(), round);
    // Nothing was left behind that would keep the pages from moving.
    EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), round);
  }
  EXPECT_GT(failed + partial, 0) << "no failure was injected where it matters";
  RecordProperty("failed", failed);
  RecordProperty("partial", partial);
}

TEST_P(Injected, EvictionReportsAndLosesNothing) {
  size_t stayed = 0;
  int failed = 0;
  for (uint64_t round = 0; round < 30; ++round) {
    Memory memory(2 * kHuge, round % 2 ? Memory::kHugePages : Memory::kAnonymous);
    fill(memory.data(), memory.size(), 100 + round);
    gpu_.to_vram(memory.data(), memory.size());
    drm_godwit_evict evict = {};
    evict.what = GODWIT_EVICT_DEVICE;
    int result = 0;
    {
      Failing failing(GetParam().what, GetParam().one_in);
      result = gpu_.call(DRM_IOCTL_GODWIT_EVICT, &evict);
    }
    EXPECT_TRUE(result == 0 || result == -ENOMEM) << result;
    if (result == 0) {
      EXPECT_EQ(evict.evicted + evict.stayed, memory.size() / kPage);
      EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), evict.stayed);
    }
    stayed += evict.stayed;
    failed += result != 0;
    EXPECT_BYTES(memory.data(), memory.size(), 100 + round);
  }
  // What an eviction takes comes from the page allocator.
  if (std::string(GetParam().what) == "fail_page_alloc") {
    EXPECT_GT(stayed + static_cast<size_t>(failed), 0u) << "no failure was injected where it matters";
  }
}

// A CPU that finds no RAM to bring a page home to tries again (the kernel's answer to VM_FAULT_OOM): the program sees the
// right bytes, late.
TEST_P(Injected, CpuFaultsGoOnAndLoseNothing) {
  Memory memory(size_t{1} << 20);
  for (uint64_t round = 0; round < 10; ++round) {
    fill(memory.data(), memory.size(), 200 + round);
    gpu_.to_vram(memory.data(), memory.size());
    ptrdiff_t where = 0;
    {
      Failing failing(GetParam().what, 4 * GetParam().one_in);
      where = differs(memory.data(), memory.size(), 200 + round);
    }
    EXPECT_EQ(where, -1) << round;
  }
}

TEST_P(Injected, OtherCallsReportAndLoseNothing) {
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 300);
  gpu_.to_vram(memory.data(), memory.size());
  for (int round = 0; round < 60; ++round) {
    Device other;
    ASSERT_GE(other.fd(), 0);
    Failing failing(GetParam().what, GetParam().one_in);
    drm_godwit_attach attach = {};
    attach.client_version = GODWIT_UAPI_VERSION;
    int result = other.call(DRM_IOCTL_GODWIT_ATTACH, &attach);
    EXPECT_TRUE(result == 0 || result == -ENOMEM) << result;
    drm_godwit_events events = {};
    events.capacity = 256;
    events.types = 2;
    result = other.call(DRM_IOCTL_GODWIT_EVENTS, &events);
    EXPECT_TRUE(result == 0 || result == -ENOMEM) << result;
    drm_godwit_watch watch = {};
    watch.addr = reinterpret_cast<uintptr_t>(memory.data());
    watch.length = memory.size();
    result = other.call(DRM_IOCTL_GODWIT_WATCH, &watch);
    EXPECT_TRUE(result == 0 || result == -ENOMEM || result == -ENXIO) << result;
    drm_godwit_residency residency = {};
    residency.addr = watch.addr;
    residency.length = watch.length;
    result = other.call(DRM_IOCTL_GODWIT_RESIDENCY, &residency);
    EXPECT_TRUE(result == 0 || result == -ENOMEM) << result;
  }
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 300u);
}

INSTANTIATE_TEST_SUITE_P(Where, Injected,
                         ::testing::Values(Injection{"failslab", 5}, Injection{"failslab", 50},
                                           Injection{"fail_page_alloc", 5},
                                           Injection{"fail_page_alloc", 50}),
                         [](const auto& suite) {
                           std::string name = suite.param.what;
                           std::erase(name, '_');
                           return name + std::to_string(suite.param.one_in);
                         });

}  // namespace
}  // namespace godwit::guest
