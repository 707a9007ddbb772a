// SPDX-License-Identifier: MIT
// What becomes of memory, objects and jobs while the system sleeps.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "tests/kernel/jobs.h"
#include "tests/kernel/objects.h"
#include "tests/kernel/system_sleep.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class Sleep : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (system_.status() == -ENOENT) GTEST_SKIP() << "a kernel without PM_DEBUG does not test its sleep";
    ASSERT_EQ(system_.status(), 0);
  }
  bool migrates() const { return gpu_.info().kind != GODWIT_KIND_EXPLICIT; }
  int sleep(unsigned seconds = 0) const { return system_.once(seconds); }

  const SystemSleep system_;
};

TEST_F(Sleep, PagesComeHomeBeforehandAndMayGoAgainAfterwards) {
  if (!migrates()) GTEST_SKIP() << "pages do not migrate to this device";
  Memory small(2 * kMiB), huge(2 * kHuge, Memory::kHugePages);
  fill(small.data(), small.size(), 1);
  fill(huge.data(), huge.size(), 2);
  ASSERT_EQ(gpu_.to_vram(small.data(), small.size()).moved, small.size() / kPage);
  ASSERT_EQ(gpu_.to_vram(huge.data(), huge.size()).moved, huge.size() / kPage);
  ASSERT_EQ(sleep(), 0);
  EXPECT_EQ(gpu_.in_vram(small.data(), small.size()), 0u);
  EXPECT_EQ(gpu_.in_vram(huge.data(), huge.size()), 0u);
  EXPECT_EQ(gpu_.info().vram_free, gpu_.info().vram_total);
  EXPECT_BYTES(small.data(), small.size(), 1u);
  EXPECT_BYTES(huge.data(), huge.size(), 2u);
  EXPECT_EQ(gpu_.to_vram(small.data(), small.size()).moved, small.size() / kPage);
  EXPECT_EQ(gpu_.to_vram(huge.data(), huge.size()).moved, huge.size() / kPage);
  EXPECT_BYTES(small.data(), small.size(), 1u);
}

// Whose image would have nothing of what is in VRAM.
TEST_F(Sleep, HibernationBringsPagesAndObjectsHomeToo) {
  if (!migrates()) GTEST_SKIP() << "pages do not migrate to this device";
  Memory memory(2 * kMiB);
  Object object(gpu_, kMiB, GODWIT_PLACE_VRAM);
  fill(memory.data(), memory.size(), 10);
  fill(object.data(), object.size(), 11);
  ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  const int status = system_.hibernate();
  if (status == -EINVAL || status == -ENOSYS) GTEST_SKIP() << "no hibernation in this kernel";
  ASSERT_EQ(status, 0);
  EXPECT_EQ(gpu_.info().vram_free, gpu_.info().vram_total);
  EXPECT_EQ(object.info().place, GODWIT_PLACE_SYSTEM);
  EXPECT_BYTES(memory.data(), memory.size(), 10u);
  EXPECT_BYTES(object.data(), object.size(), 11u);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
}

TEST_F(Sleep, WhatAdviceHoldsComesHomeTooAndIsHeldAgain) {
  if (!migrates()) GTEST_SKIP() << "pages do not migrate to this device";
  Memory memory(2 * kMiB);
  fill(memory.data(), memory.size(), 3);
  ASSERT_EQ(gpu_.advise(memory.data(), memory.size(), GODWIT_ADVICE_PINNED, 1), 0);
  ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_EQ(sleep(), 0);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
  EXPECT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).stayed[GODWIT_STAY_ADVICE], memory.size() / kPage);
}

TEST_F(Sleep, ObjectsComeHomeAndPinnedOnesGoBack) {
  Object plain(gpu_, kMiB, GODWIT_PLACE_VRAM), pinned(gpu_, kMiB, GODWIT_PLACE_VRAM, GODWIT_GEM_PINNED);
  fill(plain.data(), plain.size(), 4);
  fill(pinned.data(), pinned.size(), 5);
  const uint64_t home = gpu_.stat(GODWIT_STAT_PAGES_HOME);
  ASSERT_EQ(sleep(), 0);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_PAGES_HOME) - home, 2 * kMiB / kPage);
  EXPECT_EQ(plain.info().place, GODWIT_PLACE_SYSTEM);
  EXPECT_EQ(pinned.info().place, GODWIT_PLACE_VRAM);
  EXPECT_BYTES(plain.data(), plain.size(), 4u);
  EXPECT_BYTES(pinned.data(), pinned.size(), 5u);
}

TEST_F(Sleep, IsRefusedWhileAPinHoldsWhatWouldBeLost) {
  if (!migrates()) GTEST_SKIP() << "pages do not migrate to this device";
  Memory held(kMiB), free(kMiB);
  fill(held.data(), held.size(), 6);
  fill(free.data(), free.size(), 7);
  uint32_t pin = 0;
  ASSERT_EQ(gpu_.pin(held.data(), held.size(), GODWIT_PLACE_VRAM, &pin), 0);
  EXPECT_EQ(sleep(), -EBUSY);
  EXPECT_EQ(gpu_.in_vram(held.data(), held.size()), held.size() / kPage);
  EXPECT_EQ(gpu_.to_vram(free.data(), free.size()).moved, free.size() / kPage) << "it is awake, and VRAM is closed";
  ASSERT_EQ(gpu_.unpin(pin), 0);
  EXPECT_EQ(sleep(), 0);
  EXPECT_EQ(gpu_.info().vram_free, gpu_.info().vram_total);
  EXPECT_BYTES(held.data(), held.size(), 6u);
  EXPECT_BYTES(free.data(), free.size(), 7u);
}

