// SPDX-License-Identifier: MIT
// The parts of the kernel engine over a stand-in for the module: versions forced on either side,
// events that are lost, words that change, counters that the kernel keeps.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>

#include "runtime/src/engine/kernel/account.h"
#include "runtime/src/engine/kernel/admission.h"
#include "runtime/src/engine/kernel/advice_map.h"
#include "runtime/src/engine/kernel/event_reader.h"
#include "runtime/src/engine/kernel/known_ranges.h"
#include "runtime/src/engine/kernel/mover.h"
#include "runtime/src/engine/kernel/operand_runs.h"
#include "tests/unit/kernel_engine/fake_driver.h"

namespace godwit::kernel {
namespace {

using test::FakeDriver;

constexpr std::uint32_t version(std::uint32_t major, std::uint32_t minor) {
  return major << 16 | minor;
}

TEST(Handshake, EveryPairOfVersionsIsServedOrRefusedAsTheRuleSays) {
  for (std::uint32_t module_major = 1; module_major <= 3; ++module_major) {
    for (std::uint32_t module_minor = 0; module_minor <= 2; ++module_minor) {
      for (std::uint32_t major = 1; major <= 3; ++major) {
        for (std::uint32_t minor = 0; minor <= 2; ++minor) {
          FakeDriver driver;
          driver.version = version(module_major, module_minor);
          const auto shaken = shake_hands(driver, version(major, minor));
          const bool served = major == module_major && minor <= module_minor;
          EXPECT_EQ(shaken.has_value(), served)
              << version_text(driver.version) << " " << version_text(version(major, minor));
          if (served) continue;
          EXPECT_EQ(shaken.error().code, Code::kUnavailable);
          for (const std::uint32_t each : {driver.version, version(major, minor)}) {
            EXPECT_NE(shaken.error().message.find(version_text(each)), std::string::npos)
                << shaken.error().message;
          }
        }
      }
    }
  }
}

TEST(Handshake, ARefusalSaysWhatToInstall) {
  FakeDriver driver;
  driver.version = version(2, 0);
  EXPECT_NE(shake_hands(driver, version(1, 5)).error().message.find("newer library"),
            std::string::npos);
  driver.version = version(1, 0);
  EXPECT_NE(shake_hands(driver, version(2, 0)).error().message.find("newer module"),
            std::string::npos);
  EXPECT_NE(shake_hands(driver, version(1, 5)).error().message.find("load a module"),
            std::string::npos);
}

TEST(Handshake, ADriverThatDoesNotAnswerIsNamed) {
  FakeDriver driver;
  driver.query_error = -ENOTTY;
  const auto shaken = shake_hands(driver, GODWIT_UAPI_VERSION);
  ASSERT_FALSE(shaken);
  EXPECT_NE(shaken.error().message.find("renderD999"), std::string::npos);
}

class Ring : public ::testing::Test {
 protected:
  void SetUp() override { ring_ = std::move(*EventRing::create(driver_, 8, 4)); }
  FakeDriver driver_;
  std::unique_ptr<EventRing> ring_;
  std::vector<drm_godwit_event> events_;
};

TEST_F(Ring, EventsComeInOrderAndOnce) {
  for (std::uintptr_t i = 1; i <= 3; ++i) driver_.post(GODWIT_CAUSE_VIEW, i * kPageBytes, 4096);
  EventRing::Taken taken = ring_->take(&events_);
  EXPECT_EQ(taken.events, 3U);
  EXPECT_EQ(taken.lost, 0U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(events_[i].addr, (i + 1) * kPageBytes);
  EXPECT_EQ(ring_->take(&events_).events, 0U);
}

TEST_F(Ring, AnOverflowIsCountedOnce) {
  for (int i = 0; i < 20; ++i) driver_.post(GODWIT_CAUSE_VIEW, kPageBytes, 4096);
  EventRing::Taken taken = ring_->take(&events_);
  EXPECT_EQ(taken.events, 8U);
  EXPECT_EQ(taken.lost, 0U);  // they are behind what was taken, and show at the next event
  driver_.post(GODWIT_CAUSE_VIEW, kPageBytes, 4096);
  taken = ring_->take(&events_);
  EXPECT_EQ(taken.events, 1U);
  EXPECT_EQ(taken.lost, 12U);
  driver_.post(GODWIT_CAUSE_VIEW, kPageBytes, 4096);
  EXPECT_EQ(ring_->take(&events_).lost, 0U);
}

TEST_F(Ring, NonsenseInTheTailIsSurvived) {
  driver_.post(GODWIT_CAUSE_VIEW, kPageBytes, 4096);
  driver_.header().tail = std::uint64_t{1} << 40;
  driver_.header().capacity = 0xffffffff;
  EXPECT_EQ(ring_->take(&events_).events, 0U);
  driver_.post(GODWIT_CAUSE_VIEW, kPageBytes, 4096);
  EXPECT_EQ(ring_->take(&events_).events, 1U);
}

class Known : public Ring {
 protected:
  static constexpr std::uintptr_t kAddr = std::uintptr_t{1} << 30;
  static constexpr std::size_t kBytes = KnownRanges::kLeastBytes;
  void SetUp() override {
    Ring::SetUp();
    known_ = std::make_unique<KnownRanges>(driver_, *ring_);
  }
  void all_to_vram(std::uintptr_t addr, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += kPageBytes) driver_.move(addr + at, true);
  }
  std::unique_ptr<KnownRanges> known_;
};

TEST_F(Known, ARangeIsKnownUntilItsWordChanges) {
  all_to_vram(kAddr, kBytes);
  EXPECT_FALSE(known_->in_vram(kAddr, kBytes));
  known_->learn(kAddr, kBytes);
  const int asked = driver_.residency_calls;
  EXPECT_TRUE(known_->in_vram(kAddr, kBytes));
  EXPECT_TRUE(known_->in_vram(kAddr + kPageBytes, kPageBytes));
  EXPECT_FALSE(known_->in_vram(kAddr + kPageBytes, kBytes));
  EXPECT_EQ(driver_.residency_calls, asked) << "an answer costs one load";
  driver_.move(kAddr + 5 * kPageBytes, false);
  EXPECT_FALSE(known_->in_vram(kAddr, kBytes));
  driver_.move(kAddr + 5 * kPageBytes, true);
  EXPECT_FALSE(known_->in_vram(kAddr, kBytes)) << "until it is learnt again";
  known_->learn(kAddr, kBytes);
  EXPECT_TRUE(known_->in_vram(kAddr, kBytes));
}

TEST_F(Known, APartInRamIsNotKnown) {
  all_to_vram(kAddr, kBytes - kPageBytes);
  known_->learn(kAddr, kBytes);
  EXPECT_FALSE(known_->in_vram(kAddr, kBytes));
}

TEST_F(Known, TheRangeUsedLeastRecentlyMakesRoom) {
  // The stand-in has eight words: the ninth range must not be kept, and must do no harm.
  for (std::uintptr_t i = 0; i < 12; ++i) {
    const std::uintptr_t addr = kAddr + i * 2 * kBytes;
    all_to_vram(addr, kBytes);
    known_->learn(addr, kBytes);
  }
  EXPECT_LE(driver_.watched.size(), FakeDriver::kWords);
  EXPECT_TRUE(known_->in_vram(kAddr, kBytes));
  driver_.move(kAddr, false);
  EXPECT_FALSE(known_->in_vram(kAddr, kBytes));
}

TEST_F(Known, NothingIsKnownAfterEventsWereLost) {
  auto telemetry = std::move(*Telemetry::create("", 64));
  Account account(driver_, *telemetry);
  EventReader reader({driver_, *ring_, *known_, account, *telemetry});
  all_to_vram(kAddr, kBytes);
  known_->learn(kAddr, kBytes);
  for (int i = 0; i < 20; ++i) driver_.post(GODWIT_CAUSE_VIEW, kAddr, kPageBytes);
  reader.drain();
  driver_.post(GODWIT_CAUSE_VIEW, kAddr, kPageBytes);
  reader.drain();
  EXPECT_EQ(reader.lost(), 12U);
  EXPECT_EQ(reader.recoveries(), 1U);
  EXPECT_FALSE(known_->in_vram(kAddr, kBytes));
}

TEST_F(Known, AWalkOfTheCpuIsBroughtAheadOfIt) {
  auto telemetry = std::move(*Telemetry::create("", 64));
  Account account(driver_, *telemetry);
  EventReader reader({driver_, *ring_, *known_, account, *telemetry});
  all_to_vram(kAddr, 8 * kChunkBytes);
  for (std::uintptr_t chunk = 0; chunk < 2; ++chunk) {
    driver_.post(GODWIT_CAUSE_CPU_FAULT, kAddr + chunk * kChunkBytes, kChunkBytes);
  }
  reader.drain();
  EXPECT_TRUE(driver_.in_vram[kAddr + 2 * kChunkBytes]) << "two faults may be chance";
  driver_.post(GODWIT_CAUSE_CPU_FAULT, kAddr + 2 * kChunkBytes, kChunkBytes);
  reader.drain();
  EXPECT_FALSE(driver_.in_vram[kAddr + 3 * kChunkBytes]);
  EXPECT_TRUE(driver_.in_vram[kAddr + 4 * kChunkBytes]);
  driver_.post(GODWIT_CAUSE_CPU_FAULT, kAddr + 4 * kChunkBytes, kChunkBytes);
  reader.drain();
  EXPECT_FALSE(driver_.in_vram[kAddr + 5 * kChunkBytes]);
  EXPECT_FALSE(driver_.in_vram[kAddr + 6 * kChunkBytes]) << "twice as much as before";
  EXPECT_TRUE(driver_.in_vram[kAddr + 7 * kChunkBytes]);
}

TEST_F(Known, AWalkWhosePagesTheDeviceTakesBackIsLeftAlone) {
  auto telemetry = std::move(*Telemetry::create("", 64));
  Account account(driver_, *telemetry);
  EventReader reader({driver_, *ring_, *known_, account, *telemetry});
  all_to_vram(kAddr, 16 * kChunkBytes);
  const auto cpu_faults = [&](std::uintptr_t first, std::uintptr_t behind) {
    for (std::uintptr_t chunk = first; chunk < behind; ++chunk) {
      driver_.post(GODWIT_CAUSE_CPU_FAULT, kAddr + chunk * kChunkBytes, kChunkBytes);
    }
    reader.drain();
  };
  cpu_faults(0, 3);
  ASSERT_FALSE(driver_.in_vram[kAddr + 3 * kChunkBytes]);
  // Elsewhere: the walk is not disturbed.
  driver_.post(GODWIT_CAUSE_VIEW, kAddr + 12 * kChunkBytes, kChunkBytes, GODWIT_PLACE_VRAM);
  cpu_faults(4, 5);
  ASSERT_FALSE(driver_.in_vram[kAddr + 5 * kChunkBytes]);
  // In what was brought ahead: it ends, and the next fault is a first one.
  driver_.post(GODWIT_CAUSE_VIEW, kAddr + 6 * kChunkBytes, kPageBytes, GODWIT_PLACE_VRAM);
  cpu_faults(7, 8);
  EXPECT_TRUE(driver_.in_vram[kAddr + 8 * kChunkBytes]);
  cpu_faults(8, 10);
  EXPECT_FALSE(driver_.in_vram[kAddr + 10 * kChunkBytes]) << "a walk that goes on is seen again";
}

TEST(AccountOfTheKernel, WhatNobodyAskedForWasFaults) {
  FakeDriver driver;
  auto telemetry = std::move(*Telemetry::create("", 64));
  Account account(driver, *telemetry);
  Mover mover(driver, account);
  ASSERT_TRUE(mover.to_vram({std::uintptr_t{1} << 30, 16 * kPageBytes}, 64 * kPageBytes));
  ASSERT_TRUE(mover.home({std::uintptr_t{1} << 30, 4 * kPageBytes}, Cause::kPrefetch));
  driver.stats_now[GODWIT_STAT_PAGES_TO_VRAM] += 7;  // a device's faults
  driver.stats_now[GODWIT_STAT_PAGES_HOME] += 5;     // two evicted, three touched
  driver.stats_now[GODWIT_STAT_PAGES_EVICTED] = 2;
  driver.stats_now[GODWIT_STAT_CPU_FAULTS] = 1;
  account.refresh();
  Statistics& statistics = telemetry->statistics();
  EXPECT_EQ(of(statistics, Cause::kPrefetch).pages_to_device, 16U);
  EXPECT_EQ(of(statistics, Cause::kPrefetch).pages_to_host, 4U);
  EXPECT_EQ(of(statistics, Cause::kDeviceAccess).pages_to_device, 7U);
  EXPECT_EQ(of(statistics, Cause::kEviction).pages_to_host, 2U);
  EXPECT_EQ(of(statistics, Cause::kCpuFault).pages_to_host, 3U);
  EXPECT_EQ(statistics.faults_read, 1U);
}

TEST(AccountOfTheKernel, AMoveThatIsUnderWayIsNotTakenForFaults) {
  FakeDriver driver;
  auto telemetry = std::move(*Telemetry::create("", 64));
  Account account(driver, *telemetry);
  {
    Account::Move move(account);
    driver.stats_now[GODWIT_STAT_PAGES_TO_VRAM] = 100;
    account.refresh();
    EXPECT_EQ(of(telemetry->statistics(), Cause::kDeviceAccess).pages_to_device, 0U);
    move.moved(Cause::kPrefetch, 0, 100, true);
  }
  account.refresh();
  EXPECT_EQ(of(telemetry->statistics(), Cause::kDeviceAccess).pages_to_device, 0U);
}

TEST(MoverOfTheKernel, ARangeThatNeverRestsIsReportedAsRacedAndLeftToTheDevicesFaults) {
  FakeDriver driver;
  driver.migrate_error = -EBUSY;
  auto telemetry = std::move(*Telemetry::create("", 64));
  Account account(driver, *telemetry);
  Mover mover(driver, account);
  const PageRun run{std::uintptr_t{1} << 30, 8 * kPageBytes};
  const auto report = mover.to_vram(run, 64 * kPageBytes);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_EQ(report->moved + report->already, 0U);
  EXPECT_EQ(report->stayed_for[static_cast<std::size_t>(StayReason::kRaced)], 8U);
  bool complete = true;
  EXPECT_TRUE(mover.for_device(run, &complete));
  EXPECT_FALSE(complete);
  driver.migrate_error = -ENODEV;
  const auto gone = mover.to_vram(run, 64 * kPageBytes);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Code::kDeviceLost);
}

TEST(Admission, WhoLetsGoAndAsksAgainDoesNotOvertakeWhoWaits) {
  using std::chrono::minutes;
  Admission admission;
  ASSERT_TRUE(admission.enter(12, 16, minutes(0)));
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> entered{false};
    std::thread other([&] {
      EXPECT_TRUE(admission.enter(12, 16, minutes(1)));
      entered = true;
      admission.leave(12);
    });
    while (admission.waiting() == 0) std::this_thread::yield();
    admission.leave(12);
    EXPECT_TRUE(admission.enter(12, 16, minutes(1)));
    const bool overtaken = !entered;
    if (overtaken) admission.leave(12);
    other.join();
    ASSERT_FALSE(overtaken) << "in round " << round;
  }
}

