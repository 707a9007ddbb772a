// SPDX-License-Identifier: MIT
#include "runtime/src/blas/matrix.h"

#include <algorithm>
#include <limits>

#include "godwit/units.h"

namespace godwit {
namespace {

std::uintptr_t address(const std::byte* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

/// True where [from, from + bytes) meets a column of the matrix.
bool meets(const Matrix& matrix, std::uintptr_t from, std::uint64_t bytes) {
  const std::uintptr_t base = address(matrix.base());
  if (from + bytes <= base || from >= base + matrix.extent()) return false;
  // The last column that starts before the end of the range reaches furthest.
  const std::uint64_t last =
      std::min((from + bytes - 1 - base) / std::max<std::uint64_t>(matrix.stride(), 1),
               matrix.columns() - 1);
  return base + last * matrix.stride() + matrix.column_bytes() > from;
}

}  // namespace

Result<Matrix> Matrix::make(const void* base, std::uint64_t rows, std::uint64_t columns,
                            std::uint64_t ld, std::size_t element) {
  Matrix matrix;
  matrix.base_ = static_cast<const std::byte*>(base);
  matrix.rows_ = rows;
  matrix.columns_ = columns;
  matrix.ld_ = ld;
  matrix.element_ = element;
  if (matrix.empty()) return matrix;
  if (ld < rows) {
    return fail(Code::kInvalidArgument, "leading dimension " + std::to_string(ld) +
                                            " is smaller than the rows, " + std::to_string(rows));
  }
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
  std::uint64_t end = 0;
  if (__builtin_mul_overflow(columns, ld, &elements) ||
      __builtin_mul_overflow(elements, element, &bytes) ||
      __builtin_add_overflow(bytes, address(matrix.base_), &end) ||
      end > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return fail(Code::kInvalidArgument, "a matrix of " + std::to_string(columns) +
                                            " columns with leading dimension " +
                                            std::to_string(ld) + " does not fit in memory");
  }
  return matrix;
}

Matrix Matrix::part(std::uint64_t row, std::uint64_t column, std::uint64_t rows,
                    std::uint64_t columns) const {
  Matrix part = *this;
  part.base_ += (column * ld_ + row) * element_;
  part.rows_ = rows;
  part.columns_ = columns;
  return part;
}

Operand Matrix::operand(Access access) const {
  Operand operand;
  operand.base = base_;
  operand.access = access;
  if (dense()) {
    operand.bytes = bytes();
  } else {
    operand.bytes = column_bytes();
    operand.count = columns_;
    operand.stride = stride();
  }
  return operand;
}

std::uint64_t Matrix::chunk_bytes() const {
  std::uint64_t total = 0;
  each_run(kChunkBytes, [&](std::uintptr_t, std::uint64_t bytes) { total += bytes; });
  return total;
}

void Matrix::each_run(std::size_t unit,
                      const std::function<void(std::uintptr_t, std::uint64_t)>& visit) const {
  if (empty()) return;
  const std::uintptr_t start = address(base_);
  if (dense() || stride() - column_bytes() < unit) {
    const std::uintptr_t from = align_down(start, unit);
    visit(from, align_up(start + extent(), unit) - from);
    return;
  }
  // With a gap of a unit or more two columns can still share a unit; runs that touch are joined.
  std::uintptr_t from = align_down(start, unit);
  std::uintptr_t to = from;
  for (std::uint64_t index = 0; index < columns_; ++index) {
    const std::uintptr_t first = align_down(address(column(index)), unit);
    const std::uintptr_t end = align_up(address(column(index)) + column_bytes(), unit);
    if (first > to) {
      visit(from, to - from);
      from = first;
    }
    to = end;
  }
  visit(from, to - from);
}

bool overlap(const Matrix& one, const Matrix& other) {
  if (one.empty() || other.empty()) return false;
  const std::uintptr_t a = address(one.base());
  const std::uintptr_t b = address(other.base());
  if (a + one.extent() <= b || b + other.extent() <= a) return false;
  if (one.dense()) return meets(other, a, one.extent());
  if (other.dense()) return meets(one, b, other.extent());
  const Matrix& few = one.columns() <= other.columns() ? one : other;
  const Matrix& many = one.columns() <= other.columns() ? other : one;
  for (std::uint64_t index = 0; index < few.columns(); ++index) {
    if (meets(many, address(few.column(index)), few.column_bytes())) return true;
  }
  return false;
}

}  // namespace godwit
