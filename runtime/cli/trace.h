// SPDX-License-Identifier: MIT
// Events as a Chrome trace, which ui.perfetto.dev and chrome://tracing open.
#pragma once

#include <vector>

#include "runtime/cli/output_file.h"
#include "runtime/cli/process_record.h"

namespace godwit::cli {

/// Writes the whole file; errors are kept by `out` until its close(). Times are microseconds since
/// the start of the process that started first.
void write_trace(const std::vector<ProcessRecord>& processes, OutputFile* out);

}  // namespace godwit::cli
