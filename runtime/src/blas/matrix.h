// SPDX-License-Identifier: MIT
// A matrix as BLAS stores it, and what it occupies: bytes, pages, chunks. All arithmetic is 64-bit
// and checked once, when the matrix is made: rows times a leading dimension overflows int easily.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "godwit/result.h"
#include "runtime/src/engine/engine.h"

namespace godwit {

/// Column-major: `columns` runs of `rows` elements, `ld` elements apart. Owns nothing.
class Matrix {
 public:
  Matrix() = default;
  /// kInvalidArgument where ld < rows or where an address of it would not fit in 63 bits.
  [[nodiscard]] static Result<Matrix> make(const void* base, std::uint64_t rows,
                                           std::uint64_t columns, std::uint64_t ld,
                                           std::size_t element);

  [[nodiscard]] const std::byte* base() const { return base_; }
  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] std::uint64_t columns() const { return columns_; }
  [[nodiscard]] std::uint64_t ld() const { return ld_; }
  [[nodiscard]] std::size_t element() const { return element_; }

  [[nodiscard]] bool empty() const { return rows_ == 0 || columns_ == 0; }
  [[nodiscard]] std::uint64_t column_bytes() const { return rows_ * element_; }
  [[nodiscard]] std::uint64_t stride() const { return ld_ * element_; }
  /// Bytes of its elements.
  [[nodiscard]] std::uint64_t bytes() const { return column_bytes() * columns_; }
  /// Bytes from its first element to the end of its last.
  [[nodiscard]] std::uint64_t extent() const {
    return empty() ? 0 : (columns_ - 1) * stride() + column_bytes();
  }
  /// No gaps between columns.
  [[nodiscard]] bool dense() const { return rows_ == ld_ || columns_ <= 1; }
  [[nodiscard]] const std::byte* column(std::uint64_t index) const {
    return base_ + index * stride();
  }
  [[nodiscard]] Matrix part(std::uint64_t row, std::uint64_t column, std::uint64_t rows,
                            std::uint64_t columns) const;
  [[nodiscard]] Operand operand(Access access) const;

  /// Bytes of the frames that the matrix needs in VRAM where it lies: whole chunks.
  [[nodiscard]] std::uint64_t chunk_bytes() const;
  /// Calls visit(address, bytes) for runs of whole units that hold elements, in address order, no
  /// unit twice. `unit` is a power of two.
  void each_run(std::size_t unit,
                const std::function<void(std::uintptr_t, std::uint64_t)>& visit) const;

 private:
  const std::byte* base_ = nullptr;
  std::uint64_t rows_ = 0;
  std::uint64_t columns_ = 0;
  std::uint64_t ld_ = 0;
  std::size_t element_ = 0;
};

/// True where an element of one shares a byte with an element of the other. Exact: parts of one
/// array whose columns interleave do not overlap.
[[nodiscard]] bool overlap(const Matrix& one, const Matrix& other);

}  // namespace godwit
