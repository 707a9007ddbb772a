// SPDX-License-Identifier: MIT
// The contract suite's world: one engine over one device, small enough that VRAM is always short.
// A test is written once and runs over every setup; what a setup cannot do is skipped by name.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "runtime/src/engine/managed_engine.h"
#include "runtime/src/host/fake/fake_host.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::contract {

enum class HostKind { kFake, kUser };
enum class DeviceKind { kSoft, kVulkan };

struct Setup {
  const char* name;
  HostKind host;
  HostLevel level;
  DeviceKind device;
};
inline void PrintTo(const Setup& setup, std::ostream* out) { *out << setup.name; }

/// All setups; the ones with Vulkan only where the build of the suite has it.
[[nodiscard]] std::vector<Setup> all_setups();
/// Setups of the user engine at full level: tests about the operating system.
[[nodiscard]] std::vector<Setup> user_setups();

inline constexpr std::size_t kVram = std::size_t{16} << 20;

/// Makes the device of a setup. Defined once for each test program.
[[nodiscard]] Result<std::unique_ptr<Device>> make_device(DeviceKind kind, std::uint64_t vram);

class Contract : public ::testing::TestWithParam<Setup> {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] bool full() const { return GetParam().level == HostLevel::kFull; }
  [[nodiscard]] bool fake() const { return GetParam().host == HostKind::kFake; }
  [[nodiscard]] ManagedEngine& engine() { return *engine_; }
  [[nodiscard]] FakeHost& fake_host() { return *fake_host_; }
  /// The counters, once no fault is being served: a thread may run on before its fault is counted.
  [[nodiscard]] Statistics& statistics();
  [[nodiscard]] CauseCounters& counters(Cause cause) { return of(statistics(), cause); }

  /// Ends the engine; the next use makes another one with these options.
  void remake(std::size_t vram, FaultAround around);

  /// A new region; freed with the engine.
  [[nodiscard]] std::byte* region(std::size_t bytes);
  /// The CPU's stores and loads: plain ones, after a simulated fault where the host is fake.
  void store(void* to, const void* from, std::size_t bytes);
  void load(void* to, const void* from, std::size_t bytes);
  /// A pattern that differs from page to page and with `seed`.
  void fill(std::byte* base, std::size_t bytes, std::uint32_t seed);
  /// Empty, or where the first wrong word is.
  [[nodiscard]] std::string check(const std::byte* base, std::size_t bytes, std::uint32_t seed);
  [[nodiscard]] std::string check_zero(const std::byte* base, std::size_t bytes);

  [[nodiscard]] MoveReport to_device(const void* base, std::size_t bytes);
  [[nodiscard]] MoveReport to_host(const void* base, std::size_t bytes);
  [[nodiscard]] Residency where(const void* address);
  /// How many pages of the range are at that place.
  [[nodiscard]] std::size_t count(const void* base, std::size_t bytes, Residency place);

  /// Commands on the device over a managed range; acquire, run, wait, release.
  [[nodiscard]] Result<> device_add(void* base, std::size_t bytes, std::uint32_t value);
  [[nodiscard]] Result<std::uint64_t> device_sum(const void* base, std::size_t bytes);
  [[nodiscard]] Result<> device_wait(const Command& command);
  [[nodiscard]] std::uint64_t expected_sum(std::size_t bytes, std::uint32_t seed);

 private:
  std::unique_ptr<Telemetry> telemetry_;
  std::unique_ptr<ManagedEngine> engine_;
  FakeHost* fake_host_ = nullptr;  // owned by the engine
};

/// The report in words, for a test's message.
[[nodiscard]] std::string describe(const MoveReport& report);

[[nodiscard]] std::uint32_t pattern(std::size_t word, std::uint32_t seed);

inline std::string setup_name(const ::testing::TestParamInfo<Setup>& info) {
  return info.param.name;
}

}  // namespace godwit::contract
