// SPDX-License-Identifier: MIT
// What only the Vulkan device has; what all devices share is in vulkan_device_suite_test.cc.
#include "runtime/src/device/vulkan/vulkan_device.h"

#include <gtest/gtest.h>
#include <link.h>
#include <stdlib.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <thread>

namespace godwit {
namespace {

using vulkan::VulkanDevice;

constexpr std::uint64_t kSegment = vulkan::Vram::kSegmentBytes;
constexpr std::chrono::seconds kLong{300};

DeviceOptions options(std::uint64_t vram_bytes, std::string transfer = "",
                      std::string select = "") {
  DeviceOptions made;
  made.vram_bytes = vram_bytes;
  made.transfer = std::move(transfer);
  made.select = std::move(select);
  return made;
}

std::string path_name(const testing::TestParamInfo<const char*>& path) { return path.param; }

/// Sets variables of the environment for the length of a test: the loader reads them each time.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    const char* const before = getenv(name);
    had_ = before != nullptr;
    if (had_) before_ = before;
    setenv(name, value, 1);
  }
  ~Environment() {
    if (had_) {
      setenv(name_, before_.c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  bool had_ = false;
  std::string before_;
};

std::vector<std::byte> random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

/// A square product in the first frames of VRAM.
class Square {
 public:
  Square(std::uint64_t n, ScalarType type) {
    const std::uint64_t bytes = align_up(n * n * scalar_bytes(type), kChunkBytes);
    frames_.resize(3 * bytes / kChunkBytes);
    for (std::size_t i = 0; i < frames_.size(); ++i) frames_[i] = i * kChunkBytes;
    const std::span<const std::uint64_t> all(frames_);
    const std::size_t third = frames_.size() / 3;
    command_.type = type;
    command_.m = command_.n = command_.k = n;
    command_.lda = command_.ldb = command_.ldc = n;
    command_.a = {all.subspan(0, third), 0, bytes};
    command_.b = {all.subspan(third, third), 0, bytes};
    command_.c = {all.subspan(2 * third), 0, bytes};
  }
  [[nodiscard]] const GemmCommand& command() const { return command_; }
  [[nodiscard]] std::uint64_t end() const { return frames_.size() * kChunkBytes; }

 private:
  std::vector<std::uint64_t> frames_;
  GemmCommand command_;
};

std::set<std::string> loaded_libraries() {
  std::set<std::string> names;
  const auto add = [](dl_phdr_info* info, std::size_t, void* to) {
    static_cast<std::set<std::string>*>(to)->insert(info->dlpi_name);
    return 0;
  };
  static_cast<void>(::dl_iterate_phdr(add, &names));
  return names;
}

class VulkanTest : public testing::Test {
 protected:
  // Makes device_ or skips the test.
  void make(const DeviceOptions& wanted) {
    auto made = VulkanDevice::create(wanted);
    if (!made && made.error().code == Code::kUnavailable) {
      GTEST_SKIP() << made.error().to_string();
    }
    ASSERT_TRUE(made) << made.error().to_string();
    device_ = std::move(*made);
  }

  int put(std::uint64_t vram, std::vector<std::byte> bytes) {
    const CopyOp op{vram, bytes.data(), bytes.size()};
    return device_->copy(Direction::kToDevice, {&op, 1});
  }
  std::vector<std::byte> get(std::uint64_t vram, std::size_t count) {
    std::vector<std::byte> bytes(count);
    const CopyOp op{vram, bytes.data(), bytes.size()};
    EXPECT_EQ(device_->copy(Direction::kToHost, {&op, 1}), 0);
    return bytes;
  }

  std::unique_ptr<VulkanDevice> device_;
};

TEST(VulkanChoice, NoDriverIsUnavailableWithAReason) {
  const Environment icd("VK_ICD_FILENAMES", "/nonexistent/icd.json");
  const Environment driver("VK_DRIVER_FILES", "/nonexistent/icd.json");
  const auto made = make_vulkan_device({});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kUnavailable);
  EXPECT_FALSE(made.error().reasons.empty());
}

TEST(VulkanChoice, DeviceIsThereAgainAfterNone) {
  if (!make_vulkan_device(options(kBlockBytes))) GTEST_SKIP() << "no Vulkan device";
  {
    const Environment icd("VK_ICD_FILENAMES", "/nonexistent/icd.json");
    const Environment driver("VK_DRIVER_FILES", "/nonexistent/icd.json");
    EXPECT_FALSE(make_vulkan_device({}));
  }
  EXPECT_TRUE(make_vulkan_device(options(kBlockBytes)));
}

TEST_F(VulkanTest, UnknownSelectIsInvalidAndNamesTheDevices) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes)));
  if (IsSkipped()) return;
  for (const char* select : {"no such device", "4711"}) {
    const auto made = make_vulkan_device(options(0, "", select));
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Code::kInvalidArgument);
    EXPECT_NE(made.error().to_string().find(device_->info().name), std::string::npos);
  }
}

