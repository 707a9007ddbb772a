// SPDX-License-Identifier: MIT
// Preloaded in the place of libgodwit_malloc.so: leaves a statistics file with known numbers, so
// that reports and traces can be tested to the digit, on any machine.
//   MADE_UP=lost: a page is lost.  MADE_UP=foreign: the file is not one of Godwit's.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "runtime/src/stats/telemetry.h"

namespace {

std::string variable(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

[[gnu::constructor]] void leave_statistics() {
  using namespace godwit;
  const std::string folder = variable("GODWIT_REPORT_DIR");
  // The shells of the tests are no workers.
  std::string program;
  std::getline(std::ifstream("/proc/self/comm"), program);
  if (folder.empty() || program != "worker") return;
  const std::string path = folder + "/" + std::to_string(::getpid()) + "-made.stats";
  const std::string how = variable("MADE_UP");
  if (how == "foreign") {
    std::ofstream(path) << std::string(100'000, 'x');
    return;
  }
  const std::string slots = variable("GODWIT_EVENTS");
  auto created = Telemetry::create(
      path,
      slots.empty() ? 0 : static_cast<std::uint32_t>(std::strtoul(slots.c_str(), nullptr, 10)));
  if (!created) return;
  // For good: the file is read after this process has ended.
  Telemetry& telemetry = *created->release();
  telemetry.set_names("user", "soft: made up");
  Statistics& statistics = telemetry.statistics();
  of(statistics, Cause::kDeviceAccess).operations = 2;
  of(statistics, Cause::kDeviceAccess).pages_to_device = 512;
  of(statistics, Cause::kDeviceAccess).nanoseconds = 1'500'000;
  of(statistics, Cause::kCpuFault).operations = 1;
  of(statistics, Cause::kCpuFault).pages_to_host = 256;
  of(statistics, Cause::kCpuFault).pages_dropped = 16;
  statistics.pages_stayed[static_cast<std::size_t>(StayReason::kPinned)] = 3;
  statistics.faults_read = 7;
  statistics.faults_write = 9;
  statistics.evictions = 4;
  statistics.gemm_offloaded = 1;
  statistics.gemm_passed_on = 2;
  statistics.staged_bytes = 65536;
  if (how == "lost") statistics.lost_pages = 5;
  const std::uint64_t now = monotonic_ns();
  telemetry.record(EventKind::kMigrate, Cause::kDeviceAccess, now, 0x700000000000, 2 << 20, true);
  telemetry.record(EventKind::kFault, Cause::kCpuFault, now, 0x700000001000, 4096, false, 1);
  telemetry.record(EventKind::kGemm, Cause::kDeviceAccess, now, 0, 0, true, 1);
}

}  // namespace
