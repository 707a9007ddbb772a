// SPDX-License-Identifier: MIT
#include "runtime/src/blas/gemm_job.h"

#include <algorithm>
#include <array>
#include <span>

#include "godwit/units.h"
#include "runtime/src/blas/device_rates.h"

namespace godwit {
namespace {

// How often a product is cut further when VRAM turns out to be held by others.
constexpr int kAttempts = 4;

bool is_complex(ScalarType type) {
  return type == ScalarType::kComplexFloat || type == ScalarType::kComplexDouble;
}

Result<std::unique_ptr<Hold>> scratch_for(Engine& engine, std::uint64_t elements,
                                          std::size_t element) {
  return engine.scratch(std::max<std::uint64_t>(elements * element, 1));
}

bool worth_another_try(Code code) {
  return code == Code::kOutOfMemory || code == Code::kBusy || code == Code::kRetry;
}

}  // namespace

GemmJob::GemmJob(Engine& engine, Device& device, BufferPool& pool, const GemmRequest& request,
                 const GemmOperands& operands)
    : engine_(engine),
      device_(device),
      pool_(pool),
      request_(request),
      operands_(operands),
      element_(scalar_bytes(request.type)),
      shape_{static_cast<std::uint64_t>(request.m), static_cast<std::uint64_t>(request.n),
             operands.a.empty() ? 0 : static_cast<std::uint64_t>(request.k)},
      stager_(device, pool) {}

Result<> GemmJob::run() {
  Plan plan{operands_.a_managed && !operands_.a.empty(),
            operands_.b_managed && !operands_.b.empty(), operands_.c_managed,
            {shape_.m, shape_.n, shape_.k}};
  const Result<std::uint64_t> capacity = engine_.capacity();
  if (!capacity) return tl::unexpected(capacity.error());
  Result<> done = fail(Code::kOutOfMemory, "");
  if (frames_for(plan) <= *capacity) {
    done = attempt(plan);
    if (!done && done.error().code == Code::kUnsupported && plan.lend_c) {
      plan.lend_c = false;
      if (frames_for(plan) <= *capacity) done = attempt(plan);
    }
    if (done || !worth_another_try(done.error().code)) return done;
  }
  // It does not fit, or not now: everything is packed, piece by piece.
  plan.lend_a = plan.lend_b = plan.lend_c = false;
  std::uint64_t budget = *capacity / 2;
  for (int tries = 0; tries < kAttempts; ++tries, budget /= 2) {
    Result<Tiling> tiling = choose_tiling(shape_, element_, budget);
    if (!tiling) return tries == 0 ? tl::unexpected(tiling.error()) : done;
    plan.tiling = *tiling;
    done = attempt(plan);
    if (done || !worth_another_try(done.error().code)) return done;
  }
  return done;
}

std::uint64_t GemmJob::frames_for(const Plan& plan) const {
  const auto frames = [](const Matrix& matrix, bool lend) {
    return lend ? matrix.chunk_bytes() : align_up(matrix.bytes(), kChunkBytes);
  };
  return frames(operands_.a, plan.lend_a) + frames(operands_.b, plan.lend_b) +
         frames(operands_.c, plan.lend_c);
}

Result<> GemmJob::attempt(const Plan& plan) {
  Result<> done = tiles(plan);
  scratch_a_.reset();
  scratch_b_.reset();
  scratch_c_.reset();
  return done;
}

Result<> GemmJob::tiles(const Plan& plan) {
  const Tiling& tiling = plan.tiling;
  const auto allocate = [&](std::unique_ptr<Hold>& hold, bool lend, std::uint64_t rows,
                            std::uint64_t columns) -> Result<> {
    if (lend || rows == 0 || columns == 0) return {};
    Result<std::unique_ptr<Hold>> scratch = scratch_for(engine_, rows * columns, element_);
    if (!scratch) return tl::unexpected(scratch.error());
    hold = std::move(*scratch);
    return {};
  };
  if (Result<> ok = allocate(scratch_c_, plan.lend_c, tiling.rows, tiling.columns); !ok) return ok;
  if (Result<> ok = allocate(scratch_a_, plan.lend_a, tiling.rows, tiling.depth); !ok) return ok;
  if (Result<> ok = allocate(scratch_b_, plan.lend_b, tiling.depth, tiling.columns); !ok) return ok;

  how_ = tiling.whole(shape_) ? "at once"
                              : "in tiles of " + std::to_string(tiling.rows) + " x " +
                                    std::to_string(tiling.columns) + ", panels of " +
                                    std::to_string(tiling.depth);
  if (plan.lend_c) {
    return tile(plan, 0, shape_.m, 0, shape_.n, Matrix());
  }
  // The whole result first, C after that.
  Result<HostBuffer> buffer = pool_.get(operands_.c.bytes());
  if (!buffer) return tl::unexpected(buffer.error());
  Result<Matrix> result =
      Matrix::make(buffer->data(), shape_.m, shape_.n, shape_.m, element_);
  if (!result) return tl::unexpected(result.error());
  Result<> done = each_tile(shape_, tiling,
                            [&](std::uint64_t row, std::uint64_t rows, std::uint64_t column,
                                std::uint64_t columns) {
                              return tile(plan, row, rows, column, columns, *result);
                            });
  if (!done) return done;
  bring_home(operands_.c, operands_.c_managed);
  scatter(*result, operands_.c);
  return {};
}

Result<> GemmJob::tile(const Plan& plan, std::uint64_t row, std::uint64_t rows,
                       std::uint64_t column, std::uint64_t columns, const Matrix& result) {
  if (!plan.lend_c && reads_c()) {
    const Matrix old = operands_.c.part(row, column, rows, columns);
    bring_home(old, operands_.c_managed);
    if (Result<> ok = stager_.upload(old, scratch_c_->span(0), !operands_.c_managed); !ok) {
      return ok;
    }
  }
  std::uint64_t from = 0;
  do {
    const std::uint64_t depth = std::min(plan.tiling.depth, shape_.k - from);
    if (Result<> ok = step(plan, {row, rows, column, columns, from, depth}); !ok) return ok;
    from += depth;
  } while (from < shape_.k);
  if (plan.lend_c) return {};
  return stager_.download(scratch_c_->span(0), result.part(row, column, rows, columns), true);
}

Result<> GemmJob::step(const Plan& plan, const Step& step) {
  const Matrix a = part_of_a(step);
  const Matrix b = part_of_b(step);
  const Matrix c = operands_.c.part(step.row, step.column, step.rows, step.columns);
  const auto pack = [&](const Matrix& matrix, bool managed, const std::unique_ptr<Hold>& hold) {
    bring_home(matrix, managed);
    return stager_.upload(matrix, hold->span(0), !managed);
  };
  if (!a.empty() && !plan.lend_a) {
    if (Result<> ok = pack(a, operands_.a_managed, scratch_a_); !ok) return ok;
  }
  if (!b.empty() && !plan.lend_b) {
    if (Result<> ok = pack(b, operands_.b_managed, scratch_b_); !ok) return ok;
  }

  std::array<Operand, 3> lent;
  std::size_t count = 0;
  if (plan.lend_a) lent[count++] = a.operand(Access::kRead);
  if (plan.lend_b) lent[count++] = b.operand(Access::kRead);
  if (plan.lend_c) lent[count++] = c.operand(access_to_c());
  std::unique_ptr<Hold> hold;
  if (count != 0) {
    Result<std::unique_ptr<Hold>> acquired = engine_.acquire(std::span(lent.data(), count));
    if (!acquired) return tl::unexpected(acquired.error());
    hold = std::move(*acquired);
  }

  GemmCommand command;
  std::size_t next = 0;
  const auto place = [&](DeviceSpan& span, std::uint64_t& ld, const Matrix& matrix, bool lend,
                         const std::unique_ptr<Hold>& scratch) {
    ld = std::max<std::uint64_t>(lend ? matrix.ld() : matrix.rows(), 1);
    if (lend) {
      span = hold->span(next++);
    } else if (scratch != nullptr) {
      span = subspan(scratch->span(0), 0, matrix.bytes());
    }
  };
  place(command.a, command.lda, a, plan.lend_a, scratch_a_);
  place(command.b, command.ldb, b, plan.lend_b, scratch_b_);
  place(command.c, command.ldc, c, plan.lend_c, scratch_c_);
  return compute(command, step);
}

Result<> GemmJob::compute(GemmCommand& command, const Step& step) {
  command.type = request_.type;
  command.transa = request_.transa;
  command.transb = request_.transb;
  command.m = step.rows;
  command.n = step.columns;
  command.k = step.depth;
  for (int part = 0; part < 2; ++part) {
    command.alpha[part] = request_.alpha[part];
    command.beta[part] = step.from == 0 ? request_.beta[part] : (part == 0 ? 1.0 : 0.0);
  }
  if (step.depth == 0) {
    // Nothing is multiplied: the leading dimensions only have to be valid.
    command.transa = command.transb = Transpose::kNone;
    command.alpha[0] = command.alpha[1] = 0;
    command.lda = command.m;
    command.ldb = 1;
  }
  const std::uint64_t start = monotonic_ns();
  Ticket ticket = 0;
  int error = device_.submit(command, &ticket);
  if (error == 0) {
    error = wait_for_gemm(device_, ticket,
                          gemm_flops(is_complex(request_.type), step.rows, step.columns,
                                     step.depth));
  }
  device_seconds_ += static_cast<double>(monotonic_ns() - start) * 1e-9;
  if (error != 0) return fail_device(error, "the product");
  return {};
}

Matrix GemmJob::part_of_a(const Step& step) const {
  if (step.depth == 0) return {};
  return request_.transa == Transpose::kNone
             ? operands_.a.part(step.row, step.from, step.rows, step.depth)
             : operands_.a.part(step.from, step.row, step.depth, step.rows);
}

Matrix GemmJob::part_of_b(const Step& step) const {
  if (step.depth == 0) return {};
  return request_.transb == Transpose::kNone
             ? operands_.b.part(step.from, step.column, step.depth, step.columns)
             : operands_.b.part(step.column, step.from, step.columns, step.depth);
}

Access GemmJob::access_to_c() const {
  // Pages at the edges hold bytes of others, which must come along.
  const bool whole_pages = operands_.c.dense() &&
                           reinterpret_cast<std::uintptr_t>(operands_.c.base()) % kPageBytes == 0 &&
                           operands_.c.bytes() % kPageBytes == 0;
  return whole_pages && !reads_c() ? Access::kWrite : Access::kReadWrite;
}

void GemmJob::bring_home(const Matrix& matrix, bool managed) {
  // One batch instead of a fault for every few pages; where it fails, faults do it.
  if (managed && matrix.dense()) {
    (void)engine_.prefetch(matrix.base(), matrix.bytes(), Place::kHost);
  }
}

}  // namespace godwit
