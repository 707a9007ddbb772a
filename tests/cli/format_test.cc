// SPDX-License-Identifier: MIT
// Reports and traces of made-up records, and what the command line knows of kernels.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "runtime/cli/human.h"
#include "runtime/cli/output_file.h"
#include "runtime/cli/preload.h"
#include "runtime/cli/report.h"
#include "runtime/cli/report_folder.h"
#include "runtime/cli/system_facts.h"
#include "runtime/cli/trace.h"

namespace godwit::cli {
namespace {

ProcessRecord record(std::uint32_t process, std::uint64_t start_ns) {
  ProcessRecord result;
  result.process = process;
  result.start_ns = start_ns;
  result.program = "worker";
  result.engine = "user";
  result.device = "soft: CPU";
  result.counters.causes[0].pages_to_host = 10;
  result.counters.faults_read = process;
  return result;
}

Telemetry::PlainEvent event(std::uint64_t start_ns, std::uint64_t duration_ns) {
  Telemetry::PlainEvent result{};
  result.sequence = 1;
  result.start_ns = start_ns;
  result.duration_ns = duration_ns;
  result.address = 0x1000;
  result.bytes = 4096;
  result.thread = 77;
  result.kind = EventKind::kEvict;
  result.cause = Cause::kEviction;
  return result;
}

nlohmann::json trace_of(const std::vector<ProcessRecord>& processes) {
  const std::string path = ::testing::TempDir() + "/trace.json";
  auto file = OutputFile::open("trace", path);
  EXPECT_TRUE(file.has_value());
  write_trace(processes, &*file);
  EXPECT_TRUE(file->close().has_value());
  std::ifstream stream(path);
  return nlohmann::json::parse(stream);
}

TEST(HumanText, SizesHaveOneDecimal) {
  EXPECT_EQ(size_text(0), "0 B");
  EXPECT_EQ(size_text(1023), "1023 B");
  EXPECT_EQ(size_text(1024), "1.0 KiB");
  EXPECT_EQ(size_text((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(size_text(std::uint64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(size_text(~std::uint64_t{0}), "16.0 EiB");
}

TEST(HumanText, DurationsChooseTheirUnit) {
  EXPECT_EQ(duration_text(0), "0");
  EXPECT_EQ(duration_text(999), "999 ns");
  EXPECT_EQ(duration_text(1500), "1.5 us");
  EXPECT_EQ(duration_text(2'340'000), "2.34 ms");
  EXPECT_EQ(duration_text(12'500'000'000), "12.50 s");
}

TEST(HumanText, OnePageIsSingular) {
  EXPECT_EQ(count_text(1, "page"), "1 page");
  EXPECT_EQ(count_text(0, "page"), "0 pages");
}

TEST(Preload, ValueKeepsWhatWasThere) {
  EXPECT_EQ(preload_value({"/a.so", "/b.so"}, nullptr), "/a.so:/b.so");
  EXPECT_EQ(preload_value({"/a.so"}, ""), "/a.so");
  EXPECT_EQ(preload_value({"/a.so"}, "/c.so"), "/a.so:/c.so");
}

TEST(KernelFacts, VersionsAreParsed) {
  EXPECT_EQ(parse_kernel_version("6.18.44-fc").major, 6U);
  EXPECT_EQ(parse_kernel_version("6.18.44-fc").minor, 18U);
  EXPECT_EQ(parse_kernel_version("7.2-rc1").minor, 2U);
  EXPECT_EQ(parse_kernel_version("strange").major, 0U);
}

TEST(KernelFacts, OldKernelsLackMore) {
  EXPECT_TRUE(missing_from({.major = 6, .minor = 8}).empty());
  EXPECT_TRUE(missing_from({.major = 7, .minor = 0}).empty());
  ASSERT_EQ(missing_from({.major = 6, .minor = 7}).size(), 1U);
  EXPECT_NE(missing_from({.major = 6, .minor = 7})[0].find("UFFDIO_MOVE"), std::string::npos);
  EXPECT_EQ(missing_from({.major = 5, .minor = 10}).size(), 4U);
}

TEST(TextReport, SumsSeveralProcesses) {
  RunSummary run;
  run.command = {"mpirun", "worker"};
  run.processes = {record(11, 100), record(12, 200)};
  const std::string text = report_text(run);
  EXPECT_NE(text.find("mpirun worker (exit status 0"), std::string::npos) << text;
  EXPECT_NE(text.find("total of 2 processes"), std::string::npos) << text;
  EXPECT_NE(text.find("23 read"), std::string::npos) << text;
  EXPECT_EQ(text.find("LOST"), std::string::npos) << text;
}

TEST(TextReport, LostPagesNameTheirProcess) {
  RunSummary run;
  run.processes = {record(11, 100), record(12, 200)};
  run.processes[1].counters.lost_pages = 2;
  EXPECT_NE(report_text(run).find("LOST: 2 pages of process 12"), std::string::npos);
}

TEST(TextReport, LongCommandsAreCut) {
  RunSummary run;
  run.command = {"sh", "-c", "echo one\necho two"};
  EXPECT_NE(report_text(run).find("sh -c echo one..."), std::string::npos);
}

TEST(JsonReport, ArgumentsNeedNotBeText) {
  RunSummary run;
  run.command = {"a\"b", "\xff\xfe"};
  run.processes = {record(3, 100)};
  run.processes[0].program = "\xc3";
  const auto report = nlohmann::json::parse(report_json(run));
  EXPECT_EQ(report["command"][0], "a\"b");
  EXPECT_EQ(report["processes"].size(), 1U);
  EXPECT_EQ(report["total"]["bytes_to_host"], 10U * 4096);
  EXPECT_TRUE(report["signal"].is_null());
}

TEST(JsonReport, NamesEveryCounterOfTheStatistics) {
  // The others are written one by one, as causes and reasons.
  EXPECT_EQ(counter_fields().size() * sizeof(Counter),
            sizeof(Statistics) - sizeof(Statistics::causes) - sizeof(Statistics::pages_stayed));
}

TEST(Trace, TimesAreRelativeToTheFirstProcess) {
  std::vector<ProcessRecord> processes = {record(1, 1'000'000), record(2, 5'000'000)};
  processes[1].events = {event(5'001'234, 999)};
  const auto trace = trace_of(processes);
  ASSERT_EQ(trace["traceEvents"].size(), 3U);
  const auto& last = trace["traceEvents"][2];
  EXPECT_EQ(last["ph"], "X");
  EXPECT_EQ(last["name"], "evict: eviction");
  EXPECT_DOUBLE_EQ(last["ts"].get<double>(), 4001.234);
  EXPECT_DOUBLE_EQ(last["dur"].get<double>(), 0.999);
  EXPECT_EQ(last["pid"], 2);
  EXPECT_EQ(last["tid"], 77);
  EXPECT_EQ(last["args"]["address"], "0x1000");
  EXPECT_EQ(last["args"]["direction"], "to RAM");
}

TEST(Trace, LostEventsAreCounted) {
  std::vector<ProcessRecord> processes = {record(1, 1), record(2, 2)};
  processes[0].events_lost = 5;
  processes[1].events_lost = 6;
  EXPECT_EQ(trace_of(processes)["otherData"]["lost"], 11);
}

TEST(Trace, NothingIsAValidTrace) { EXPECT_TRUE(trace_of({})["traceEvents"].empty()); }

TEST(Trace, StrangeProgramNamesAreEscaped) {
  std::vector<ProcessRecord> processes = {record(1, 1)};
  processes[0].program = "a\"b\\\n\xff";
  EXPECT_EQ(trace_of(processes)["traceEvents"].size(), 1U);
}

TEST(OutputFile, FullDiskIsAnErrorOfClose) {
  auto file = OutputFile::open("trace", "/dev/full");
  ASSERT_TRUE(file.has_value());
  file->write("text");
  auto closed = file->close();
  ASSERT_FALSE(closed.has_value());
  EXPECT_EQ(closed.error().message, "cannot write trace /dev/full: No space left on device");
}

TEST(ReportFolder, ListsStatisticsFilesAlone) {
  auto folder = ReportFolder::create(1);
  ASSERT_TRUE(folder.has_value());
  const std::string path = folder->path();
  std::ofstream(path + "/2-b.stats") << "x";
  std::ofstream(path + "/1-a.stats") << "x";
  std::ofstream(path + "/note.txt") << "x";
  ASSERT_EQ(::symlink("/etc/passwd", (path + "/3-c.stats").c_str()), 0);
  const auto files = folder->files();
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0], path + "/1-a.stats");
  folder->remove();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(ReportFolder, RoomThatIsNotThereIsAnError) {
  auto folder = ReportFolder::create(std::uint64_t{1} << 62);
  ASSERT_FALSE(folder.has_value());
  EXPECT_FALSE(folder.error().reasons.empty());
}

}  // namespace
}  // namespace godwit::cli
