// SPDX-License-Identifier: MIT
// Recording of commands; declared in vulkan_commands.h.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "runtime/src/device/vulkan/vulkan_commands.h"

namespace godwit::vulkan {
namespace {

// Push constants of shaders/words.comp.
struct WordsPush {
  ShaderSpan target;
  std::uint64_t words = 0;
  std::uint64_t partials = 0;
  std::uint32_t value = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(WordsPush) <= Pipelines::kPushBytes);

constexpr std::uint64_t kThreads = 256;  // of a workgroup of shaders/words.comp
constexpr std::uint64_t kMinTables = 4096;

}  // namespace

std::uint64_t Commands::table_bytes(const DeviceSpan& span, std::uint64_t bytes) noexcept {
  return bytes == 0 ? 0
                    : align_up(span.offset + bytes, kChunkBytes) / kChunkBytes *
                          sizeof(std::uint64_t);
}

int Commands::begin(Submission& submission, VkCommandBuffer* commands) {
  if (submission.used == submission.commands.size()) {
    submission.commands.reserve(submission.used + 1);
    VkCommandBufferAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = submission.pool;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    VkCommandBuffer made = VK_NULL_HANDLE;
    const int error =
        gpu_.error_of(gpu_.vk.vkAllocateCommandBuffers(gpu_.handle(), &info, &made));
    if (error != 0) return error;
    submission.commands.push_back(made);
  }
  *commands = submission.commands[submission.used++];
  return begin_commands(gpu_, *commands);
}

int Commands::reserve(Submission& submission, std::uint64_t bytes) noexcept {
  if (submission.tables.bytes() >= bytes) return 0;
  Buffer larger;
  const std::uint64_t size = std::bit_ceil(std::max(bytes, kMinTables));
  const int error = Buffer::create_host(gpu_, size, Use::kTable, Source::kAuto, &larger);
  if (error != 0) return error == -ENODEV ? error : -ENOMEM;
  submission.tables = std::move(larger);
  return 0;
}

int Commands::translate(const DeviceSpan& span, std::uint64_t bytes, Submission& submission,
                        std::uint64_t* at, ShaderSpan* out) noexcept {
  *out = ShaderSpan{};
  if (bytes == 0) return 0;
  const std::uint64_t count = table_bytes(span, bytes) / sizeof(std::uint64_t);
  std::byte* const table = submission.tables.data() + *at;
  VkDeviceAddress first = 0;
  bool neighbours = true;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t frame = span.chunks[i];
    VkDeviceAddress address = 0;
    if (frame != DeviceSpan::kNoFrame) {
      if (frame % kChunkBytes != 0 || !vram_.contains(frame, kChunkBytes)) return -EINVAL;
      Vram::Place place;
      const int error = vram_.locate(frame, &place);
      if (error != 0) return error;
      address = place.address;
      if (i == 0) first = address;
      neighbours = neighbours && address == first + i * kChunkBytes;
    }
    std::memcpy(table + i * sizeof address, &address, sizeof address);
  }
  if (neighbours) {
    *out = {.frames = 0, .offset = first + span.offset};
  } else {
    *out = {.frames = submission.tables.address() + *at, .offset = span.offset};
    *at += count * sizeof(std::uint64_t);
  }
  return 0;
}

int Commands::record(const Command& command, Submission& submission) {
  submission.used = 0;
  submission.sum = nullptr;
  submission.walk = nullptr;
  const int error =
      gpu_.error_of(gpu_.vk.vkResetCommandPool(gpu_.handle(), submission.pool, 0));
  if (error != 0) return error;
  if (const auto* fill = std::get_if<FillCommand>(&command)) {
    return record_words(WordOperation::kFill, fill->target, fill->value, submission);
  }
  if (const auto* add = std::get_if<AddCommand>(&command)) {
    return record_words(WordOperation::kAdd, add->target, add->value, submission);
  }
  if (const auto* sum = std::get_if<SumCommand>(&command)) {
    if (sum->sum == nullptr) return -EINVAL;
    submission.sum = sum->sum;
    return record_words(WordOperation::kSum, sum->source, 0, submission);
  }
  if (const auto* walk = std::get_if<WalkCommand>(&command)) {
    return record_walk(*walk, submission);
  }
  const GemmCommand& gemm = std::get<GemmCommand>(command);
  GemmExtents extents;
  const int invalid = check_gemm(gemm, &extents);
  if (invalid != 0) return invalid;
  const bool is_double =
      gemm.type == ScalarType::kDouble || gemm.type == ScalarType::kComplexDouble;
  if (is_double && !gpu_.physical().float64) return -EOPNOTSUPP;
  return record_gemm(gemm, extents, submission);
}

