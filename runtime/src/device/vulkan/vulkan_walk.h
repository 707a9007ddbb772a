// SPDX-License-Identifier: MIT
// What the shaders that follow pointers read and leave behind.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_gemm.h"

namespace godwit::vulkan {

/// Memory of shaders/memory.glsl.
struct ShaderMemory {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  ShaderSpan span;
};
static_assert(sizeof(ShaderMemory) == 32);

/// State of shaders/walk.comp; `pending` follows.
struct WalkState {
  WalkResult result;
  std::uint64_t node = 0;
  std::uint64_t waiting = 0;
};
inline constexpr std::size_t kWalkStateBytes =
    sizeof(WalkState) + WalkCommand::kMostPending * sizeof(std::uint64_t);

/// Nodes of one dispatch. Each takes a round, and the rounds that look through its memories:
/// shaders/walk.comp says why there must be fewer than 65535.
inline constexpr std::uint32_t kNodesOfDispatch = 4096;
static_assert(kNodesOfDispatch * (1 + WalkCommand::kMostMemories) < 65535);

/// Partial of shaders/rows.comp.
struct RowsPartial {
  std::uint64_t values = 0;
  std::uint64_t sum = 0;
  std::uint64_t stopped = 0;
  std::uint64_t row = 0;
};
/// Rows of one dispatch, one a workgroup. Each of a row's threads takes 1 / 64 of its values.
inline constexpr std::uint32_t kRowsOfDispatch = 64;
static_assert(WalkCommand::kMostRowValues / 64 + 64 + 2 * WalkCommand::kMostMemories < 65535);

/// From what a walk left at `state`.
[[nodiscard]] WalkResult walk_result(const std::byte* state, bool rows) noexcept;

}  // namespace godwit::vulkan
