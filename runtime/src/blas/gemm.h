// SPDX-License-Identifier: MIT
// Matrix products on the device for callers that know only pointers: decides, moves what must
// move, computes, and says why. docs/blas.md states the rules.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "godwit/result.h"
#include "runtime/src/blas/device_rates.h"
#include "runtime/src/blas/matrix.h"
#include "runtime/src/blas/staging.h"
#include "runtime/src/engine/engine.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit {

enum class Offload : std::uint8_t { kAuto, kAlways, kNever };

/// C := alpha * op(A) * op(B) + beta * C, column-major, arguments as in BLAS xGEMM. Mirrors
/// struct godwit_gemm.
struct GemmRequest {
  ScalarType type = ScalarType::kFloat;
  Transpose transa = Transpose::kNone;
  Transpose transb = Transpose::kNone;
  std::int64_t m = 0, n = 0, k = 0;
  double alpha[2] = {1, 0};
  double beta[2] = {0, 0};
  const void* a = nullptr;
  std::int64_t lda = 0;
  const void* b = nullptr;
  std::int64_t ldb = 0;
  void* c = nullptr;
  std::int64_t ldc = 0;
  Offload offload = Offload::kAuto;
  double cpu_flops = 0;  // flop/s of whoever would do it otherwise; 0: not known
};

struct GemmOutcome {
  std::optional<Code> code;  // none: C holds the result. Otherwise C is as it was; see docs/blas.md
  bool offloaded = false;
  std::string why;           // a sentence, in every case
  [[nodiscard]] bool ok() const { return !code.has_value(); }
};

/// The matrices of a request, checked.
struct GemmOperands {
  Matrix a, b, c;  // as stored; a and b are empty where they are not read
  bool a_managed = false, b_managed = false, c_managed = false;
};

/// Thread-safe. The engine and the telemetry must outlive it.
class GemmRunner {
 public:
  GemmRunner(Engine& engine, Telemetry& telemetry) : engine_(engine), telemetry_(telemetry) {}
  [[nodiscard]] GemmOutcome run(const GemmRequest& request);

 private:
  [[nodiscard]] Result<GemmOperands> operands(const GemmRequest& request) const;
  [[nodiscard]] GemmTraffic traffic(const GemmOperands& operands, bool reads_c) const;
  [[nodiscard]] GemmDecision decide(const GemmRequest& request, const GemmOperands& operands,
                                    Device& device);
  [[nodiscard]] GemmOutcome compute(Device& device, const GemmRequest& request,
                                    const GemmOperands& operands, const std::string& why);

  Engine& engine_;
  Telemetry& telemetry_;
  BufferPool pool_;
  DeviceRates rates_;
};

}  // namespace godwit
