// SPDX-License-Identifier: MIT
// C is cut into blocks that workers take one by one. For a block, panels of op(A) and op(B) are
// packed through the chunk tables into the worker's scratch memory; behind that point nothing
// knows of frames until a tile of the product is added to C through its table. Transposition,
// conjugation and the padding of odd sizes happen in the packing, so that there is one kernel.
#include "runtime/src/device/soft/soft_gemm.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/src/device/soft/soft_kernel.h"

namespace godwit {
namespace {

// A panel of kDepth x kRows of op(A) stays in the L2 cache, a strip of op(B) in L1. Rows and
// columns are multiples of every kernel's tile.
constexpr std::size_t kDepth = 256;
constexpr std::size_t kRows = 192;
constexpr std::size_t kBlock = 768;      // rows and columns of the block of C that a worker takes
constexpr std::size_t kSmallBlock = 96;  // the least, where there is not enough for all workers

constexpr std::size_t kPanelA = kDepth * kRows * 2 * sizeof(double);
constexpr std::size_t kPanelB = kDepth * kBlock * 2 * sizeof(double);
constexpr std::size_t kLine = kDepth * 2 * sizeof(double);  // one line that crosses frames
static_assert(kPanelA + kPanelB + kLine <= SoftPool::kScratchBytes);
static_assert(kDepth >= kRows);

constexpr std::size_t ceil_div(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit;
}

template <typename Real>
struct Scalar {
  Real re;
  Real im;
};

template <typename Real, bool kComplex>
class Gemm {
 public:
  Gemm(const GemmCommand& command, std::byte* vram, SoftPool& pool, const std::atomic<bool>& lost)
      : command_(command),
        a_(command.a, vram),
        b_(command.b, vram),
        c_(command.c, vram),
        alpha_{static_cast<Real>(command.alpha[0]), static_cast<Real>(command.alpha[1])},
        beta_{static_cast<Real>(command.beta[0]), static_cast<Real>(command.beta[1])},
        kernel_(select_kernel<Real>(kComplex)),
        pool_(pool),
        lost_(lost) {}

  void run() noexcept {
    if (command_.m == 0 || command_.n == 0) return;
    if (command_.k == 0 || is_zero(alpha_)) {
      if (!is_one(beta_)) scale();
      return;
    }
    std::size_t rows = std::min(kBlock, command_.m);
    std::size_t columns = std::min(kBlock, command_.n);
    const std::size_t wanted = pool_.threads() == 1 ? 1 : std::size_t{2} * pool_.threads();
    while (ceil_div(command_.m, rows) * ceil_div(command_.n, columns) < wanted &&
           std::max(rows, columns) > kSmallBlock) {
      std::size_t& side = rows > columns ? rows : columns;
      side = ceil_div(ceil_div(side, 2), kSmallBlock) * kSmallBlock;
    }
    const std::size_t down = ceil_div(command_.m, rows);
    auto part = [&](std::size_t index, unsigned worker) {
      const std::size_t row = index % down * rows;
      const std::size_t column = index / down * columns;
      block(row, std::min(rows, command_.m - row), column, std::min(columns, command_.n - column),
            pool_.scratch(worker));
    };
    pool_.parallel(down * ceil_div(command_.n, columns), part);
  }

 private:
  static constexpr std::size_t kPlanes = kComplex ? 2 : 1;
  static constexpr std::size_t kElement = sizeof(Real) * kPlanes;

  static bool is_zero(Scalar<Real> value) { return value.re == 0 && (!kComplex || value.im == 0); }
  static bool is_one(Scalar<Real> value) { return value.re == 1 && (!kComplex || value.im == 0); }
  bool lost() const { return lost_.load(std::memory_order_relaxed); }

  /// `count` elements of one column of a stored matrix: in place where they lie in one frame, else
  /// gathered in `line`.
  static const Real* read(const SoftSpan& matrix, std::uint64_t element, std::size_t count,
                          Real* line) {
    const std::uint64_t at = element * kElement;
    const std::size_t bytes = count * kElement;
    if (matrix.run(at, bytes) == bytes) return reinterpret_cast<const Real*>(matrix.address(at));
    matrix.load(at, reinterpret_cast<std::byte*>(line), bytes);
    return line;
  }