TEST_F(Sleep, IsRefusedWhileIoHoldsAPage) {
  if (gpu_.info().kind != GODWIT_KIND_COHERENT) GTEST_SKIP() << "no I/O goes to memory of processes in this VRAM";
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 8);
  ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const iovec piece = {memory.page(7), kPage};
  ASSERT_EQ(vmsplice(ends[1], &piece, 1, 0), static_cast<ssize_t>(kPage));
  EXPECT_EQ(sleep(), -EBUSY);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 1u);
  std::array<uint8_t, kPage> page;
  ASSERT_EQ(read(ends[0], page.data(), kPage), static_cast<ssize_t>(kPage));
  EXPECT_EQ(sleep(), 0);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 8u);
  close(ends[0]);
  close(ends[1]);
}

// From when pages come home until processes stand still.
TEST_F(Sleep, NobodyGetsVramWhileTheSystemFallsAsleep) {
  if (!migrates()) GTEST_SKIP() << "pages do not migrate to this device";
  Memory memory(16 * kPage);
  fill(memory.data(), memory.size(), 9);
  std::atomic<bool> stop{false};
  std::atomic<unsigned> refused{0};
  std::thread mover([&] {
    while (!stop) {
      drm_godwit_migrate args = {};
      args.addr = address(memory.data());
      args.length = memory.size();
      args.to = GODWIT_PLACE_VRAM;
      const int status = gpu_.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
      refused += status == 0 && args.stayed[GODWIT_STAY_NO_VRAM] == memory.size() / kPage;
    }
  });
  for (int times = 0; times < 100 && refused == 0; ++times) EXPECT_EQ(sleep(), 0);
  stop = true;
  mover.join();
  EXPECT_GT(refused, 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 9u);
}

// CPU, queue and view, each of which goes on between two sleeps.
TEST_F(Sleep, CountersAddUp) {
  if (!migrates()) GTEST_SKIP() << "pages do not migrate to this device";
  constexpr size_t kPages = 16;
  Memory memory(kPages * kPage);
  auto counter = [](uint8_t* data, size_t page) -> std::atomic<uint64_t>& {
    return *reinterpret_cast<std::atomic<uint64_t>*>(data + page * kPage);
  };
  View view(gpu_, memory);
  std::atomic<bool> stop{false};
  std::array<std::atomic<uint64_t>, 3> done = {};
  std::thread cpu([&] {
    for (; !stop; ++done[0]) ++counter(memory.data(), done[0] % kPages);
  });
  std::thread viewer([&] {
    for (; !stop; ++done[1]) ++counter(view.data(), done[1] % kPages);
  });
  std::thread queue([&] {
    while (!stop) {
      const Done sent = submit(gpu_, {op::add(&counter(memory.data(), done[2] % kPages), 8, 1)}, 60000);
      ASSERT_EQ(sent.error, 0);
      Done added;
      do added = wait(gpu_, sent.job, 1, 60000);
      while (added.error == -EINTR);  // it was about to wait when the system was about to sleep
      ASSERT_EQ(added.error, 0);
      ASSERT_TRUE(added.status == 0 || added.status == -EBUSY) << added.status;
      done[2] += added.results[0].done / 8;  // bytes
    }
  });
  for (int round = 0; round < 5; ++round) {
    const std::array<uint64_t, 3> before = {done[0], done[1], done[2]};
    EXPECT_TRUE(soon([&] { return done[0] > before[0] && done[1] > before[1] && done[2] > before[2]; }));
    EXPECT_EQ(sleep(), 0);
  }
  stop = true;
  cpu.join();
  viewer.join();
  queue.join();
  uint64_t sum = 0;
  for (size_t page = 0; page < kPages; ++page) sum += counter(memory.data(), page);
  EXPECT_EQ(sum, done[0] + done[1] + done[2]);
}

TEST_F(Sleep, AJobStandsStillMeanwhile) {
  if (!migrates()) GTEST_SKIP() << "this device has no queue for the memory of processes";
  const Done spin = submit(gpu_, {op::spin()}, 60000);
  ASSERT_EQ(spin.error, 0);
  EXPECT_EQ(sleep(), 0);
  EXPECT_EQ(wait(gpu_, spin.job, 1, 0).error, -ETIME) << "it has ended";
}

// Two seconds of sleep are not among the five that it may run.
TEST_F(Sleep, DoesNotCountAsRunningTimeOfAJob) {
  if (!migrates()) GTEST_SKIP() << "this device has no queue for the memory of processes";
  const auto start = std::chrono::steady_clock::now();
  const Done spin = submit(gpu_, {op::spin()}, 5000);
  ASSERT_EQ(spin.error, 0);
  ASSERT_EQ(sleep(2), 0);
  EXPECT_EQ(wait(gpu_, spin.job, 1).status, -ETIMEDOUT);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(6900));
}

}  // namespace
}  // namespace godwit::guest
