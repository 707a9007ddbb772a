// SPDX-License-Identifier: MIT
#include "runtime/cli/process_record.h"

#include <algorithm>
#include <cstring>

namespace godwit::cli {
namespace {

std::uint64_t load(const Counter& counter) { return counter.load(std::memory_order_relaxed); }

// The file may have been cut short by a crash in the middle of writing a name.
template <std::size_t N>
std::string text(const char (&field)[N]) {
  return std::string(field, ::strnlen(field, N));
}

Counters snapshot(const Statistics& from) {
  Counters to;
  for (std::size_t i = 0; i < kCauseCount; ++i) {
    const CauseCounters& cause = from.causes[i];
    to.causes[i] = {.operations = load(cause.operations),
                    .pages_to_device = load(cause.pages_to_device),
                    .pages_to_host = load(cause.pages_to_host),
                    .pages_dropped = load(cause.pages_dropped),
                    .nanoseconds = load(cause.nanoseconds)};
  }
  for (std::size_t i = 0; i < kStayReasonCount; ++i)
    to.pages_stayed[i] = load(from.pages_stayed[i]);
  to.faults_read = load(from.faults_read);
  to.faults_write = load(from.faults_write);
  to.faults_empty = load(from.faults_empty);
  to.faults_deferred = load(from.faults_deferred);
  to.faults_spurious = load(from.faults_spurious);
  to.fault_nanoseconds = load(from.fault_nanoseconds);
  to.evictions = load(from.evictions);
  to.removed_pages = load(from.removed_pages);
  to.lost_pages = load(from.lost_pages);
  to.managed_bytes = load(from.managed_bytes);
  to.managed_peak = load(from.managed_peak);
  to.vram_bytes = load(from.vram_bytes);
  to.vram_peak = load(from.vram_peak);
  to.gemm_offloaded = load(from.gemm_offloaded);
  to.gemm_passed_on = load(from.gemm_passed_on);
  to.gemm_nanoseconds = load(from.gemm_nanoseconds);
  to.staged_bytes = load(from.staged_bytes);
  to.forks = load(from.forks);
  to.file_pages_read = load(from.file_pages_read);
  to.file_pages_written = load(from.file_pages_written);
  to.peer_revocations = load(from.peer_revocations);
  to.peer_refusals = load(from.peer_refusals);
  to.peer_remaps = load(from.peer_remaps);
  return to;
}

}  // namespace

const std::vector<CounterField>& counter_fields() {
  static const std::vector<CounterField> fields = {
      {"faults_read", &Counters::faults_read},
      {"faults_write", &Counters::faults_write},
      {"faults_empty", &Counters::faults_empty},
      {"faults_deferred", &Counters::faults_deferred},
      {"faults_spurious", &Counters::faults_spurious},
      {"fault_nanoseconds", &Counters::fault_nanoseconds},
      {"evictions", &Counters::evictions},
      {"removed_pages", &Counters::removed_pages},
      {"lost_pages", &Counters::lost_pages},
      {"managed_bytes", &Counters::managed_bytes},
      {"managed_peak", &Counters::managed_peak},
      {"vram_bytes", &Counters::vram_bytes},
      {"vram_peak", &Counters::vram_peak},
      {"gemm_offloaded", &Counters::gemm_offloaded},
      {"gemm_passed_on", &Counters::gemm_passed_on},
      {"gemm_nanoseconds", &Counters::gemm_nanoseconds},
      {"staged_bytes", &Counters::staged_bytes},
      {"forks", &Counters::forks},
      {"file_pages_read", &Counters::file_pages_read},
      {"file_pages_written", &Counters::file_pages_written},
      {"peer_revocations", &Counters::peer_revocations},
      {"peer_refusals", &Counters::peer_refusals},
      {"peer_remaps", &Counters::peer_remaps},
  };
  return fields;
}

void Counters::add(const Counters& other) {
  for (std::size_t i = 0; i < kCauseCount; ++i) {
    causes[i].operations += other.causes[i].operations;
    causes[i].pages_to_device += other.causes[i].pages_to_device;
    causes[i].pages_to_host += other.causes[i].pages_to_host;
    causes[i].pages_dropped += other.causes[i].pages_dropped;
    causes[i].nanoseconds += other.causes[i].nanoseconds;
  }
  for (std::size_t i = 0; i < kStayReasonCount; ++i) pages_stayed[i] += other.pages_stayed[i];
  for (const CounterField& field : counter_fields()) this->*field.value += other.*field.value;
}

CauseRecord Counters::moves() const {
  CauseRecord sum;
  for (const CauseRecord& cause : causes) {
    sum.operations += cause.operations;
    sum.pages_to_device += cause.pages_to_device;
    sum.pages_to_host += cause.pages_to_host;
    sum.pages_dropped += cause.pages_dropped;
    sum.nanoseconds += cause.nanoseconds;
  }
  return sum;
}

std::uint64_t Counters::stayed() const {
  std::uint64_t sum = 0;
  for (const std::uint64_t pages : pages_stayed) sum += pages;
  return sum;
}

std::vector<ProcessRecord> read_records(const std::vector<std::string>& files,
                                        std::vector<std::string>* complaints) {
  std::vector<ProcessRecord> records;
  for (const std::string& file : files) {
    auto opened = Telemetry::open(file);
    if (!opened) {
      complaints->push_back(opened.error().to_string());
      continue;
    }
    Telemetry& telemetry = **opened;
    const TelemetryHeader& header = telemetry.header();
    ProcessRecord record;
    record.process = header.process;
    record.start_ns = header.start_ns;
    record.program = text(header.program);
    record.engine = text(header.engine);
    record.device = text(header.device);
    record.counters = snapshot(header.statistics);
    if (telemetry.recording()) record.events = telemetry.events(&record.events_lost);
    // A program that scribbles over its memory can reach the file; the names are looked up in
    // tables.
    std::erase_if(record.events, [](const Telemetry::PlainEvent& event) {
      return static_cast<std::size_t>(event.kind) >= kEventKindCount ||
             static_cast<std::size_t>(event.cause) >= kCauseCount;
    });
    records.push_back(std::move(record));
  }
  std::stable_sort(records.begin(), records.end(),
                   [](const auto& a, const auto& b) { return a.start_ns < b.start_ns; });
  return records;
}

}  // namespace godwit::cli
