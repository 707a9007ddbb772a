// SPDX-License-Identifier: MIT
// Matrix multiplication, against a sum of products in more precision. Included by device_suite.h.
#pragma once

#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <type_traits>

#include "tests/unit/device/device_fixture.h"

namespace godwit {

/// One product, with everything that may vary.
struct GemmCase {
  Transpose transa = Transpose::kNone;
  Transpose transb = Transpose::kNone;
  std::uint64_t m = 0, n = 0, k = 0;
  std::complex<double> alpha = 1;
  std::complex<double> beta = 0;
  std::uint64_t pad = 3;  // leading dimension less rows
};

inline std::ostream& operator<<(std::ostream& out, const GemmCase& c) {
  return out << "trans " << static_cast<int>(c.transa) << static_cast<int>(c.transb) << ", m "
             << c.m << " n " << c.n << " k " << c.k << ", alpha " << c.alpha << " beta " << c.beta
             << ", pad " << c.pad;
}

template <typename T>
struct ScalarTraits {
  using Real = T;
  static constexpr bool kComplex = false;
};
template <typename T>
struct ScalarTraits<std::complex<T>> {
  using Real = T;
  static constexpr bool kComplex = true;
};

template <typename T>
constexpr ScalarType scalar_type() {
  constexpr bool single = std::is_same_v<typename ScalarTraits<T>::Real, float>;
  if (ScalarTraits<T>::kComplex) {
    return single ? ScalarType::kComplexFloat : ScalarType::kComplexDouble;
  }
  return single ? ScalarType::kFloat : ScalarType::kDouble;
}

/// A stored matrix in scattered frames, with a copy in host memory. It begins a few bytes before
/// the end of its first frame, so that small ones cross frames and complex elements straddle them.
template <typename T>
struct StoredMatrix {
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::uint64_t ld = 1;
  std::uint64_t offset = 0;
  std::vector<std::uint64_t> table;
  std::vector<std::byte> bytes;

  StoredMatrix(std::uint64_t r, std::uint64_t c, std::uint64_t pad)
      : rows(r), columns(c), ld(std::max<std::uint64_t>(r + pad, 1)) {
    offset = kChunkBytes - 5 * sizeof(typename ScalarTraits<T>::Real);
  }
  [[nodiscard]] std::uint64_t span_bytes() const {
    return rows == 0 || columns == 0 ? 0 : ((columns - 1) * ld + rows) * sizeof(T);
  }
  [[nodiscard]] std::size_t chunks() const {
    return align_up(offset + span_bytes(), kChunkBytes) / kChunkBytes;
  }
  [[nodiscard]] DeviceSpan span() const { return {table, offset, span_bytes()}; }
  [[nodiscard]] std::size_t position(std::uint64_t row, std::uint64_t column) const {
    return offset + (column * ld + row) * sizeof(T);
  }
  [[nodiscard]] T at(std::uint64_t row, std::uint64_t column) const {
    T value;
    std::memcpy(&value, bytes.data() + position(row, column), sizeof value);
    return value;
  }
  void set(std::uint64_t row, std::uint64_t column, T value) {
    std::memcpy(bytes.data() + position(row, column), &value, sizeof value);
  }
};

class DeviceGemmTest : public DeviceTest {
 protected:
  template <typename T>
  T random_scalar() {
    using Real = typename ScalarTraits<T>::Real;
    std::uniform_real_distribution<Real> values(-1, 1);
    if constexpr (ScalarTraits<T>::kComplex) {
      const Real re = values(random_);
      return {re, values(random_)};
    } else {
      return values(random_);
    }
  }

  template <typename T>
  StoredMatrix<T> make_matrix(std::uint64_t rows, std::uint64_t columns, std::uint64_t pad) {
    StoredMatrix<T> matrix(rows, columns, pad);
    matrix.table = take_frames(matrix.chunks());
    matrix.bytes.assign(matrix.table.size() * kChunkBytes, std::byte{0xa5});
    for (std::uint64_t j = 0; j < columns; ++j) {
      for (std::uint64_t i = 0; i < rows; ++i) matrix.set(i, j, random_scalar<T>());
    }
    return matrix;
  }

  template <typename T>
  static void spoil(StoredMatrix<T>& matrix) {
    const auto nan = std::numeric_limits<typename ScalarTraits<T>::Real>::quiet_NaN();
    for (std::uint64_t j = 0; j < matrix.columns; ++j) {
      for (std::uint64_t i = 0; i < matrix.rows; ++i) matrix.set(i, j, T(nan));
    }
  }

  template <typename T>
  [[nodiscard]] bool supported() const {
    return std::is_same_v<typename ScalarTraits<T>::Real, float> || device_->info().float64;
  }

