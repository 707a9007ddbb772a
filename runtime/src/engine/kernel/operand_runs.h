// SPDX-License-Identifier: MIT
// Which pages an operand touches, by address.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "godwit/result.h"
#include "godwit/units.h"
#include "runtime/src/engine/engine.h"

namespace godwit::kernel {

/// Whole pages.
struct PageRun {
  std::uintptr_t addr = 0;
  std::size_t bytes = 0;
  [[nodiscard]] std::uintptr_t end() const { return addr + bytes; }
};

/// The pages that a range of bytes touches; empty for no bytes.
[[nodiscard]] inline PageRun pages_touched(const void* base, std::size_t bytes) {
  const auto start = reinterpret_cast<std::uintptr_t>(base);
  if (bytes == 0) return {start, 0};
  const std::uintptr_t first = align_down(start, kPageBytes);
  return {first, align_up(start + bytes, kPageBytes) - first};
}

/// The same for a range that somebody else names: it may not reach beyond the last address.
[[nodiscard]] inline Result<PageRun> range_of(const void* base, std::size_t bytes,
                                              const char* verb) {
  constexpr std::uintptr_t kEnd = align_down(~std::uintptr_t{0}, kPageBytes);
  const auto start = reinterpret_cast<std::uintptr_t>(base);
  if (bytes == 0 || (start <= kEnd && bytes <= kEnd - start)) return pages_touched(base, bytes);
  char text[32];
  (void)std::snprintf(text, sizeof(text), "%p", base);
  return fail(Code::kInvalidArgument, std::string(verb) + ": " + std::to_string(bytes) +
                                          " bytes at " + text + " reach beyond the last address");
}

/// Ascending, disjoint and not adjacent.
[[nodiscard]] inline std::vector<PageRun> runs_of(const Operand& operand) {
  std::vector<PageRun> runs;
  const auto* base = static_cast<const std::byte*>(operand.base);
  for (std::size_t index = 0; index < operand.count && operand.bytes != 0; ++index) {
    const PageRun run = pages_touched(base + index * operand.stride, operand.bytes);
    if (!runs.empty() && run.addr <= runs.back().end()) {
      runs.back().bytes = std::max(runs.back().end(), run.end()) - runs.back().addr;
    } else {
      runs.push_back(run);
    }
  }
  return runs;
}

}  // namespace godwit::kernel
