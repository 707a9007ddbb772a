// SPDX-License-Identifier: MIT
#include "runtime/src/device/soft/soft_walk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/src/device/soft/soft_memory.h"

namespace godwit {
namespace {

constexpr std::uint64_t kField = sizeof(std::uint64_t);
constexpr std::uint64_t kNodesBetweenLooks = 1024;

}  // namespace

int check_walk(const WalkCommand& command, std::uint64_t vram_bytes) noexcept {
  if (command.result == nullptr || command.next % kField != 0 || command.value % kField != 0 ||
      command.base % kField != command.memory.offset % kField) {
    return -EINVAL;
  }
  const int error = check_span(command.memory);
  return error != 0 ? error : check_frames(command.memory, 0, command.memory.bytes, vram_bytes);
}

void run_walk(const WalkCommand& command, std::byte* vram,
              const std::atomic<bool>& lost) noexcept {
  const SoftSpan memory(command.memory, vram);
  const std::uint64_t size = std::uint64_t{std::max(command.next, command.value)} + kField;
  WalkResult result;
  std::uint64_t node = command.head;
  for (; node != 0 && result.nodes < command.limit; ++result.nodes) {
    if (result.nodes % kNodesBetweenLooks == 0 && lost.load(std::memory_order_relaxed)) return;
    const std::uint64_t at = node - command.base;  // wraps for a pointer below
    if (node % kField != 0 || at >= memory.bytes() || size > memory.bytes() - at) break;
    // A field is aligned to its size, so it does not cross a frame.
    std::byte* const field = memory.address(at + command.value);
    std::uint64_t value = 0;
    std::memcpy(&value, field, sizeof(value));
    value += command.add;
    std::memcpy(field, &value, sizeof(value));
    result.sum += value;
    std::memcpy(&node, memory.address(at + command.next), sizeof(node));
  }
  result.stopped = node;
  *command.result = result;
}

}  // namespace godwit
