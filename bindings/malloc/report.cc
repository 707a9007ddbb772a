// SPDX-License-Identifier: MIT
#include "bindings/malloc/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/src/base/cancel.h"

namespace godwit::preload {

void report_line(const char* format, ...) noexcept {
  constexpr char kPrefix[] = "godwit: ";
  const int saved = errno;
  const CancelScope uncancelled;
  char line[1024];
  memcpy(line, kPrefix, sizeof kPrefix);
  size_t length = sizeof kPrefix - 1;
  va_list arguments;
  va_start(arguments, format);
  // One byte is kept for the end of the line.
  const int printed = vsnprintf(line + length, sizeof line - length - 1, format, arguments);
  va_end(arguments);
  if (printed > 0) length = strlen(line);
  line[length++] = '\n';
  // One write, so that lines of several processes do not mix. Nothing can be done if it fails.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, length);
  errno = saved;
}

}  // namespace godwit::preload