TEST(Admission, WhoMustWaitHoldsBackNobodyForWhomThereIsRoom) {
  using std::chrono::minutes;
  Admission admission;
  ASSERT_TRUE(admission.enter(8, 16, minutes(1)));
  std::thread other([&] { EXPECT_TRUE(admission.enter(16, 16, minutes(1))); });
  while (admission.waiting() == 0) std::this_thread::yield();
  // The other waits for this thread, which needs more before it lets go.
  EXPECT_TRUE(admission.enter(4, 16, minutes(1)));
  EXPECT_FALSE(admission.enter(5, 16, minutes(0)));
  admission.leave(4);
  admission.leave(8);
  other.join();
  EXPECT_FALSE(admission.enter(1, 16, std::chrono::milliseconds(1)));
}

TEST(AdviceOfRanges, PartsKeepTheirOwn) {
  AdviceMap map;
  EXPECT_TRUE(map.set({0x10000, 0x10000}, Advice::kKeepHost));
  EXPECT_TRUE(map.any({0x1f000, 0x10000}, Advice::kKeepHost));
  EXPECT_FALSE(map.any({0x20000, 0x10000}, Advice::kKeepHost));
  EXPECT_TRUE(map.set({0x14000, 0x4000}, Advice::kNormal));
  EXPECT_FALSE(map.any({0x14000, 0x4000}, Advice::kKeepHost));
  EXPECT_TRUE(map.any({0x10000, 0x4000}, Advice::kKeepHost));
  EXPECT_TRUE(map.any({0x18000, 0x1000}, Advice::kKeepHost));
  EXPECT_FALSE(map.set({0x40000, 0x1000}, Advice::kNormal)) << "nothing was there";
}