  /// Packs a panel into strips of `width`. The panel has `count` lines-across (rows of op(A),
  /// columns of op(B)) from `first` and `depth` steps of k from `from`. `along`: neighbours across
  /// are neighbours in memory; otherwise steps of k are.
  void pack(const SoftSpan& matrix, std::uint64_t ld, bool along, bool conjugate, std::size_t width,
            std::size_t first, std::size_t count, std::size_t from, std::size_t depth, Real* panel,
            Real* line) const {
    const std::size_t step = width * kPlanes;
    const Real sign = conjugate ? Real{-1} : Real{1};
    for (std::size_t strip = 0; strip * width < count; ++strip) {
      const std::size_t left = std::min(width, count - strip * width);
      const std::size_t start = first + strip * width;
      Real* out = panel + strip * depth * step;
      if (left < width) std::memset(out, 0, depth * step * sizeof(Real));
      if (along) {
        for (std::size_t p = 0; p < depth; ++p, out += step) {
          const Real* in = read(matrix, (from + p) * ld + start, left, line);
          if constexpr (kComplex) {
            for (std::size_t i = 0; i < left; ++i) {
              out[i] = in[2 * i];
              out[width + i] = sign * in[2 * i + 1];
            }
          } else if (left == width) {
            std::copy_n(in, width, out);
          } else {
            std::copy_n(in, left, out);
          }
        }
      } else {
        for (std::size_t i = 0; i < left; ++i) {
          const Real* in = read(matrix, (start + i) * ld + from, depth, line);
          Real* to = out + i;
          for (std::size_t p = 0; p < depth; ++p, to += step) {
            if constexpr (kComplex) {
              to[0] = in[2 * p];
              to[width] = sign * in[2 * p + 1];
            } else {
              *to = in[p];
            }
          }
        }
      }
    }
  }

  void block(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns,
             std::byte* scratch) const {
    auto* panel_a = reinterpret_cast<Real*>(scratch);
    auto* panel_b = reinterpret_cast<Real*>(scratch + kPanelA);
    auto* line = reinterpret_cast<Real*>(scratch + kPanelA + kPanelB);
    const bool plain_a = command_.transa == Transpose::kNone;
    const bool plain_b = command_.transb == Transpose::kNone;
    for (std::size_t from = 0; from < command_.k; from += kDepth) {
      const std::size_t depth = std::min(kDepth, command_.k - from);
      const Scalar<Real> beta = from == 0 ? beta_ : Scalar<Real>{1, 0};
      pack(b_, command_.ldb, !plain_b, command_.transb == Transpose::kConjTrans, kernel_.columns,
           column, columns, from, depth, panel_b, line);
      for (std::size_t above = 0; above < rows; above += kRows) {
        const std::size_t high = std::min(kRows, rows - above);
        pack(a_, command_.lda, plain_a, command_.transa == Transpose::kConjTrans, kernel_.rows,
             row + above, high, from, depth, panel_a, line);
        multiply(row + above, high, column, columns, depth, beta, panel_a, panel_b);
        if (lost()) return;
      }
    }
  }

  void multiply(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns,
                std::size_t depth, Scalar<Real> beta, const Real* panel_a,
                const Real* panel_b) const {
    alignas(64) Real tile[kMaxTile];
    for (std::size_t j = 0; j < columns && !lost(); j += kernel_.columns) {
      const Real* strip_b = panel_b + j * depth * kPlanes;
      for (std::size_t i = 0; i < rows; i += kernel_.rows) {
        kernel_.run(depth, panel_a + i * depth * kPlanes, strip_b, tile);
        add_tile(row + i, std::min(kernel_.rows, rows - i), column + j,
                 std::min(kernel_.columns, columns - j), beta, tile);
      }
    }
  }

  void add_tile(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns,
                Scalar<Real> beta, const Real* tile) const {
    const Real* imag = tile + kernel_.rows * kernel_.columns;
    for (std::size_t j = 0; j < columns; ++j) {
      const Real* re = tile + j * kernel_.rows;
      const Real* im = imag + j * kernel_.rows;
      update(row, rows, column + j, is_zero(beta),
             [&](Real* c) { combine(c, re, im, rows, beta); });
    }
  }

  /// Calls change(c) with `rows` elements of a column of C, and stores them. Where the elements
  /// are `unread`, those that cross frames are given as zeros.
  template <typename Change>
  void update(std::size_t row, std::size_t rows, std::size_t column, bool unread,
              const Change& change) const {
    const std::uint64_t at = (column * command_.ldc + row) * kElement;
    const std::size_t bytes = rows * kElement;
    if (c_.run(at, bytes) == bytes) {
      change(reinterpret_cast<Real*>(c_.address(at)));
      return;
    }
    Real line[kMaxTile] = {};
    if (!unread) c_.load(at, reinterpret_cast<std::byte*>(line), bytes);
    change(line);
    c_.store(at, reinterpret_cast<const std::byte*>(line), bytes);
  }

  /// c := alpha * (re + i im) + beta * c
  void combine(Real* c, const Real* re, const Real* im, std::size_t count,
               Scalar<Real> beta) const {
    const Scalar<Real> alpha = alpha_;
    if constexpr (!kComplex) {
      if (beta.re == 0) {
        for (std::size_t i = 0; i < count; ++i) c[i] = alpha.re * re[i];
      } else {
        for (std::size_t i = 0; i < count; ++i) c[i] = alpha.re * re[i] + beta.re * c[i];
      }
    } else {
      const bool unread = is_zero(beta);
      for (std::size_t i = 0; i < count; ++i) {
        const Scalar<Real> old =
            unread ? Scalar<Real>{0, 0} : times(beta, {c[2 * i], c[2 * i + 1]});
        const Scalar<Real> now = times(alpha, {re[i], im[i]});
        c[2 * i] = now.re + old.re;
        c[2 * i + 1] = now.im + old.im;
      }
    }
  }

