// SPDX-License-Identifier: MIT
#include "runtime/src/stats/telemetry.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace godwit {
namespace {

class TelemetryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/telemetry-XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

  // A whole file with `events` events in a ring of `slots`.
  std::string whole_file(std::uint32_t slots, std::uint64_t events) {
    std::string file = path("whole.stats");
    auto created = Telemetry::create(file, slots);
    EXPECT_TRUE(created.has_value());
    for (std::uint64_t i = 0; i < events; ++i) {
      (*created)->record(EventKind::kMigrate, Cause::kPrefetch, monotonic_ns(), i * 4096, 4096,
                         true);
    }
    return file;
  }

  void change_byte(const std::string& file, std::streamoff offset) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(offset);
    const int old = stream.get();
    stream.seekp(offset);
    stream.put(static_cast<char>(old ^ 1));
  }

  std::string folder_;
};

TEST_F(TelemetryTest, CountersAndNamesAreReadFromTheFile) {
  const std::string file = path("a.stats");
  auto writer = Telemetry::create(file, 0);
  ASSERT_TRUE(writer.has_value()) << writer.error().to_string();
  of((*writer)->statistics(), Cause::kEviction).pages_to_host += 17;
  (*writer)->statistics().faults_read = 5;
  (*writer)->set_names("user", "soft: CPU");

  auto reader = Telemetry::open(file);
  ASSERT_TRUE(reader.has_value()) << reader.error().to_string();
  EXPECT_EQ(of((*reader)->statistics(), Cause::kEviction).pages_to_host, 17U);
  EXPECT_EQ((*reader)->statistics().faults_read, 5U);
  EXPECT_STREQ((*reader)->header().engine, "user");
  EXPECT_STREQ((*reader)->header().device, "soft: CPU");
  EXPECT_EQ((*reader)->header().process, static_cast<std::uint32_t>(::getpid()));
  EXPECT_FALSE((*reader)->recording());

  // The reader sees what comes later, too.
  (*writer)->statistics().faults_read = 6;
  EXPECT_EQ((*reader)->statistics().faults_read, 6U);
}

TEST_F(TelemetryTest, FileIsForItsOwnerAlone) {
  const std::string file = whole_file(0, 0);
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(TelemetryTest, LongNamesAreCutAndEnded) {
  auto writer = Telemetry::create("", 0);
  ASSERT_TRUE(writer.has_value());
  (*writer)->set_names(std::string(100, 'e'), std::string(100, 'd'));
  EXPECT_EQ(std::strlen((*writer)->header().engine), sizeof(TelemetryHeader::engine) - 1);
  EXPECT_EQ(std::strlen((*writer)->header().device), sizeof(TelemetryHeader::device) - 1);
}

TEST_F(TelemetryTest, EventsComeBackOldestFirst) {
  auto telemetry = Telemetry::create("", 8);
  ASSERT_TRUE(telemetry.has_value());
  const std::uint64_t start = monotonic_ns();
  (*telemetry)->record(EventKind::kFault, Cause::kCpuFault, start, 0x1000, 4096, false, 1);
  (*telemetry)->record(EventKind::kGemm, Cause::kDeviceAccess, start, 0x2000, 8192, true, 2);
  std::uint64_t lost = 99;
  const auto events = (*telemetry)->events(&lost);
  EXPECT_EQ(lost, 0U);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].sequence, 1U);
  EXPECT_EQ(events[0].kind, EventKind::kFault);
  EXPECT_EQ(events[0].address, 0x1000U);
  EXPECT_EQ(events[0].detail, 1);
  EXPECT_FALSE(events[0].to_device);
  EXPECT_EQ(events[0].start_ns, start);
  EXPECT_LT(events[0].duration_ns, 60'000'000'000U);
  EXPECT_EQ(events[1].kind, EventKind::kGemm);
  EXPECT_EQ(events[1].cause, Cause::kDeviceAccess);
  EXPECT_EQ(events[1].bytes, 8192U);
  EXPECT_TRUE(events[1].to_device);
  EXPECT_NE(events[1].thread, 0U);
}