TEST_F(VulkanTest, SelectByIndexOrPartOfTheName) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes, "", "0")));
  if (IsSkipped()) return;
  const std::string name = device_->info().name;
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes, "", name.substr(1, 5))));
  EXPECT_EQ(device_->info().name, name);
}

TEST_F(VulkanTest, UnknownTransferIsInvalid) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes)));
  if (IsSkipped()) return;
  const auto made = make_vulkan_device(options(kBlockBytes, "pigeon"));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kInvalidArgument);
}

TEST_F(VulkanTest, AbsurdVramIsInvalid) {
  ASSERT_NO_FATAL_FAILURE(make(options(1)));
  if (IsSkipped()) return;
  EXPECT_EQ(device_->info().vram_bytes, kChunkBytes);
  const auto made = make_vulkan_device(options(~std::uint64_t{0}));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kInvalidArgument);
}

TEST_F(VulkanTest, FreshVramIsZeroWhereItWasMeasured) {
  ASSERT_NO_FATAL_FAILURE(make(options(2 * kBlockBytes)));
  if (IsSkipped()) return;
  EXPECT_EQ(get(0, kBlockBytes), std::vector<std::byte>(kBlockBytes));
}

TEST_F(VulkanTest, TwoDevicesHaveMemoryOfTheirOwn) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes)));
  if (IsSkipped()) return;
  const std::vector<std::byte> bytes = random_bytes(1000, 1);
  ASSERT_EQ(put(5, bytes), 0);
  {
    auto other = make_vulkan_device(options(kBlockBytes));
    ASSERT_TRUE(other) << other.error().to_string();
    ASSERT_EQ((*other)->clear(0, kBlockBytes), 0);
  }
  EXPECT_EQ(get(5, bytes.size()), bytes);
}

class VulkanPathTest : public VulkanTest, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Paths, VulkanPathTest, testing::Values("direct", "staging", "import"),
                         path_name);

TEST_P(VulkanPathTest, CopiesCrossSegments) {
  ASSERT_NO_FATAL_FAILURE(make(options(kSegment + 2 * kBlockBytes, GetParam())));
  if (IsSkipped()) return;
  EXPECT_EQ(device_->info().transfer_path.find(GetParam()), std::strlen("to device "));
  const std::vector<std::byte> bytes = random_bytes(3 * kBlockBytes / 2 + 7, 2);
  for (const std::uint64_t before : {std::uint64_t{1}, std::uint64_t{65537}, kBlockBytes}) {
    const std::uint64_t vram = kSegment - before;
    ASSERT_EQ(put(vram, bytes), 0);
    EXPECT_EQ(get(vram, bytes.size()), bytes);
    ASSERT_EQ(device_->clear(kSegment - 1, 3), 0);
    const std::vector<std::byte> around = get(kSegment - 1, 3);
    EXPECT_EQ(around, std::vector<std::byte>(3));
  }
}

