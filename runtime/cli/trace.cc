// SPDX-License-Identifier: MIT
#include "runtime/cli/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace godwit::cli {
namespace {

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string name_of(const Telemetry::PlainEvent& event) {
  constexpr std::array<std::string_view, 4> scalars = {"float", "double", "complex float",
                                                       "complex double"};
  switch (event.kind) {
    case EventKind::kFault:
      return event.detail == 1 ? "fault: write" : "fault: read";
    case EventKind::kGemm:
      return fmt::format("gemm: {}", scalars[std::min<std::size_t>(event.detail, 3)]);
    case EventKind::kMigrate:
    case EventKind::kEvict:
    case EventKind::kRemove:
    case EventKind::kRevoke:
      return fmt::format("{}: {}", event_kind_name(event.kind), cause_name(event.cause));
    default:
      return std::string(event_kind_name(event.kind));
  }
}

// Nanoseconds as microseconds, exactly.
std::string microseconds(std::uint64_t nanoseconds) {
  return fmt::format("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
}

}  // namespace

void write_trace(const std::vector<ProcessRecord>& processes, OutputFile* out) {
  std::uint64_t begin = ~std::uint64_t{0};
  std::uint64_t lost = 0;
  for (const ProcessRecord& process : processes) {
    begin = std::min(begin, process.start_ns);
    lost += process.events_lost;
  }
  out->write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
  const char* separator = "\n";
  for (const ProcessRecord& process : processes) {
    out->write(
        fmt::format("{}{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{},\"tid\":{},\"args\":{{"
                    "\"name\":{}}}}}",
                    separator, process.process, process.process, json_string(process.program)));
    separator = ",\n";
    for (const Telemetry::PlainEvent& event : process.events) {
      out->write(fmt::format(
          "{}{{\"ph\":\"X\",\"name\":{},\"cat\":\"{}\",\"ts\":{},\"dur\":{},\"pid\":{},\"tid\":{},"
          "\"args\":{{\"cause\":\"{}\",\"address\":\"{:#x}\",\"bytes\":{},\"direction\":\"{}\"}}}}",
          separator, json_string(name_of(event)), event_kind_name(event.kind),
          microseconds(event.start_ns - std::min(begin, event.start_ns)),
          microseconds(event.duration_ns), process.process, event.thread, cause_name(event.cause),
          event.address, event.bytes, event.to_device ? "to VRAM" : "to RAM"));
    }
  }
  out->write(fmt::format("\n],\"otherData\":{{\"lost\":{},\"processes\":[", lost));
  separator = "";
  for (const ProcessRecord& process : processes) {
    out->write(
        fmt::format("{}{{\"pid\":{},\"program\":{},\"engine\":{},\"device\":{},\"lost\":{}}}",
                    separator, process.process, json_string(process.program),
                    json_string(process.engine), json_string(process.device), process.events_lost));
    separator = ",";
  }
  out->write("]}}\n");
}

}  // namespace godwit::cli