TEST_F(TelemetryTest, RingThatWrapsKeepsTheNewestAndCountsTheLost) {
  const std::string file = whole_file(8, 21);
  auto reader = Telemetry::open(file);
  ASSERT_TRUE(reader.has_value());
  std::uint64_t lost = 0;
  const auto events = (*reader)->events(&lost);
  EXPECT_EQ(lost, 13U);
  ASSERT_EQ(events.size(), 8U);
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].sequence, 14 + i);
    EXPECT_EQ(events[i].address, (13 + i) * 4096);
  }
}

TEST_F(TelemetryTest, RingThatIsJustFullHasLostNothing) {
  auto reader = Telemetry::open(whole_file(8, 8));
  ASSERT_TRUE(reader.has_value());
  std::uint64_t lost = 99;
  EXPECT_EQ((*reader)->events(&lost).size(), 8U);
  EXPECT_EQ(lost, 0U);
}

TEST_F(TelemetryTest, WithoutSlotsNothingIsRecorded) {
  auto telemetry = Telemetry::create("", 0);
  ASSERT_TRUE(telemetry.has_value());
  EXPECT_FALSE((*telemetry)->recording());
  (*telemetry)->record(EventKind::kFault, Cause::kCpuFault, 0, 0, 0, false);
  std::uint64_t lost = 99;
  EXPECT_TRUE((*telemetry)->events(&lost).empty());
  EXPECT_EQ(lost, 0U);
}

TEST_F(TelemetryTest, SlotsThatAreNoPowerOfTwoAreRefused) {
  const std::string file = path("odd.stats");
  auto created = Telemetry::create(file, 12);
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().code, Code::kInvalidArgument);
  EXPECT_NE(created.error().message.find("12"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(TelemetryTest, CreateLeavesAFileThatExistsAlone) {
  const std::string file = path("mine");
  std::ofstream(file) << "mine";
  auto created = Telemetry::create(file, 0);
  ASSERT_FALSE(created.has_value());
  EXPECT_NE(created.error().message.find(file), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(file), 4U);
}

TEST_F(TelemetryTest, CreateInAMissingFolderIsAnError) {
  auto created = Telemetry::create(path("no/such.stats"), 0);
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().code, Code::kUnavailable);
}

TEST_F(TelemetryTest, SpaceThatCannotBeClaimedIsAnErrorAndLeavesNoFile) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  // The limit stands for a full disk: the file system refuses to extend the file.
  auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string file = path("full.stats");
  auto created = Telemetry::create(file, 65536);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_FALSE(created.has_value());
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(TelemetryTest, OpenRefusesWhatIsNotThere) {
  auto opened = Telemetry::open(path("none"));
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, Code::kUnavailable);
}

TEST_F(TelemetryTest, OpenRefusesAnEmptyFile) {
  std::ofstream(path("empty")).flush();
  auto opened = Telemetry::open(path("empty"));
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, Code::kInvalidArgument);
}

TEST_F(TelemetryTest, OpenRefusesAForeignFile) {
  std::ofstream(path("foreign")) << std::string(100'000, 'x');
  auto opened = Telemetry::open(path("foreign"));
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, Code::kInvalidArgument);
  EXPECT_NE(opened.error().message.find("foreign"), std::string::npos);
}

TEST_F(TelemetryTest, OpenRefusesAFolder) { EXPECT_FALSE(Telemetry::open(folder_).has_value()); }

TEST_F(TelemetryTest, OpenRefusesAnotherMagic) {
  const std::string file = whole_file(8, 1);
  change_byte(file, offsetof(TelemetryHeader, magic));
  EXPECT_FALSE(Telemetry::open(file).has_value());
}

TEST_F(TelemetryTest, OpenRefusesAnotherLayout) {
  const std::string file = whole_file(8, 1);
  change_byte(file, offsetof(TelemetryHeader, layout));
  auto opened = Telemetry::open(file);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, Code::kInvalidArgument);
}