  enum class Spoil { kNothing, kC, kAandB };

  /// Runs one case and compares every byte of C's frames: elements within the bound that any order
  /// of summation keeps, everything else exactly.
  template <typename T>
  void check(const GemmCase& gemm, Spoil spoiled = Spoil::kNothing) {
    using Real = typename ScalarTraits<T>::Real;
    using Exact = std::conditional_t<std::is_same_v<Real, float>, double, long double>;
    const bool ta = gemm.transa != Transpose::kNone;
    const bool tb = gemm.transb != Transpose::kNone;
    auto a = make_matrix<T>(ta ? gemm.k : gemm.m, ta ? gemm.m : gemm.k, gemm.pad);
    auto b = make_matrix<T>(tb ? gemm.n : gemm.k, tb ? gemm.k : gemm.n, gemm.pad);
    auto c = make_matrix<T>(gemm.m, gemm.n, gemm.pad);
    if (spoiled == Spoil::kAandB) {
      spoil(a);
      spoil(b);
    }
    if (spoiled == Spoil::kC) spoil(c);
    ASSERT_NO_FATAL_FAILURE(transfer(Direction::kToDevice, a.table, a.bytes));
    ASSERT_NO_FATAL_FAILURE(transfer(Direction::kToDevice, b.table, b.bytes));
    ASSERT_NO_FATAL_FAILURE(transfer(Direction::kToDevice, c.table, c.bytes));

    GemmCommand command;
    command.type = scalar_type<T>();
    command.transa = gemm.transa;
    command.transb = gemm.transb;
    command.m = gemm.m;
    command.n = gemm.n;
    command.k = gemm.k;
    command.alpha[0] = gemm.alpha.real();
    command.alpha[1] = gemm.alpha.imag();
    command.beta[0] = gemm.beta.real();
    command.beta[1] = gemm.beta.imag();
    command.a = a.span();
    command.lda = a.ld;
    command.b = b.span();
    command.ldb = b.ld;
    command.c = c.span();
    command.ldc = c.ld;
    ASSERT_EQ(run(command), 0) << gemm;

    StoredMatrix<T> result = c;
    ASSERT_NO_FATAL_FAILURE(transfer(Direction::kToHost, result.table, result.bytes));
    give_frames(a.table);
    give_frames(b.table);
    give_frames(c.table);

    const auto exact = [](const T& value, bool conjugate) {
      const std::complex<Exact> wide(value);
      return conjugate ? std::conj(wide) : wide;
    };
    using Wide = std::complex<Exact>;
    std::vector<Wide> rows(gemm.m * gemm.k);     // op(A), row by row
    std::vector<Wide> columns(gemm.k * gemm.n);  // op(B), column by column
    for (std::uint64_t p = 0; p < gemm.k; ++p) {
      for (std::uint64_t i = 0; i < gemm.m; ++i) {
        rows[i * gemm.k + p] =
            exact(ta ? a.at(p, i) : a.at(i, p), gemm.transa == Transpose::kConjTrans);
      }
      for (std::uint64_t j = 0; j < gemm.n; ++j) {
        columns[j * gemm.k + p] =
            exact(tb ? b.at(j, p) : b.at(p, j), gemm.transb == Transpose::kConjTrans);
      }
    }
    Wide alpha(static_cast<Exact>(static_cast<Real>(gemm.alpha.real())),
               static_cast<Exact>(static_cast<Real>(gemm.alpha.imag())));
    Wide beta(static_cast<Exact>(static_cast<Real>(gemm.beta.real())),
              static_cast<Exact>(static_cast<Real>(gemm.beta.imag())));
    if (!ScalarTraits<T>::kComplex) {
      alpha.imag(0);
      beta.imag(0);
    }
    const Exact eps = std::numeric_limits<Real>::epsilon();
    for (std::uint64_t j = 0; j < gemm.n; ++j) {
      for (std::uint64_t i = 0; i < gemm.m; ++i) {
        Exact re = 0;
        Exact im = 0;
        Exact size = 0;  // of what was added; |re| + |im| bounds each factor
        if (alpha != Wide(0)) {
          for (std::uint64_t p = 0; p < gemm.k; ++p) {
            const Wide& x = rows[i * gemm.k + p];
            const Wide& y = columns[j * gemm.k + p];
            re += x.real() * y.real() - x.imag() * y.imag();
            im += x.real() * y.imag() + x.imag() * y.real();
            size += (std::abs(x.real()) + std::abs(x.imag())) *
                    (std::abs(y.real()) + std::abs(y.imag()));
          }
        }
        Wide expected = alpha * Wide(re, im);
        size *= std::abs(alpha.real()) + std::abs(alpha.imag());
        if (beta != Wide(0)) {
          const Wide old = exact(c.at(i, j), false);
          expected += beta * old;
          size += std::abs(beta) * (std::abs(old.real()) + std::abs(old.imag()));
        }
        const Exact bound = static_cast<Exact>(gemm.k + 8) * eps * size;
        const Wide seen = exact(result.at(i, j), false);
        ASSERT_LE(std::abs(seen.real() - expected.real()), bound)
            << gemm << ", element " << i << ", " << j << ": " << seen << " not " << expected;
        ASSERT_LE(std::abs(seen.imag() - expected.imag()), bound)
            << gemm << ", element " << i << ", " << j << ": " << seen << " not " << expected;
        result.set(i, j, c.at(i, j));
      }
    }
    ASSERT_EQ(result.bytes, c.bytes) << gemm << ": wrote beside the columns";
  }