int Commands::record_words(WordOperation operation, const DeviceSpan& span, std::uint32_t value,
                           Submission& submission) {
  int error = check_span(span, span.bytes, sizeof(std::uint32_t));
  if (error == 0) error = reserve(submission, table_bytes(span, span.bytes));
  std::uint64_t at = 0;
  WordsPush push;
  if (error == 0) error = translate(span, span.bytes, submission, &at, &push.target);
  VkPipeline pipeline = VK_NULL_HANDLE;
  if (error == 0) error = pipelines_->words(operation, &pipeline);
  VkCommandBuffer commands = VK_NULL_HANDLE;
  if (error == 0) error = begin(submission, &commands);
  if (error != 0) return error;

  push.words = span.bytes / sizeof(std::uint32_t);
  push.value = value;
  const std::uint64_t wanted = align_up(push.words, 4 * kThreads) / (4 * kThreads);
  const std::uint64_t most =
      operation == WordOperation::kSum
          ? kPartials
          : std::min<std::uint64_t>(
                gpu_.physical().properties.limits.maxComputeWorkGroupCount[0], 65535);
  const auto groups = static_cast<std::uint32_t>(std::min(wanted, most));
  if (operation == WordOperation::kSum) {
    push.partials = partials_address(submission);
    submission.partial_count = groups;
  }
  if (groups > 0) {
    gpu_.vk.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    gpu_.vk.vkCmdPushConstants(commands, pipelines_->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               sizeof push, &push);
    gpu_.vk.vkCmdDispatch(commands, groups, 1, 1);
  }
  return end_commands(gpu_, commands);
}

int Commands::record_gemm(const GemmCommand& command, const GemmExtents& extents,
                          Submission& submission) {
  int error = reserve(submission, GemmBlock::kBytes + table_bytes(command.a, extents.a) +
                                      table_bytes(command.b, extents.b) +
                                      table_bytes(command.c, extents.c));
  std::uint64_t at = GemmBlock::kBytes;
  ShaderSpan a;
  ShaderSpan b;
  ShaderSpan c;
  if (error == 0) error = translate(command.a, extents.a, submission, &at, &a);
  if (error == 0) error = translate(command.b, extents.b, submission, &at, &b);
  if (error == 0) error = translate(command.c, extents.c, submission, &at, &c);
  VkPipeline pipeline = VK_NULL_HANDLE;
  if (error == 0) {
    error = pipelines_->gemm(command.type, command.transa, command.transb, &pipeline);
  }
  if (error != 0) return error;
  const GemmBlock block = gemm_block(command, a, b, c);
  std::memcpy(submission.tables.data(), block.bytes.data(), GemmBlock::kBytes);

  const auto& limits = gpu_.physical().properties.limits;
  GemmPlan plan(command, pipelines_->tile(command.type), limits.maxComputeWorkGroupCount[0],
                limits.maxComputeWorkGroupCount[1]);
  VkCommandBuffer commands = VK_NULL_HANDLE;
  double work = 0;  // in `commands`
  GemmStep step;
  for (bool more = plan.next(&step); more; more = plan.next(&step)) {
    if (commands != VK_NULL_HANDLE && work + step.work > 1.5 * GemmPlan::kWorkLimit) {
      error = end_commands(gpu_, commands);
      if (error != 0) return error;
      commands = VK_NULL_HANDLE;
    }
    if (commands == VK_NULL_HANDLE) {
      error = begin(submission, &commands);
      if (error != 0) return error;
      work = 0;
      gpu_.vk.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    } else if (step.after_previous) {
      full_barrier(gpu_, commands);
    }
    step.push.block = submission.tables.address();
    gpu_.vk.vkCmdPushConstants(commands, pipelines_->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               sizeof step.push, &step.push);
    gpu_.vk.vkCmdDispatch(commands, step.groups_x, step.groups_y, 1);
    work += step.work;
  }
  return commands == VK_NULL_HANDLE ? 0 : end_commands(gpu_, commands);
}

}  // namespace godwit::vulkan
