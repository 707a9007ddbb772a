// SPDX-License-Identifier: MIT
// The arguments of a GEMM call, checked as the reference BLAS checks them: the first that is wrong
// counts. Values that are valid only in some BLAS (OpenBLAS knows a fourth transpose) are wrong
// here, so that the call is passed on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bindings/blas/call.h"

namespace godwit::blas {

inline constexpr int kRowMajor = 101;
inline constexpr int kColumnMajor = 102;

/// False where the value means nothing to the reference BLAS.
[[nodiscard]] constexpr bool parse_transpose(char letter, godwit_transpose* out) {
  switch (letter) {
    case 'N': case 'n': *out = GODWIT_NO_TRANS; return true;
    case 'T': case 't': *out = GODWIT_TRANS; return true;
    case 'C': case 'c': *out = GODWIT_CONJ_TRANS; return true;
    default: return false;
  }
}

[[nodiscard]] constexpr bool parse_transpose(int value, godwit_transpose* out) {
  switch (value) {
    case 111: *out = GODWIT_NO_TRANS; return true;
    case 112: *out = GODWIT_TRANS; return true;
    case 113: *out = GODWIT_CONJ_TRANS; return true;
    default: return false;
  }
}

/// The first bad one of the arguments after the transposes, as dgemm_ counts them; 0: none.
[[nodiscard]] constexpr int bad_size(const godwit_gemm& gemm) {
  const auto at_least_one = [](std::int64_t rows) { return std::max<std::int64_t>(rows, 1); };
  if (gemm.m < 0) return 3;
  if (gemm.n < 0) return 4;
  if (gemm.k < 0) return 5;
  if (gemm.lda < at_least_one(gemm.transa == GODWIT_NO_TRANS ? gemm.m : gemm.k)) return 8;
  if (gemm.ldb < at_least_one(gemm.transb == GODWIT_NO_TRANS ? gemm.k : gemm.n)) return 10;
  if (gemm.ldc < at_least_one(gemm.m)) return 13;
  return 0;
}

/// Fills sizes, operands and transposes in; alpha, beta and type are the caller's to fill.
template <typename Int>
[[nodiscard]] Call fortran_call(char transa, char transb, Int m, Int n, Int k, const void* a,
                                Int lda, const void* b, Int ldb, void* c, Int ldc) {
  Call call;
  godwit_gemm& gemm = call.gemm;
  gemm.size = sizeof gemm;
  gemm.m = m;
  gemm.n = n;
  gemm.k = k;
  gemm.a = a;
  gemm.lda = lda;
  gemm.b = b;
  gemm.ldb = ldb;
  gemm.c = c;
  gemm.ldc = ldc;
  if (!parse_transpose(transa, &gemm.transa)) {
    call.bad_argument = 1;
  } else if (!parse_transpose(transb, &gemm.transb)) {
    call.bad_argument = 2;
  } else {
    call.bad_argument = bad_size(gemm);
  }
  return call;
}

/// A row-major product is the column-major product of the transposes in the other order.
template <typename Int>
[[nodiscard]] Call cblas_call(int order, int transa, int transb, Int m, Int n, Int k,
                              const void* a, Int lda, const void* b, Int ldb, void* c, Int ldc) {
  const bool rows = order == kRowMajor;
  Call call;
  call.cblas = true;
  godwit_gemm& gemm = call.gemm;
  gemm.size = sizeof gemm;
  gemm.m = rows ? n : m;
  gemm.n = rows ? m : n;
  gemm.k = k;
  gemm.a = rows ? b : a;
  gemm.lda = rows ? ldb : lda;
  gemm.b = rows ? a : b;
  gemm.ldb = rows ? lda : ldb;
  gemm.c = c;
  gemm.ldc = ldc;
  if (order != kRowMajor && order != kColumnMajor) {
    call.bad_argument = 1;
  } else if (!parse_transpose(transa, rows ? &gemm.transb : &gemm.transa)) {
    call.bad_argument = 2;
  } else if (!parse_transpose(transb, rows ? &gemm.transa : &gemm.transb)) {
    call.bad_argument = 3;
  } else if (const int bad = bad_size(gemm); bad != 0) {
    // One argument more than in Fortran; and what stands for A there is the caller's B in rows.
    call.bad_argument = bad + 1;
    if (rows && (bad == 3 || bad == 4)) call.bad_argument = bad == 3 ? 5 : 4;
    if (rows && (bad == 8 || bad == 10)) call.bad_argument = bad == 8 ? 11 : 9;
  }
  return call;
}

}  // namespace godwit::blas
