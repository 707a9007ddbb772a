// SPDX-License-Identifier: MIT
#include "runtime/cli/run_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "runtime/cli/output_file.h"
#include "runtime/cli/preload.h"
#include "runtime/cli/program.h"
#include "runtime/cli/readiness.h"
#include "runtime/cli/report.h"
#include "runtime/cli/report_folder.h"
#include "runtime/cli/run_options.h"
#include "runtime/cli/trace.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::cli {
namespace {

constexpr std::uint32_t kTraceSlots = 65536;
// Room for the statistics of a few dozen processes.
constexpr std::uint64_t kReportRoom = std::uint64_t{1} << 20;
constexpr std::uint64_t kTraceRoom = std::uint64_t{32} * kTraceSlots * sizeof(Event);

void say(const std::string& message) { fmt::print(stderr, "godwit: {}\n", message); }

int own_failure(const Error& error) {
  std::string text = error.message;
  for (const std::string& reason : error.reasons) text += "; " + reason;
  say(text);
  return kOwnFailure;
}

// Everything that is prepared before the program starts, so that what is wrong is said at once.
struct Preparation {
  std::optional<OutputFile> report;
  std::optional<OutputFile> trace;
  std::vector<std::string> environment;
};

Result<> open_outputs(const RunOptions& options, Preparation* preparation) {
  if (options.report != ReportFormat::kNone && !options.report_file.empty()) {
    auto file = OutputFile::open("report", options.report_file);
    if (!file) return tl::unexpected(file.error());
    preparation->report.emplace(std::move(*file));
  } else if (options.report != ReportFormat::kNone) {
    preparation->report.emplace(OutputFile::standard_error("report"));
  }
  if (!options.trace_file.empty()) {
    auto file = OutputFile::open("trace", options.trace_file);
    if (!file) return tl::unexpected(file.error());
    preparation->trace.emplace(std::move(*file));
  }
  return {};
}

Result<> prepare(const RunOptions& options, Preparation* preparation) {
  auto libraries = find_libraries();
  if (!libraries) return tl::unexpected(libraries.error());
  auto ready = check_readiness(options.context, options.verbose);
  if (!ready) return tl::unexpected(ready.error());
  if (options.verbose) say(fmt::format("engine {}; device {}", ready->engine, ready->device));
  if (auto opened = open_outputs(options, preparation); !opened) return opened;

  std::vector<std::string>& environment = preparation->environment;
  environment.push_back("LD_PRELOAD=" + preload_value(*libraries, ::getenv("LD_PRELOAD")));
  for (const auto& [name, value] : options.variables) environment.push_back(name + "=" + value);
  return {};
}

Result<> add_folder(const RunOptions& options, std::optional<ReportFolder>* folder,
                    std::vector<std::string>* environment) {
  if (!options.wants_statistics()) return {};
  const bool trace = !options.trace_file.empty();
  auto created = ReportFolder::create(trace ? kTraceRoom : kReportRoom);
  if (!created) return tl::unexpected(created.error());
  environment->push_back("GODWIT_REPORT_DIR=" + created->path());
  environment->push_back(fmt::format("GODWIT_EVENTS={}", trace ? kTraceSlots : 0));
  folder->emplace(std::move(*created));
  return {};
}

// Closes the file; a failure is godwit's own exit status where the program had none.
int finish(OutputFile& file, int status) {
  auto closed = file.close();
  if (closed) return status;
  say(closed.error().message);
  return status != 0 ? status : kOwnFailure;
}

}  // namespace

int run_command(const std::vector<std::string>& arguments) {
  RunOptions options;
  auto help = parse_run_options(arguments, &options);
  if (!help) return own_failure(help.error());
  if (*help) return 0;

  // A Ctrl-C ends this part at once: the check of a device takes a while, and a pipe that the
  // report goes to may have no reader yet.
  Preparation preparation;
  if (auto prepared = prepare(options, &preparation); !prepared) {
    return own_failure(prepared.error());
  }
  std::optional<ReportFolder> folder;
  // As long as it lives, a Ctrl-C does not end this process with the folder left behind.
  SignalBlock block;
  if (auto added = add_folder(options, &folder, &preparation.environment); !added) {
    return own_failure(added.error());
  }

  RunSummary run;
  run.command = options.command;
  const std::uint64_t start = monotonic_ns();
  auto end = run_program(options.command, preparation.environment, block);
  run.nanoseconds = monotonic_ns() - start;
  if (!end) {
    folder.reset();
    say(end.error().message);
    return end.error().status;
  }
  run.end = *end;
  int status = end->status;
  if (folder) {
    run.processes = read_records(folder->files(), &run.complaints);
    folder.reset();
  }
  if (preparation.report) {
    preparation.report->write(options.report == ReportFormat::kJson ? report_json(run)
                                                                    : report_text(run));
    status = finish(*preparation.report, status);
  }
  // The folder is gone and the report is out: from here on a Ctrl-C only cuts the trace short.
  block.end();
  if (preparation.trace) {
    write_trace(run.processes, &*preparation.trace);
    status = finish(*preparation.trace, status);
  }
  return status;
}

}  // namespace godwit::cli
