// SPDX-License-Identifier: MIT
#include "bindings/blas/call.h"

#include <atomic>
#include <cfenv>
#include <cinttypes>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "bindings/blas/context.h"
#include "bindings/blas/cpu_rate.h"
#include "bindings/blas/settings.h"
#include "runtime/src/base/cancel.h"

extern "C" {
// The program's, or those of a BLAS. Only called where no BLAS has the function itself.
void xerbla_(const char* routine, const int* argument, std::size_t length) __attribute__((weak));
void cblas_xerbla(int argument, const char* routine, const char* form, ...) __attribute__((weak));
}

namespace godwit::blas {
namespace {

constinit CpuRate single_rate;
constinit CpuRate double_rate;

CpuRate& rate_of(godwit_scalar type) noexcept {
  return type == GODWIT_DOUBLE || type == GODWIT_COMPLEX_DOUBLE ? double_rate : single_rate;
}

double flops_of(const godwit_gemm& gemm) noexcept {
  const bool complex = gemm.type == GODWIT_COMPLEX_FLOAT || gemm.type == GODWIT_COMPLEX_DOUBLE;
  return (complex ? 8.0 : 2.0) * static_cast<double>(gemm.m) * static_cast<double>(gemm.n) *
         static_cast<double>(gemm.k);
}

void explain(const Call& call, const char* name, const char* outcome, const char* why) noexcept {
  static constexpr char kLetters[] = "NTC";
  const godwit_gemm& gemm = call.gemm;
  say("%s %c%c m=%" PRId64 " n=%" PRId64 " k=%" PRId64 " %s: %s", name, kLetters[gemm.transa],
      kLetters[gemm.transb], gemm.m, gemm.n, gemm.k, outcome, why);
}

/// What the reference BLAS does with an invalid call, where there is no BLAS to do it.
void report_bad_argument(const Call& call, const char* name) noexcept {
  static constexpr char kRoutines[][7] = {"SGEMM ", "DGEMM ", "CGEMM ", "ZGEMM "};
  if (call.cblas && &cblas_xerbla != nullptr) {
    cblas_xerbla(call.bad_argument, name, "");
  } else if (!call.cblas && &xerbla_ != nullptr) {
    xerbla_(kRoutines[call.gemm.type], &call.bad_argument, 6);
  } else {
    say("%s: argument %d has an illegal value", name, call.bad_argument);
  }
}

/// The caller's floating-point flags and rounding, put back at the end: what happens on the way to
/// a device says nothing about the caller's numbers.
class FloatingPointScope {
 public:
  FloatingPointScope() noexcept { std::feholdexcept(&saved_); }
  ~FloatingPointScope() { std::fesetenv(&saved_); }
  FloatingPointScope(const FloatingPointScope&) = delete;
  FloatingPointScope& operator=(const FloatingPointScope&) = delete;

 private:
  std::fenv_t saved_{};
};

/// Offloads, or says why not.
bool try_offload(const Call& call, const char* name, bool has_next, const char** why,
                 char* buffer, std::size_t buffer_bytes) noexcept {
  if (godwit_inside() != 0) {
    *why = "called from inside Godwit";
    return false;
  }
  const Settings& wanted = settings();
  if (wanted.offload == GODWIT_OFFLOAD_NEVER && has_next) {
    if (godwit_context* existing = context(false, why)) godwit_gemm_passed_on(existing);
    *why = "GODWIT_OFFLOAD is never";
    return false;
  }
  godwit_context* const into = context(true, why);
  if (into == nullptr) return false;
  godwit_gemm gemm = call.gemm;
  gemm.offload = has_next ? wanted.offload : GODWIT_OFFLOAD_ALWAYS;
  gemm.cpu_flops = rate_of(gemm.type).flops();
  const int code = godwit_gemm_run(into, &gemm, buffer, buffer_bytes);
  *why = buffer;
  if (code == GODWIT_OK) {
    if (wanted.explain) {
      const bool nothing = std::strcmp(buffer, "nothing to do") == 0;
      explain(call, name, nothing ? "done" : "offloaded", buffer);
    }
    return true;
  }
  if (code != GODWIT_UNSUPPORTED) {
    static constinit std::atomic<bool> said{false};
    if (!wanted.explain && !said.exchange(true)) {
      say("%s was passed on, GODWIT_EXPLAIN=1 shows others: %s", name, buffer);
    }
  }
  godwit_gemm_passed_on(into);
  return false;
}

}  // namespace

bool offload(const Call& call, const char* name, bool has_next) noexcept {
  if (call.bad_argument != 0) {
    // The next BLAS has its own way to complain, and the program may have replaced it.
    if (!has_next) report_bad_argument(call, name);
    return false;
  }
  // As in the reference BLAS, and before anything is made for it.
  if (call.gemm.m == 0 || call.gemm.n == 0) return true;
  const FloatingPointScope scope;
  const CancelScope uncancelled;
  char buffer[512] = "";
  const char* why = "";
  if (try_offload(call, name, has_next, &why, buffer, sizeof buffer)) return true;
  if (!has_next) {
    explain(call, name, "cannot be done, and no other BLAS is loaded", why);
    std::abort();
  }
  if (settings().explain) explain(call, name, "passed on", why);
  return false;
}

PassedOn::PassedOn(const Call& call) noexcept : call_(call) {
  if (call.bad_argument != 0 || settings().offload == GODWIT_OFFLOAD_NEVER) return;
  flops_ = flops_of(call.gemm);
  if (flops_ < CpuRate::kLeastFlops) flops_ = 0;
  if (flops_ > 0) ::clock_gettime(CLOCK_MONOTONIC, &start_);
}

PassedOn::~PassedOn() {
  if (flops_ <= 0) return;
  timespec end{};
  ::clock_gettime(CLOCK_MONOTONIC, &end);
  rate_of(call_.gemm.type)
      .learn(flops_, static_cast<double>(end.tv_sec - start_.tv_sec) +
                         1e-9 * static_cast<double>(end.tv_nsec - start_.tv_nsec));
}

}  // namespace godwit::blas
