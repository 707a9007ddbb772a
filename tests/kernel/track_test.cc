// SPDX-License-Identifier: MIT
// Whoever tracks what is written to memory, or used (userfaultfd's protections, soft-dirty), hears of what a device does.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "runtime/src/host/user/uffd_abi.h"
#include "tests/kernel/jobs.h"
#include "tests/kernel/proc.h"

namespace godwit::guest {
namespace {

constexpr size_t kPages = 64;
constexpr char kNoAccesses[] = "no protection against accesses (Linux 7.3): ";

using PageSet = std::set<size_t>;

// PAGE_TABLE_CHECK warns of what PAGEMAP_SCAN does to entries of private VRAM, which is the kernel's own (decision 21).
bool kernel_minds() { return read_file("/proc/kallsyms").find(" __page_table_check_ptes_set\n") != std::string::npos; }
constexpr char kMinds[] = "PAGE_TABLE_CHECK, which warns of PAGEMAP_SCAN and private VRAM";

// Of what a range is protected.
enum class Against { kWrites, kAccesses };

// Protection of a range, which counts what is done to it (async), or stops who does it.
class Protection {
 public:
  Protection(const Memory& memory, bool async, Against against = Against::kWrites)
      : fd_(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))), against_(against) {
    uffdio_api api = {};
    api.api = UFFD_API;
    uffdio_register args = {};
    args.range = {address(memory.data()), memory.size()};
    if (against == Against::kWrites) {
      api.features = async ? abi::kFeatureWpAsync | abi::kFeatureWpUnpopulated : 0;
      args.mode = UFFDIO_REGISTER_MODE_WP;
    } else {
      api.features = abi::kFeatureRwp | (async ? abi::kFeatureRwpAsync : 0);
      args.mode = abi::kRegisterModeRwp;
    }
    ok_ = fd_ >= 0 && ioctl(fd_, UFFDIO_API, &api) == 0 && ioctl(fd_, UFFDIO_REGISTER, &args) == 0;
  }
  ~Protection() {
    if (fd_ >= 0) close(fd_);
  }
  Protection(const Protection&) = delete;
  Protection& operator=(const Protection&) = delete;

  bool ok() const { return ok_; }
  void set(const uint8_t* page, bool protect, size_t bytes = kPage) const {
    // Of one layout, and with one value for its only mode.
    uffdio_writeprotect args = {};
    args.range = {address(page), bytes};
    args.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
    const unsigned long request = against_ == Against::kWrites ? UFFDIO_WRITEPROTECT : abi::kIoctlRwProtect;
    EXPECT_EQ(ioctl(fd_, request, &args), 0) << strerror(errno);
  }

 private:
  int fd_;
  Against against_;
  bool ok_ = false;
};

class Track : public DeviceTest {
 protected:
  Track() : pagemap_(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}
  ~Track() override { close(pagemap_); }
  void TearDown() override {
    gpu_.evict(GODWIT_EVICT_CLIENT);
    DeviceTest::TearDown();
  }

  // The pages that were written since they were protected; and protects them again.
  PageSet written(const Memory& memory, bool protect) const {
    return scan(memory, abi::kPageWritten, abi::kScanCheckWpAsync | (protect ? abi::kScanWpMatching : 0));
  }

  // Those that were used.
  PageSet accessed(const Memory& memory) const { return scan(memory, abi::kPageAccessed, 0); }

  PageSet scan(const Memory& memory, uint64_t category, uint64_t flags) const {
    std::array<abi::PageRegion, kPages> regions = {};
    abi::PagemapScan args = {};
    args.size = sizeof(args);
    args.flags = flags;
    args.start = address(memory.data());
    args.end = args.start + memory.size();
    args.vec = address(regions.data());
    args.vec_len = regions.size();
    args.category_mask = args.return_mask = category;
    const int count = ioctl(pagemap_, abi::kIoctlPagemapScan, &args);
    EXPECT_GE(count, 0) << strerror(errno);
    PageSet pages;
    for (int i = 0; i < count; ++i) {
      const abi::PageRegion& region = regions.at(static_cast<size_t>(i));
      for (uint64_t at = region.start; at < region.end; at += kPage) pages.insert((at - args.start) / kPage);
    }
    return pages;
  }

  PageSet soft_dirty(const Memory& memory) const {
    const auto entries = entries_of(memory.data(), kPages * kPage);
    PageSet pages;
    for (size_t i = 0; i < kPages; ++i) {
      if (entries.at(i) >> 55 & 1) pages.insert(i);
    }
    return pages;
  }

  void device_writes(const Memory& memory, uint32_t flags = 0) const {
    EXPECT_TRUE(execute(gpu_, {op::fill(memory.page(3), kPage, 1, flags), op::add(memory.page(20), kPage, 1, flags)}).ok());
  }

  const Memory memory_{kPages * kPage};