  static constexpr Transpose kTransposes[] = {Transpose::kNone, Transpose::kTrans,
                                              Transpose::kConjTrans};

  /// All triples of sizes, the other parameters in turn.
  template <typename T>
  void check_sizes() {
    if (!supported<T>()) GTEST_SKIP() << "no double precision";
    const std::uint64_t sizes[] = {0, 1, 3, 17, 64, 65, 130};
    const std::complex<double> scalars[] = {0, 1, {-0.75, 0}, {0.5, -1.25}};
    unsigned turn = 0;
    for (const std::uint64_t m : sizes) {
      for (const std::uint64_t n : sizes) {
        for (const std::uint64_t k : sizes) {
          // Steps that share no factor with the number of choices: all combinations come up.
          turn += 7;
          const GemmCase gemm{kTransposes[turn % 3], kTransposes[turn / 3 % 3], m,       n, k,
                              scalars[1 + turn % 3], scalars[turn / 5 % 4],     turn % 4};
          ASSERT_NO_FATAL_FAILURE(check<T>(gemm));
        }
      }
    }
  }

  /// All transposes and scalars, a few sizes.
  template <typename T>
  void check_forms() {
    if (!supported<T>()) GTEST_SKIP() << "no double precision";
    const std::complex<double> scalars[] = {0, 1, {-0.75, 0}, {0.5, -1.25}};
    for (const Transpose transa : kTransposes) {
      for (const Transpose transb : kTransposes) {
        for (const std::complex<double> alpha : scalars) {
          for (const std::complex<double> beta : scalars) {
            ASSERT_NO_FATAL_FAILURE(check<T>({transa, transb, 37, 29, 23, alpha, beta, 5}));
          }
        }
        ASSERT_NO_FATAL_FAILURE(check<T>({transa, transb, 67, 45, 300, 1, 1, 2}));
      }
    }
  }
};

TEST_P(DeviceGemmTest, FloatProductsOfAllSizes) { check_sizes<float>(); }
TEST_P(DeviceGemmTest, DoubleProductsOfAllSizes) { check_sizes<double>(); }
TEST_P(DeviceGemmTest, ComplexFloatProductsOfAllSizes) { check_sizes<std::complex<float>>(); }
TEST_P(DeviceGemmTest, ComplexDoubleProductsOfAllSizes) { check_sizes<std::complex<double>>(); }

TEST_P(DeviceGemmTest, FloatTransposesAndScalars) { check_forms<float>(); }
TEST_P(DeviceGemmTest, DoubleTransposesAndScalars) { check_forms<double>(); }
TEST_P(DeviceGemmTest, ComplexFloatTransposesAndScalars) { check_forms<std::complex<float>>(); }
TEST_P(DeviceGemmTest, ComplexDoubleTransposesAndScalars) { check_forms<std::complex<double>>(); }

TEST_P(DeviceGemmTest, LongAndFlatProducts) {
  ASSERT_NO_FATAL_FAILURE(
      check<float>({Transpose::kTrans, Transpose::kNone, 900, 20, 31, 1, 1, 0}));
  ASSERT_NO_FATAL_FAILURE(
      check<float>({Transpose::kNone, Transpose::kTrans, 9, 1000, 40, 2, 1, 1}));
  ASSERT_NO_FATAL_FAILURE(check<float>({Transpose::kNone, Transpose::kNone, 5, 7, 3000, 1, 0, 0}));
  ASSERT_NO_FATAL_FAILURE(check<float>({Transpose::kNone, Transpose::kNone, 400, 410, 5, 1, 0, 1}));
}

TEST_P(DeviceGemmTest, NanInCIsNotReadWhenBetaIsZero) {
  for (const std::uint64_t k : {0, 40}) {
    const GemmCase gemm{Transpose::kNone, Transpose::kTrans, 33, 65, k, {2, 0}, 0, 1};
    ASSERT_NO_FATAL_FAILURE(check<float>(gemm, Spoil::kC));
    ASSERT_NO_FATAL_FAILURE(check<std::complex<float>>(gemm, Spoil::kC));
    if (!supported<double>()) continue;
    ASSERT_NO_FATAL_FAILURE(check<double>(gemm, Spoil::kC));
    ASSERT_NO_FATAL_FAILURE(check<std::complex<double>>(gemm, Spoil::kC));
  }
}

TEST_P(DeviceGemmTest, NanInAAndBIsNotReadWhenAlphaIsZero) {
  for (const double beta : {0.0, 1.0, -2.0}) {
    const GemmCase gemm{Transpose::kTrans, Transpose::kNone, 33, 65, 40, 0, beta, 1};
    ASSERT_NO_FATAL_FAILURE(check<float>(gemm, Spoil::kAandB));
    ASSERT_NO_FATAL_FAILURE(check<std::complex<float>>(gemm, Spoil::kAandB));
    if (!supported<double>()) continue;
    ASSERT_NO_FATAL_FAILURE(check<double>(gemm, Spoil::kAandB));
    ASSERT_NO_FATAL_FAILURE(check<std::complex<double>>(gemm, Spoil::kAandB));
  }
}

TEST_P(DeviceGemmTest, ChunksOfGapsNeedNoFrames) {
  // One float in each column, columns 3 chunks apart.
  const std::uint64_t ld = 3 * kChunkBytes / sizeof(float);
  const std::uint64_t n = 5;
  std::vector<std::uint64_t> table((n - 1) * 3 + 1, DeviceSpan::kNoFrame);
  for (std::size_t j = 0; j < n; ++j) table[j * 3] = take_frames(1)[0];
  const DeviceSpan span{table, 0, ((n - 1) * ld + 1) * sizeof(float)};
  ASSERT_EQ(run(FillCommand{{std::span(table).subspan(0, 1), 0, 4}, 0x40000000}), 0);  // 2.0f
  for (std::size_t j = 1; j < n; ++j) {
    ASSERT_EQ(run(FillCommand{{std::span(table).subspan(3 * j, 1), 0, 4}, 0x3f800000}), 0);  // 1.0f
  }
  const std::vector<std::uint64_t> one = take_frames(1);
  GemmCommand command;  // C (1 x 5) := A (1 x 1) * B (1 x 5), all from that row
  command.m = 1;
  command.n = n;
  command.k = 1;
  command.a = span;
  command.b = span;
  command.c = {one, 0, n * sizeof(float)};
  command.lda = ld;
  command.ldb = ld;
  command.ldc = 1;
  ASSERT_EQ(run(command), 0);
  const std::vector<std::byte> bytes = get(one[0], n * sizeof(float));
  std::vector<float> row(n);
  std::memcpy(row.data(), bytes.data(), bytes.size());
  EXPECT_EQ(row, (std::vector<float>{4, 2, 2, 2, 2}));
  command.m = 2;  // now an element of A is missing nowhere, but C has no room
  EXPECT_EQ(run(command), -EINVAL);
}

TEST_P(DeviceGemmTest, WrongShapesAreInvalid) {
  const std::vector<std::uint64_t> table = take_frames(1);
  const DeviceSpan span{table, 0, kChunkBytes};
  GemmCommand good;
  good.m = 10;
  good.n = 11;
  good.k = 12;
  good.a = good.b = good.c = span;
  good.lda = 10;
  good.ldb = 12;
  good.ldc = 10;
  ASSERT_EQ(device_->clear(table[0], kChunkBytes), 0);
  EXPECT_EQ(run(good), 0);
  const auto changed = [&](auto change) {
    GemmCommand bad = good;
    change(bad);
    return run(bad);
  };
  EXPECT_EQ(changed([](GemmCommand& c) { c.lda = 9; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) { c.ldb = 11; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) { c.ldc = 9; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) { c.transa = Transpose::kTrans; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) {
              c.transb = Transpose::kConjTrans;
              c.ldb = 10;
            }),
            -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) { c.a.offset = 2; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) { c.c.bytes = 10 * 11 * 4 - 1; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) { c.lda = ~std::uint64_t{0} / 8; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) { c.a.chunks = {}; }), -EINVAL);
  EXPECT_EQ(changed([](GemmCommand& c) {
              c.a = {};
              c.alpha[0] = 0;
            }),
            0)
      << "A is not read";
  EXPECT_EQ(changed([](GemmCommand& c) {
              c.a = c.b = {};
              c.k = 0;
            }),
            0)
      << "A, B are empty";
}

}  // namespace godwit
