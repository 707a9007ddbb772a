// SPDX-License-Identifier: MIT
// DRM syncobjs before and after jobs.
#include <fcntl.h>
#include <linux/sync_file.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>

#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

int64_t after_ms(int64_t ms) {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec + ms * 1000000;
}

class Syncobj {
 public:
  explicit Syncobj(const Device& device) : device_(device) {
    drm_syncobj_create args = {};
    EXPECT_EQ(device.call(DRM_IOCTL_SYNCOBJ_CREATE, &args), 0);
    handle_ = args.handle;
  }
  // The same one, on another device or descriptor.
  Syncobj(const Device& device, const Syncobj& other) : device_(device) {
    drm_syncobj_handle args = {};
    args.handle = other.handle_;
    EXPECT_EQ(other.device_.call(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &args), 0);
    EXPECT_EQ(device.call(DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &args), 0);
    close(args.fd);
    handle_ = args.handle;
  }
  ~Syncobj() {
    drm_syncobj_destroy args = {};
    args.handle = handle_;
    device_.call(DRM_IOCTL_SYNCOBJ_DESTROY, &args);
  }
  Syncobj(const Syncobj&) = delete;
  Syncobj& operator=(const Syncobj&) = delete;

  uint32_t handle() const { return handle_; }
  drm_godwit_sync in(uint64_t point = 0) const { return {handle_, 0, point}; }
  drm_godwit_sync out(uint64_t point = 0) const { return {handle_, GODWIT_SYNC_SIGNAL, point}; }

  int wait(int64_t ms, uint64_t point = 0, uint32_t flags = 0) const {
    drm_syncobj_timeline_wait args = {};
    uint32_t handle = handle_;
    args.handles = address(&handle);
    args.points = address(&point);
    args.timeout_nsec = after_ms(ms);
    args.count_handles = 1;
    args.flags = flags;
    return device_.call(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &args);
  }
  int signal(uint64_t point = 0) const {
    drm_syncobj_timeline_array args = {};
    uint32_t handle = handle_;
    args.handles = address(&handle);
    args.points = address(&point);
    args.count_handles = 1;
    return device_.call(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &args);
  }
  uint64_t value() const {
    drm_syncobj_timeline_array args = {};
    uint32_t handle = handle_;
    uint64_t point = ~uint64_t{0};
    args.handles = address(&handle);
    args.points = address(&point);
    args.count_handles = 1;
    EXPECT_EQ(device_.call(DRM_IOCTL_SYNCOBJ_QUERY, &args), 0);
    return point;
  }
  // Of the fence in it, as a sync_file says it: 1 signalled, negative an error.
  int status() const {
    drm_syncobj_handle args = {};
    args.handle = handle_;
    args.flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE;
    const int error = device_.call(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &args);
    if (error != 0) {
      ADD_FAILURE() << "export: " << error;
      return 0;
    }
    sync_file_info info = {};
    EXPECT_EQ(ioctl(args.fd, SYNC_IOC_FILE_INFO, &info), 0);
    close(args.fd);
    return info.status;
  }

 private:
  const Device& device_;
  uint32_t handle_ = 0;
};

constexpr uint32_t kSubmit = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT;

using Sync = DeviceTest;

TEST_F(Sync, OutHasNoFenceBeforeTheJobEnds) {
  const Syncobj out(gpu_), timeline(gpu_);
  const Done spin = submit(gpu_, {op::spin()}, 3000, {out.out(), timeline.out(9)});
  ASSERT_EQ(spin.error, 0);
  EXPECT_EQ(out.wait(0), -EINVAL) << "a fence that the kernel could wait for";
  EXPECT_EQ(out.wait(1, 0, kSubmit), -ETIME);
  EXPECT_EQ(timeline.value(), 0u);
  EXPECT_EQ(out.wait(20000, 0, kSubmit), 0);
  EXPECT_EQ(timeline.wait(20000, 9, kSubmit), 0);
  EXPECT_EQ(timeline.value(), 9u);
  // Whoever saw the fence finds the job ended.
  EXPECT_EQ(wait(gpu_, spin.job, 1, 0).status, -ETIMEDOUT);
}

TEST_F(Sync, FenceCarriesTheErrorOfTheJob) {
  const Syncobj good(gpu_), bad(gpu_);
  Memory memory(kPage);
  EXPECT_TRUE(execute(gpu_, {op::add(memory.data(), 8, 1)}, 0, {good.out()}).ok());
  EXPECT_EQ(execute(gpu_, {op::add(reinterpret_cast<void*>(8), 8, 1)}, 0, {bad.out()}).status, -EFAULT);
  EXPECT_EQ(good.status(), 1);
  EXPECT_EQ(bad.status(), -EFAULT);
  EXPECT_EQ(bad.wait(0), 0) << "failed, and signalled";
}