TEST_P(VulkanPathTest, CommandsCrossSegments) {
  ASSERT_NO_FATAL_FAILURE(make(options(kSegment + kBlockBytes, GetParam())));
  if (IsSkipped()) return;
  const std::uint64_t frames[] = {kSegment, 0, kSegment - kChunkBytes, kSegment + kChunkBytes};
  std::uint64_t sum = 0;
  Ticket ticket = 0;
  const DeviceSpan span{frames, 65532, 2 * kChunkBytes + 8};
  ASSERT_EQ(device_->submit(FillCommand{span, 5}, &ticket), 0);
  ASSERT_EQ(device_->submit(SumCommand{span, &sum}, &ticket), 0);
  ASSERT_EQ(device_->wait(ticket, kLong), 0);
  EXPECT_EQ(sum, 5 * span.bytes / 4);
}

TEST_P(VulkanPathTest, DirectPointersOnlyWhereTheHostReadsVram) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes, GetParam())));
  if (IsSkipped()) return;
  EXPECT_EQ(device_->direct(0) != nullptr, device_->info().direct);
  EXPECT_EQ(device_->direct(kBlockBytes), nullptr);
  if (std::string(GetParam()) != "direct") {
    EXPECT_FALSE(device_->info().direct);
  }
}

TEST_P(VulkanPathTest, LossDuringCopiesFailsThemAndCompletesTheirTickets) {
  ASSERT_NO_FATAL_FAILURE(make(options(8 * kBlockBytes, GetParam())));
  if (IsSkipped()) return;
  std::vector<std::byte> bytes = random_bytes(8 * kBlockBytes, 3);
  const CopyOp op{0, bytes.data(), bytes.size()};
  std::vector<Ticket> tickets;
  for (int i = 0; i < 50; ++i) {
    Ticket ticket = 0;
    ASSERT_EQ(device_->copy_async(Direction::kToDevice, {&op, 1}, &ticket), 0);
    tickets.push_back(ticket);
  }
  device_->lose();
  EXPECT_EQ(device_->wait(tickets.back(), kLong), -ENODEV);
  for (const Ticket ticket : tickets) EXPECT_TRUE(device_->done(ticket));
}

TEST_F(VulkanTest, DirectCopyCompletesWhileACommandRuns) {
  ASSERT_NO_FATAL_FAILURE(make(options(64 * kBlockBytes, "direct")));
  if (IsSkipped()) return;
  const double rate = device_->info().float_rate;
  // About half a second of work.
  const auto n = std::clamp<std::uint64_t>(
      static_cast<std::uint64_t>(std::cbrt(std::max(rate, 1e9) / 4)), 512, 3000);
  const Square square(n, ScalarType::kFloat);
  // As often as that takes where the largest size is too fast.
  const double seconds = 2 * std::pow(static_cast<double>(n), 3) / std::max(rate, 1e9);
  Ticket ticket = 0;
  for (long left = std::lround(0.5 / seconds); left > 0; --left) {
    ASSERT_EQ(device_->submit(square.command(), &ticket), 0);
  }
  const std::vector<std::byte> bytes = random_bytes(kChunkBytes, 4);
  ASSERT_EQ(put(square.end() + 3, bytes), 0);
  EXPECT_EQ(get(square.end() + 3, bytes.size()), bytes);
  EXPECT_FALSE(device_->done(ticket)) << "n is " << n;
  EXPECT_EQ(device_->wait(ticket, kLong), 0);
}

TEST_F(VulkanTest, ADriverIsLoadedOnceForAllDevices) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes)));
  if (IsSkipped()) return;
  const std::set<std::string> during = loaded_libraries();
  device_.reset();
  EXPECT_EQ(loaded_libraries(), during);
}