 private:
  int pagemap_;
};

// Both ways in which a job uses memory: moved, and in place.
class Scan : public Track, public ::testing::WithParamInterface<uint32_t> {};

TEST_P(Scan, TellsWhatTheDeviceWritesInRam) {
  const Protection protection(memory_, true);
  if (!protection.ok()) GTEST_SKIP() << "no asynchronous write protection: " << strerror(errno);
  fill(memory_.data(), memory_.size(), 1);
  EXPECT_EQ(written(memory_, true).size(), kPages);
  EXPECT_EQ(written(memory_, true), PageSet{});
  for (int round = 0; round < 3; ++round) {
    device_writes(memory_, GetParam());
    EXPECT_EQ(written(memory_, true), (PageSet{3, 20}));
  }
  EXPECT_TRUE(execute(gpu_, {op::checksum(memory_.data(), memory_.size(), GetParam())}).ok());
  EXPECT_EQ(written(memory_, true), PageSet{});
}

TEST_P(Scan, TellsWhatTheDeviceWritesInVram) {
  if (kernel_minds()) GTEST_SKIP() << kMinds;
  fill(memory_.data(), memory_.size(), 1);
  ASSERT_EQ(gpu_.to_vram(memory_.data(), memory_.size()).moved, kPages);
  device_writes(memory_, GetParam());
  ASSERT_EQ(gpu_.in_vram(memory_.data(), memory_.size()), kPages);
  const Protection protection(memory_, true);
  if (!protection.ok()) GTEST_SKIP() << "no asynchronous write protection: " << strerror(errno);
  EXPECT_EQ(written(memory_, true).size(), kPages);
  EXPECT_EQ(written(memory_, true), PageSet{});
  for (int round = 0; round < 3; ++round) {
    device_writes(memory_, GetParam());
    const PageSet pages = written(memory_, true);
    // Pages that came home with them count as well.
    EXPECT_TRUE(pages.count(3) != 0 && pages.count(20) != 0) << round;
    EXPECT_LT(pages.size(), kPages);
  }
  EXPECT_EQ(memory_.page(3)[0], 1);
}

TEST_P(Scan, TellsWhatTheDeviceUsesInRam) {
  fill(memory_.data(), memory_.size(), 1);
  const uint8_t before = memory_.page(20)[0];
  const Protection protection(memory_, true, Against::kAccesses);
  if (!protection.ok()) GTEST_SKIP() << kNoAccesses << strerror(errno);
  for (int round = 0; round < 3; ++round) {
    protection.set(memory_.data(), true, memory_.size());
    EXPECT_EQ(accessed(memory_), PageSet{});
    device_writes(memory_, GetParam());
    EXPECT_EQ(accessed(memory_), (PageSet{3, 20}));
    EXPECT_TRUE(execute(gpu_, {op::checksum(memory_.page(40), kPage, GetParam())}).ok());
    EXPECT_EQ(accessed(memory_), (PageSet{3, 20, 40}));
  }
  EXPECT_EQ(memory_.page(3)[0], 1);
  EXPECT_EQ(memory_.page(20)[0], static_cast<uint8_t>(before + 3));
}

TEST_P(Scan, TellsWhatTheDeviceUsesInVram) {
  fill(memory_.data(), memory_.size(), 1);
  const uint8_t before = memory_.page(20)[0];
  ASSERT_EQ(gpu_.to_vram(memory_.data(), memory_.size()).moved, kPages);
  device_writes(memory_, GetParam());
  ASSERT_EQ(gpu_.in_vram(memory_.data(), memory_.size()), kPages);
  const Protection protection(memory_, true, Against::kAccesses);
  if (!protection.ok()) GTEST_SKIP() << kNoAccesses << strerror(errno);
  for (int round = 0; round < 3; ++round) {
    protection.set(memory_.data(), true, memory_.size());
    EXPECT_EQ(accessed(memory_), PageSet{});
    EXPECT_TRUE(execute(gpu_, {op::checksum(memory_.page(40), kPage, GetParam())}).ok());
    EXPECT_EQ(accessed(memory_), PageSet{40});
    device_writes(memory_, GetParam());
    EXPECT_EQ(accessed(memory_), (PageSet{3, 20, 40}));
  }
  EXPECT_EQ(memory_.page(3)[0], 1);
  EXPECT_EQ(memory_.page(20)[0], static_cast<uint8_t>(before + 4));
}

INSTANTIATE_TEST_SUITE_P(Access, Scan, ::testing::Values(0u, uint32_t{GODWIT_COMMAND_IN_PLACE}),
                         [](const auto& suite) { return suite.param ? "InPlace" : "Moved"; });

