// SPDX-License-Identifier: MIT
// Queues and views of devices that go away, and of two devices on one range.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/kernel/jobs.h"
#include "tests/kernel/settings.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Unplug, EndsJobsAndTellsWhoeverWaits) {
  SoftDevice soft("private:16M");
  Device gpu(soft.index());
  Memory memory(kPage);
  const Done spin = submit(gpu, {op::spin()}, 60000);
  const Done behind = submit(gpu, {op::add(memory.data(), 8, 1)});
  ASSERT_EQ(spin.error, 0);
  ASSERT_EQ(behind.error, 0);
  Done first, second;
  std::atomic<int> started{0};
  std::thread one([&] { ++started; first = wait(gpu, spin.job, 1, 60000); });
  std::thread two([&] { ++started; second = wait(gpu, behind.job, 1, 60000); });
  while (started < 2) std::this_thread::yield();
  const auto start = std::chrono::steady_clock::now();
  soft.remove();
  one.join();
  two.join();
  EXPECT_LT(seconds_since(start), 30);
  // A call that began only after the device was gone is told so itself.
  EXPECT_EQ(first.error != 0 ? first.error : first.status, -ENODEV);
  EXPECT_EQ(second.error != 0 ? second.error : second.status, -ENODEV);
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(memory.data()), 0u);
  EXPECT_EQ(submit(gpu, {op::nop()}).error, -ENODEV);
  EXPECT_EQ(make_view(gpu, memory.data(), memory.size()), -ENODEV);
}

TEST(Unplug, ViewsLoseTheirPagesAndTheMemoryKeepsItsBytes) {
  SoftDevice soft("private:16M");
  Device gpu(soft.index());
  Memory memory(2 * kHuge);
  fill(memory.data(), memory.size(), 1);
  View view(gpu, memory);
  fill(view.data(), view.size(), 2);
  EXPECT_EQ(gpu.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  soft.remove();
  EXPECT_EQ(signal_of([&] { *static_cast<volatile uint8_t*>(view.page(1)) = 1; }), SIGBUS);
  EXPECT_EQ(signal_of([&] { (void)*static_cast<volatile uint8_t*>(view.page(2)); }), SIGBUS);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
  gpu.close();
  EXPECT_EQ(signal_of([&] { (void)*static_cast<volatile uint8_t*>(view.page(3)); }), SIGBUS);
}

// An export keeps the mirror of a descriptor that was closed. That is told of changes for as long as the export lives, and finds
// nothing that a device without a driver had to be told.
TEST(Unplug, NoTranslationIsLeftInWhatOnlyAnExportHolds) {
  SoftDevice soft("private:16M");
  Device gpu(soft.index());
  const std::string device = "godwit_invalidate: device=" + std::to_string(gpu.info().device_id) + " ";
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 3);
  ASSERT_TRUE(execute(gpu, {op::add(memory.data(), memory.size(), 1, GODWIT_COMMAND_IN_PLACE)}).ok());
  drm_godwit_export exported = {};
  exported.addr = address(memory.data());
  exported.length = memory.size();
  ASSERT_EQ(gpu.call(DRM_IOCTL_GODWIT_EXPORT, &exported), 0);
  gpu.close();
  soft.remove();
  {
    const Settings traced({{"/sys/kernel/tracing/events/godwit/godwit_invalidate/enable", "1"}});
    ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
  }
  const std::string trace = read_file("/sys/kernel/tracing/trace");
  const size_t at = trace.find(device);
  ASSERT_NE(at, std::string::npos) << trace;
  const std::string line = trace.substr(at, trace.find('\n', at) - at);
  EXPECT_EQ(line.substr(line.rfind(' ') + 1), "pages=0") << line;
  close(exported.fd);
}

// What the view and the queue stored before they were told of the end is there. Both have stored
// to every page, and go on, when the device goes.
TEST(Unplug, UnderViewAndQueueLosesNoIncrement) {
  for (int round = 0; round < 4; ++round) {
    SoftDevice soft("private:16M");
    Device gpu(soft.index());
    constexpr size_t kPages = 16;
    Memory memory(kPages * kPage);
    auto counter = [](uint8_t* data, size_t page, size_t side) -> std::atomic<uint64_t>& {
      return reinterpret_cast<std::atomic<uint64_t>*>(data + page * kPage)[side];
    };
    uint64_t by_view[kPages] = {}, by_queue[kPages] = {}, by_cpu[kPages] = {};
    std::atomic<bool> stop{false};
    std::atomic<bool> queue_around{false}, view_around{false};
    std::thread cpu([&] {
      for (size_t i = 0; !stop; i = (i + 1) % kPages) {
        ++counter(memory.data(), i, 0);
        ++by_cpu[i];
      }
    });
    std::thread queue([&] {
      for (size_t i = 0;; i = (i + 1) % kPages) {
        const Done done = execute(gpu, {op::add(&counter(memory.data(), i, 0), 8, 1)});
        if (!done.ok() || done.results[0].done == 0) break;
        ++by_queue[i];
        if (i == kPages - 1) queue_around = true;
      }
    });
    std::thread seen([&] {
      View view(gpu, memory);
      EXPECT_EQ(signal_of([&] {
        for (size_t i = 0;; i = (i + 1) % kPages) {
          ++counter(view.data(), i, 0);
          ++by_view[i];
          if (i == kPages - 1) view_around = true;
        }
      }), SIGBUS);
    });
    EXPECT_TRUE(soon([&] { return queue_around && view_around; }));
    soft.remove();
    queue.join();
    seen.join();
    stop = true;
    cpu.join();
    uint64_t unknown = 0;
    for (size_t i = 0; i < kPages; ++i) {
      const uint64_t sum = by_view[i] + by_queue[i] + by_cpu[i];
      const uint64_t there = counter(memory.data(), i, 0);
      EXPECT_GE(there, sum) << i;
      unknown += there - sum;
    }
    // A job may have been done although its results could no longer be fetched.
    EXPECT_LE(unknown, 1u);
  }
}

