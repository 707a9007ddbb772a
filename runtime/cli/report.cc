// SPDX-License-Identifier: MIT
#include "runtime/cli/report.h"

#include <fmt/format.h>

#include <string_view>

#include "godwit/units.h"
#include "runtime/cli/human.h"

namespace godwit::cli {
namespace {

constexpr std::string_view kNothing =
    "no process used Godwit's memory. Reasons why that can be:\n"
    "  - every block that was allocated is smaller than --min-block\n"
    "  - the program is statically linked, or carries an allocator of its own\n"
    "  - it is setuid or has file capabilities: the dynamic loader then ignores LD_PRELOAD\n"
    "  - it removed LD_PRELOAD from the environment before it started the program that works\n";

std::string pages_text(std::uint64_t pages) { return size_text(pages * kPageBytes); }

std::string line(std::string_view label, std::string_view value) {
  return fmt::format("  {:<16}{}\n", label, value);
}

std::string command_text(const std::vector<std::string>& command) {
  std::string text;
  for (const std::string& word : command) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  // A report is for reading: an inline script is not.
  if (const std::size_t end = text.find('\n'); end != std::string::npos || text.size() > 120) {
    text = text.substr(0, std::min<std::size_t>(end, 117)) + "...";
  }
  return text;
}

std::string end_text(const ProgramEnd& end) {
  if (end.signal != 0) return fmt::format("killed by signal {}", end.signal);
  return fmt::format("exit status {}", end.status);
}

void moves_table(const Counters& counters, std::string* out) {
  const auto row = [&](std::string_view label, const CauseRecord& record) {
    *out += fmt::format("  {:<16}{:>12}{:>12}{:>12}{:>12}{:>12}\n", label,
                        pages_text(record.pages_to_device), pages_text(record.pages_to_host),
                        pages_text(record.pages_dropped), record.operations,
                        duration_text(record.nanoseconds));
  };
  *out += fmt::format("  {:<16}{:>12}{:>12}{:>12}{:>12}{:>12}\n", "moved, by cause", "to VRAM",
                      "to RAM", "no copy", "operations", "time");
  for (std::size_t i = 0; i < kCauseCount; ++i) {
    const CauseRecord& record = counters.causes[i];
    if (record.operations == 0 && record.pages_to_device == 0 && record.pages_to_host == 0 &&
        record.pages_dropped == 0 && record.nanoseconds == 0) {
      continue;
    }
    row(fmt::format("  {}", cause_name(static_cast<Cause>(i))), record);
  }
  const CauseRecord sum = counters.moves();
  row("  total", sum);
  *out += line("", fmt::format("{} to VRAM, {} to RAM, {} without a copy",
                               count_text(sum.pages_to_device, "page"),
                               count_text(sum.pages_to_host, "page"),
                               count_text(sum.pages_dropped, "page")));
}

void counters_text(const Counters& counters, std::string* out) {
  moves_table(counters, out);
  *out +=
      line("faults", fmt::format("{} read, {} write; {} on empty pages, {} deferred, {} "
                                 "spurious; {}",
                                 counters.faults_read, counters.faults_write, counters.faults_empty,
                                 counters.faults_deferred, counters.faults_spurious,
                                 duration_text(counters.fault_nanoseconds)));
  *out += line("evictions", fmt::format("{} of 64 KiB", counters.evictions));
  if (counters.stayed() != 0) {
    std::string reasons;
    for (std::size_t i = 0; i < kStayReasonCount; ++i) {
      if (counters.pages_stayed[i] == 0) continue;
      if (!reasons.empty()) reasons += ", ";
      reasons += fmt::format("{} {}", counters.pages_stayed[i],
                             stay_reason_name(static_cast<StayReason>(i)));
    }
    *out += line("pages stayed", reasons);
  }
  *out += line("matrix products",
               fmt::format("{} on the device ({}), {} passed on; {} of operands staged",
                           counters.gemm_offloaded, duration_text(counters.gemm_nanoseconds),
                           counters.gemm_passed_on, size_text(counters.staged_bytes)));
  *out += line("managed memory",
               fmt::format("{} at most, {} at the end", size_text(counters.managed_peak),
                           size_text(counters.managed_bytes)));
  *out += line("VRAM", fmt::format("{} at most, {} at the end", size_text(counters.vram_peak),
                                   size_text(counters.vram_bytes)));
  if (counters.removed_pages != 0) {
    *out += line("removed", fmt::format("{} given up without a copy",
                                        count_text(counters.removed_pages, "page")));
  }
  if (counters.peer_revocations + counters.peer_refusals + counters.peer_remaps != 0) {
    *out += line("peers", fmt::format("{} times told to let go, {} times refused, {} times mapped",
                                      counters.peer_revocations, counters.peer_refusals,
                                      counters.peer_remaps));
  }
  if (counters.forks != 0) *out += line("forks", std::to_string(counters.forks));
}

std::string engine_text(const ProcessRecord& process) {
  return process.engine.empty() ? "none" : process.engine;
}

std::string device_text(const ProcessRecord& process) {
  return process.device.empty() ? "none used" : process.device;
}

void process_table(const std::vector<ProcessRecord>& processes, std::string* out) {
  *out += fmt::format("  {:>8}  {:<16}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}\n", "process",
                      "program", "to VRAM", "to RAM", "no copy", "faults", "evictions", "products",
                      "passed on");
  for (const ProcessRecord& process : processes) {
    const CauseRecord sum = process.counters.moves();
    *out += fmt::format("  {:>8}  {:<16}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}\n",
                        process.process, process.program, pages_text(sum.pages_to_device),
                        pages_text(sum.pages_to_host), pages_text(sum.pages_dropped),
                        process.counters.faults_read + process.counters.faults_write,
                        process.counters.evictions, process.counters.gemm_offloaded,
                        process.counters.gemm_passed_on);
  }
  // Usually the same for all.
  std::string last;
  for (const ProcessRecord& process : processes) {
    const std::string now =
        fmt::format("engine {}, device {}", engine_text(process), device_text(process));
    if (now != last) *out += fmt::format("  from process {}: {}\n", process.process, now);
    last = now;
  }
}

}  // namespace

std::string report_text(const RunSummary& run) {
  std::string out = fmt::format("godwit: {} ({}, {})\n", command_text(run.command),
                                end_text(run.end), duration_text(run.nanoseconds));
  for (const std::string& complaint : run.complaints) out += "  " + complaint + "\n";
  if (run.processes.empty()) {
    out += "godwit: ";
    out += kNothing;
    return out;
  }
  Counters total;
  for (const ProcessRecord& process : run.processes) total.add(process.counters);
  for (const ProcessRecord& process : run.processes) {
    if (process.counters.lost_pages == 0) continue;
    out += fmt::format(
        "\n*** LOST: {} of process {} ({}) had their only copy on a device that failed. ***\n\n",
        count_text(process.counters.lost_pages, "page"), process.process, process.program);
  }
  if (run.processes.size() == 1) {
    const ProcessRecord& only = run.processes.front();
    out += line("program", fmt::format("{} (process {})", only.program, only.process));
    out += line("engine", engine_text(only));
    out += line("device", device_text(only));
  } else {
    process_table(run.processes, &out);
    out += fmt::format("total of {} processes\n", run.processes.size());
  }
  counters_text(total, &out);
  return out;
}

}  // namespace godwit::cli
