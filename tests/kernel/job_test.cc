// SPDX-License-Identifier: MIT
// How jobs end: by their time, with their client, with their process; and how their results are fetched.
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

using Jobs = DeviceTest;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST_F(Jobs, JobThatNeverEndsIsTimedOutAndTheNextOneRuns) {
  Memory memory(kPage);
  const auto start = std::chrono::steady_clock::now();
  const Done first = submit(gpu_, {op::nop(), op::spin(), op::add(memory.data(), 8, 1)}, 3000);
  const Done second = submit(gpu_, {op::add(memory.data(), 8, 7)});
  ASSERT_EQ(first.error, 0);
  ASSERT_EQ(second.error, 0);
  EXPECT_EQ(wait(gpu_, first.job, 0, 0).error, -ETIME) << "submission waited for the job";
  Done done = wait(gpu_, first.job, 3);
  EXPECT_EQ(done.error, 0);
  EXPECT_EQ(done.status, -ETIMEDOUT);
  EXPECT_EQ(done.results[0].status, 0);
  EXPECT_EQ(done.results[1].status, -ETIMEDOUT);
  EXPECT_EQ(done.results[2].status, -ECANCELED);
  EXPECT_GE(seconds_since(start), 2.99);
  done = wait(gpu_, second.job, 1);
  EXPECT_TRUE(done.ok());
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(memory.data()), 7u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_JOBS), 2u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_JOBS_FAILED), 1u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_JOB_TIMEOUTS), 1u);
}

TEST_F(Jobs, ResultsAreFetchedOnceAndOnlyByTheirProcess) {
  const Done done = submit(gpu_, {op::nop()});
  ASSERT_EQ(done.error, 0);
  EXPECT_TRUE(exited_well(in_child([&] { EXPECT_EQ(wait(gpu_, done.job, 1).error, -ENOENT); })));
  EXPECT_EQ(wait(gpu_, done.job + 1, 1).error, -ENOENT);
  // A result that cannot be stored is not lost.
  drm_godwit_wait args = {};
  args.job = done.job;
  args.results = 8;
  args.result_count = 1;
  args.result_stride = sizeof(drm_godwit_result);
  args.timeout_ms = 10000;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_WAIT, &args), -EFAULT);
  EXPECT_TRUE(wait(gpu_, done.job, 1).ok());
  EXPECT_EQ(wait(gpu_, done.job, 1).error, -ENOENT);
}

TEST_F(Jobs, JobsAreBoundedAndFetchingMakesRoom) {
  drm_godwit_limits limits = {};
  drm_godwit_query query = {};
  query.what = GODWIT_QUERY_LIMITS;
  query.size = sizeof(limits);
  query.data = address(&limits);
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_QUERY, &query), 0);
  std::vector<uint64_t> jobs;
  for (uint32_t i = 0; i < limits.max_jobs; ++i) {
    const Done done = submit(gpu_, {op::nop()});
    ASSERT_EQ(done.error, 0) << i;
    jobs.push_back(done.job);
  }
  EXPECT_EQ(submit(gpu_, {op::nop()}).error, -EAGAIN);
  EXPECT_TRUE(wait(gpu_, jobs[100], 1).ok());
  EXPECT_EQ(submit(gpu_, {op::nop()}).error, 0);
  EXPECT_EQ(submit(gpu_, {op::nop()}).error, -EAGAIN);
}

TEST_F(Jobs, ReadsAndWritesAreTakenAtSubmissionAndGivenAtTheEnd) {
  Memory memory(8 * kPage);
  std::vector<uint8_t> bytes(3 * kPage, 0x77), back(3 * kPage, 0);
  const Done done = submit(gpu_, {op::write(memory.data() + 5, bytes.data(), bytes.size()),
                                  op::read(memory.data() + 5, back.data(), back.size())});
  ASSERT_EQ(done.error, 0);
  std::fill(bytes.begin(), bytes.end(), uint8_t{0x11});
  ASSERT_TRUE(wait(gpu_, done.job, 2).ok());
  EXPECT_EQ(back, std::vector<uint8_t>(3 * kPage, 0x77));
  EXPECT_EQ(memory.data()[4], 0);
  EXPECT_EQ(memory.data()[5], 0x77);
}

TEST_F(Jobs, ClosingTheDescriptorEndsItsJobs) {
  Memory memory(size_t{4} << 20);
  fill(memory.data(), memory.size(), 11);
  Device other;
  ASSERT_EQ(submit(other, {op::spin()}, 60000).error, 0);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(submit(other, {op::add(memory.data(), memory.size(), 1)}).error, 0);
  }
  const auto start = std::chrono::steady_clock::now();
  other.close();
  EXPECT_LT(seconds_since(start), 30);
  EXPECT_BYTES(memory.data(), memory.size(), 11u);
}

