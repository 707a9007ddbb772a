// SPDX-License-Identifier: MIT
// Every name that GEMM goes by. Where integers have 64 bits the name says so, in one of the
// spellings in use: OpenBLAS (dgemm_64_, cblas_dgemm64_), the reference BLAS (cblas_dgemm_64), and
// both widths in the OpenBLAS of NumPy's and SciPy's wheels (prefix scipy_).
#pragma once

#include <cstdint>

/// FORTRAN(name, Scalar, Int) and CBLAS(name, Scalar, Int); `letter` is s, d, c or z.
#define GODWIT_GEMM_NAMES_OF(FORTRAN, CBLAS, letter, Scalar)         \
  FORTRAN(letter##gemm_, Scalar, std::int32_t)                       \
  FORTRAN(letter##gemm_64_, Scalar, std::int64_t)                    \
  FORTRAN(scipy_##letter##gemm_, Scalar, std::int32_t)               \
  FORTRAN(scipy_##letter##gemm_64_, Scalar, std::int64_t)            \
  CBLAS(cblas_##letter##gemm, Scalar, std::int32_t)                  \
  CBLAS(cblas_##letter##gemm64_, Scalar, std::int64_t)               \
  CBLAS(cblas_##letter##gemm_64, Scalar, std::int64_t)               \
  CBLAS(scipy_cblas_##letter##gemm, Scalar, std::int32_t)            \
  CBLAS(scipy_cblas_##letter##gemm64_, Scalar, std::int64_t)

#define GODWIT_GEMM_NAMES(FORTRAN, CBLAS)                      \
  GODWIT_GEMM_NAMES_OF(FORTRAN, CBLAS, s, Single)              \
  GODWIT_GEMM_NAMES_OF(FORTRAN, CBLAS, d, Double)              \
  GODWIT_GEMM_NAMES_OF(FORTRAN, CBLAS, c, ComplexSingle)       \
  GODWIT_GEMM_NAMES_OF(FORTRAN, CBLAS, z, ComplexDouble)
