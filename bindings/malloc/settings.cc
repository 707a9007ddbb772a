// SPDX-License-Identifier: MIT
#include "bindings/malloc/settings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/malloc/report.h"

namespace godwit::preload {
namespace {

// A managed block takes whole pages: below that, one page would be paid for less than its bytes.
constexpr size_t kSmallestMinBlock = 4096;
constexpr size_t kLargestUsualCache = size_t{256} << 20;

}  // namespace

bool parse_bytes(const char* text, size_t* bytes) noexcept {
  size_t value = 0;
  const char* at = text;
  for (; *at >= '0' && *at <= '9'; ++at) {
    if (__builtin_mul_overflow(value, size_t{10}, &value)) return false;
    if (__builtin_add_overflow(value, static_cast<size_t>(*at - '0'), &value)) return false;
  }
  if (at == text) return false;
  size_t unit = 1;
  switch (*at) {
    case 'K':
    case 'k':
      unit = size_t{1} << 10;
      break;
    case 'M':
    case 'm':
      unit = size_t{1} << 20;
      break;
    case 'G':
    case 'g':
      unit = size_t{1} << 30;
      break;
    case '\0':
      break;
    default:
      return false;
  }
  if (*at != '\0' && at[1] != '\0') return false;
  return !__builtin_mul_overflow(value, unit, bytes);
}

size_t min_block_setting() noexcept {
  const char* text = getenv("GODWIT_MIN_BLOCK");
  if (text == nullptr || *text == '\0') return kDefaultMinBlock;
  size_t bytes = 0;
  if (!parse_bytes(text, &bytes) || bytes < kSmallestMinBlock || bytes > PTRDIFF_MAX) {
    report_line(
        "GODWIT_MIN_BLOCK=%.64s is not a size of at least 4K (such as 64K, 256K, 1M); "
        "256K is used",
        text);
    return kDefaultMinBlock;
  }
  return bytes;
}

size_t cache_setting() noexcept {
  const auto ram = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * 4096;
  const size_t usual = ram / 64 < kLargestUsualCache ? ram / 64 : kLargestUsualCache;
  const char* text = getenv("GODWIT_MALLOC_CACHE");
  if (text == nullptr || *text == '\0') return usual;
  size_t bytes = 0;
  if (parse_bytes(text, &bytes)) return bytes;
  report_line("GODWIT_MALLOC_CACHE=%.64s is not a size (such as 0, 64M, 1G); %zuM is used", text,
              usual >> 20);
  return usual;
}

bool chaos_setting() noexcept {
  const char* text = getenv("GODWIT_CHAOS");
  if (text == nullptr || *text == '\0') return false;
  if (strcmp(text, "evict") == 0) return true;
  report_line("GODWIT_CHAOS=%.64s is not known (only: evict); there will be no chaos", text);
  return false;
}

}  // namespace godwit::preload
