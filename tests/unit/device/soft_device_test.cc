// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "tests/unit/device/device_suite.h"

namespace godwit {
namespace {

const DeviceFactory kSoft{"Soft", make_soft_device};

INSTANTIATE_TEST_SUITE_P(Soft, DeviceTest, testing::Values(kSoft), device_name);
INSTANTIATE_TEST_SUITE_P(Soft, DeviceGemmTest, testing::Values(kSoft), device_name);

std::unique_ptr<Device> make(std::uint64_t vram_bytes, unsigned threads) {
  DeviceOptions options;
  options.vram_bytes = vram_bytes;
  options.threads = threads;
  return make_soft_device(options).value();
}

/// The masks of blocked signals of the threads that a soft device has started.
std::vector<std::uint64_t> blocked_in_threads() {
  std::vector<std::uint64_t> masks;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* task = readdir(tasks)) {
    std::ifstream status(std::string("/proc/self/task/") + task->d_name + "/status");
    std::string line;
    bool ours = false;
    while (std::getline(status, line)) {
      if (line.rfind("Name:", 0) == 0) ours = line.find("godwit-soft") != std::string::npos;
      if (ours && line.rfind("SigBlk:", 0) == 0) {
        masks.push_back(std::stoull(line.substr(7), nullptr, 16));
      }
    }
  }
  closedir(tasks);
  return masks;
}

int fill_one_frame(Device& device) {
  const std::uint64_t frame = 0;
  Ticket ticket = 0;
  const int error = device.submit(FillCommand{{{&frame, 1}, 0, kChunkBytes}, 7}, &ticket);
  return error != 0 ? error : device.wait(ticket, std::chrono::minutes(1));
}

TEST(SoftDevice, VramIsRoundedUpToChunks) {
  EXPECT_EQ(make(1, 1)->info().vram_bytes, kChunkBytes);
  EXPECT_EQ(make(kChunkBytes, 1)->info().vram_bytes, kChunkBytes);
  EXPECT_EQ(make(kBlockBytes + 1, 1)->info().vram_bytes, kBlockBytes + kChunkBytes);
}

TEST(SoftDevice, VramIsAQuarterOfRamByDefault) {
  const DeviceInfo info = make(0, 0)->info();
  EXPECT_NEAR(static_cast<double>(info.vram_bytes), static_cast<double>(info.vram_physical) / 4,
              kChunkBytes);
}

TEST(SoftDevice, AbsurdOptionsAreInvalid) {
  DeviceOptions options;
  options.vram_bytes = ~std::uint64_t{0};
  EXPECT_EQ(make_soft_device(options).error().code, Code::kInvalidArgument);
  options = {};
  options.threads = 100000;
  EXPECT_EQ(make_soft_device(options).error().code, Code::kInvalidArgument);
}

TEST(SoftDevice, ThreadsStartWithTheFirstCommandAndBlockSignals) {
  const auto device = make(kBlockBytes, 3);
  EXPECT_TRUE(blocked_in_threads().empty());
  ASSERT_EQ(fill_one_frame(*device), 0);
  const std::vector<std::uint64_t> masks = blocked_in_threads();
  EXPECT_EQ(masks.size(), 3U);
  for (const std::uint64_t mask : masks) {
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGALRM, SIGCHLD}) {
      EXPECT_TRUE(mask >> (signal - 1) & 1) << signal;
    }
  }
}

TEST(SoftDevice, NewVramIsZero) {
  const auto device = make(4 * kBlockBytes, 1);
  std::vector<std::byte> bytes(4 * kBlockBytes, std::byte{1});
  const CopyOp op{0, bytes.data(), bytes.size()};
  ASSERT_EQ(device->copy(Direction::kToHost, {&op, 1}), 0);
  EXPECT_EQ(bytes, std::vector<std::byte>(bytes.size()));
}

TEST(SoftDevice, DestructorFinishesWhatWasSubmitted) {
  const std::uint64_t frame = 0;
  std::vector<std::uint64_t> sums(100);
  {
    const auto device = make(kBlockBytes, 2);
    Ticket ticket = 0;
    ASSERT_EQ(device->submit(FillCommand{{{&frame, 1}, 0, kChunkBytes}, 2}, &ticket), 0);
    for (std::uint64_t& sum : sums) {
      ASSERT_EQ(device->submit(SumCommand{{{&frame, 1}, 0, kChunkBytes}, &sum}, &ticket), 0);
    }
  }
  EXPECT_EQ(sums, std::vector<std::uint64_t>(100, kChunkBytes / 2));
}

TEST(SoftDevice, RatesAreKnownAfterALargeProduct) {
  const auto device = make(16 * kBlockBytes, 1);
  EXPECT_EQ(device->info().float_rate, 0);
  std::vector<std::uint64_t> frames(BusyWork::frames(256));
  for (std::size_t i = 0; i < frames.size(); ++i) frames[i] = i * kChunkBytes;
  const BusyWork work(frames, 256);
  Ticket ticket = 0;
  ASSERT_EQ(device->submit(work.command(), &ticket), 0);
  ASSERT_EQ(device->wait(ticket, std::chrono::minutes(1)), 0);
  EXPECT_GT(device->info().float_rate, 0);
  EXPECT_EQ(device->info().double_rate, 0);
}

TEST(SoftDevice, LostDeviceHasNoDirectAddress) {
  const auto device = make(kBlockBytes, 1);
  EXPECT_NE(device->direct(0), nullptr);
  EXPECT_EQ(device->direct(kBlockBytes), nullptr);
  device->lose();
  EXPECT_EQ(device->direct(0), nullptr);
}

TEST(SoftDevice, ChildHasNoDeviceAndMayDestroyIt) {
  auto device = make(kBlockBytes, 2);
  ASSERT_EQ(fill_one_frame(*device), 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a child that hangs must fail and not stay
    std::byte byte{};
    const CopyOp op{0, &byte, 1};
    bool right = device->copy(Direction::kToHost, {&op, 1}) == -ENODEV;
    right = right && device->direct(0) == nullptr && fill_one_frame(*device) == -ENODEV;
    right = right && device->wait(1, std::chrono::seconds(1)) == -ENODEV;
    device.reset();
    _exit(right ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(fill_one_frame(*device), 0);
}

}  // namespace
}  // namespace godwit
