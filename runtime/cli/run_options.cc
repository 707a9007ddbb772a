// SPDX-License-Identifier: MIT
#include "runtime/cli/run_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>
#include <string_view>

#include "godwit/units.h"
#include "runtime/src/base/size.h"

namespace godwit::cli {
namespace {

using Check = Result<std::string> (*)(const std::string& value);

Result<std::string> one_of(const std::string& value, std::span<const std::string_view> words) {
  std::string list;
  for (const std::string_view word : words) {
    if (value == word) return value;
    if (!list.empty()) list += ", ";
    list += word;
  }
  return fail(Code::kInvalidArgument, fmt::format("'{}' is not one of {}", value, list));
}

Result<std::string> check_engine(const std::string& value) {
  if (value.starts_with("kernel:") && value.size() > 7) return value;
  constexpr std::array<std::string_view, 3> words = {"auto", "user", "kernel"};
  return one_of(value, words);
}

Result<std::string> check_device(const std::string& value) {
  if (value.starts_with("vulkan:") && value.size() > 7) return value;
  constexpr std::array<std::string_view, 3> words = {"auto", "soft", "vulkan"};
  if (auto checked = one_of(value, words)) return checked;
  return fail(Code::kInvalidArgument,
              fmt::format("'{}' is not one of auto, soft, vulkan, vulkan:NAME-OR-INDEX", value));
}

Result<std::string> check_level(const std::string& value) {
  constexpr std::array<std::string_view, 3> words = {"auto", "full", "resident"};
  return one_of(value, words);
}

Result<std::string> check_offload(const std::string& value) {
  constexpr std::array<std::string_view, 3> words = {"auto", "always", "never"};
  return one_of(value, words);
}

Result<std::string> check_chaos(const std::string& value) {
  constexpr std::array<std::string_view, 1> words = {"evict"};
  return one_of(value, words);
}

// Plain bytes, which every reader of the variable understands.
Result<std::string> check_size(const std::string& value) {
  auto bytes = parse_size(value);
  if (!bytes) return tl::unexpected(bytes.error());
  return std::to_string(*bytes);
}

Result<std::string> check_min_block(const std::string& value) {
  auto bytes = parse_size(value);
  if (!bytes) return tl::unexpected(bytes.error());
  if (*bytes < kPageBytes) {
    return fail(Code::kInvalidArgument, fmt::format("'{}' is less than a page (4K)", value));
  }
  return std::to_string(*bytes);
}

Result<std::string> check_threads(const std::string& value) {
  unsigned threads = 0;
  const char* const end = value.data() + value.size();
  const auto parsed = std::from_chars(value.data(), end, threads);
  if (parsed.ec != std::errc() || parsed.ptr != end || threads > 1024) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is not a number of threads from 0 to 1024", value));
  }
  return value;
}

struct Setting {
  const char* option;
  const char* variable;
  const char* value_name;
  const char* help;
  Check check;
};

constexpr std::array kSettings = {
    Setting{"--engine", "GODWIT_ENGINE", "auto|user|kernel[:NAME]", "who moves the pages", check_engine},
    Setting{"--device", "GODWIT_DEVICE", "auto|soft|vulkan|vulkan:NAME-OR-INDEX",
            "whose memory they move to", check_device},
    Setting{"--vram", "GODWIT_VRAM", "SIZE", "VRAM that may be used", check_size},
    Setting{"--min-block", "GODWIT_MIN_BLOCK", "SIZE", "smallest malloc that is managed memory",
            check_min_block},
    Setting{"--arena", "GODWIT_ARENA", "SIZE", "address space to reserve", check_size},
    Setting{"--pool", "GODWIT_POOL", "SIZE", "RAM that may be kept ready for moves", check_size},
    Setting{"--threads", "GODWIT_THREADS", "N", "threads that move pages in bulk", check_threads},
    Setting{"--level", "GODWIT_LEVEL", "auto|full|resident",
            "how far the user engine goes (docs/engines.md)", check_level},
    Setting{"--offload", "GODWIT_OFFLOAD", "auto|always|never",
            "which matrix products go to the device", check_offload},
    Setting{"--chaos", "GODWIT_CHAOS", "evict", "for tests: evict pages at random", check_chaos},
};

// The checked value of one setting: the command line's, else the environment's, else empty.
Result<std::string> settle(const Setting& setting, const CLI::Option& option,
                           const std::string& given, RunOptions* options) {
  if (option.count() > 0) {
    auto value = setting.check(given);
    if (!value) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{}: {}", setting.option, value.error().message));
    }
    options->variables.emplace_back(setting.variable, *value);
    return value;
  }
  const char* inherited = ::getenv(setting.variable);
  if (inherited == nullptr || *inherited == '\0') return std::string();
  auto value = setting.check(inherited);
  if (!value) {
    return fail(Code::kInvalidArgument,
                fmt::format("{}: {}", setting.variable, value.error().message));
  }
  // "1.5G" is understood here, and not by everyone who reads the variable.
  if (*value != inherited) options->variables.emplace_back(setting.variable, *value);
  return value;
}