TEST(Unplug, TwoDevicesOnOneRangeLoseNoIncrement) {
  SoftDevice first("private:16M"), second("private:16M");
  Device a(first.index()), b(second.index());
  Memory memory(32 * kPage);
  const unsigned turns = rounds(150);
  auto side = [&](Device* gpu) {
    for (unsigned round = 0; round < turns; ++round) {
      const Done done = execute(*gpu, {op::add(memory.data(), memory.size(), 1)}, 60000);
      ASSERT_TRUE(done.ok()) << done.error << " " << done.status;
    }
  };
  std::thread one(side, &a), two(side, &b);
  one.join();
  two.join();
  const auto* words = reinterpret_cast<uint64_t*>(memory.data());
  for (size_t i = 0; i < memory.size() / 8; ++i) ASSERT_EQ(words[i], 2u * turns) << i;
  EXPECT_GT(a.stat(GODWIT_STAT_PEER_FETCHES) + b.stat(GODWIT_STAT_PEER_FETCHES), 0u);
  printf("peer fetches %llu, ping-pong %llu\n",
         static_cast<unsigned long long>(a.stat(GODWIT_STAT_PEER_FETCHES)) +
             b.stat(GODWIT_STAT_PEER_FETCHES),
         static_cast<unsigned long long>(a.stat(GODWIT_STAT_PING_PONG)) +
             b.stat(GODWIT_STAT_PING_PONG));
}

// A page in the VRAM of the other device, used in place: it goes to RAM, which both can reach.
TEST(Unplug, InPlaceOnAPageOfAnotherDevice) {
  SoftDevice first("private:16M"), second("private:16M");
  Device a(first.index()), b(second.index());
  Memory memory(16 * kPage);
  fill(memory.data(), memory.size(), 3);
  a.to_vram(memory.data(), memory.size());
  const Done done = execute(b, {op::checksum(memory.data(), memory.size(), GODWIT_COMMAND_IN_PLACE)});
  ASSERT_TRUE(done.ok()) << done.status;
  EXPECT_EQ(b.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_EQ(done.results[0].value, fnv(memory.data(), memory.size()));
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

// The kernel keeps pages of locked memory that were unmapped in lists of the processor that did it, for as long as nobody drains
// them there.
TEST(Unplug, WaitsForNoListOfAnotherProcessor) {
  const Settings settings({{"/sys/kernel/mm/transparent_hugepage/enabled", "never"}});
  SoftDevice soft("private:16M");
  const Processor processor;
  Device gpu(soft.index());
  processor.run_on(0);
  {
    const Memory memory(16 * kPage);
    fill(memory.data(), memory.size(), 2);
    ASSERT_EQ(mlock(memory.data(), memory.size()), 0);
    ASSERT_EQ(gpu.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  }
  processor.run_on(1);
  // Has the test's time limit as its own.
  soft.remove();
}

// What is in the right place already stays there when the rest comes from elsewhere.
TEST(TwoDevices, AFetchTakesNothingOfItsOwnHome) {
  SoftDevice near("private:16M"), far("private:16M");
  Device here(near.index()), there(far.index());
  const Memory memory(kHuge), other(kPage);
  // Who has anything pinned does not copy from one VRAM to the other.
  ASSERT_EQ(here.pin(other.data(), kPage, GODWIT_PLACE_VRAM), 0);
  fill(memory.data(), memory.size(), 3);
  there.to_vram(memory.data(), kPage);
  here.to_vram(memory.page(1), memory.size() - kPage);
  const drm_godwit_migrate all = here.to_vram(memory.data(), memory.size());
  EXPECT_EQ(all.moved, 1u);
  EXPECT_EQ(all.already, memory.size() / kPage - 1);
  EXPECT_EQ(here.stat(GODWIT_STAT_PEER_FETCHES), 1u);
  EXPECT_EQ(here.stat(GODWIT_STAT_PAGES_HOME), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

}  // namespace
}  // namespace godwit::guest
