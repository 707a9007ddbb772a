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

#include "runtime/src/engine/kernel/kernel_engine.h"
#include "runtime/src/engine/managed_engine.h"
#include "runtime/src/host/fake/fake_host.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::contract {

enum class HostKind { kFake, kUser, kKernel };
enum class DeviceKind { kSoft, kVulkan };

struct Setup {
  const char* name;
  HostKind host;
  HostLevel level;
  DeviceKind device;
};
inline void PrintTo(const Setup& setup, std::ostream* out) { *out << setup.name; }

/// All setups of this program's build.
[[nodiscard]] std::vector<Setup> all_setups();
/// Setups of the user engine at full level: tests about the operating system.
[[nodiscard]] std::vector<Setup> user_setups();

inline constexpr std::size_t kVram = std::size_t{16} << 20;

/// Makes the device of a setup, on `window` where that is not null. Defined once for each test program.
[[nodiscard]] Result<std::unique_ptr<Device>> make_device(DeviceKind kind, std::uint64_t vram,
                                                          DeviceWindow* window);

class Contract : public ::testing::TestWithParam<Setup> {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] bool full() const { return GetParam().level == HostLevel::kFull; }
  [[nodiscard]] bool fake() const { return GetParam().host == HostKind::kFake; }
  [[nodiscard]] bool kernel() const { return GetParam().host == HostKind::kKernel; }
  [[nodiscard]] Engine& engine() { return *engine_; }
  /// Where a page that was in VRAM is once the CPU has loaded from it, or stored to it. VRAM that is
  /// coherent is used in place; private VRAM of the module keeps no copy.
  [[nodiscard]] Residency loaded() const {
    return coherent_ ? Residency::kDevice : kernel() ? Residency::kHost : Residency::kBoth;
  }
  [[nodiscard]] Residency stored() const {
    return coherent_ ? Residency::kDevice : Residency::kHost;
  }
  /// True where `pages` is what one fault of the CPU brings: a chunk, or with the kernel's own pages a
  /// huge one.
  [[nodiscard]] bool one_fault(std::size_t pages) const {
    return pages == kPagesPerChunk || (kernel() && pages == kPagesPerBlock);
  }
  /// Waits until no VRAM is in use, within reason: the kernel frees pages a little later.
  [[nodiscard]] bool vram_is_free();
  [[nodiscard]] FakeHost& fake_host() { return *fake_host_; }
  /// What the engine is made of, where it is not the kernel's.
  [[nodiscard]] Core& core() { return managed_->core(); }
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
  [[nodiscard]] Result<std::unique_ptr<Engine>> make_managed(std::size_t vram,
                                                             FaultAround around);
  [[nodiscard]] Result<std::unique_ptr<Engine>> make_kernel();

  std::unique_ptr<Engine> engine_;
  ManagedEngine* managed_ = nullptr;  // the same, where it is one
  bool coherent_ = false;
  FakeHost* fake_host_ = nullptr;  // owned by the engine
};

/// The report in words, for a test's message.
[[nodiscard]] std::string describe(const MoveReport& report);

[[nodiscard]] std::uint32_t pattern(std::size_t word, std::uint32_t seed);

inline std::string setup_name(const ::testing::TestParamInfo<Setup>& info) {
  return info.param.name;
}

}  // namespace godwit::contract