TEST_F(Jobs, DetachEndsTheJobsOfTheAddressSpace) {
  Memory memory(kPage);
  const Done spin = submit(gpu_, {op::spin()}, 60000);
  ASSERT_EQ(spin.error, 0);
  drm_godwit_attach attach = {};
  attach.client_version = GODWIT_UAPI_VERSION;
  attach.flags = GODWIT_ATTACH_DETACH;
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_ATTACH, &attach), 0);
  EXPECT_EQ(wait(gpu_, spin.job, 1).status, -ECANCELED);
  EXPECT_TRUE(execute(gpu_, {op::add(memory.data(), 8, 1)}).ok()) << "attached again";
}

TEST_F(Jobs, KilledClientWithARunningJobLeavesNothing) {
  for (const bool spin : {true, false}) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
      Device mine;
      Memory memory(size_t{8} << 20);
      fill(memory.data(), memory.size(), 12);
      for (int i = 0; i < 50; ++i) {
        if (spin) submit(mine, {op::spin()}, 60000);
        submit(mine, {op::add(memory.data(), memory.size(), 1)}, 60000);
      }
      if (::write(ready[1], "x", 1) != 1) _exit(1);
      for (;;) pause();
    }
    char c = 0;
    ASSERT_EQ(::read(ready[0], &c, 1), 1);
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    close(ready[0]);
    close(ready[1]);
    EXPECT_EQ(wait_for_free(gpu_, gpu_.info().vram_total), gpu_.info().vram_total);
    EXPECT_TRUE(execute(gpu_, {op::nop()}).ok());
  }
}

// The descriptor lives on in the child, the address space of the job does not.
TEST_F(Jobs, EndOfTheProcessEndsItsJobsThoughTheDescriptorIsOpen) {
  EXPECT_TRUE(exited_well(in_child([&] {
    const Done spin = submit(gpu_, {op::spin()}, 60000);
    EXPECT_EQ(spin.error, 0);
  })));
  // One queue: what comes next would wait for the whole minute.
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(execute(gpu_, {op::nop()}).ok());
  EXPECT_LT(seconds_since(start), 30);
}

TEST_F(Jobs, SignalInterruptsAWaitAndTheJobGoesOn) {
  struct sigaction action = {}, old = {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, &old);
  const Done spin = submit(gpu_, {op::spin()}, 3000);
  ASSERT_EQ(spin.error, 0);
  itimerval timer = {{0, 50000}, {0, 50000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  EXPECT_EQ(wait(gpu_, spin.job, 1).error, -EINTR);
  timer = {};
  setitimer(ITIMER_REAL, &timer, nullptr);
  sigaction(SIGALRM, &old, nullptr);
  EXPECT_EQ(wait(gpu_, spin.job, 1).status, -ETIMEDOUT);
}

TEST_F(Jobs, EventsTellOfFaultsAndOfTheEndOfJobs) {
  drm_godwit_events events = {};
  events.capacity = 1024;
  events.types = 1ull << GODWIT_EVENT_FAULT | 1ull << GODWIT_EVENT_JOB;
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EVENTS, &events), 0);
  void* at = mmap(nullptr, events.map_length, PROT_READ | PROT_WRITE, MAP_SHARED, gpu_.fd(),
                  static_cast<off_t>(events.map_offset));
  ASSERT_NE(at, MAP_FAILED);
  auto* ring = static_cast<drm_godwit_ring*>(at);
  const auto* records = reinterpret_cast<drm_godwit_event*>(static_cast<char*>(at) + ring->records_offset);
  Memory memory(kPage);
  fill(memory.data(), memory.size(), 13);
  const Done done = execute(gpu_, {op::add(memory.data(), 8, 1), op::read(nullptr, memory.data(), 8)});
  EXPECT_EQ(done.status, -EFAULT);
  ASSERT_EQ(ring->head, 3u);
  EXPECT_EQ(records[0].type, GODWIT_EVENT_FAULT);
  EXPECT_EQ(records[0].cause, GODWIT_CAUSE_DEVICE_FAULT);
  EXPECT_EQ(records[0].addr, address(memory.data()));
  EXPECT_EQ(records[0].detail, 1u);
  EXPECT_EQ(records[1].addr, 0u);
  EXPECT_EQ(records[1].detail, 0u);
  EXPECT_EQ(records[2].type, GODWIT_EVENT_JOB);
  EXPECT_EQ(records[2].detail, done.job);
  EXPECT_EQ(records[2].length, static_cast<uint64_t>(EFAULT));
  munmap(at, events.map_length);
}

}  // namespace
}  // namespace godwit::guest
