// SPDX-License-Identifier: MIT
// One process's counters as they were when the program had ended.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "godwit/statistics.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::cli {

struct CauseRecord {
  std::uint64_t operations = 0;
  std::uint64_t pages_to_device = 0;
  std::uint64_t pages_to_host = 0;
  std::uint64_t pages_dropped = 0;
  std::uint64_t nanoseconds = 0;
};

/// Statistics, in plain numbers that can be added up.
struct Counters {
  std::array<CauseRecord, kCauseCount> causes{};
  std::array<std::uint64_t, kStayReasonCount> pages_stayed{};
  std::uint64_t faults_read = 0;
  std::uint64_t faults_write = 0;
  std::uint64_t faults_empty = 0;
  std::uint64_t faults_deferred = 0;
  std::uint64_t faults_spurious = 0;
  std::uint64_t fault_nanoseconds = 0;
  std::uint64_t evictions = 0;
  std::uint64_t removed_pages = 0;
  std::uint64_t lost_pages = 0;
  std::uint64_t managed_bytes = 0;
  std::uint64_t managed_peak = 0;
  std::uint64_t vram_bytes = 0;
  std::uint64_t vram_peak = 0;
  std::uint64_t gemm_offloaded = 0;
  std::uint64_t gemm_passed_on = 0;
  std::uint64_t gemm_nanoseconds = 0;
  std::uint64_t staged_bytes = 0;
  std::uint64_t forks = 0;
  std::uint64_t file_pages_read = 0;
  std::uint64_t file_pages_written = 0;
  std::uint64_t peer_revocations = 0;
  std::uint64_t peer_refusals = 0;
  std::uint64_t peer_remaps = 0;

  void add(const Counters& other);
  /// The sum over the causes.
  [[nodiscard]] CauseRecord moves() const;
  [[nodiscard]] std::uint64_t stayed() const;
};

/// A member of Counters by its name in the JSON report.
struct CounterField {
  const char* name;
  std::uint64_t Counters::*value;
};
[[nodiscard]] const std::vector<CounterField>& counter_fields();

struct ProcessRecord {
  std::uint32_t process = 0;
  std::uint64_t start_ns = 0;  // CLOCK_MONOTONIC
  std::string program;
  std::string engine;
  std::string device;  // empty: none was ever used
  Counters counters;
  std::uint64_t events_lost = 0;
  std::vector<Telemetry::PlainEvent> events;
};

/// Reads the files; what cannot be read is named in `complaints`. In the order of their start.
[[nodiscard]] std::vector<ProcessRecord> read_records(const std::vector<std::string>& files,
                                                      std::vector<std::string>* complaints);

}  // namespace godwit::cli
