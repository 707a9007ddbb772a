// SPDX-License-Identifier: MIT
// CPU threads, the device's queue and views increment the same counters while pages migrate, are evicted and shared with
// children. Each side counts what it did, and in the end nothing may be missing.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/kernel/jobs.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

using Counter = std::atomic<uint64_t>;
static_assert(sizeof(Counter) == 8 && Counter::is_always_lock_free);

constexpr size_t kPages = 24;
constexpr size_t kStride = 1024;  // bytes from one counter to the next

class Counters {
 public:
  explicit Counters(uint8_t* data, size_t bytes) : data_(data), count_(bytes / kStride) {}
  Counter& at(size_t i) const { return *reinterpret_cast<Counter*>(data_ + i * kStride); }
  size_t count() const { return count_; }
  // Increments all of them while `more(passes so far)`, and answers how often.
  template <typename More>
  uint64_t increment(More more) const {
    uint64_t passes = 0;
    for (; more(passes); ++passes) {
      for (size_t i = 0; i < count_; ++i) at((i * 7 + passes) % count_).fetch_add(1, std::memory_order_relaxed);
    }
    return passes;
  }

 private:
  uint8_t* data_;
  size_t count_;
};

struct Sides {
  const char* name;
  Memory::Kind kind;
  unsigned cpu, views, jobs;  // how many of each side
};

class CountersTest : public DeviceTest, public ::testing::WithParamInterface<Sides> {};

INSTANTIATE_TEST_SUITE_P(
    Mixed, CountersTest,
    ::testing::Values(Sides{"CpuAndQueue", Memory::kAnonymous, 2, 0, 1},
                      Sides{"CpuAndViews", Memory::kAnonymous, 2, 2, 0},
                      Sides{"AllOfThem", Memory::kAnonymous, 2, 2, 2},
                      Sides{"AllOnHugePages", Memory::kHugePages, 2, 2, 2},
                      Sides{"AllOnSharedMemory", Memory::kShared, 2, 2, 2}),
    [](const auto& each) { return std::string(each.param.name); });

void fork_and_exit() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
}

TEST_P(CountersTest, NoIncrementIsLost) {
  const Sides& setup = GetParam();
  Memory memory(kHuge, setup.kind);
  const size_t bytes = kPages * kPage;
  const Counters counters(memory.data(), bytes);
  std::atomic<bool> stop{false};
  std::atomic<unsigned> busy{0};
  std::atomic<uint64_t> disturbances{0}, passes{0}, device_passes{0};
  std::vector<std::thread> sides, others;

  // Every side has so many passes, and goes on until there was so much disturbance.
  const uint64_t least = rounds(20), trouble = rounds(2000);
  auto more = [&](uint64_t done) { return done < least || disturbances < trouble; };
  for (unsigned i = 0; i < setup.cpu; ++i) sides.emplace_back([&] { passes += counters.increment(more); });
  for (unsigned i = 0; i < setup.views; ++i) {
    sides.emplace_back([&, i] {
      View view(gpu_, memory, i % 2 ? GODWIT_VIEW_IN_PLACE : 0);
      passes += Counters(view.data(), bytes).increment(more);
    });
  }
  for (unsigned i = 0; i < setup.jobs; ++i) {
    sides.emplace_back([&, i] {
      Device own;  // a queue of its own, so two of them run at once
      const uint32_t flags = i % 2 ? GODWIT_COMMAND_IN_PLACE : 0;
      for (uint64_t done_passes = 0; more(done_passes); ++done_passes) {
        Commands commands;
        // Whole pages, one access each: what the device does while a page is taken from it takes its time.
        for (size_t page = 0; page < kPages; ++page) commands.push_back(op::add(memory.page(page), kPage, 1, flags));
        const int times = execute_all(own, commands);
        if (times < 0) return;
        busy += static_cast<unsigned>(times);
        ++passes;
        ++device_passes;
      }
    });
  }
  auto disturb = [&](auto body) {
    others.emplace_back([&, body] {
      // A huge page can be taken away for long faster than the device gets on with it: whoever is late may end in peace.
      while (!stop && disturbances < 8 * trouble) {
        body();
        ++disturbances;
        // The processors are for the sides, not only for these.
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
  };
  // Answers EBUSY where the range changes without pause for a second.
  auto move = [&](uint32_t to, void* at, size_t length, uint32_t flags) {
    drm_godwit_migrate args = {};
    args.addr = address(at);
    args.length = length;
    args.to = to;
    args.flags = flags;
    const int error = gpu_.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
    busy += error == -EBUSY;
    EXPECT_TRUE(error == 0 || error == -EBUSY) << error;
  };
  // A huge page moves as a whole; of small ones no more than have counters, or most would be under way all the time.
  const size_t extent = setup.kind == Memory::kHugePages ? memory.size() : bytes;
  disturb([&] {
    move(GODWIT_PLACE_VRAM, memory.data(), extent, 0);
    move(GODWIT_PLACE_SYSTEM, memory.data(), extent / 2, 0);
  });
  disturb([&] { gpu_.evict(GODWIT_EVICT_DEVICE); });
  disturb([&] { move(GODWIT_PLACE_VRAM, memory.page(3), 7 * kPage, GODWIT_MIGRATE_SMALL); });
  disturb(fork_and_exit);
  for (std::thread& side : sides) side.join();
  stop = true;
  for (std::thread& other : others) other.join();

  const uint64_t expected = passes;
  uint64_t lost = 0;
  for (size_t i = 0; i < counters.count(); ++i) {
    EXPECT_EQ(counters.at(i).load(), expected) << "counter " << i;
    lost += expected - counters.at(i).load();
  }
  EXPECT_EQ(lost, 0u);
  // The words between them only the device has changed.
  const auto* words = reinterpret_cast<const uint64_t*>(memory.data());
  for (size_t i = 0; i < bytes / 8; ++i) {
    if (i * 8 % kStride == 0) continue;
    ASSERT_EQ(words[i], device_passes.load()) << "word " << i;
  }
  printf(
      "%s: %llu increments, %llu disturbances, %u busy, %llu device faults, %llu CPU faults, %llu "
      "invalidations\n",
      setup.name, static_cast<unsigned long long>(expected) * counters.count(),
      static_cast<unsigned long long>(disturbances.load()), busy.load(),
      static_cast<unsigned long long>(gpu_.stat(GODWIT_STAT_DEVICE_FAULTS, true)),
      static_cast<unsigned long long>(gpu_.stat(GODWIT_STAT_CPU_FAULTS, true)),
      static_cast<unsigned long long>(gpu_.stat(GODWIT_STAT_INVALIDATIONS, true)));
}

// A view in another process is one more side.
TEST_F(DeviceTest, ViewInAnotherProcessLosesNoIncrement) {
  Memory memory(kPages * kPage);
  const Counters counters(memory.data(), memory.size());
  const int fd = make_view(gpu_, memory.data(), memory.size());
  ASSERT_GE(fd, 0);
  constexpr unsigned kRounds = 300;
  const pid_t child = fork();
  if (child == 0) {
    View view(fd, memory.size());
    Counters(view.data(), view.size()).increment([](uint64_t done) { return done < kRounds; });
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  counters.increment([](uint64_t done) { return done < kRounds; });
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_TRUE(exited_well(status)) << status;
  for (size_t i = 0; i < counters.count(); ++i) EXPECT_EQ(counters.at(i).load(), 2u * kRounds) << i;
  close(fd);
}

}  // namespace
}  // namespace godwit::guest
