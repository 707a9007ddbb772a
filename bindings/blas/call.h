// SPDX-License-Identifier: MIT
// One call of a GEMM function, whatever its name: offloaded, or passed on to the next BLAS.
#pragma once

#include <cstdint>
#include <ctime>

#include "bindings/blas/next_blas.h"
#include "godwit.h"

namespace godwit::blas {

/// In column-major terms. `bad_argument`: the number that the reference BLAS gives to the first
/// argument that is not valid, as the caller counts; 0 when all are.
struct Call {
  godwit_gemm gemm{};
  int bad_argument = 0;
  bool cblas = false;
};

/// True when C holds the result. Otherwise the next BLAS has to do it, or, where there is none,
/// the process has been ended or the caller's error handler told.
[[nodiscard]] bool offload(const Call& call, const char* name, bool has_next) noexcept;

/// Measures the call of the next BLAS that happens in its lifetime.
class PassedOn {
 public:
  explicit PassedOn(const Call& call) noexcept;
  ~PassedOn();
  PassedOn(const PassedOn&) = delete;
  PassedOn& operator=(const PassedOn&) = delete;

 private:
  const Call& call_;
  double flops_ = 0;  // 0: not measured
  timespec start_{};
};

/// forward(address) calls the next BLAS with the caller's own arguments.
template <typename Forward>
void dispatch(NextSymbol& next, const Call& call, const Forward& forward) {
  void* const address = next.address();
  if (offload(call, next.name(), address != nullptr) || address == nullptr) return;
  const PassedOn measured(call);
  forward(address);
}

}  // namespace godwit::blas
