// SPDX-License-Identifier: MIT
// Options as they come from the environment; `godwit run` puts them there.
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

#include "godwit/context.h"
#include "runtime/src/base/size.h"

namespace godwit {
namespace {

std::string text_of(const char* name, std::string_view otherwise) {
  const char* value = std::getenv(name);
  return std::string(value == nullptr || *value == '\0' ? otherwise : std::string_view(value));
}

/// Parses NAME into *value if it is set.
Result<> size_of(const char* name, std::uint64_t* value) {
  const std::string text = text_of(name, "");
  if (text.empty()) return {};
  auto size = parse_size(text);
  if (!size) return fail(size.error().code, std::string(name) + ": " + size.error().message);
  *value = *size;
  return {};
}

Result<> number_of(const char* name, std::uint32_t* value) {
  const std::string text = text_of(name, "");
  if (text.empty()) return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return fail(Code::kInvalidArgument,
                std::string(name) + ": \"" + text + "\" is not a number from 0 to 4294967295");
  }
  return {};
}

}  // namespace

Result<ContextOptions> ContextOptions::from_environment() {
  ContextOptions options;
  options.engine = text_of("GODWIT_ENGINE", options.engine);
  options.device = text_of("GODWIT_DEVICE", options.device);
  options.level = text_of("GODWIT_LEVEL", options.level);
  std::uint64_t arena = 0;
  std::uint64_t pool = 0;
  std::uint32_t threads = 0;
  for (const auto& [name, value] : {std::pair{"GODWIT_VRAM", &options.vram_bytes},
                                    std::pair{"GODWIT_ARENA", &arena},
                                    std::pair{"GODWIT_POOL", &pool}}) {
    auto parsed = size_of(name, value);
    if (!parsed) return tl::unexpected(parsed.error());
  }
  for (const auto& [name, value] : {std::pair{"GODWIT_THREADS", &threads},
                                    std::pair{"GODWIT_EVENTS", &options.event_slots}}) {
    auto parsed = number_of(name, value);
    if (!parsed) return tl::unexpected(parsed.error());
  }
  options.arena_bytes = arena;
  options.pool_bytes = pool;
  options.threads = threads;
  const std::string folder = text_of("GODWIT_REPORT_DIR", "");
  if (!folder.empty()) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    options.telemetry = folder + "/" + std::to_string(::getpid()) + "-" +
                        std::to_string(now.tv_sec) + "." + std::to_string(now.tv_nsec) + ".stats";
  }
  return options;
}

}  // namespace godwit
