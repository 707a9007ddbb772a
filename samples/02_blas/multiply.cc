// SPDX-License-Identifier: MIT
// Multiplies matrices through the BLAS that it is linked with, from Fortran's and C's interface,
// and prints a checksum. Nothing here knows of Godwit: see README.md.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" {
void dgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k,
            const double* alpha, const double* a, const int* lda, const double* b, const int* ldb,
            const double* beta, double* c, const int* ldc);
void cblas_dgemm(int order, int transa, int transb, int m, int n, int k, double alpha,
                 const double* a, int lda, const double* b, int ldb, double beta, double* c,
                 int ldc);
}

namespace {

constexpr int kColumnMajor = 102;
constexpr int kNoTrans = 111;
constexpr int kTrans = 112;

/// Small integers: every sum below is exact, in any order.
std::vector<double> integers(std::size_t count, unsigned seed) {
  std::vector<double> values(count);
  for (double& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<double>(seed >> 28) - 8;
  }
  return values;
}

}  // namespace

int main(int count, char** arguments) {
  const int n = count > 1 ? std::atoi(arguments[1]) : 1000;
  const auto elements = static_cast<std::size_t>(n) * static_cast<std::size_t>(n);
  const std::vector<double> a = integers(elements, 1);
  const std::vector<double> b = integers(elements, 2);
  std::vector<double> c(elements);
  std::vector<double> d(elements);
  const double one = 1;
  const double zero = 0;

  const auto start = std::chrono::steady_clock::now();
  dgemm_("N", "N", &n, &n, &n, &one, a.data(), &n, b.data(), &n, &zero, c.data(), &n);
  for (int round = 0; round < 4; ++round) {
    // D := A^T B + D / 2
    cblas_dgemm(kColumnMajor, kTrans, kNoTrans, n, n, n, 1.0, a.data(), n, b.data(), n, 0.5,
                d.data(), n);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;

  double sum = 0;
  for (std::size_t index = 0; index < elements; ++index) {
    sum += c[index] * static_cast<double>(index % 7) + d[index] * static_cast<double>(index % 5);
  }
  std::printf("n %d checksum %.3f\n", n, sum);
  std::fprintf(stderr, "%.3f s, %.1f GFLOP/s\n", seconds.count(),
               5 * 2e-9 * static_cast<double>(n) * n * n / seconds.count());
  return 0;
}
