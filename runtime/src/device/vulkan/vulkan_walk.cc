// SPDX-License-Identifier: MIT
// Walks: their results, and the recording of them (declared in vulkan_commands.h).
#include "runtime/src/device/vulkan/vulkan_walk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "runtime/src/device/vulkan/vulkan_commands.h"

namespace godwit::vulkan {
namespace {

// Push constants of shaders/walk.comp.
struct NodesPush {
  std::uint64_t memories = 0;
  std::uint64_t state = 0;
  std::uint32_t memory_count = 0;
  std::uint32_t links[2] = {};
  std::uint32_t value = 0;
  std::uint32_t limit = 0;
  std::uint32_t add = 0;
  std::uint32_t rounds = 0;
  std::uint32_t flags = 0;
};
static_assert(sizeof(NodesPush) <= Pipelines::kPushBytes);
constexpr std::uint32_t kTree = 1;
constexpr std::uint32_t kTurn = 2;

// Push constants of shaders/rows.comp.
struct RowsPush {
  std::uint64_t memories = 0;
  std::uint64_t partials = 0;
  std::uint64_t head = 0;
  std::uint32_t memory_count = 0;
  std::uint32_t links[2] = {};
  std::uint32_t stride = 0;
  std::uint32_t first = 0;
  std::uint32_t rows = 0;
  std::uint32_t add = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(RowsPush) <= Pipelines::kPushBytes);

/// With what both shaders are told.
template <typename Push>
Push push_of(const WalkCommand& command, std::uint64_t memories) {
  Push push;
  push.memories = memories;
  push.memory_count = static_cast<std::uint32_t>(command.memory.size());
  std::copy(command.links.begin(), command.links.end(), push.links);
  push.add = command.add;
  return push;
}

}  // namespace

WalkResult walk_result(const std::byte* state, bool rows) noexcept {
  WalkResult result;
  if (!rows) {
    std::memcpy(&result, state, sizeof result);
    return result;
  }
  std::uint64_t first = std::numeric_limits<std::uint64_t>::max();  // row that was passed over
  for (std::uint32_t group = 0; group < kRowsOfDispatch; ++group) {
    RowsPartial partial;
    std::memcpy(&partial, state + group * sizeof partial, sizeof partial);
    result.nodes += partial.values;
    result.sum += partial.sum;
    if (partial.row != 0 && partial.row < first) {
      first = partial.row;
      result.stopped = partial.stopped;
    }
  }
  return result;
}

int Commands::place_memories(const WalkCommand& command, Submission& submission) {
  std::uint64_t at = command.memory.size() * sizeof(ShaderMemory);
  std::uint64_t bytes = at;
  for (const WalkMemory& memory : command.memory) {
    if (const int error = check_span(memory.span, memory.span.bytes, 1); error != 0) return error;
    bytes += table_bytes(memory.span, memory.span.bytes);
  }
  int error = reserve(submission, bytes);
  for (std::size_t i = 0; i < command.memory.size() && error == 0; ++i) {
    const WalkMemory& memory = command.memory[i];
    ShaderMemory place{memory.base, memory.span.bytes, {}};
    error = translate(memory.span, memory.span.bytes, submission, &at, &place.span);
    std::memcpy(submission.tables.data() + i * sizeof place, &place, sizeof place);
  }
  return error;
}

int Commands::record_walk(const WalkCommand& command, Submission& submission) {
  static_assert(kWalkStateBytes <= kPartials * sizeof(std::uint64_t));
  static_assert(kRowsOfDispatch * sizeof(RowsPartial) <= kPartials * sizeof(std::uint64_t));
  int error = check_walk(command);
  if (error == 0) error = place_memories(command, submission);
  if (error != 0) return error;
  submission.rows = command.shape == WalkCommand::Shape::kRows;
  VkPipeline pipeline = VK_NULL_HANDLE;
  error = pipelines_->walk(submission.rows, &pipeline);
  VkCommandBuffer commands = VK_NULL_HANDLE;
  if (error == 0) error = begin(submission, &commands);
  if (error != 0) return error;
  gpu_.vk.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  if (submission.rows) {
    record_rows(command, submission, commands);
  } else {
    record_nodes(command, submission, commands);
  }
  error = end_commands(gpu_, commands);
  if (error == 0) submission.walk = command.result;
  return error;
}

void Commands::record_nodes(const WalkCommand& command, const Submission& submission,
                            VkCommandBuffer commands) noexcept {
  const WalkState state{.result = {}, .node = command.head, .waiting = 0};
  std::memcpy(partials_of(submission), &state, sizeof state);
  auto push = push_of<NodesPush>(command, submission.tables.address());
  push.state = partials_address(submission);
  push.value = command.value;
  push.limit = command.limit;
  push.rounds = kNodesOfDispatch;
  push.flags =
      (command.shape == WalkCommand::Shape::kTree ? kTree : 0) | (command.turn ? kTurn : 0);
  gpu_.vk.vkCmdPushConstants(commands, pipelines_->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                             sizeof push, &push);
  // A round more than nodes: what finds that the limit is reached.
  for (std::uint32_t done = 0; done <= command.limit; done += kNodesOfDispatch) {
    if (done != 0) full_barrier(gpu_, commands);
    gpu_.vk.vkCmdDispatch(commands, 1, 1, 1);
  }
}

void Commands::record_rows(const WalkCommand& command, const Submission& submission,
                           VkCommandBuffer commands) noexcept {
  std::memset(partials_of(submission), 0, kRowsOfDispatch * sizeof(RowsPartial));
  auto push = push_of<RowsPush>(command, submission.tables.address());
  push.partials = partials_address(submission);
  push.head = command.head;
  push.stride = command.stride;
  push.rows = command.head == 0 ? 0 : command.limit;
  for (; push.first < push.rows; push.first += kRowsOfDispatch) {
    if (push.first != 0) full_barrier(gpu_, commands);
    gpu_.vk.vkCmdPushConstants(commands, pipelines_->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               sizeof push, &push);
    gpu_.vk.vkCmdDispatch(commands, std::min(kRowsOfDispatch, push.rows - push.first), 1, 1);
  }
}

}  // namespace godwit::vulkan