  static Scalar<Real> times(Scalar<Real> x, Scalar<Real> y) {
    return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
  }

  /// C := beta * C, where A and B play no part.
  void scale() const {
    const bool unread = is_zero(beta_);
    const auto change = [&](Real* c, std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) {
        if constexpr (kComplex) {
          const Scalar<Real> now =
              unread ? Scalar<Real>{0, 0} : times(beta_, {c[2 * i], c[2 * i + 1]});
          c[2 * i] = now.re;
          c[2 * i + 1] = now.im;
        } else {
          c[i] = unread ? Real{0} : beta_.re * c[i];
        }
      }
    };
    auto part = [&](std::size_t column, unsigned) {
      if (lost()) return;
      for (std::size_t row = 0; row < command_.m; row += kRows) {
        const std::size_t rows = std::min<std::size_t>(kRows, command_.m - row);
        update(row, rows, column, unread, [&](Real* c) { change(c, rows); });
      }
    };
    pool_.parallel(command_.n, part);
  }

  const GemmCommand& command_;
  const SoftSpan a_;
  const SoftSpan b_;
  const SoftSpan c_;
  const Scalar<Real> alpha_;
  const Scalar<Real> beta_;
  const SoftKernel<Real> kernel_;
  SoftPool& pool_;
  const std::atomic<bool>& lost_;
};

static_assert(kRows * 2 <= kMaxTile, "update() holds a piece of a column");

/// Checks the `columns` columns of `rows` elements that a stored matrix has.
int check_matrix(const DeviceSpan& span, std::uint64_t rows, std::uint64_t columns,
                 std::uint64_t ld, std::size_t element, std::size_t real,
                 std::uint64_t vram_bytes) {
  if (rows == 0 || columns == 0) return 0;
  if (span.offset % real != 0) return -EINVAL;
  const int error = check_span(span);
  if (error != 0) return error;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(columns - 1, ld, &elements) ||
      __builtin_add_overflow(elements, rows, &elements) ||
      __builtin_mul_overflow(elements, element, &bytes) || bytes > span.bytes) {
    return -EINVAL;
  }
  if (rows == ld) return check_frames(span, 0, bytes, vram_bytes);
  for (std::uint64_t column = 0; column < columns; ++column) {
    const int bad = check_frames(span, column * ld * element, rows * element, vram_bytes);
    if (bad != 0) return bad;
  }
  return 0;
}

bool known(Transpose transpose) {
  return transpose == Transpose::kNone || transpose == Transpose::kTrans ||
         transpose == Transpose::kConjTrans;
}

}  // namespace

int check_gemm(const GemmCommand& command, std::uint64_t vram_bytes) noexcept {
  const std::size_t element = scalar_bytes(command.type);
  if (element == 0 || !known(command.transa) || !known(command.transb)) return -EINVAL;
  const bool complex =
      command.type == ScalarType::kComplexFloat || command.type == ScalarType::kComplexDouble;
  const std::size_t real = complex ? element / 2 : element;

  std::pair<std::uint64_t, std::uint64_t> a{command.m, command.k};  // rows and columns as stored
  std::pair<std::uint64_t, std::uint64_t> b{command.k, command.n};
  if (command.transa != Transpose::kNone) std::swap(a.first, a.second);
  if (command.transb != Transpose::kNone) std::swap(b.first, b.second);
  const std::uint64_t one = 1;
  if (command.lda < std::max(one, a.first) || command.ldb < std::max(one, b.first) ||
      command.ldc < std::max(one, command.m)) {
    return -EINVAL;
  }
  if (command.m == 0 || command.n == 0) return 0;
  int error = check_matrix(command.c, command.m, command.n, command.ldc, element, real, vram_bytes);
  // What is not read may be anything.
  if (command.alpha[0] == 0 && (!complex || command.alpha[1] == 0)) return error;
  if (error == 0) {
    error = check_matrix(command.a, a.first, a.second, command.lda, element, real, vram_bytes);
  }
  if (error == 0) {
    error = check_matrix(command.b, b.first, b.second, command.ldb, element, real, vram_bytes);
  }
  return error;
}

void run_gemm(const GemmCommand& command, std::byte* vram, SoftPool& pool,
              const std::atomic<bool>& lost) noexcept {
  switch (command.type) {
    case ScalarType::kFloat:
      return Gemm<float, false>(command, vram, pool, lost).run();
    case ScalarType::kDouble:
      return Gemm<double, false>(command, vram, pool, lost).run();
    case ScalarType::kComplexFloat:
      return Gemm<float, true>(command, vram, pool, lost).run();
    case ScalarType::kComplexDouble:
      return Gemm<double, true>(command, vram, pool, lost).run();
  }
}

double gemm_flops(const GemmCommand& command) noexcept {
  const bool complex =
      command.type == ScalarType::kComplexFloat || command.type == ScalarType::kComplexDouble;
  return (complex ? 8.0 : 2.0) * static_cast<double>(command.m) * static_cast<double>(command.n) *
         static_cast<double>(command.k);
}

}  // namespace godwit
