// SPDX-License-Identifier: MIT
// What `godwit run --report` prints when the program has ended.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/cli/process_record.h"
#include "runtime/cli/program.h"

namespace godwit::cli {

struct RunSummary {
  std::vector<std::string> command;
  ProgramEnd end;
  std::uint64_t nanoseconds = 0;  // wall time of the program
  std::vector<ProcessRecord> processes;
  std::vector<std::string> complaints;  // statistics that could not be read
};

/// An aligned table for people. docs/cli.md says what each line means.
[[nodiscard]] std::string report_text(const RunSummary& run);

/// Raw numbers: pages of 4096 bytes, nanoseconds. docs/cli.md has the members.
[[nodiscard]] std::string report_json(const RunSummary& run);

}  // namespace godwit::cli
