// SPDX-License-Identifier: MIT
#include "bindings/blas/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/src/base/cancel.h"

namespace godwit::blas {
namespace {

Settings read() noexcept {
  Settings settings;
  const char* offload = std::getenv("GODWIT_OFFLOAD");
  if (offload != nullptr && offload[0] != '\0') {
    if (std::strcmp(offload, "always") == 0) {
      settings.offload = GODWIT_OFFLOAD_ALWAYS;
    } else if (std::strcmp(offload, "never") == 0) {
      settings.offload = GODWIT_OFFLOAD_NEVER;
    } else if (std::strcmp(offload, "auto") != 0) {
      say("GODWIT_OFFLOAD is \"%s\", which is none of always, never and auto; using auto",
          offload);
    }
  }
  const char* explain = std::getenv("GODWIT_EXPLAIN");
  settings.explain =
      explain != nullptr && explain[0] != '\0' && std::strcmp(explain, "0") != 0;
  return settings;
}

}  // namespace

const Settings& settings() noexcept {
  static const Settings value = read();
  return value;
}

void say(const char* format, ...) noexcept {
  const CancelScope uncancelled;
  char line[1024] = "godwit: ";
  const std::size_t start = std::strlen(line);
  std::va_list arguments;
  va_start(arguments, format);
  const int written =
      std::vsnprintf(line + start, sizeof line - start - 1, format, arguments);
  va_end(arguments);
  const std::size_t length =
      start + std::min(static_cast<std::size_t>(std::max(written, 0)), sizeof line - start - 2);
  line[length] = '\n';
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line, length + 1);
}

}  // namespace godwit::blas