TEST_F(VulkanTest, DestructionWaitsForWhatIsUnderWay) {
  ASSERT_NO_FATAL_FAILURE(make(options(16 * kBlockBytes)));
  if (IsSkipped()) return;
  const Square square(768, ScalarType::kFloat);
  Ticket ticket = 0;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(device_->submit(square.command(), &ticket), 0);
  std::vector<std::byte> bytes(kBlockBytes);
  const CopyOp op{8 * kBlockBytes, bytes.data(), bytes.size()};
  ASSERT_EQ(device_->copy_async(Direction::kToDevice, {&op, 1}, &ticket), 0);
  device_.reset();
}

TEST_F(VulkanTest, MoreCommandsThanThePoolHolds) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes)));
  if (IsSkipped()) return;
  const std::uint64_t frame = 0;
  const DeviceSpan span{{&frame, 1}, 0, kChunkBytes};
  Ticket ticket = 0;
  ASSERT_EQ(device_->submit(FillCommand{span, 0}, &ticket), 0);
  constexpr std::uint32_t kCount = 5 * vulkan::Commands::kSubmissions;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(device_->submit(AddCommand{span, 1}, &ticket), 0);
  }
  std::uint64_t sum = 0;
  ASSERT_EQ(device_->submit(SumCommand{span, &sum}, &ticket), 0);
  ASSERT_EQ(device_->wait(ticket, kLong), 0);
  EXPECT_EQ(sum, std::uint64_t{kCount} * kChunkBytes / 4);
}

TEST_F(VulkanTest, TicketsThatWereNeverIssuedAreInvalid) {
  ASSERT_NO_FATAL_FAILURE(make(options(kBlockBytes)));
  if (IsSkipped()) return;
  EXPECT_EQ(device_->wait(1000000, kLong), -EINVAL);
}

// A queue in whose place a test answers: it takes no work, and says at once that it is complete.
// The second call is refused, as by a driver that is out of memory.
struct Refusing {
  VkDevice device = VK_NULL_HANDLE;
  PFN_vkSignalSemaphore signal = nullptr;
  int calls = 0;
  std::uint32_t taken = 0;
};
Refusing refusing;  // the driver's function has no argument for it

VkResult submit_refusing_the_second(VkQueue /*queue*/, std::uint32_t count,
                                    const VkSubmitInfo* infos, VkFence /*fence*/) {
  if (++refusing.calls == 2) return VK_ERROR_OUT_OF_HOST_MEMORY;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto* timeline = static_cast<const VkTimelineSemaphoreSubmitInfo*>(infos[i].pNext);
    VkSemaphoreSignalInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO;
    info.semaphore = infos[i].pSignalSemaphores[0];
    info.value = timeline->pSignalSemaphoreValues[0];
    EXPECT_EQ(refusing.signal(refusing.device, &info), VK_SUCCESS);
    ++refusing.taken;
  }
  return VK_SUCCESS;
}

