// SPDX-License-Identifier: MIT
// Matrices with known gaps, and the product by its definition.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <random>
#include <vector>

#include "runtime/src/blas/gemm.h"

namespace godwit::test {

template <typename T>
struct TypeOf;
template <>
struct TypeOf<float> {
  static constexpr ScalarType kType = ScalarType::kFloat;
};
template <>
struct TypeOf<double> {
  static constexpr ScalarType kType = ScalarType::kDouble;
};
template <>
struct TypeOf<std::complex<float>> {
  static constexpr ScalarType kType = ScalarType::kComplexFloat;
};
template <>
struct TypeOf<std::complex<double>> {
  static constexpr ScalarType kType = ScalarType::kComplexDouble;
};

template <typename T>
T scalar_of(double re, double im) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(re);
  } else {
    return T(static_cast<typename T::value_type>(re), static_cast<typename T::value_type>(im));
  }
}

template <typename T>
T conjugate(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return value;
  } else {
    return std::conj(value);
  }
}

/// A matrix of BLAS in memory that somebody else owns, gaps included.
template <typename T>
struct View {
  T* data = nullptr;
  std::int64_t rows = 0, columns = 0, ld = 0;
  T& at(std::int64_t i, std::int64_t j) const { return data[j * ld + i]; }
  T op(Transpose transpose, std::int64_t i, std::int64_t j) const {
    if (transpose == Transpose::kNone) return at(i, j);
    return transpose == Transpose::kTrans ? at(j, i) : conjugate(at(j, i));
  }
  void fill(std::mt19937& random) const {
    std::uniform_real_distribution<double> value(-1, 1);
    // The gaps too: they must keep what they hold.
    for (std::int64_t index = 0; index < (columns - 1) * ld + rows; ++index) {
      data[index] = scalar_of<T>(value(random), value(random));
    }
  }
};

/// What C should be, as a copy of its whole extent.
template <typename T>
std::vector<T> expected(const GemmRequest& request, const View<T>& a, const View<T>& b,
                        const View<T>& c) {
  std::vector<T> result(c.data, c.data + ((c.columns - 1) * c.ld + c.rows));
  const T alpha = scalar_of<T>(request.alpha[0], request.alpha[1]);
  const T beta = scalar_of<T>(request.beta[0], request.beta[1]);
  for (std::int64_t j = 0; j < c.columns; ++j) {
    for (std::int64_t i = 0; i < c.rows; ++i) {
      T sum{};
      for (std::int64_t p = 0; alpha != T{} && p < request.k; ++p) {
        sum += a.op(request.transa, i, p) * b.op(request.transb, p, j);
      }
      T& out = result[static_cast<std::size_t>(j * c.ld + i)];
      out = alpha * sum + (beta == T{} ? T{} : beta * out);
    }
  }
  return result;
}

/// The largest difference, in units of the rounding error that k additions may make.
template <typename T>
double worst(const View<T>& c, const std::vector<T>& wanted, std::int64_t k) {
  using Real = decltype(std::abs(T{}));
  const double unit =
      static_cast<double>(std::numeric_limits<Real>::epsilon()) * static_cast<double>(k + 4);
  double largest = 0;
  for (std::size_t index = 0; index < wanted.size(); ++index) {
    const auto row = static_cast<std::int64_t>(index) % c.ld;
    const double difference = static_cast<double>(std::abs(c.data[index] - wanted[index]));
    // Between the columns nothing may change at all.
    largest = std::max(largest, row < c.rows ? difference / unit
                                             : (c.data[index] == wanted[index] ? 0.0 : 1e30));
    if (std::isnan(difference)) return 1e30;
  }
  return largest;
}

}  // namespace godwit::test
