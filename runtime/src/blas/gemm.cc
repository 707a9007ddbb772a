// SPDX-License-Identifier: MIT
#include "runtime/src/blas/gemm.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "godwit/units.h"
#include "runtime/src/blas/gemm_job.h"

namespace godwit {
namespace {

bool is_complex(ScalarType type) {
  return type == ScalarType::kComplexFloat || type == ScalarType::kComplexDouble;
}

bool is_double(ScalarType type) {
  return type == ScalarType::kDouble || type == ScalarType::kComplexDouble;
}

bool is_zero(const double (&value)[2], bool complex) {
  return value[0] == 0 && (!complex || value[1] == 0);
}

GemmOutcome declined(Code code, std::string why) { return {code, false, std::move(why)}; }

/// Real parts need their own size, as the device reads them.
bool aligned(const Matrix& matrix, std::size_t real) {
  return matrix.empty() || reinterpret_cast<std::uintptr_t>(matrix.base()) % real == 0;
}

}  // namespace

GemmOutcome GemmRunner::run(const GemmRequest& request) {
  if (request.m < 0 || request.n < 0 || request.k < 0) {
    return declined(Code::kInvalidArgument, "a dimension is negative");
  }
  const bool complex = is_complex(request.type);
  const bool nothing_added = request.k == 0 || is_zero(request.alpha, complex);
  if (request.m == 0 || request.n == 0 ||
      (nothing_added && request.beta[0] == 1 && (!complex || request.beta[1] == 0))) {
    return {std::nullopt, false, "nothing to do"};
  }
  if (request.offload == Offload::kNever) {
    return declined(Code::kUnsupported, "offloading is switched off");
  }
  if (engine_.detached()) {
    return declined(Code::kUnsupported, "this process is a child of fork and has no device");
  }
  Result<GemmOperands> operands = this->operands(request);
  if (!operands) return declined(operands.error().code, operands.error().to_string());
  const std::size_t real = is_double(request.type) ? sizeof(double) : sizeof(float);
  if (!aligned(operands->a, real) || !aligned(operands->b, real) || !aligned(operands->c, real)) {
    return declined(Code::kUnsupported, "an operand is not aligned to its real type, " +
                                            std::to_string(real) + " bytes");
  }
  if (overlap(operands->c, operands->a) || overlap(operands->c, operands->b)) {
    return declined(Code::kUnsupported, "C overlaps A or B");
  }
  const Result<Device*> device = engine_.device();
  if (!device) return declined(device.error().code, device.error().to_string());
  if (const DeviceInfo info = (*device)->info(); is_double(request.type) && !info.float64) {
    return declined(Code::kUnsupported, info.name + " cannot compute in double precision");
  }
  const GemmDecision decision = decide(request, *operands, **device);
  if (request.offload == Offload::kAuto && !decision.offload) {
    return declined(Code::kUnsupported, decision.why);
  }
  return compute(**device, request, *operands, decision.why);
}

Result<GemmOperands> GemmRunner::operands(const GemmRequest& request) const {
  const std::size_t element = scalar_bytes(request.type);
  if (element == 0) return fail(Code::kInvalidArgument, "unknown scalar type");
  const auto make = [element](const void* base, std::int64_t rows, std::int64_t columns,
                              std::int64_t ld) -> Result<Matrix> {
    if (ld < std::max<std::int64_t>(rows, 1)) {
      return fail(Code::kInvalidArgument, "leading dimension " + std::to_string(ld) +
                                              " is too small for " + std::to_string(rows) +
                                              " rows");
    }
    return Matrix::make(base, static_cast<std::uint64_t>(rows),
                        static_cast<std::uint64_t>(columns), static_cast<std::uint64_t>(ld),
                        element);
  };
  const auto managed = [this](const Matrix& matrix) {
    return !matrix.empty() && engine_.lends(matrix.base(), matrix.extent());
  };
  GemmOperands operands;
  if (request.k != 0 && !is_zero(request.alpha, is_complex(request.type))) {
    const bool plain_a = request.transa == Transpose::kNone;
    const bool plain_b = request.transb == Transpose::kNone;
    Result<Matrix> a = make(request.a, plain_a ? request.m : request.k,
                            plain_a ? request.k : request.m, request.lda);
    if (!a) return tl::unexpected(a.error());
    Result<Matrix> b = make(request.b, plain_b ? request.k : request.n,
                            plain_b ? request.n : request.k, request.ldb);
    if (!b) return tl::unexpected(b.error());
    operands.a = *a;
    operands.b = *b;
  }
  Result<Matrix> c = make(request.c, request.m, request.n, request.ldc);
  if (!c) return tl::unexpected(c.error());
  operands.c = *c;
  operands.a_managed = managed(operands.a);
  operands.b_managed = managed(operands.b);
  operands.c_managed = managed(operands.c);
  return operands;
}

GemmTraffic GemmRunner::traffic(const GemmOperands& operands, bool reads_c) const {
  struct Pages {
    std::uint64_t host = 0;    // bytes of pages whose contents are not in VRAM
    std::uint64_t device = 0;  // bytes of pages that are only there
  };
  std::vector<Residency> states;
  const auto pages_of = [&](const Matrix& matrix) {
    Pages pages;
    matrix.each_run(kPageBytes, [&](std::uintptr_t address, std::uint64_t bytes) {
      states.assign(bytes / kPageBytes, Residency::kHost);
      (void)engine_.residency(reinterpret_cast<const void*>(address), bytes, states);
      for (const Residency state : states) {
        if (state == Residency::kHost || state == Residency::kMoving) pages.host += kPageBytes;
        if (state == Residency::kDevice) pages.device += kPageBytes;
      }
    });
    return pages;
  };
  GemmTraffic traffic;
  const auto add_input = [&](const Matrix& matrix, bool managed) {
    const Pages pages = managed ? pages_of(matrix) : Pages{matrix.bytes(), 0};
    traffic.to_device += pages.host;
    traffic.home += pages.device;
  };
  add_input(operands.a, operands.a_managed);
  add_input(operands.b, operands.b_managed);
  if (!operands.c_managed) {
    traffic.to_device += reads_c ? operands.c.bytes() : 0;
    traffic.from_device += operands.c.bytes();
    return traffic;
  }
  // A C that is in VRAM was put there by work on the device, and more of that is likely. One that
  // is not is expected to be read by the CPU.
  const Pages pages = pages_of(operands.c);
  traffic.to_device += reads_c ? pages.host : 0;
  traffic.from_device += operands.c.bytes() - std::min(operands.c.bytes(), pages.device);
  traffic.home += reads_c ? pages.device : 0;
  return traffic;
}

GemmDecision GemmRunner::decide(const GemmRequest& request, const GemmOperands& operands,
                                Device& device) {
  const bool reads_c = !is_zero(request.beta, is_complex(request.type));
  const bool double_precision = is_double(request.type);
  const double flops = gemm_flops(
      is_complex(request.type), static_cast<std::uint64_t>(request.m),
      static_cast<std::uint64_t>(request.n),
      operands.a.empty() ? 0 : static_cast<std::uint64_t>(request.k));
  GemmRates rates = rates_.rates(double_precision, device.info());
  if (rates.device_flops <= 0 && request.offload == Offload::kAuto &&
      flops >= DeviceRates::kLeastFlops) {
    rates_.probe(engine_, device, double_precision);
    rates = rates_.rates(double_precision, device.info());
  }
  rates.cpu_flops = request.cpu_flops;
  return decide_gemm(flops, traffic(operands, reads_c), rates,
                     assumed_cpu_flops(double_precision, std::thread::hardware_concurrency()));
}

GemmOutcome GemmRunner::compute(Device& device, const GemmRequest& request,
                                const GemmOperands& operands, const std::string& why) {
  const std::uint64_t start = monotonic_ns();
  Statistics& statistics = telemetry_.statistics();
  GemmJob job(engine_, device, pool_, request, operands);
  const Result<> done = job.run();
  statistics.staged_bytes.fetch_add(job.staged_bytes(), std::memory_order_relaxed);
  if (!done) return declined(done.error().code, done.error().to_string() + "; " + why);
  const std::uint64_t nanoseconds = monotonic_ns() - start;
  statistics.gemm_offloaded.fetch_add(1, std::memory_order_relaxed);
  statistics.gemm_nanoseconds.fetch_add(nanoseconds, std::memory_order_relaxed);
  telemetry_.record(EventKind::kGemm, Cause::kDeviceAccess, start,
                    reinterpret_cast<std::uintptr_t>(operands.c.base()),
                    operands.a.bytes() + operands.b.bytes() + operands.c.bytes(), true,
                    static_cast<std::uint8_t>(request.type));
  if (!operands.a.empty()) {
    rates_.learn(is_double(request.type),
                 gemm_flops(is_complex(request.type), static_cast<std::uint64_t>(request.m),
                            static_cast<std::uint64_t>(request.n),
                            static_cast<std::uint64_t>(request.k)),
                 job.device_seconds());
  }
  return {std::nullopt, true,
          why + "; done " + job.how() + " in " +
              text_seconds(static_cast<double>(nanoseconds) * 1e-9)};
}

}  // namespace godwit
