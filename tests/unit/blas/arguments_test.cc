// SPDX-License-Identifier: MIT
#include "bindings/blas/arguments.h"

#include <gtest/gtest.h>

#include "bindings/blas/cpu_rate.h"

namespace godwit::blas {
namespace {

int fortran(char transa, char transb, int m, int n, int k, int lda, int ldb, int ldc) {
  return fortran_call<int>(transa, transb, m, n, k, nullptr, lda, nullptr, ldb, nullptr, ldc)
      .bad_argument;
}

int rows(int order, int transa, int transb, int m, int n, int k, int lda, int ldb, int ldc) {
  return cblas_call<int>(order, transa, transb, m, n, k, nullptr, lda, nullptr, ldb, nullptr, ldc)
      .bad_argument;
}

TEST(Arguments, FortranNumbersAreThoseOfTheReferenceBlas) {
  EXPECT_EQ(fortran('N', 'c', 2, 3, 4, 2, 4, 2), 0);
  EXPECT_EQ(fortran('/', '/', -1, 3, 4, 2, 4, 2), 1);
  EXPECT_EQ(fortran('N', 'R', -1, 3, 4, 2, 4, 2), 2);
  EXPECT_EQ(fortran('n', 't', -1, -1, 4, 2, 4, 2), 3);
  EXPECT_EQ(fortran('N', 'N', 2, -3, -4, 2, 4, 2), 4);
  EXPECT_EQ(fortran('N', 'N', 2, 3, -4, 1, 4, 2), 5);
  EXPECT_EQ(fortran('N', 'N', 2, 3, 4, 1, 3, 1), 8);
  EXPECT_EQ(fortran('T', 'N', 2, 3, 4, 3, 4, 2), 8);
  EXPECT_EQ(fortran('N', 'N', 2, 3, 4, 2, 3, 1), 10);
  EXPECT_EQ(fortran('N', 'T', 2, 3, 4, 2, 2, 1), 10);
  EXPECT_EQ(fortran('N', 'N', 2, 3, 4, 2, 4, 1), 13);
  EXPECT_EQ(fortran('N', 'N', 0, 0, 0, 0, 1, 1), 8) << "a leading dimension is at least one";
}

TEST(Arguments, CblasNumbersCountTheCallersArguments) {
  EXPECT_EQ(rows(102, 111, 113, 2, 3, 4, 2, 3, 2), 0);
  EXPECT_EQ(rows(101, 111, 111, 2, 3, 4, 4, 3, 3), 0);
  EXPECT_EQ(rows(100, 111, 111, 2, 3, 4, 4, 3, 3), 1);
  EXPECT_EQ(rows(101, 114, 111, 2, 3, 4, 4, 3, 3), 2);
  EXPECT_EQ(rows(102, 111, 0, 2, 3, 4, 4, 3, 3), 3);
  EXPECT_EQ(rows(102, 111, 111, -2, 3, 4, 4, 4, 3), 4);
  EXPECT_EQ(rows(101, 111, 111, -2, 3, 4, 4, 3, 3), 4);
  EXPECT_EQ(rows(101, 111, 111, 2, -3, 4, 4, 3, 3), 5);
  EXPECT_EQ(rows(101, 111, 111, 2, 3, -4, 4, 3, 3), 6);
  EXPECT_EQ(rows(101, 111, 111, 2, 3, 4, 3, 3, 3), 9);
  EXPECT_EQ(rows(101, 111, 111, 2, 3, 4, 4, 2, 3), 11);
  EXPECT_EQ(rows(101, 111, 111, 2, 3, 4, 4, 3, 2), 14);
  EXPECT_EQ(rows(102, 111, 111, 2, 3, 4, 1, 4, 2), 9);
}

TEST(Arguments, RowMajorSwapsOperands) {
  const int a = 0;
  const int b = 0;
  int c = 0;
  const Call call = cblas_call<std::int64_t>(101, 112, 111, 2, 3, 4, &a, 5, &b, 6, &c, 7);
  EXPECT_EQ(call.bad_argument, 0);
  EXPECT_EQ(call.gemm.m, 3);
  EXPECT_EQ(call.gemm.n, 2);
  EXPECT_EQ(call.gemm.k, 4);
  EXPECT_EQ(call.gemm.a, &b);
  EXPECT_EQ(call.gemm.lda, 6);
  EXPECT_EQ(call.gemm.b, &a);
  EXPECT_EQ(call.gemm.ldb, 5);
  EXPECT_EQ(call.gemm.transa, GODWIT_NO_TRANS);
  EXPECT_EQ(call.gemm.transb, GODWIT_TRANS);
}

TEST(CpuRate, RisesAtOnceAndFallsSlowly) {
  CpuRate rate;
  rate.learn(1e9, 1e-1);
  EXPECT_DOUBLE_EQ(rate.flops(), 1e10);
  rate.learn(1e9, 1e-2);
  EXPECT_DOUBLE_EQ(rate.flops(), 1e11);
  rate.learn(1e9, 1);
  EXPECT_GT(rate.flops(), 0.9e11);
  EXPECT_LT(rate.flops(), 1e11);
  rate.learn(10, 1e-12);
  EXPECT_LT(rate.flops(), 1e11) << "small calls teach nothing";
}

}  // namespace
}  // namespace godwit::blas