// A huge page in VRAM always counts as written, and in RAM the kernel splits it.
TEST_F(Track, HugePagesInVramCountAsWritten) {
  if (kernel_minds()) GTEST_SKIP() << kMinds;
  const Memory memory(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved_huge, kHuge / kPage);
  const Protection protection(memory, true);
  if (!protection.ok()) GTEST_SKIP() << "no asynchronous write protection: " << strerror(errno);
  written(memory, true);
  device_writes(memory);
  const PageSet pages = written(memory, false);
  EXPECT_TRUE(pages.count(3) != 0 && pages.count(20) != 0);
}

// Nobody answers its faults, so the device is told, and nothing is written.
TEST_F(Track, WhatStopsAWriterStopsTheDevice) {
  for (const bool in_vram : {false, true}) {
    const Memory memory(kPages * kPage);
    fill(memory.data(), memory.size(), 1);
    if (in_vram) gpu_.to_vram(memory.data(), memory.size());
    const Protection protection(memory, false);
    if (!protection.ok()) GTEST_SKIP() << "no write protection: " << strerror(errno);
    protection.set(memory.page(7), true);
    for (const uint32_t flags : {0u, uint32_t{GODWIT_COMMAND_IN_PLACE}}) {
      EXPECT_EQ(execute(gpu_, {op::fill(memory.page(7), kPage, 2, flags)}).status, -EFAULT);
      EXPECT_TRUE(execute(gpu_, {op::fill(memory.page(8), kPage, 2, flags)}).ok());
      EXPECT_TRUE(execute(gpu_, {op::checksum(memory.page(7), kPage, flags)}).ok());
    }
    EXPECT_BYTES(memory.data(), 8 * kPage, 1u);
    protection.set(memory.page(7), false);
    EXPECT_TRUE(execute(gpu_, {op::fill(memory.page(7), kPage, 2)}).ok());
    EXPECT_EQ(memory.page(7)[0], 2);
  }
}

TEST_F(Track, WhatIsProtectedStaysInRam) {
  for (const Against against : {Against::kWrites, Against::kAccesses}) {
    for (const bool async : {false, true}) {
      const Memory memory(kPages * kPage);
      fill(memory.data(), memory.size(), 1);
      const Protection protection(memory, async, against);
      if (!protection.ok()) GTEST_SKIP() << "no such protection: " << strerror(errno);
      EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_FILE], kPages);
      protection.set(memory.data(), true, memory.size());
      EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_FILE], kPages);
      EXPECT_EQ(gpu_.residency(memory.data(), memory.size()).in_system, kPages);
    }
  }
}

// As where it stops a writer, also who only reads.
TEST_F(Track, WhatHidesMemoryHidesItFromTheDevice) {
  for (const bool in_vram : {false, true}) {
    const Memory memory(kPages * kPage);
    fill(memory.data(), memory.size(), 1);
    if (in_vram) gpu_.to_vram(memory.data(), memory.size());
    const Protection protection(memory, false, Against::kAccesses);
    if (!protection.ok()) GTEST_SKIP() << kNoAccesses << strerror(errno);
    protection.set(memory.page(7), true);
    for (const uint32_t flags : {0u, uint32_t{GODWIT_COMMAND_IN_PLACE}}) {
      EXPECT_EQ(execute(gpu_, {op::fill(memory.page(7), kPage, 2, flags)}).status, -EFAULT);
      EXPECT_EQ(execute(gpu_, {op::checksum(memory.page(7), kPage, flags)}).status, -EFAULT);
      EXPECT_TRUE(execute(gpu_, {op::fill(memory.page(8), kPage, 2, flags)}).ok());
    }
    gpu_.to_ram(memory.data(), memory.size());
    EXPECT_EQ(execute(gpu_, {op::checksum(memory.page(7), kPage)}).status, -EFAULT);
    protection.set(memory.page(7), false);
    EXPECT_BYTES(memory.data(), 8 * kPage, 1u);
    EXPECT_TRUE(execute(gpu_, {op::fill(memory.page(7), kPage, 2)}).ok());
    EXPECT_EQ(memory.page(7)[0], 2);
  }
}

// In VRAM it is not tracked (docs/residency.md).
TEST_F(Track, SoftDirtyTellsWhatTheDeviceWritesInRam) {
  fill(memory_.data(), memory_.size(), 1);
  if (soft_dirty(memory_).size() != kPages) GTEST_SKIP() << "this kernel has no soft-dirty";
  ASSERT_EQ(write_file("/proc/self/clear_refs", "4"), 0);
  for (const uint32_t flags : {uint32_t{GODWIT_COMMAND_IN_PLACE}, 0u}) {
    device_writes(memory_, flags);
    EXPECT_EQ(soft_dirty(memory_), (PageSet{3, 20}));
    gpu_.to_ram(memory_.data(), memory_.size());
    EXPECT_EQ(soft_dirty(memory_), (PageSet{3, 20}));
    ASSERT_EQ(write_file("/proc/self/clear_refs", "4"), 0);
  }
}

}  // namespace
}  // namespace godwit::guest
