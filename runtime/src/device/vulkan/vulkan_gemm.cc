// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_gemm.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace godwit::vulkan {
namespace {

// Long enough that the sums in registers pay, short enough to divide the work of one tile, and for
// llvmpipe: it ends every loop of a shader, without a word, once they have made 65535 rounds together.
constexpr std::uint64_t kMaxPanel = 1 << 14;

bool is_complex(ScalarType type) {
  return type == ScalarType::kComplexFloat || type == ScalarType::kComplexDouble;
}

std::uint64_t real_bytes(ScalarType type) {
  return type == ScalarType::kFloat || type == ScalarType::kComplexFloat ? 4 : 8;
}

bool have_frames(const DeviceSpan& span, std::uint64_t first, std::uint64_t bytes) {
  const std::uint64_t begin = (span.offset + first) / kChunkBytes;
  const std::uint64_t end = (span.offset + first + bytes - 1) / kChunkBytes;
  for (std::uint64_t i = begin; i <= end; ++i) {
    if (span.chunks[i] == DeviceSpan::kNoFrame) return false;
  }
  return true;
}

// Size and alignment; frames are checked by the callers.
bool fits(const DeviceSpan& span, std::uint64_t bytes, std::uint64_t alignment) {
  return span.offset < kChunkBytes && span.offset % alignment == 0 && bytes <= span.bytes &&
         bytes <= span.chunks.size() * kChunkBytes &&
         span.offset + bytes <= span.chunks.size() * kChunkBytes;
}

int check_matrix(const DeviceSpan& span, std::uint64_t rows, std::uint64_t columns,
                 std::uint64_t ld, ScalarType type, bool touched, std::uint64_t* extent) {
  if (ld < std::max<std::uint64_t>(rows, 1)) return -EINVAL;
  if (!touched || rows == 0 || columns == 0) return 0;
  const std::uint64_t element = scalar_bytes(type);
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(columns - 1, ld, &elements) ||
      __builtin_add_overflow(elements, rows, &elements) ||
      __builtin_mul_overflow(elements, element, &bytes)) {
    return -EINVAL;
  }
  if (!fits(span, bytes, real_bytes(type))) return -EINVAL;
  *extent = bytes;
  // `ld * element` cannot overflow where there is a second column: `bytes` did not.
  if (columns == 1 || (ld - rows) * element < kChunkBytes) {
    return have_frames(span, 0, bytes) ? 0 : -EINVAL;
  }
  // Gaps may lack frames. Columns are far apart, so there are no more of them than chunks.
  for (std::uint64_t column = 0; column < columns; ++column) {
    if (!have_frames(span, column * ld * element, rows * element)) return -EINVAL;
  }
  return 0;
}

std::uint64_t divide_up(std::uint64_t value, std::uint64_t unit) {
  return value / unit + (value % unit != 0 ? 1 : 0);
}

}  // namespace

bool reads_operands(const GemmCommand& command) noexcept {
  const bool alpha =
      command.alpha[0] != 0 || (is_complex(command.type) && command.alpha[1] != 0);
  return command.k > 0 && alpha;
}

int check_span(const DeviceSpan& span, std::uint64_t bytes, std::uint64_t alignment) noexcept {
  if (bytes == 0) return 0;
  if (bytes % alignment != 0 || !fits(span, bytes, alignment)) return -EINVAL;
  return have_frames(span, 0, bytes) ? 0 : -EINVAL;
}

int check_gemm(const GemmCommand& command, GemmExtents* extents) noexcept {
  if (command.type > ScalarType::kComplexDouble || command.transa > Transpose::kConjTrans ||
      command.transb > Transpose::kConjTrans) {
    return -EINVAL;
  }
  const bool na = command.transa == Transpose::kNone;
  const bool nb = command.transb == Transpose::kNone;
  const std::uint64_t m = command.m;
  const std::uint64_t n = command.n;
  const std::uint64_t k = command.k;
  const bool read = m > 0 && n > 0 && reads_operands(command);
  int error = check_matrix(command.a, na ? m : k, na ? k : m, command.lda, command.type, read,
                           &extents->a);
  if (error == 0) {
    error = check_matrix(command.b, nb ? k : n, nb ? n : k, command.ldb, command.type, read,
                         &extents->b);
  }
  if (error == 0) {
    error = check_matrix(command.c, m, n, command.ldc, command.type, true, &extents->c);
  }
  return error;
}

GemmBlock gemm_block(const GemmCommand& command, ShaderSpan a, ShaderSpan b,
                     ShaderSpan c) noexcept {
  GemmBlock block{};
  std::byte* at = block.bytes.data();
  const auto put = [&at](const auto& value) {
    std::memcpy(at, &value, sizeof value);
    at += sizeof value;
  };
  for (const ShaderSpan& span : {a, b, c}) put(span);
  for (const std::uint64_t value :
       {command.m, command.n, command.k, command.lda, command.ldb, command.ldc}) {
    put(value);
  }
  for (const double value :
       {command.alpha[0], command.alpha[1], command.beta[0], command.beta[1]}) {
    if (real_bytes(command.type) == 4) {
      put(static_cast<float>(value));
    } else {
      put(value);
    }
  }
  return block;
}

GemmPlan::GemmPlan(const GemmCommand& command, Tile tile, std::uint32_t max_groups_x,
                   std::uint32_t max_groups_y) noexcept
    : tile_(tile),
      k_(reads_operands(command) ? command.k : 0),
      tiles_x_(divide_up(command.m, tile.rows)),
      tiles_y_(divide_up(command.n, tile.columns)) {
  panel_ = std::min(k_, kMaxPanel);
  const std::uint64_t tile_work =
      std::uint64_t{tile.rows} * tile.columns * std::max<std::uint64_t>(panel_, 1);
  const std::uint64_t tiles = std::max<std::uint64_t>(kWorkLimit / tile_work, 1);
  step_x_ = std::max<std::uint64_t>(
      std::min({tiles_x_, std::uint64_t{max_groups_x}, tiles}), 1);
  step_y_ = std::max<std::uint64_t>(
      std::min({tiles_y_, std::uint64_t{max_groups_y}, tiles / step_x_}), 1);
}

bool GemmPlan::next(GemmStep* step) noexcept {
  if (tiles_x_ == 0 || y_ >= tiles_y_) return false;
  const std::uint64_t columns = std::min(step_y_, tiles_y_ - y_);
  const std::uint64_t rows = std::min(step_x_, tiles_x_ - x_);
  const std::uint64_t k_end = k_ - k0_ > panel_ ? k0_ + panel_ : k_;
  *step = GemmStep{};
  step->push.k_begin = k0_;
  step->push.k_end = k_end;
  step->push.tile_row = static_cast<std::uint32_t>(x_);
  step->push.tile_column = static_cast<std::uint32_t>(y_);
  step->push.add_to_c = k0_ > 0 ? 1 : 0;
  step->after_previous = k0_ > 0;
  step->groups_x = static_cast<std::uint32_t>(rows);
  step->groups_y = static_cast<std::uint32_t>(columns);
  step->work = static_cast<double>(rows * columns) * tile_.rows * tile_.columns *
               static_cast<double>(std::max<std::uint64_t>(k_end - k0_, 1));
  k0_ = k_end;
  if (k0_ < k_) return true;
  k0_ = 0;
  x_ += rows;
  if (x_ < tiles_x_) return true;
  x_ = 0;
  y_ += columns;
  return true;
}

}  // namespace godwit::vulkan
