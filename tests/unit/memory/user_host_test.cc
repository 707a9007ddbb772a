// SPDX-License-Identifier: MIT
// Fault handlers, and what they owe the threads whose faults were put off.
#include "runtime/src/host/user/user_host.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <future>
#include <semaphore>

#include "godwit/units.h"

namespace godwit {
namespace {

constexpr std::chrono::seconds kHangPatience{30};

/// Fills pages with zeros. The first fault of `late` passes the turn, and cannot be served; that is
/// answered only when `answer` is released.
class Sink final : public FaultSink {
 public:
  FaultEnd on_fault(std::byte* address, bool write, bool /*write_protected*/,
                    Turn& turn) noexcept override {
    if (address == late && faults++ == 0) {
      turn.pass();
      asked.release();
      answer.acquire();
      return FaultEnd::kAgain;
    }
    return host->zero_in(address, kPageBytes, write) == 0 ? FaultEnd::kServed : FaultEnd::kAgain;
  }
  void on_fork(ChildMemory& /*child*/) noexcept override {}
  void on_handlers_gone() noexcept override {}

  HostMemory* host = nullptr;
  std::byte* late = nullptr;
  std::atomic<int> faults{0};
  std::binary_semaphore asked{0};
  std::binary_semaphore answer{0};
};

// The other handler sleeps meanwhile, and no fault will wake it.
TEST(UserHost, AHandlerThatPassedItsTurnWakesWhoItPutOff) {
  auto made = make_user_host({.level = HostLevelWish::kFull, .handlers = 2});
  if (!made) GTEST_SKIP() << made.error().to_string();
  Sink sink;
  void* map = ::mmap(nullptr, 3 * kBlockBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(map, MAP_FAILED);
  const auto start = reinterpret_cast<std::uintptr_t>(map);
  auto* base = reinterpret_cast<std::byte*>(align_up(start, kBlockBytes));
  HostMemory& host = **made;
  sink.host = &host;
  sink.late = base;
  ASSERT_TRUE(host.attach(base, 2 * kBlockBytes, &sink));
  ASSERT_EQ(host.arm(base, 2 * kBlockBytes), 0);
  std::future<void> store = std::async(
      std::launch::async, [&] { *reinterpret_cast<volatile std::byte*>(base) = std::byte{1}; });
  sink.asked.acquire();
  // The other handler serves this one, and keeps the turn.
  *reinterpret_cast<volatile std::byte*>(base + kBlockBytes) = std::byte{2};
  sink.answer.release();
  if (store.wait_for(kHangPatience) != std::future_status::ready) {
    ADD_FAILURE() << "nobody wakes the thread that was put off";
    EXPECT_EQ(host.wake(base, kPageBytes), 0);
  }
  store.wait();
  EXPECT_EQ(sink.faults.load(), 2);
  EXPECT_EQ(base[0], std::byte{1});
  EXPECT_EQ(base[kBlockBytes], std::byte{2});
  host.detach();
  ::munmap(map, 3 * kBlockBytes);
}

}  // namespace
}  // namespace godwit
