// SPDX-License-Identifier: MIT
// RAM that is kept ready for pages that come home: it is used, made up for, given back, and never taken for more than it is.
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "tests/kernel/guest.h"
#include "tests/kernel/settings.h"

namespace godwit::guest {
namespace {

const std::string kParameter = "/sys/module/godwit/parameters/ready";

// A line of godwit_ready, of small or of huge pages.
struct Shelf {
  unsigned ready = 0, want = 0;
  unsigned long taken = 0;
};

Shelf look(const std::string& device, bool huge) {
  std::istringstream lines(read_file("/sys/kernel/debug/dri/" + device + "/godwit_ready"));
  std::string header;
  std::getline(lines, header);
  unsigned order = 0;
  Shelf shelf;
  while (lines >> order >> shelf.ready >> shelf.want >> shelf.taken) {
    if ((order != 0) == huge) return shelf;
  }
  ADD_FAILURE() << "nothing is known of pages that are ready";
  return {};
}

class Pool : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    name_ = gpu_.info().name;
    few_ = std::make_unique<Settings>(Settings::List{{kParameter, "4"}});
    if (huge() && gpu_.info().huge_page_size == 0) GTEST_SKIP() << "the device has one page size";
  }
  void TearDown() override {
    few_.reset();
    DeviceTest::TearDown();
  }

  bool huge() const { return GetParam(); }
  size_t page() const { return huge() ? kHuge : kPage; }
  Shelf shelf() const { return look(name_, huge()); }
  bool full() const {
    const Shelf now = shelf();
    return now.want != 0 && now.ready == now.want;
  }
  // The module asks for none before there is a need: one page that comes home is enough.
  void fill_shelf() {
    round_trip(page(), 99);
    ASSERT_TRUE(soon([this] { return full(); })) << shelf().ready << " of " << shelf().want;
  }
  // To VRAM and home by a call, every byte as it was.
  void round_trip(size_t bytes, uint64_t seed) {
    const Memory memory(bytes, huge() ? Memory::kHugePages : Memory::kAnonymous);
    fill(memory.data(), bytes, seed);
    ASSERT_EQ(gpu_.to_vram(memory.data(), bytes).moved, bytes / kPage);
    ASSERT_EQ(gpu_.to_ram(memory.data(), bytes).moved, bytes / kPage);
    EXPECT_BYTES(memory.data(), bytes, seed);
  }

  std::string name_;

 private:
  std::unique_ptr<Settings> few_;
};

TEST_P(Pool, PagesThatComeHomeTakeWhatIsReady) {
  fill_shelf();
  const unsigned long before = shelf().taken;
  round_trip(size_t{4} << 20, 1);
  EXPECT_GE(shelf().taken - before, (size_t{4} << 20) / page());
}

TEST_P(Pool, ACpuThatTouchesAPageTakesWhatIsReady) {
  const size_t bytes = kHuge;
  const Memory memory(bytes, huge() ? Memory::kHugePages : Memory::kAnonymous);
  fill(memory.data(), bytes, 2);
  fill_shelf();
  gpu_.to_vram(memory.data(), bytes);
  const unsigned long before = shelf().taken;
  EXPECT_BYTES(memory.data(), bytes, 2u);
  EXPECT_GE(shelf().taken - before, bytes / page());
}

TEST_P(Pool, WhatWasTakenIsMadeUpFor) {
  for (uint64_t round = 0; round < 5; ++round) {
    fill_shelf();
    round_trip(size_t{4} << 20, 10 + round);
  }
  EXPECT_TRUE(soon([this] { return full(); }));
}

TEST_P(Pool, MoreThanIsReadyComesHomeAsWell) {
  fill_shelf();
  round_trip(size_t{16} << 20, 3);
}

TEST_P(Pool, MemoryPressureTakesThemAll) {
  fill_shelf();
  // All shrinkers are asked for what they have. A worker that is just ending its round sees what is missing then.
  EXPECT_TRUE(soon([this] { return write_file("/proc/sys/vm/drop_caches", "2") == 0 && shelf().ready == 0; }));
  round_trip(size_t{4} << 20, 4);
  EXPECT_TRUE(soon([this] { return full(); }));
}

TEST_P(Pool, ThereAreNoneWhileNobodyHasTheDeviceOpen) {
  fill_shelf();
  gpu_.close();
  EXPECT_TRUE(soon([this] { return shelf().ready == 0; }));
  EXPECT_EQ(shelf().want, 0u);
}

TEST_P(Pool, ZeroIsNone) {
  fill_shelf();
  ASSERT_EQ(write_file(kParameter, "0"), 0);
  EXPECT_TRUE(soon([this] { return shelf().ready == 0; }));
  const unsigned long before = shelf().taken;
  round_trip(size_t{4} << 20, 5);
  EXPECT_EQ(shelf().taken, before);
  EXPECT_EQ(shelf().ready, 0u);
}

TEST_P(Pool, MoreThanAGigabyteIsRefused) {
  EXPECT_EQ(write_file(kParameter, "1025"), -EINVAL);
  EXPECT_EQ(read_file(kParameter), "4\n");
}

TEST_P(Pool, WhoeverHasAMemoryPolicyIsServedByTheKernel) {
  fill_shelf();
  const unsigned long nodes = 1;
  if (syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 8 * sizeof(nodes)) != 0) {
    GTEST_SKIP() << "this kernel has no memory policies";
  }
  const unsigned long before = shelf().taken;
  round_trip(size_t{4} << 20, 6);
  EXPECT_EQ(shelf().taken, before);
  EXPECT_EQ(syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(Pages, Pool, ::testing::Bool(),
                         [](const auto& kind) { return kind.param ? "huge" : "small"; });

}  // namespace
}  // namespace godwit::guest
