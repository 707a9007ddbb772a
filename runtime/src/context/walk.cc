// SPDX-License-Identifier: MIT
// Context::walk: a walk's ranges are the operands of a command.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "godwit/context.h"
#include "runtime/src/base/inside.h"
#include "runtime/src/engine/engine.h"

namespace godwit {
namespace {

/// A walk is bounded by its limit. Where the device does not end it in this time it is behind
/// others' work, or has hung.
constexpr std::chrono::minutes kPatience{10};

Error error_of(int error) {
  switch (error) {
    case -EINVAL:
      return {Code::kInvalidArgument,
              "walk: there are 1 to 8 ranges, offsets are multiples of 8, a row's links lie within "
              "its stride, and the limit is 2^20 nodes or 2^16 rows at most",
              {}};
    case -ENOMEM:
      return {Code::kOutOfMemory, "walk: the device is out of memory", {}};
    case -ENODEV:
      return {Code::kDeviceLost, "walk: the device is lost", {}};
    case -ETIMEDOUT:
      return {Code::kDeviceLost, "walk: the device does not answer", {}};
    default:
      return {Code::kIo, std::string("walk: ") + std::strerror(-error), {}};
  }
}

}  // namespace

Result<WalkResult> Context::walk(const WalkRequest& request) {
  const InsideScope inside;
  // The ranges are held on this thread: a handler that touched one would wait for itself.
  const SignalScope signals;
  auto device = engine_->device();
  if (!device) return tl::unexpected(device.error());
  // Whatever is read of the request is read before its memory is lent to the device.
  WalkCommand command{.memory = {},
                      .shape = request.shape,
                      .turn = request.turn,
                      .head = reinterpret_cast<std::uintptr_t>(request.head),
                      .links = request.links,
                      .value = request.value,
                      .stride = request.stride,
                      .limit = request.limit,
                      .add = request.add,
                      .result = nullptr};
  std::vector<Operand> operands;
  std::vector<WalkMemory> memory;
  for (const std::span<std::byte> range : request.memory) {
    operands.push_back({.base = range.data(), .bytes = range.size(), .access = Access::kReadWrite});
    memory.push_back({{}, reinterpret_cast<std::uintptr_t>(range.data())});
  }
  WalkResult result;
  command.memory = memory;
  command.result = &result;
  auto hold = engine_->acquire(operands);
  if (!hold) return tl::unexpected(hold.error());
  for (std::size_t index = 0; index < memory.size(); ++index) {
    memory[index].span = (*hold)->span(index);
  }
  Ticket ticket = 0;
  int error = (*device)->submit(command, &ticket);
  if (error == 0) error = (*device)->finish(ticket, kPatience);
  if (error != 0) return tl::unexpected(error_of(error));
  return result;
}

}  // namespace godwit
