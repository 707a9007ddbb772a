// SPDX-License-Identifier: MIT
// GEMM of the CPU's BLAS libraries, opened by name.
#pragma once

#include <cstddef>
#include <string>

namespace godwit::bench {

class CpuBlas {
 public:
  enum class Kind { kOpenBlas, kReference };
  explicit CpuBlas(Kind kind);

  [[nodiscard]] bool usable() const { return dgemm_ != nullptr && sgemm_ != nullptr; }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  /// C := A * B, column-major, n x n; sizeof(Real) picks the precision.
  void multiply(std::size_t n, const double* a, const double* b, double* c) const;
  void multiply(std::size_t n, const float* a, const float* b, float* c) const;

 private:
  void* dgemm_ = nullptr;
  void* sgemm_ = nullptr;
  std::string reason_;
};

}  // namespace godwit::bench
