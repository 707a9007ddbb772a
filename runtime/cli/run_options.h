// SPDX-License-Identifier: MIT
// What `godwit run` was asked for, and the GODWIT_* variables that say it to the program.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "godwit/context.h"
#include "godwit/result.h"

namespace godwit::cli {

enum class ReportFormat : std::uint8_t { kNone, kText, kJson };

struct RunOptions {
  /// What the program's context will be made with: the command line's values, else the
  /// environment's.
  ContextOptions context;
  /// Variables for the program: what was given on the command line; the rest is inherited.
  std::vector<std::pair<std::string, std::string>> variables;
  ReportFormat report = ReportFormat::kNone;
  std::string report_file;  // empty: standard error
  std::string trace_file;   // empty: no trace
  bool verbose = false;
  std::vector<std::string> command;  // never empty

  [[nodiscard]] bool wants_statistics() const {
    return report != ReportFormat::kNone || !trace_file.empty();
  }
};

/// True: `--help` was printed, and there is nothing to run. `arguments`: what follows "run".
/// Errors: kInvalidArgument, in words that name the option or variable and what it takes.
[[nodiscard]] Result<bool> parse_run_options(const std::vector<std::string>& arguments,
                                             RunOptions* options);

}  // namespace godwit::cli