// The values are checked, so that numbers are numbers.
void take_context_options(const std::map<std::string_view, std::string>& values,
                          ContextOptions* context) {
  const auto take_text = [&](const char* variable, std::string* target) {
    if (const auto found = values.find(variable); found != values.end()) *target = found->second;
  };
  const auto take_number = [&](const char* variable, auto* target) {
    std::string text = "0";
    take_text(variable, &text);
    std::from_chars(text.data(), text.data() + text.size(), *target);
  };
  take_text("GODWIT_ENGINE", &context->engine);
  take_text("GODWIT_DEVICE", &context->device);
  take_text("GODWIT_LEVEL", &context->level);
  take_number("GODWIT_VRAM", &context->vram_bytes);
  take_number("GODWIT_ARENA", &context->arena_bytes);
  take_number("GODWIT_POOL", &context->pool_bytes);
  take_number("GODWIT_THREADS", &context->threads);
}

Result<> take_command(std::vector<std::string> rest, RunOptions* options) {
  if (!rest.empty() && rest.front() == "--") {
    rest.erase(rest.begin());
  } else if (!rest.empty() && rest.front().starts_with('-')) {
    return fail(Code::kInvalidArgument,
                fmt::format("run: no such option: {} (godwit run --help)", rest.front()));
  }
  if (rest.empty()) {
    return fail(Code::kInvalidArgument, "run: which program? godwit run [OPTIONS] -- CMD ARGS...");
  }
  options->command = std::move(rest);
  return {};
}

}  // namespace

Result<bool> parse_run_options(const std::vector<std::string>& arguments, RunOptions* options) {
  CLI::App app(
      "godwit run [OPTIONS] -- CMD ARGS...\n"
      "Runs a program whose malloc is memory that migrates to VRAM, and whose matrix "
      "products go to the device where that is faster.");
  app.name("godwit run");
  app.footer(
      "Sizes: 268435456, 64K, 256MiB, 1.5G. Exit status: CMD's; 128+N when signal N killed "
      "it; 127 CMD not found; 126 CMD cannot be executed; 125 godwit itself failed.");
  app.prefix_command();

  std::array<std::string, kSettings.size()> given;
  std::array<CLI::Option*, kSettings.size()> handles{};
  for (std::size_t i = 0; i < kSettings.size(); ++i) {
    const Setting& setting = kSettings[i];
    handles[i] =
        app.add_option(setting.option, given[i], setting.help)->type_name(setting.value_name);
  }
  bool explain = false;
  std::string report;
  app.add_flag("--explain", explain, "say for each matrix product where it went and why");
  // A flag, so that it never takes the next word for its value.
  app.add_flag("--report{text}", report, "print what moved and why when CMD has ended; =json");
  app.add_option("--report-file", options->report_file, "write the report there")
      ->type_name("FILE");
  app.add_option("--trace", options->trace_file, "write events for ui.perfetto.dev there")
      ->type_name("FILE");
  app.add_flag("-v,--verbose", options->verbose, "say which engine and device are taken");

  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return true;
  } catch (const CLI::ParseError& error) {
    return fail(Code::kInvalidArgument, fmt::format("run: {} (godwit run --help)", error.what()));
  }

  std::map<std::string_view, std::string> values;
  for (std::size_t i = 0; i < kSettings.size(); ++i) {
    auto value = settle(kSettings[i], *handles[i], given[i], options);
    if (!value) return tl::unexpected(value.error());
    if (!value->empty()) values[kSettings[i].variable] = *value;
  }
  take_context_options(values, &options->context);
  if (explain) options->variables.emplace_back("GODWIT_EXPLAIN", "1");

  if (report == "json") {
    options->report = ReportFormat::kJson;
  } else if (report == "text" || (report.empty() && !options->report_file.empty())) {
    options->report = ReportFormat::kText;
  } else if (!report.empty()) {
    return fail(Code::kInvalidArgument,
                fmt::format("--report: '{}' is not one of text, json", report));
  }
  if (auto taken = take_command(app.remaining(), options); !taken) {
    return tl::unexpected(taken.error());
  }
  return false;
}

}  // namespace godwit::cli
