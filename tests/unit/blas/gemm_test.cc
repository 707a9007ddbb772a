// SPDX-License-Identifier: MIT
#include "runtime/src/blas/gemm.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <memory>
#include <thread>

#include "godwit/units.h"
#include "tests/unit/blas/copy_engine.h"
#include "tests/unit/blas/gemm_check.h"

namespace godwit {
namespace {

using test::CopyEngine;
using test::View;

class GemmTest : public ::testing::Test {
 protected:
  void start(std::uint64_t vram_bytes = 64U << 20) {
    engine_ = std::make_unique<CopyEngine>(vram_bytes, std::size_t{64} << 20);
    telemetry_ = std::move(*Telemetry::create("", 16));
    runner_ = std::make_unique<GemmRunner>(*engine_, *telemetry_);
    next_ = engine_->arena() + 24;
    outside_.clear();
  }

  /// Memory for a matrix, managed or not; never at the start of a page.
  template <typename T>
  View<T> matrix(bool managed, std::int64_t rows, std::int64_t columns, std::int64_t ld) {
    const auto bytes = static_cast<std::size_t>((columns - 1) * ld + rows) * sizeof(T);
    std::byte* at = next_;
    if (managed) {
      next_ += align_up(bytes + 40, 8);
    } else {
      outside_.emplace_back(bytes + 64);
      at = outside_.back().data() + 8;
    }
    View<T> view{reinterpret_cast<T*>(at), rows, columns, ld};
    view.fill(random_);
    return view;
  }

  template <typename T>
  GemmRequest request(Transpose transa, Transpose transb, std::int64_t k, const View<T>& a,
                      const View<T>& b, const View<T>& c) {
    GemmRequest request;
    request.type = test::TypeOf<T>::kType;
    request.transa = transa;
    request.transb = transb;
    request.m = c.rows;
    request.n = c.columns;
    request.k = k;
    request.alpha[0] = 0.7;
    request.alpha[1] = -0.3;
    request.beta[0] = 1.3;
    request.beta[1] = 0.2;
    request.a = a.data;
    request.lda = a.ld;
    request.b = b.data;
    request.ldb = b.ld;
    request.c = c.data;
    request.ldc = c.ld;
    request.offload = Offload::kAlways;
    return request;
  }

  /// `managed`: bit 0 for A, 1 for B, 2 for C.
  template <typename T>
  void check(int managed, Transpose transa, Transpose transb, std::int64_t m, std::int64_t n,
             std::int64_t k, std::int64_t gap, double beta) {
    const bool plain_a = transa == Transpose::kNone;
    const bool plain_b = transb == Transpose::kNone;
    const auto make = [&](int bit, std::int64_t rows, std::int64_t columns) {
      return matrix<T>((managed >> bit & 1) != 0, rows, columns, rows + gap);
    };
    const View<T> a = plain_a ? make(0, m, k) : make(0, k, m);
    const View<T> b = plain_b ? make(1, k, n) : make(1, n, k);
    const View<T> c = make(2, m, n);
    GemmRequest wanted = request(transa, transb, k, a, b, c);
    wanted.beta[0] = beta;
    if (beta == 0) wanted.beta[1] = 0;
    const std::vector<T> result = test::expected(wanted, a, b, c);
    const GemmOutcome outcome = runner_->run(wanted);
    ASSERT_TRUE(outcome.ok()) << outcome.why;
    EXPECT_TRUE(outcome.offloaded);
    EXPECT_LT(test::worst(c, result, k), 8) << "managed " << managed << " m " << m << " n " << n
                                            << " k " << k << " gap " << gap << ": "
                                            << outcome.why;
    EXPECT_EQ(engine_->frames_in_use(), 0U);
  }

  template <typename T>
  void check_all(std::int64_t m, std::int64_t n, std::int64_t k) {
    const Transpose all[] = {Transpose::kNone, Transpose::kTrans, Transpose::kConjTrans};
    int round = 0;
    for (const Transpose transa : all) {
      for (const Transpose transb : all) {
        for (int managed = 0; managed < 8; ++managed) {
          next_ = engine_->arena() + 24;
          outside_.clear();
          ++round;
          check<T>(managed, transa, transb, m, n, k, round % 2 == 0 ? 0 : 5,
                   round % 3 == 0 ? 0 : 1.5);
          if (HasFatalFailure()) return;
        }
      }
    }
  }

