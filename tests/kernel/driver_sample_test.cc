// SPDX-License-Identifier: MIT
// The driver of samples/05_driver: built here as its reader would build it, and used.
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr const char* kStall = "/sys/module/toycard/parameters/stall";

std::string build_folder() {
  utsname name = {};
  uname(&name);
  return std::string("/lib/modules/") + name.release + "/build";
}

// The module is loaded for the length of the program.
class Environment : public ::testing::Environment {
 public:
  void SetUp() override {
    if (access((build_folder() + "/Makefile").c_str(), R_OK) != 0) return;
    // /modules is the build of godwit.ko; the working folder has the sample at its path in the tree.
    const char* build =
        "cp -r samples/05_driver /tmp/toycard && make -s -C /tmp/toycard GODWIT=/modules modules >/tmp/toycard.log 2>&1";
    built = system(build) == 0 && system("insmod /tmp/toycard/toycard.ko") == 0;
    if (!built) ADD_FAILURE() << read_file("/tmp/toycard.log");
  }
  void TearDown() override {
    if (built) {
      EXPECT_EQ(system("rmmod toycard"), 0);
    }
  }
  static bool built;
};

bool Environment::built = false;

std::unique_ptr<Device> toy() {
  for (int index = 0; index < Device::count(); ++index) {
    auto device = std::make_unique<Device>(index);
    if (std::string(device->info().driver) == "toycard") return device;
  }
  return nullptr;
}

class DriverSample : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Environment::built) GTEST_SKIP() << "no headers of this kernel at " << build_folder();
    card_ = toy();
    ASSERT_NE(card_, nullptr);
  }
  std::unique_ptr<Device> card_;
};

TEST_F(DriverSample, HasARenderNode) {
  const auto info = card_->info();
  EXPECT_EQ(info.kind, GODWIT_KIND_PRIVATE);
  EXPECT_EQ(info.vram_total, 16 * kMiB);
  EXPECT_STREQ(info.name, "toy");
}

TEST_F(DriverSample, MemoryMigratesThereAndBack) {
  Memory memory(8 * kMiB), huge(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 1);
  fill(huge.data(), huge.size(), 2);
  EXPECT_EQ(card_->to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(card_->to_vram(huge.data(), huge.size()).moved, huge.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  EXPECT_BYTES(huge.data(), huge.size(), 2u);
}

TEST_F(DriverSample, MoreThanItsVramIsEvicted) {
  Memory memory(40 * kMiB);
  fill(memory.data(), memory.size(), 3);
  EXPECT_EQ(card_->to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_GT(card_->stat(GODWIT_STAT_PAGES_EVICTED), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

TEST_F(DriverSample, PagesStayWhereTheEngineFails) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 4);
  ASSERT_EQ(write_file(kStall, "1"), 0);
  EXPECT_EQ(card_->to_vram(memory.data(), memory.size()).stayed[GODWIT_STAY_COPY], memory.size() / kPage);
  ASSERT_EQ(write_file(kStall, "0"), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
  EXPECT_EQ(card_->to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_EQ(write_file(kStall, "1"), 0);
  EXPECT_EQ(card_->to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_COPY], memory.size() / kPage);
  ASSERT_EQ(write_file(kStall, "0"), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 4u);
}

TEST_F(DriverSample, AnObjectComesToRamWhenTheCpuTouchesIt) {
  drm_godwit_gem_create create = {};
  create.size = kMiB;
  create.place = GODWIT_PLACE_VRAM;
  ASSERT_EQ(card_->call(DRM_IOCTL_GODWIT_GEM_CREATE, &create), 0);
  void* at = mmap(nullptr, kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, card_->fd(), static_cast<off_t>(create.map_offset));
  ASSERT_NE(at, MAP_FAILED);
  drm_godwit_gem_info info = {};
  info.handle = create.handle;
  ASSERT_EQ(card_->call(DRM_IOCTL_GODWIT_GEM_INFO, &info), 0);
  EXPECT_EQ(info.place, GODWIT_PLACE_VRAM);
  EXPECT_TRUE(all_zero(at, kMiB));
  fill(at, kMiB, 5);
  ASSERT_EQ(card_->call(DRM_IOCTL_GODWIT_GEM_INFO, &info), 0);
  EXPECT_EQ(info.place, GODWIT_PLACE_SYSTEM);
  drm_godwit_gem_move move = {};
  move.handle = create.handle;
  move.place = GODWIT_PLACE_VRAM;
  ASSERT_EQ(card_->call(DRM_IOCTL_GODWIT_GEM_MOVE, &move), 0);
  EXPECT_BYTES(at, kMiB, 5u);
  munmap(at, kMiB);
}

TEST_F(DriverSample, UnloadedWithMemoryInItsVram) {
  Memory memory(8 * kMiB);
  fill(memory.data(), memory.size(), 6);
  ASSERT_EQ(card_->to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  card_->close();
  ASSERT_EQ(system("rmmod toycard"), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 6u);
  ASSERT_EQ(system("insmod /tmp/toycard/toycard.ko"), 0);
}

const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new Environment);

}  // namespace
}  // namespace godwit::guest