TEST(RunsOfOperands, ColumnsThatShareAPageAreOneRun) {
  const auto* base = reinterpret_cast<const std::byte*>(std::uintptr_t{0x10000});
  EXPECT_EQ(runs_of({.base = base, .bytes = 100, .count = 8, .stride = 200}).size(), 1U);
  const auto apart = runs_of({.base = base + 64, .bytes = 100, .count = 8, .stride = 0x4000});
  ASSERT_EQ(apart.size(), 8U);
  EXPECT_EQ(apart[3].addr, 0x10000U + 3 * 0x4000);
  EXPECT_EQ(apart[3].bytes, kPageBytes);
  EXPECT_TRUE(runs_of({.base = base, .bytes = 0}).empty());
}

TEST(RangesOfCallers, WhatReachesBeyondTheLastAddressIsRefused) {
  constexpr std::uintptr_t kLastPage = ~std::uintptr_t{0} - kPageBytes + 1;
  const auto range = [](std::uintptr_t start, std::size_t bytes) {
    return range_of(reinterpret_cast<const void*>(start), bytes, "discard");
  };
  for (const auto& [start, bytes] :
       {std::pair<std::uintptr_t, std::size_t>{0x10000, SIZE_MAX},
        {0x10000, SIZE_MAX - 0x10000},
        {0x10001, kLastPage - 0x10000},
        {kLastPage, 1},
        {~std::uintptr_t{0}, 1}}) {
    const auto refused = range(start, bytes);
    ASSERT_FALSE(refused) << start << " " << bytes;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_TRUE(refused.error().message.starts_with("discard: ")) << refused.error().message;
  }
  auto most = range(0x10000, kLastPage - 0x10000);
  ASSERT_TRUE(most);
  EXPECT_EQ(most->end(), kLastPage);
  EXPECT_EQ(range(~std::uintptr_t{0}, 0)->bytes, 0U);
}

}  // namespace
}  // namespace godwit::kernel
