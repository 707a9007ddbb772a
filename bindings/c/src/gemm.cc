// SPDX-License-Identifier: MIT
// Matrix products of the C interface.
#include <cstdio>
#include <string>

#include "bindings/c/src/errors.h"
#include "bindings/c/src/handle.h"
#include "godwit.h"
#include "runtime/src/base/inside.h"
#include "runtime/src/blas/gemm.h"

extern "C" {

int godwit_gemm_run(godwit_context* context, const godwit_gemm* gemm, char* why,
                    size_t why_bytes) {
  const godwit::InsideScope inside;
  // The operands are held on this thread: a handler that touched one would wait for itself.
  const godwit::SignalScope signals;
  return godwit::c::guarded([&] {
    if (gemm->size != sizeof(godwit_gemm)) {
      return godwit::c::report(godwit::Code::kInvalidArgument,
                               "gemm: size is " + std::to_string(gemm->size) +
                                   ", this library's is " + std::to_string(sizeof(godwit_gemm)));
    }
    godwit::GemmRequest request;
    request.type = static_cast<godwit::ScalarType>(gemm->type);
    request.transa = static_cast<godwit::Transpose>(gemm->transa);
    request.transb = static_cast<godwit::Transpose>(gemm->transb);
    request.m = gemm->m;
    request.n = gemm->n;
    request.k = gemm->k;
    for (int part = 0; part < 2; ++part) {
      request.alpha[part] = gemm->alpha[part];
      request.beta[part] = gemm->beta[part];
    }
    request.a = gemm->a;
    request.lda = gemm->lda;
    request.b = gemm->b;
    request.ldb = gemm->ldb;
    request.c = gemm->c;
    request.ldc = gemm->ldc;
    request.offload = static_cast<godwit::Offload>(gemm->offload);
    request.cpu_flops = gemm->cpu_flops;
    const godwit::GemmOutcome outcome = context->context->gemm().run(request);
    if (why != nullptr && why_bytes != 0) {
      (void)std::snprintf(why, why_bytes, "%s", outcome.why.c_str());
    }
    return outcome.ok() ? int{GODWIT_OK} : godwit::c::report(*outcome.code, outcome.why);
  });
}

void godwit_gemm_passed_on(godwit_context* context) {
  ++context->context->telemetry().statistics().gemm_passed_on;
}

}  // extern "C"
