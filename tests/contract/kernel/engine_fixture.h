// SPDX-License-Identifier: MIT
// A kernel engine with the soft device computing on it, and what its tests do with it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/src/device/device.h"
#include "runtime/src/engine/kernel/kernel_engine.h"
#include "runtime/src/engine/kernel/render_node.h"

namespace godwit {

inline constexpr std::size_t kBytes = std::size_t{1} << 20;

/// A command of a second, on an emulated machine that is busy and under ThreadSanitizer.
inline constexpr std::chrono::minutes kPatience{2};

#define ASSERT_DONE(call)                           \
  do {                                              \
    const auto done = call;                         \
    ASSERT_TRUE(done) << done.error().to_string(); \
  } while (false)

inline std::uint32_t word_at(std::size_t index) { return static_cast<std::uint32_t>(index * 2654435761U); }

inline Result<std::unique_ptr<Device>> soft_on(DeviceWindow* window) {
  DeviceOptions options;
  options.window = window;
  options.threads = 2;
  return make_soft_device(options);
}

class KernelEngineTest : public ::testing::Test {
 protected:
  void SetUp() override { make(4096); }
  void make(std::uint32_t records) {
    engine_.reset();
    telemetry_ = std::move(*Telemetry::create("", 4096));
    auto driver = kernel::open_render_node("", GODWIT_UAPI_VERSION);
    ASSERT_TRUE(driver) << driver.error().to_string();
    KernelEngineOptions options;
    options.arena_bytes = std::size_t{256} << 20;
    options.event_records = records;
    options.make_device = soft_on;
    auto engine = KernelEngine::create(std::move(*driver), *telemetry_, std::move(options));
    ASSERT_TRUE(engine) << engine.error().to_string();
    engine_ = std::move(*engine);
    ASSERT_TRUE(engine_->device());
  }

  Result<> run(const Command& command) {
    Device* device = *engine_->device();
    Ticket ticket = 0;
    int error = device->submit(command, &ticket);
    if (error == 0) error = device->finish(ticket, kPatience);
    if (error != 0) return fail_errno(-error, "a command on the device");
    return {};
  }
  Result<> add(void* base, std::size_t bytes, std::uint32_t value) {
    const Operand operand{.base = base, .bytes = bytes, .access = Access::kReadWrite};
    auto hold = engine_->acquire({&operand, 1});
    if (!hold) return tl::unexpected(hold.error());
    return run(AddCommand{(*hold)->span(0), value});
  }
  std::size_t in_vram(const void* base, std::size_t bytes) {
    std::vector<Residency> pages(bytes / kPageBytes + 2);
    EXPECT_TRUE(engine_->residency(base, bytes, pages));
    return static_cast<std::size_t>(
        std::count(pages.begin(), pages.end(), Residency::kDevice));
  }
  /// The device adds to words of any memory, and the CPU sees that.
  void works_on(std::uint32_t* words, std::size_t count, bool migrates) {
    for (std::size_t i = 0; i < count; ++i) words[i] = word_at(i);
    auto added = add(words, count * 4, 5);
    ASSERT_TRUE(added) << added.error().to_string();
    if (migrates) {
      EXPECT_GT(in_vram(words, count * 4), 0U);
    }
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(words[i], word_at(i) + 5) << i;
  }

  std::unique_ptr<Telemetry> telemetry_;
  std::unique_ptr<KernelEngine> engine_;
};

}  // namespace godwit
