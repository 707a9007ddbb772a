// SPDX-License-Identifier: MIT
// The driver of samples/05_driver, built as any driver that needs the module, and used.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "tests/kernel/guest.h"
#include "tests/kernel/objects.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr const char* kModule = "/modules/drivers/05_driver/toycard.ko";
constexpr const char* kStall = "/sys/module/toycard/parameters/stall";

// The module is loaded for the length of the program.
class Environment : public ::testing::Environment {
 public:
  void SetUp() override {
    if (access(kModule, R_OK) != 0) return;
    loaded_ = system((std::string("insmod ") + kModule).c_str()) == 0;
    if (!loaded_) ADD_FAILURE() << "insmod " << kModule;
  }
  void TearDown() override {
    if (loaded_) {
      EXPECT_EQ(system("rmmod toycard"), 0);
    }
  }
  static bool loaded() { return loaded_; }

 private:
  static bool loaded_;
};

bool Environment::loaded_ = false;

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
    if (!Environment::loaded()) GTEST_SKIP() << "no driver in this VM (" << kModule << ")";
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
  const Object object(*card_, kMiB);
  ASSERT_TRUE(object);
  EXPECT_EQ(object.place(), GODWIT_PLACE_VRAM);
  EXPECT_TRUE(all_zero(object.data(), kMiB));
  fill(object.data(), kMiB, 5);
  EXPECT_EQ(object.place(), GODWIT_PLACE_SYSTEM);
  ASSERT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
  EXPECT_BYTES(object.data(), kMiB, 5u);
}

TEST_F(DriverSample, UnloadedWithMemoryInItsVram) {
  Memory memory(8 * kMiB);
  fill(memory.data(), memory.size(), 6);
  ASSERT_EQ(card_->to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  card_->close();
  ASSERT_EQ(system("rmmod toycard"), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 6u);
  ASSERT_EQ(system((std::string("insmod ") + kModule).c_str()), 0);
}

const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new Environment);

}  // namespace
}  // namespace godwit::guest