TEST_F(Sync, JobWaitsForWhatIsSignalledLater) {
  const Syncobj in(gpu_), timeline(gpu_);
  Memory memory(kPage);
  auto* word = reinterpret_cast<uint64_t*>(memory.data());
  const Done done = submit(gpu_, {op::add(word, 8, 1)}, 0, {in.in(), timeline.in(3)});
  ASSERT_EQ(done.error, 0);
  EXPECT_EQ(wait(gpu_, done.job, 1, 0).error, -ETIME);
  ASSERT_EQ(in.signal(), 0);
  ASSERT_EQ(timeline.signal(2), 0);
  EXPECT_EQ(wait(gpu_, done.job, 1, 100).error, -ETIME);
  EXPECT_EQ(*word, 0u);
  ASSERT_EQ(timeline.signal(3), 0);
  EXPECT_TRUE(wait(gpu_, done.job, 1).ok());
  EXPECT_EQ(*word, 1u);
}

TEST_F(Sync, QueuesOfTwoClientsTakeTurns) {
  Device other;
  const Syncobj mine(gpu_);
  const Syncobj theirs(other, mine);
  Memory memory(kPage);
  constexpr uint64_t kTurns = 50;
  std::vector<uint64_t> here, there;
  // Of each pair the one that has to wait is queued first.
  for (uint64_t turn = 0; turn < kTurns; ++turn) {
    Done done = submit(other, {op::checksum(memory.data(), 8)}, 0,
                       {theirs.in(2 * turn + 1), theirs.out(2 * turn + 2)});
    ASSERT_EQ(done.error, 0);
    there.push_back(done.job);
    Syncs syncs = {mine.out(2 * turn + 1)};
    if (turn != 0) syncs.push_back(mine.in(2 * turn));
    done = submit(gpu_, {op::fill(memory.data(), 8, turn)}, 0, syncs);
    ASSERT_EQ(done.error, 0);
    here.push_back(done.job);
  }
  EXPECT_EQ(mine.wait(60000, 2 * kTurns, kSubmit), 0);
  for (uint64_t turn = 0; turn < kTurns; ++turn) {
    EXPECT_TRUE(wait(gpu_, here[turn], 1).ok());
    const Done done = wait(other, there[turn], 1);
    EXPECT_TRUE(done.ok());
    EXPECT_EQ(done.results[0].value, fnv(&turn, 8)) << turn;
  }
}

TEST_F(Sync, ClosingEndsAJobThatWaits) {
  const Syncobj mine(gpu_);
  {
    Device other;
    const Syncobj theirs(other, mine), never(other);
    ASSERT_EQ(submit(other, {op::nop()}, 0, {never.in(), theirs.out()}).error, 0);
  }
  EXPECT_EQ(mine.wait(20000, 0, kSubmit), 0);
  EXPECT_EQ(mine.status(), -ECANCELED);
}

TEST_F(Sync, ClosingAtOnceEndsEveryJob) {
  // Often before the thread of the new queue has run at all.
  for (int round = 0; round < 200; ++round) {
    const Syncobj mine(gpu_);
    {
      Device other;
      const Syncobj theirs(other, mine), never(other);
      ASSERT_EQ(submit(other, {op::nop()}, 0, {never.in()}).error, 0);
      ASSERT_EQ(submit(other, {op::nop()}, 0, {theirs.out()}).error, 0);
    }
    ASSERT_EQ(mine.wait(20000, 0, kSubmit), 0) << "round " << round;
    ASSERT_EQ(mine.status(), -ECANCELED) << "round " << round;
  }
}

TEST_F(Sync, AWaitDoesNotKeepTheDeviceFromLeaving) {
  SoftDevice soft("private:16M");
  const Device leaving(soft.index());
  const Syncobj mine(gpu_), theirs(leaving, mine);
  std::atomic<int> task = 0, result = 1;
  std::thread waiter([&] {
    task = gettid();
    result = theirs.wait(60000, 0, kSubmit);
  });
  while (task == 0) std::this_thread::yield();
  const std::string stat = "/proc/self/task/" + std::to_string(task) + "/stat";
  while (read_file(stat).find(") S ") == std::string::npos) std::this_thread::yield();
  soft.remove();
  EXPECT_EQ(result, 1) << "the device left when the wait had ended";
  EXPECT_EQ(mine.signal(), 0);
  waiter.join();
  EXPECT_EQ(result, 0);
}

TEST_F(Sync, BadSyncsAreRefusedAndNothingIsQueued) {
  const Syncobj good(gpu_);
  Memory memory(kPage);
  auto* word = reinterpret_cast<uint64_t*>(memory.data());
  const Commands commands = {op::add(word, 8, 1)};
  drm_godwit_sync sync = good.out();
  sync.handle = 12345;
  EXPECT_EQ(submit(gpu_, commands, 0, {good.out(), sync}).error, -ENOENT);
  sync = good.out();
  sync.handle = 0;
  EXPECT_EQ(submit(gpu_, commands, 0, {sync}).error, -ENOENT);
  sync = good.out();
  sync.flags |= 2;
  EXPECT_EQ(submit(gpu_, commands, 0, {good.out(), sync}).error, -EINVAL);
  EXPECT_EQ(submit(gpu_, commands, 0, Syncs(1000, good.out())).error, -E2BIG);
  EXPECT_EQ(good.wait(0), -EINVAL) << "still without a fence";
  const Done done = execute(gpu_, commands, 0, {good.out()});
  EXPECT_TRUE(done.ok());
  EXPECT_EQ(done.job, 1u);
  EXPECT_EQ(*word, 1u);
}

}  // namespace
}  // namespace godwit::guest