// A caller that gets an error goes on with a C that nobody has touched, and gives its frames to
// others.
TEST(VulkanCommands, AProductIsSubmittedAsAWholeOrNotAtAll) {
  auto gpu = vulkan::Gpu::create(false, "", false);
  if (!gpu) GTEST_SKIP() << gpu.error().to_string();
  auto vram = vulkan::Vram::create(**gpu, kSegment);
  ASSERT_TRUE(vram) << vram.error().to_string();
  auto timeline = vulkan::Timeline::create(**gpu);
  ASSERT_TRUE(timeline) << timeline.error().to_string();
  vulkan::TicketCounter tickets;
  auto commands = vulkan::Commands::create(**gpu, **vram, **timeline, tickets);
  ASSERT_TRUE(commands) << commands.error().to_string();
  // More work than goes into one command buffer. All operands are the same frame, over and over.
  GemmCommand product;
  product.m = product.n = product.lda = product.ldc = 4096;
  product.k = product.ldb = 16384;
  product.alpha[0] = 1;
  const std::uint64_t bytes = product.m * product.k * sizeof(float);
  const std::vector<std::uint64_t> frames(bytes / kChunkBytes, 0);
  product.a = product.b = product.c = {.chunks = frames, .offset = 0, .bytes = bytes};
  refusing = {(*gpu)->handle(), (*gpu)->vk.vkSignalSemaphore, 0, 0};
  (*gpu)->vk.vkQueueSubmit = submit_refusing_the_second;
  Ticket ticket = 0;
  EXPECT_EQ((*commands)->submit(product, &ticket), 0);
  EXPECT_GE(refusing.taken, 2U) << "this product was meant to be too much for one command buffer";
  EXPECT_EQ((*commands)->wait(ticket, vulkan::Clock::now() + kLong), 0);
  const std::uint32_t before = refusing.taken;
  refusing.calls = 1;
  EXPECT_EQ((*commands)->submit(product, &ticket), -ENOMEM);
  EXPECT_EQ(refusing.taken, before);
  EXPECT_EQ((*commands)->submit(product, &ticket), 0);
  EXPECT_EQ((*commands)->wait(ticket, vulkan::Clock::now() + kLong), 0);
  EXPECT_FALSE((*gpu)->lost());
}

class VulkanValidationTest : public VulkanPathTest {};
INSTANTIATE_TEST_SUITE_P(Paths, VulkanValidationTest,
                         testing::Values("direct", "staging", "import"),
                         path_name);

TEST_P(VulkanValidationTest, LayersSayNothing) {
  DeviceOptions validated = options(kSegment + 4 * kBlockBytes, GetParam());
  validated.validation = true;
  ASSERT_NO_FATAL_FAILURE(make(validated));
  if (IsSkipped()) return;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::uint64_t base = kSegment - kChunkBytes + t * kBlockBytes;
      std::vector<std::byte> bytes = random_bytes(kBlockBytes / 2 + 13, t);
      std::vector<std::byte> back(bytes.size());
      const std::uint64_t frames[] = {base + kBlockBytes / 2 + 4 * kChunkBytes,
                                      base + kBlockBytes / 2 + 2 * kChunkBytes};
      const DeviceSpan span{frames, 0, 2 * kChunkBytes};
      for (std::uint32_t round = 0; round < 5; ++round) {
        const CopyOp up{base + 1, bytes.data(), bytes.size()};
        const CopyOp down{base + 1, back.data(), back.size()};
        Ticket ticket = 0;
        std::uint64_t sum = 0;
        if (device_->copy_async(Direction::kToDevice, {&up, 1}, &ticket) != 0) ++wrong;
        if (device_->wait(ticket, kLong) != 0) ++wrong;
        if (device_->submit(FillCommand{span, round}, &ticket) != 0) ++wrong;
        if (device_->submit(AddCommand{span, t}, &ticket) != 0) ++wrong;
        if (device_->submit(SumCommand{span, &sum}, &ticket) != 0) ++wrong;
        if (device_->copy(Direction::kToHost, {&down, 1}) != 0 || back != bytes) ++wrong;
        if (device_->wait(ticket, kLong) != 0) ++wrong;
        if (sum != (round + t) * span.bytes / 4) ++wrong;
        if (device_->clear(base + 3, 1001) != 0) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  for (const ScalarType type : {ScalarType::kFloat, ScalarType::kDouble,
                                ScalarType::kComplexFloat, ScalarType::kComplexDouble}) {
    const Square square(100, type);
    Ticket ticket = 0;
    const int error = device_->submit(square.command(), &ticket);
    if (error == -EOPNOTSUPP && !device_->info().float64) continue;
    ASSERT_EQ(error, 0);
    ASSERT_EQ(device_->wait(ticket, kLong), 0);
  }
  for (const std::string& message : device_->validation_messages()) ADD_FAILURE() << message;
}

}  // namespace
}  // namespace godwit