  std::unique_ptr<CopyEngine> engine_;
  std::unique_ptr<Telemetry> telemetry_;
  std::unique_ptr<GemmRunner> runner_;
  std::byte* next_ = nullptr;
  std::vector<std::vector<std::byte>> outside_;
  std::mt19937 random_{42};
};

TEST_F(GemmTest, AllTypesTransposesAndPlacesOfOperandsAgreeWithTheDefinition) {
  start();
  check_all<float>(17, 9, 33);
  check_all<double>(70, 41, 20);
  check_all<std::complex<float>>(12, 31, 7);
  check_all<std::complex<double>>(33, 8, 65);
}

TEST_F(GemmTest, ProductLargerThanVramIsCutAndRight) {
  start(6 * kChunkBytes);
  check_all<double>(150, 130, 170);
  EXPECT_GT(telemetry_->statistics().staged_bytes.load(), 0U);
}

TEST_F(GemmTest, ColumnsOfManyPagesKeepTheirGaps) {
  start();
  for (int managed = 0; managed < 8; ++managed) {
    next_ = engine_->arena() + 24;
    check<double>(managed, Transpose::kNone, Transpose::kTrans, 700, 30, 11, 9000, 0.5);
  }
}

TEST_F(GemmTest, LevelThatLendsForReadingOnlyGetsAPackedResult) {
  start();
  engine_->resident = true;
  check_all<double>(30, 20, 10);
}

TEST_F(GemmTest, VramHeldByOthersLeadsToPacking) {
  start();
  engine_->refuse_acquires = 1;
  check<double>(7, Transpose::kNone, Transpose::kNone, 40, 40, 40, 3, 1);
  EXPECT_GT(engine_->scratches, 0);
}

TEST_F(GemmTest, HugeLeadingDimensionsDoNotOverflow) {
  start();
  // Column 2 of A starts 8 GiB after column 0: beyond what 32 bits count, even in elements.
  const std::int64_t ld = std::int64_t{1} << 30;
  const std::size_t bytes = (std::size_t{2} << 30) * sizeof(float) + (1U << 20);
  void* sparse = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (sparse == MAP_FAILED) GTEST_SKIP() << "no address space for 8 GiB";
  const View<float> a{static_cast<float*>(sparse), 40, 3, ld};
  for (std::int64_t j = 0; j < 3; ++j) {
    for (std::int64_t i = 0; i < 40; ++i) a.at(i, j) = static_cast<float>(i + 100 * j);
  }
  const View<float> b = matrix<float>(true, 3, 5, 3);
  const View<float> c = matrix<float>(false, 40, 5, 40);
  const GemmRequest wanted = request(Transpose::kNone, Transpose::kNone, 3, a, b, c);
  const std::vector<float> result = test::expected(wanted, a, b, c);
  const GemmOutcome outcome = runner_->run(wanted);
  ASSERT_TRUE(outcome.ok()) << outcome.why;
  EXPECT_LT(test::worst(c, result, 300), 8);
  ::munmap(sparse, bytes);
}

TEST_F(GemmTest, NothingToDoTouchesNothing) {
  start();
  GemmRequest empty;
  empty.m = 0;
  empty.n = 5;
  empty.offload = Offload::kAlways;
  EXPECT_TRUE(runner_->run(empty).ok());
  empty.m = 5;
  empty.n = 0;
  EXPECT_TRUE(runner_->run(empty).ok());
  EXPECT_EQ(telemetry_->statistics().gemm_offloaded.load(), 0U);
}

TEST_F(GemmTest, ScalingDoesNotReadAAndB) {
  start();
  for (const bool managed : {false, true}) {
    const View<double> c = matrix<double>(managed, 50, 20, 55);
    GemmRequest wanted = request(Transpose::kTrans, Transpose::kTrans, 0, View<double>{}, {}, c);
    wanted.lda = wanted.ldb = 100;
    std::vector<double> result = test::expected(wanted, {}, {}, c);
    ASSERT_TRUE(runner_->run(wanted).ok());
    EXPECT_LT(test::worst(c, result, 0), 8);
    wanted.k = 1000;
    wanted.alpha[0] = 0;
    wanted.beta[0] = 0;
    c.at(3, 3) = std::numeric_limits<double>::quiet_NaN();
    ASSERT_TRUE(runner_->run(wanted).ok());
    EXPECT_EQ(c.at(3, 3), 0);
    EXPECT_EQ(c.at(49, 19), 0);
  }
}

TEST_F(GemmTest, WholePagesThatAreOnlyWrittenAreNotFetched) {
  start();
  next_ = engine_->arena();
  const View<double> c = matrix<double>(true, 512, 4, 512);
  next_ = engine_->arena() + (1 << 20) + 8;
  const View<double> a = matrix<double>(true, 512, 3, 512);
  const View<double> b = matrix<double>(true, 3, 4, 3);
  GemmRequest wanted = request(Transpose::kNone, Transpose::kNone, 3, a, b, c);
  wanted.beta[0] = wanted.beta[1] = 0;
  ASSERT_TRUE(runner_->run(wanted).ok());
  ASSERT_EQ(engine_->acquired.size(), 3U);
  EXPECT_EQ(engine_->acquired[2].access, Access::kWrite);
  wanted.m = 511;
  ASSERT_TRUE(runner_->run(wanted).ok());
  EXPECT_EQ(engine_->acquired[5].access, Access::kReadWrite);
  EXPECT_EQ(engine_->acquired[5].count, 4U);
  EXPECT_EQ(engine_->acquired[5].bytes, 511U * 8);
}

TEST_F(GemmTest, PartsOfOneArrayMaySharePages) {
  start();
  const View<double> whole = matrix<double>(true, 90, 90, 90);
  const View<double> a{&whole.at(30, 0), 60, 30, 90};
  const View<double> b{&whole.at(0, 30), 30, 60, 90};
  const View<double> c{&whole.at(30, 30), 60, 60, 90};
  const GemmRequest wanted = request(Transpose::kNone, Transpose::kNone, 30, a, b, c);
  const std::vector<double> result = test::expected(wanted, a, b, c);
  const GemmOutcome outcome = runner_->run(wanted);
  ASSERT_TRUE(outcome.ok()) << outcome.why;
  EXPECT_LT(test::worst(c, result, 30), 8);
}

class Declined : public GemmTest {
 protected:
  /// Runs the request, expects the code, and that C has not changed.
  void expect(const GemmRequest& wanted, const View<double>& c, Code code, const char* reason) {
    const std::vector<double> before(c.data, c.data + (c.columns - 1) * c.ld + c.rows);
    const GemmOutcome outcome = runner_->run(wanted);
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(*outcome.code, code) << outcome.why;
    EXPECT_NE(outcome.why.find(reason), std::string::npos) << outcome.why;
    EXPECT_FALSE(outcome.offloaded);
    EXPECT_TRUE(std::equal(before.begin(), before.end(), c.data));
    EXPECT_EQ(telemetry_->statistics().gemm_offloaded.load(), 0U);
    EXPECT_EQ(engine_->frames_in_use(), 0U);
  }
  GemmRequest ordinary(std::int64_t size, View<double>* c, bool managed = true) {
    const View<double> a = matrix<double>(managed, size, size, size);
    const View<double> b = matrix<double>(managed, size, size, size);
    *c = matrix<double>(managed, size, size, size);
    return request(Transpose::kNone, Transpose::kNone, size, a, b, *c);
  }
};

TEST_F(Declined, OverlappingResult) {
  start();
  View<double> c;
  GemmRequest wanted = ordinary(40, &c);
  wanted.b = c.data + 17;
  expect(wanted, c, Code::kUnsupported, "overlaps");
  wanted.b = wanted.a;
  EXPECT_TRUE(runner_->run(wanted).ok()) << "A and B may be the same";
}

TEST_F(Declined, UnalignedOperand) {
  start();
  View<double> c;
  GemmRequest wanted = ordinary(40, &c);
  wanted.a = static_cast<const std::byte*>(wanted.a) + 4;
  expect(wanted, c, Code::kUnsupported, "aligned");
}

TEST_F(Declined, SwitchedOffDetachedAndTooSmall) {
  start();
  View<double> c;
  GemmRequest wanted = ordinary(10, &c);
  wanted.offload = Offload::kNever;
  expect(wanted, c, Code::kUnsupported, "switched off");
  wanted.offload = Offload::kAuto;
  expect(wanted, c, Code::kUnsupported, "not known");
  wanted.offload = Offload::kAlways;
  engine_->is_detached = true;
  expect(wanted, c, Code::kUnsupported, "fork");
}

TEST_F(Declined, InvalidSizes) {
  start();
  View<double> c;
  GemmRequest wanted = ordinary(40, &c);
  wanted.lda = 39;
  expect(wanted, c, Code::kInvalidArgument, "39");
  wanted.lda = std::numeric_limits<std::int64_t>::max() / 8;
  expect(wanted, c, Code::kInvalidArgument, "does not fit");
  wanted.m = -1;
  expect(wanted, c, Code::kInvalidArgument, "negative");
}

TEST_F(Declined, TooLittleVramForTheSmallestTiles) {
  start(2 * kChunkBytes);
  View<double> c;
  const GemmRequest wanted = ordinary(100, &c);
  expect(wanted, c, Code::kOutOfMemory, "bytes of VRAM");
}

TEST_F(Declined, LostDeviceLeavesAPackedResultAsItWas) {
  start(6 * kChunkBytes);
  View<double> c;
  const GemmRequest wanted = ordinary(200, &c, false);
  engine_->soft().lose();
  expect(wanted, c, Code::kDeviceLost, "lost");
}

TEST_F(GemmTest, AutoLeavesToAFastCpuAndTakesFromASlowOne) {
  start();
  const View<double> a = matrix<double>(true, 400, 400, 400);
  const View<double> b = matrix<double>(true, 400, 400, 400);
  const View<double> c = matrix<double>(true, 400, 400, 400);
  GemmRequest wanted = request(Transpose::kNone, Transpose::kNone, 400, a, b, c);
  wanted.offload = Offload::kAuto;
  wanted.cpu_flops = 1e15;
  const GemmOutcome fast = runner_->run(wanted);
  EXPECT_FALSE(fast.ok());
  EXPECT_NE(fast.why.find("measured"), std::string::npos) << fast.why;
  wanted.cpu_flops = 1e6;
  const GemmOutcome slow = runner_->run(wanted);
  EXPECT_TRUE(slow.ok()) << slow.why;
  EXPECT_TRUE(slow.offloaded);
}

TEST_F(GemmTest, ThreadsMayMultiplyAtTheSameTime) {
  start(40 * kChunkBytes);
  struct Work {
    View<double> a, b, c;
    std::vector<double> result;
    GemmRequest wanted;
    bool ok = true;
  };
  std::vector<Work> work(4);
  for (std::size_t index = 0; index < work.size(); ++index) {
    Work& one = work[index];
    // Chunks are copied back whole here, so no two threads may share one.
    next_ = engine_->arena() + (index + 1) * (std::size_t{4} << 20);
    one.a = matrix<double>(true, 100, 90, 100);
    one.b = matrix<double>(index % 2 == 0, 90, 80, 90);
    one.c = matrix<double>(index < 3, 100, 80, 101);
    one.wanted = request(Transpose::kNone, Transpose::kNone, 90, one.a, one.b, one.c);
    one.wanted.beta[0] = 0;
    one.wanted.beta[1] = 0;
    one.result = test::expected(one.wanted, one.a, one.b, one.c);
  }
  std::vector<std::thread> threads;
  threads.reserve(work.size());
  for (Work& one : work) {
    threads.emplace_back([this, &one] {
      for (int round = 0; round < 20; ++round) one.ok = runner_->run(one.wanted).ok() && one.ok;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Work& one : work) {
    EXPECT_TRUE(one.ok);
    EXPECT_LT(test::worst(one.c, one.result, 90), 8);
  }
  EXPECT_EQ(telemetry_->statistics().gemm_offloaded.load(), 80U);
}

}  // namespace
}  // namespace godwit
