// SPDX-License-Identifier: MIT
// check_walk of device.h.
#include <algorithm>
#include <cerrno>

#include "runtime/src/device/device.h"

namespace godwit {
namespace {

constexpr std::uint64_t kField = sizeof(std::uint64_t);

}  // namespace

int check_walk(const WalkCommand& command) noexcept {
  const bool rows = command.shape == WalkCommand::Shape::kRows;
  const bool fields = command.links[0] % kField == 0 && command.links[1] % kField == 0 &&
                      command.value % kField == 0 && command.stride % kField == 0;
  const bool bounded = command.limit <= (rows ? WalkCommand::kMostRows : WalkCommand::kMostNodes) &&
                       !command.memory.empty() &&
                       command.memory.size() <= WalkCommand::kMostMemories;
  if (command.result == nullptr || !fields || !bounded) return -EINVAL;
  if (rows &&
      (command.turn ||
       std::uint64_t{std::max(command.links[0], command.links[1])} + kField > command.stride)) {
    return -EINVAL;
  }
  const auto aligned = [](const WalkMemory& memory) {
    return memory.base % kField == memory.span.offset % kField;
  };
  return std::all_of(command.memory.begin(), command.memory.end(), aligned) ? 0 : -EINVAL;
}

}  // namespace godwit
