// SPDX-License-Identifier: MIT
// The machine-readable report; declared in report.h.
#include <nlohmann/json.hpp>
#include <string>

#include "godwit/units.h"
#include "runtime/cli/report.h"

namespace godwit::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string key(std::string_view name) {
  std::string result(name);
  for (char& c : result) {
    if (c == ' ') c = '_';
  }
  return result;
}

Json cause_json(const CauseRecord& record) {
  return {{"operations", record.operations},
          {"pages_to_device", record.pages_to_device},
          {"pages_to_host", record.pages_to_host},
          {"pages_dropped", record.pages_dropped},
          {"nanoseconds", record.nanoseconds}};
}

Json counters_json(const Counters& counters) {
  const CauseRecord sum = counters.moves();
  Json result = {{"bytes_to_device", sum.pages_to_device * kPageBytes},
                 {"bytes_to_host", sum.pages_to_host * kPageBytes},
                 {"moves", cause_json(sum)}};
  Json& causes = result["causes"] = Json::object();
  for (std::size_t i = 0; i < kCauseCount; ++i) {
    causes[key(cause_name(static_cast<Cause>(i)))] = cause_json(counters.causes[i]);
  }
  Json& stayed = result["pages_stayed"] = Json::object();
  for (std::size_t i = 0; i < kStayReasonCount; ++i) {
    stayed[key(stay_reason_name(static_cast<StayReason>(i)))] = counters.pages_stayed[i];
  }
  for (const CounterField& field : counter_fields()) result[field.name] = counters.*field.value;
  return result;
}

}  // namespace

std::string report_json(const RunSummary& run) {
  Json report;
  report["command"] = run.command;
  report["exit_status"] = run.end.status;
  report["signal"] = run.end.signal == 0 ? Json() : Json(run.end.signal);
  report["nanoseconds"] = run.nanoseconds;
  report["page_bytes"] = kPageBytes;
  Counters total;
  Json& processes = report["processes"] = Json::array();
  for (const ProcessRecord& process : run.processes) {
    total.add(process.counters);
    Json entry = {{"process", process.process},
                  {"program", process.program},
                  {"engine", process.engine},
                  {"device", process.device.empty() ? Json() : Json(process.device)},
                  {"start_nanoseconds", process.start_ns}};
    entry.update(counters_json(process.counters));
    processes.push_back(std::move(entry));
  }
  report["total"] = counters_json(total);
  report["complaints"] = run.complaints;
  // Names and arguments need not be UTF-8.
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace godwit::cli
