// SPDX-License-Identifier: MIT
// Validation of a GEMM, its parameters for the shader, and its division into dispatches.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_pipelines.h"

namespace godwit::vulkan {

/// Span of shaders/span.glsl.
struct ShaderSpan {
  std::uint64_t frames = 0;
  std::uint64_t offset = 0;
};

/// Bytes of each span that a GEMM touches, counted from the first; 0: none.
struct GemmExtents {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::uint64_t c = 0;
};

/// Checks sizes, leading dimensions, alignment and that every chunk that is touched has a frame.
/// 0 or -EINVAL.
[[nodiscard]] int check_gemm(const GemmCommand& command, GemmExtents* extents) noexcept;

/// Checks a span whose first `bytes` bytes are all touched: as check_gemm.
[[nodiscard]] int check_span(const DeviceSpan& span, std::uint64_t bytes,
                             std::uint64_t alignment) noexcept;

/// True where A and B count: else they are not read.
[[nodiscard]] bool reads_operands(const GemmCommand& command) noexcept;

/// The parameter block of shaders/gemm.glsl.
struct GemmBlock {
  static constexpr std::size_t kBytes = 128;
  alignas(8) std::array<std::byte, kBytes> bytes;
};
[[nodiscard]] GemmBlock gemm_block(const GemmCommand& command, ShaderSpan a, ShaderSpan b,
                                   ShaderSpan c) noexcept;

/// Push constants of shaders/gemm.glsl.
struct GemmPush {
  std::uint64_t block = 0;  // device address
  std::uint64_t k_begin = 0;
  std::uint64_t k_end = 0;
  std::uint32_t tile_row = 0;
  std::uint32_t tile_column = 0;
  std::uint32_t add_to_c = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(GemmPush) <= Pipelines::kPushBytes);

/// One dispatch.
struct GemmStep {
  GemmPush push;  // without the block
  std::uint32_t groups_x = 0;
  std::uint32_t groups_y = 0;
  double work = 0;              // multiplications
  bool after_previous = false;  // adds to what the step before it stored
};

/// Divides C into rectangles of tiles and k into panels, so that no dispatch exceeds the device's
/// count of workgroups or runs so long that a watchdog resets the device.
class GemmPlan {
 public:
  /// Multiplications in one dispatch, about: a fraction of a second on a slow GPU.
  static constexpr std::uint64_t kWorkLimit = std::uint64_t{1} << 37;

  GemmPlan(const GemmCommand& command, Tile tile, std::uint32_t max_groups_x,
           std::uint32_t max_groups_y) noexcept;
  /// False when there are no more.
  [[nodiscard]] bool next(GemmStep* step) noexcept;

 private:
  Tile tile_;
  std::uint64_t k_ = 0;
  std::uint64_t panel_ = 0;
  std::uint64_t tiles_x_ = 0;
  std::uint64_t tiles_y_ = 0;
  std::uint64_t step_x_ = 1;
  std::uint64_t step_y_ = 1;
  std::uint64_t x_ = 0;
  std::uint64_t y_ = 0;
  std::uint64_t k0_ = 0;
};

}  // namespace godwit::vulkan
