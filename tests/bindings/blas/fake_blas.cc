// SPDX-License-Identifier: MIT
// A BLAS by definition, under every name that libgodwit_blas.so covers. It counts its calls and
// notes what it was told about invalid ones.
#include <complex>
#include <cstdint>
#include <type_traits>

#include "bindings/blas/gemm_names.h"

namespace {

int calls = 0;

template <typename T>
T conjugate(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return value;
  } else {
    return std::conj(value);
  }
}

template <typename T>
T element(const T* matrix, std::int64_t ld, int transpose, std::int64_t i, std::int64_t j) {
  if (transpose == 0) return matrix[j * ld + i];
  return transpose == 1 ? matrix[i * ld + j] : conjugate(matrix[i * ld + j]);
}

template <typename T>
void gemm(int transa, int transb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha,
          const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
          std::int64_t ldc) {
  ++calls;
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < m; ++i) {
      T sum{};
      for (std::int64_t p = 0; p < k; ++p) {
        sum += element(a, lda, transa, i, p) * element(b, ldb, transb, p, j);
      }
      c[j * ldc + i] = alpha * sum + beta * c[j * ldc + i];
    }
  }
}

int code(char letter) { return letter == 'N' ? 0 : (letter == 'T' ? 1 : 2); }

using Single = float;
using Double = double;
using ComplexSingle = std::complex<float>;
using ComplexDouble = std::complex<double>;
template <typename T>
using ByValue = std::conditional_t<std::is_floating_point_v<T>, T, const T*>;

template <typename T>
T value(const ByValue<T>& given) {
  if constexpr (std::is_floating_point_v<T>) {
    return given;
  } else {
    return *given;
  }
}

}  // namespace

#define FAKE_FORTRAN(name, T, Int)                                                              \
  extern "C" void name(const char* transa, const char* transb, const Int* m, const Int* n,      \
                       const Int* k, const T* alpha, const T* a, const Int* lda, const T* b,    \
                       const Int* ldb, const T* beta, T* c, const Int* ldc) {                   \
    gemm<T>(code(*transa), code(*transb), *m, *n, *k, *alpha, a, *lda, b, *ldb, *beta, c, *ldc); \
  }

#define FAKE_CBLAS(name, T, Int)                                                               \
  extern "C" void name(int order, int transa, int transb, Int m, Int n, Int k,                 \
                       ByValue<T> alpha, const T* a, Int lda, const T* b, Int ldb,             \
                       ByValue<T> beta, T* c, Int ldc) {                                       \
    if (order == 102) {                                                                        \
      gemm<T>(transa - 111, transb - 111, m, n, k, value<T>(alpha), a, lda, b, ldb,            \
              value<T>(beta), c, ldc);                                                         \
    } else {                                                                                   \
      gemm<T>(transb - 111, transa - 111, n, m, k, value<T>(alpha), b, ldb, a, lda,            \
              value<T>(beta), c, ldc);                                                         \
    }                                                                                          \
  }

GODWIT_GEMM_NAMES(FAKE_FORTRAN, FAKE_CBLAS)

extern "C" int fake_blas_calls() { return calls; }
