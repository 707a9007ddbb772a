// SPDX-License-Identifier: MIT
#include "runtime/src/device/soft/soft_words.h"

#include <algorithm>
#include <cerrno>

namespace godwit {
namespace {

/// Below this a wake-up of the pool costs more than it saves.
constexpr std::uint64_t kPartBytes = std::uint64_t{1} << 20;
static_assert(kPartBytes % kChunkBytes == 0);

/// Calls visit(words, count) for every piece of the span that lies in one frame.
template <typename Visit>
void for_each_run(const DeviceSpan& target, std::byte* vram, SoftPool& pool,
                  const std::atomic<bool>& lost, Visit visit) noexcept {
  const SoftSpan span(target, vram);
  auto part = [&](std::size_t index, unsigned) {
    std::uint64_t at = index * kPartBytes;
    const std::uint64_t end = std::min(at + kPartBytes, span.bytes());
    while (at < end && !lost.load(std::memory_order_relaxed)) {
      const std::size_t piece = span.run(at, end - at);
      visit(reinterpret_cast<std::uint32_t*>(span.address(at)), piece / sizeof(std::uint32_t));
      at += piece;
    }
  };
  pool.parallel((span.bytes() + kPartBytes - 1) / kPartBytes, part);
}

}  // namespace

int check_words(const DeviceSpan& span, std::uint64_t vram_bytes) noexcept {
  if (span.offset % sizeof(std::uint32_t) != 0 || span.bytes % sizeof(std::uint32_t) != 0) {
    return -EINVAL;
  }
  const int error = check_span(span);
  return error != 0 ? error : check_frames(span, 0, span.bytes, vram_bytes);
}

void run_fill(const FillCommand& command, std::byte* vram, SoftPool& pool,
              const std::atomic<bool>& lost) noexcept {
  for_each_run(command.target, vram, pool, lost,
               [value = command.value](std::uint32_t* words, std::size_t count) {
                 std::fill_n(words, count, value);
               });
}

void run_add(const AddCommand& command, std::byte* vram, SoftPool& pool,
             const std::atomic<bool>& lost) noexcept {
  for_each_run(command.target, vram, pool, lost,
               [value = command.value](std::uint32_t* words, std::size_t count) {
                 for (std::size_t i = 0; i < count; ++i) words[i] += value;
               });
}

void run_sum(const SumCommand& command, std::byte* vram, SoftPool& pool,
             const std::atomic<bool>& lost) noexcept {
  std::atomic<std::uint64_t> total{0};
  for_each_run(command.source, vram, pool, lost,
               [&total](const std::uint32_t* words, std::size_t count) {
                 std::uint64_t sum = 0;
                 for (std::size_t i = 0; i < count; ++i) sum += words[i];
                 total.fetch_add(sum, std::memory_order_relaxed);
               });
  if (!lost.load(std::memory_order_relaxed)) *command.sum = total.load(std::memory_order_relaxed);
}

}  // namespace godwit
