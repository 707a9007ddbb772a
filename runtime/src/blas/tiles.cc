// SPDX-License-Identifier: MIT
#include "runtime/src/blas/tiles.h"

#include <algorithm>
#include <limits>
#include <string>

#include "godwit/units.h"

namespace godwit {
namespace {

constexpr std::uint64_t kTooMany = std::numeric_limits<std::int64_t>::max();

std::uint64_t packed(std::uint64_t rows, std::uint64_t columns, std::size_t element) {
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(rows, columns, &elements) ||
      __builtin_mul_overflow(elements, element, &bytes) || bytes > kTooMany) {
    return kTooMany;
  }
  return align_up(bytes, kChunkBytes);
}

/// About half, in multiples of the least size.
std::uint64_t halve(std::uint64_t size) {
  return std::max(Tiling::kLeast, align_up((size + 1) / 2, Tiling::kLeast));
}

}  // namespace

std::uint64_t tile_bytes(const Tiling& tiling, std::size_t element) {
  std::uint64_t total = packed(tiling.rows, tiling.columns, element);
  total += packed(tiling.rows, tiling.depth, element);
  const std::uint64_t b = packed(tiling.depth, tiling.columns, element);
  return total > kTooMany - b ? kTooMany : total + b;
}

Result<Tiling> choose_tiling(const GemmShape& shape, std::size_t element, std::uint64_t budget) {
  Tiling tiling{shape.m, shape.n, shape.k};
  const auto cuttable = [](std::uint64_t size) { return size > Tiling::kLeast; };
  std::uint64_t needed = tile_bytes(tiling, element);
  while (needed > budget) {
    // Long panels cost nothing but VRAM; wide tiles save reading A and B again.
    const std::uint64_t side = std::max(tiling.rows, tiling.columns);
    if (cuttable(tiling.depth) && tiling.depth >= side) {
      tiling.depth = halve(tiling.depth);
    } else if (cuttable(tiling.rows) && tiling.rows >= tiling.columns) {
      tiling.rows = halve(tiling.rows);
    } else if (cuttable(tiling.columns)) {
      tiling.columns = halve(tiling.columns);
    } else if (cuttable(tiling.depth)) {
      tiling.depth = halve(tiling.depth);
    } else {
      return fail(Code::kOutOfMemory,
                  "the smallest tiles of this product need " + std::to_string(needed) +
                      " bytes of VRAM and " + std::to_string(budget) + " may be used");
    }
    needed = tile_bytes(tiling, element);
  }
  return tiling;
}

}  // namespace godwit
