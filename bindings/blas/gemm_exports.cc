// SPDX-License-Identifier: MIT
// The exported functions, generated from the table of names.
#include <cstddef>
#include <type_traits>

#include "bindings/blas/arguments.h"
#include "bindings/blas/call.h"
#include "bindings/blas/gemm_names.h"
#include "bindings/blas/next_blas.h"

namespace godwit::blas {
namespace {

template <typename RealType, bool kComplex, godwit_scalar kScalarType>
struct ScalarOf {
  using Real = RealType;
  /// How CBLAS passes alpha and beta.
  using ByValue = std::conditional_t<kComplex, const void*, RealType>;
  static constexpr godwit_scalar kType = kScalarType;

  static void read(const void* value, double (&out)[2]) {
    const auto* parts = static_cast<const Real*>(value);
    out[0] = static_cast<double>(parts[0]);
    out[1] = kComplex ? static_cast<double>(parts[kComplex ? 1 : 0]) : 0.0;
  }
  static const void* address(const ByValue& value) {
    if constexpr (kComplex) {
      return value;
    } else {
      return &value;
    }
  }
};
using Single = ScalarOf<float, false, GODWIT_FLOAT>;
using Double = ScalarOf<double, false, GODWIT_DOUBLE>;
using ComplexSingle = ScalarOf<float, true, GODWIT_COMPLEX_FLOAT>;
using ComplexDouble = ScalarOf<double, true, GODWIT_COMPLEX_DOUBLE>;

/// The two lengths at the end are those of the strings, which Fortran passes unseen.
template <typename Int>
using FortranFunction = void(const char*, const char*, const Int*, const Int*, const Int*,
                             const void*, const void*, const Int*, const void*, const Int*,
                             const void*, void*, const Int*, std::size_t, std::size_t);

template <typename Scalar, typename Int>
using CblasFunction = void(int, int, int, Int, Int, Int, typename Scalar::ByValue, const void*,
                           Int, const void*, Int, typename Scalar::ByValue, void*, Int);

template <typename Scalar>
void fill(Call& call, const void* alpha, const void* beta) {
  call.gemm.type = Scalar::kType;
  if (call.bad_argument != 0) return;
  Scalar::read(alpha, call.gemm.alpha);
  Scalar::read(beta, call.gemm.beta);
}

template <typename Scalar, typename Int>
void fortran(NextSymbol& next, const char* transa, const char* transb, const Int* m, const Int* n,
             const Int* k, const void* alpha, const void* a, const Int* lda, const void* b,
             const Int* ldb, const void* beta, void* c, const Int* ldc) {
  Call call = fortran_call<Int>(*transa, *transb, *m, *n, *k, a, *lda, b, *ldb, c, *ldc);
  fill<Scalar>(call, alpha, beta);
  dispatch(next, call, [&](void* address) {
    reinterpret_cast<FortranFunction<Int>*>(address)(transa, transb, m, n, k, alpha, a, lda, b,
                                                     ldb, beta, c, ldc, 1, 1);
  });
}

template <typename Scalar, typename Int>
void cblas(NextSymbol& next, int order, int transa, int transb, Int m, Int n, Int k,
           typename Scalar::ByValue alpha, const void* a, Int lda, const void* b, Int ldb,
           typename Scalar::ByValue beta, void* c, Int ldc) {
  Call call = cblas_call<Int>(order, transa, transb, m, n, k, a, lda, b, ldb, c, ldc);
  fill<Scalar>(call, Scalar::address(alpha), Scalar::address(beta));
  dispatch(next, call, [&](void* address) {
    reinterpret_cast<CblasFunction<Scalar, Int>*>(address)(order, transa, transb, m, n, k, alpha,
                                                           a, lda, b, ldb, beta, c, ldc);
  });
}

}  // namespace
}  // namespace godwit::blas

#define GODWIT_BLAS_API extern "C" __attribute__((visibility("default")))

// Callers in C pass no string lengths, so none are read here.
#define GODWIT_FORTRAN_GEMM(name, Scalar, Int)                                                   \
  GODWIT_BLAS_API void name(const char* transa, const char* transb, const Int* m, const Int* n,  \
                            const Int* k, const void* alpha, const void* a, const Int* lda,      \
                            const void* b, const Int* ldb, const void* beta, void* c,            \
                            const Int* ldc) {                                                    \
    static constinit godwit::blas::NextSymbol next(#name);                                       \
    godwit::blas::fortran<godwit::blas::Scalar, Int>(next, transa, transb, m, n, k, alpha, a,    \
                                                     lda, b, ldb, beta, c, ldc);                 \
  }

#define GODWIT_CBLAS_GEMM(name, Scalar, Int)                                                     \
  GODWIT_BLAS_API void name(int order, int transa, int transb, Int m, Int n, Int k,              \
                            godwit::blas::Scalar::ByValue alpha, const void* a, Int lda,         \
                            const void* b, Int ldb, godwit::blas::Scalar::ByValue beta, void* c, \
                            Int ldc) {                                                           \
    static constinit godwit::blas::NextSymbol next(#name);                                       \
    godwit::blas::cblas<godwit::blas::Scalar, Int>(next, order, transa, transb, m, n, k, alpha,  \
                                                   a, lda, b, ldb, beta, c, ldc);                \
  }

GODWIT_GEMM_NAMES(GODWIT_FORTRAN_GEMM, GODWIT_CBLAS_GEMM)
