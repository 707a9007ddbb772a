// SPDX-License-Identifier: MIT
// How a product that does not fit in VRAM is cut: tiles of C, and panels of k for each of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "godwit/result.h"

namespace godwit {

struct GemmShape {
  std::uint64_t m = 0;
  std::uint64_t n = 0;
  std::uint64_t k = 0;  // 0: neither A nor B is read
};

/// Tiles are `rows` x `columns` of C (less at the edges), computed in steps of `depth` along k.
struct Tiling {
  static constexpr std::uint64_t kLeast = 64;
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::uint64_t depth = 0;
  [[nodiscard]] bool whole(const GemmShape& shape) const {
    return rows >= shape.m && columns >= shape.n && depth >= shape.k;
  }
};

/// VRAM that one step takes, packed, each operand in whole chunks.
[[nodiscard]] std::uint64_t tile_bytes(const Tiling& tiling, std::size_t element);

/// The largest tiling that fits in `budget` bytes, cutting what takes most. kOutOfMemory with both
/// numbers where 64 x 64 tiles with panels of 64 do not.
[[nodiscard]] Result<Tiling> choose_tiling(const GemmShape& shape, std::size_t element,
                                           std::uint64_t budget);

/// Calls visit(row, rows, column, columns) for each tile of C, all tiles of a column of tiles
/// first. Stops at the first result that is an error and returns it.
template <typename Visit>
[[nodiscard]] Result<> each_tile(const GemmShape& shape, const Tiling& tiling, Visit&& visit) {
  for (std::uint64_t column = 0; column < shape.n; column += tiling.columns) {
    const std::uint64_t columns =
        tiling.columns < shape.n - column ? tiling.columns : shape.n - column;
    for (std::uint64_t row = 0; row < shape.m; row += tiling.rows) {
      const std::uint64_t rows = tiling.rows < shape.m - row ? tiling.rows : shape.m - row;
      Result<> done = visit(row, rows, column, columns);
      if (!done) return done;
    }
  }
  return {};
}

}  // namespace godwit