TEST_F(TelemetryTest, OpenRefusesARingThatIsCutShort) {
  const std::string file = whole_file(64, 64);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  EXPECT_FALSE(Telemetry::open(file).has_value());
  std::filesystem::resize_file(file, sizeof(TelemetryHeader) / 2);
  EXPECT_FALSE(Telemetry::open(file).has_value());
}

TEST_F(TelemetryTest, FileIsWholeAfterItsProcessWasKilled) {
  const std::string file = path("crash.stats");
  const pid_t child = ::fork();
  if (child == 0) {
    auto created = Telemetry::create(file, 8);
    if (!created) ::_exit(1);
    (*created)->statistics().evictions = 3;
    (*created)->record(EventKind::kEvict, Cause::kEviction, monotonic_ns(), 1, 2, false);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto reader = Telemetry::open(file);
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ((*reader)->header().process, static_cast<std::uint32_t>(child));
  EXPECT_EQ((*reader)->statistics().evictions, 3U);
  std::uint64_t lost = 0;
  EXPECT_EQ((*reader)->events(&lost).size(), 1U);
}

TEST_F(TelemetryTest, EventsOfManyThreadsAreAllThereAndWhole) {
  constexpr std::uint64_t threads = 4;
  constexpr std::uint64_t each = 4096;
  auto telemetry = Telemetry::create("", threads * each);
  ASSERT_TRUE(telemetry.has_value());
  std::vector<std::thread> writers;
  for (std::uint64_t t = 0; t < threads; ++t) {
    writers.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < each; ++i) {
        const std::uint64_t value = t * each + i;
        (*telemetry)->record(EventKind::kMigrate, Cause::kAdvice, 1, value, value, true);
        ++(*telemetry)->statistics().forks;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::uint64_t lost = 99;
  const auto events = (*telemetry)->events(&lost);
  EXPECT_EQ(lost, 0U);
  EXPECT_EQ((*telemetry)->statistics().forks, threads * each);
  std::set<std::uint64_t> values;
  for (const auto& event : events) {
    EXPECT_EQ(event.address, event.bytes);
    values.insert(event.address);
  }
  EXPECT_EQ(values.size(), threads * each);
}

// Readers may look while writers lap each other: what they get is whole, if not complete.
TEST_F(TelemetryTest, EventsReadWhileTheRingWrapsAreWhole) {
  auto telemetry = Telemetry::create("", 16);
  ASSERT_TRUE(telemetry.has_value());
  std::atomic<bool> stop = false;
  std::vector<std::thread> writers;
  for (std::uint64_t t = 0; t < 2; ++t) {
    writers.emplace_back([&, t] {
      for (std::uint64_t i = 0; !stop; ++i) {
        const std::uint64_t value = i * 2 + t;
        (*telemetry)->record(EventKind::kMigrate, Cause::kAdvice, value, value, value, true);
      }
    });
  }
  std::uint64_t torn = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::uint64_t lost = 0;
    for (const auto& event : (*telemetry)->events(&lost)) {
      if (event.address != event.bytes || event.address != event.start_ns) ++torn;
    }
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(torn, 0U);
}

TEST(TelemetryNames, EveryEnumeratorHasAName) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kCauseCount; ++i) names.insert(cause_name(static_cast<Cause>(i)));
  EXPECT_EQ(names.size(), kCauseCount);
  names.clear();
  for (std::size_t i = 0; i < kStayReasonCount; ++i) {
    names.insert(stay_reason_name(static_cast<StayReason>(i)));
  }
  EXPECT_EQ(names.size(), kStayReasonCount);
  names.clear();
  for (std::size_t i = 0; i < kEventKindCount; ++i) {
    names.insert(event_kind_name(static_cast<EventKind>(i)));
  }
  EXPECT_EQ(names.size(), kEventKindCount);
}

}  // namespace
}  // namespace godwit
