// SPDX-License-Identifier: MIT
// What the tests of every device share: how to make one, and memory in scattered frames.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "runtime/src/device/device.h"

namespace godwit {

/// Which device a run of the suite tests.
struct DeviceFactory {
  std::string name;  // letters and digits
  std::function<Result<std::unique_ptr<Device>>(const DeviceOptions&)> make;
  friend void PrintTo(const DeviceFactory& factory, std::ostream* out) { *out << factory.name; }
};

inline std::string device_name(const testing::TestParamInfo<DeviceFactory>& info) {
  return info.param.name;
}

inline std::vector<std::byte> random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

/// A product of `size` x `size` matrices of zeros in frames of its own: work that takes a while.
class BusyWork {
 public:
  BusyWork(std::vector<std::uint64_t> frames, std::uint64_t size) : frames_(std::move(frames)) {
    command_.m = command_.n = command_.k = size;
    command_.lda = command_.ldb = command_.ldc = size;
    command_.beta[0] = 1;
    const std::uint64_t bytes = size * size * sizeof(float);
    const std::size_t third = frames_.size() / 3;
    command_.a = {std::span(frames_).subspan(0, third), 0, bytes};
    command_.b = {std::span(frames_).subspan(third, third), 0, bytes};
    command_.c = {std::span(frames_).subspan(2 * third, third), 0, bytes};
  }
  static std::size_t frames(std::uint64_t size) {
    return 3 * align_up(size * size * sizeof(float), kChunkBytes) / kChunkBytes;
  }
  [[nodiscard]] const GemmCommand& command() const { return command_; }

 private:
  std::vector<std::uint64_t> frames_;
  GemmCommand command_;
};

class DeviceTest : public testing::TestWithParam<DeviceFactory> {
 protected:
  static constexpr std::uint64_t kVram = std::uint64_t{64} << 20;
  static constexpr std::chrono::seconds kLong{300};

  void SetUp() override {
    DeviceOptions options;
    options.vram_bytes = kVram;
    options.threads = 3;
    auto made = GetParam().make(options);
    if (!made && made.error().code == Code::kUnavailable) GTEST_SKIP() << made.error().to_string();
    ASSERT_TRUE(made) << made.error().to_string();
    device_ = std::move(*made);
    ASSERT_GE(device_->info().vram_bytes, kVram);
    free_.resize(kVram / kChunkBytes);
    std::iota(free_.begin(), free_.end(), std::uint64_t{0});
    std::shuffle(free_.begin(), free_.end(), random_);
  }

  /// Rows of matrices whose product takes this device about 20 ms, told from a smaller one: a thread
  /// that is not scheduled for a while must not miss what it is to find under way.
  std::uint64_t busy_size() {
    constexpr double kSeconds = 0.02;
    constexpr std::uint64_t kTried = 384;
    constexpr std::uint64_t kMost = 2048;  // three of them fit into VRAM
    const std::vector<std::uint64_t> frames = take_frames(BusyWork::frames(kTried));
    const BusyWork work(frames, kTried);
    double least = kSeconds;
    for (int i = 0; i < 4; ++i) {  // the first may compile a shader, others be held up
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_EQ(run(work.command()), 0);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      least = std::min(least, took.count());
    }
    give_frames(frames);
    const double rows = static_cast<double>(kTried) * std::cbrt(kSeconds / least);
    return std::clamp(static_cast<std::uint64_t>(rows), kTried, kMost);
  }

  /// `count` frames in no order, used by nothing else.
  std::vector<std::uint64_t> take_frames(std::size_t count) {
    std::vector<std::uint64_t> table;
    for (std::size_t i = 0; i < count; ++i) {
      table.push_back(free_.back() * kChunkBytes);
      free_.pop_back();
    }
    return table;
  }
  void give_frames(const std::vector<std::uint64_t>& table) {
    for (const std::uint64_t frame : table) free_.push_back(frame / kChunkBytes);
  }

  int put(std::uint64_t vram, const std::vector<std::byte>& bytes) {
    std::vector<std::byte> copy = bytes;
    const CopyOp op{vram, copy.data(), copy.size()};
    return device_->copy(Direction::kToDevice, {&op, 1});
  }
  std::vector<std::byte> get(std::uint64_t vram, std::size_t count) {
    std::vector<std::byte> bytes(count);
    const CopyOp op{vram, bytes.data(), bytes.size()};
    EXPECT_EQ(device_->copy(Direction::kToHost, {&op, 1}), 0);
    return bytes;
  }

  /// All frames of a table, in table order; `bytes` is as long as they are. kNoFrame is passed
  /// over.
  void transfer(Direction direction, const std::vector<std::uint64_t>& table,
                std::vector<std::byte>& bytes) {
    ASSERT_EQ(bytes.size(), table.size() * kChunkBytes);
    std::vector<CopyOp> ops;
    for (std::size_t i = 0; i < table.size(); ++i) {
      if (table[i] == DeviceSpan::kNoFrame) continue;
      ops.push_back({table[i], bytes.data() + i * kChunkBytes, kChunkBytes});
    }
    ASSERT_EQ(device_->copy(direction, ops), 0);
  }

  int run(const Command& command) {
    Ticket ticket = 0;
    const int error = device_->submit(command, &ticket);
    return error != 0 ? error : device_->wait(ticket, kLong);
  }

  std::mt19937 random_{20};  // the same in each run
  std::unique_ptr<Device> device_;
  std::vector<std::uint64_t> free_;  // frame numbers
};

}  // namespace godwit
