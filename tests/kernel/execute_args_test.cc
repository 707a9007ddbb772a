// SPDX-License-Identifier: MIT
// Wrong arguments of EXECUTE and WAIT: each field at least once, the documented error, and nothing changed.
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

class ExecuteArgs : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    command_ = op::add(memory_.data(), 8, 1);
  }

  void TearDown() override {
    gpu_.to_ram(memory_.data(), memory_.size());
    DeviceTest::TearDown();
  }

  drm_godwit_execute good() {
    drm_godwit_execute args = {};
    args.commands = address(&command_);
    args.command_count = 1;
    args.command_stride = sizeof(command_);
    args.results = address(&result_);
    args.result_stride = sizeof(result_);
    args.flags = GODWIT_EXECUTE_WAIT;
    return args;
  }

  void refuses(const char* what, int error, const std::function<void(drm_godwit_execute*)>& spoil) {
    drm_godwit_execute args = good();
    spoil(&args);
    args.job = 99;
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EXECUTE, &args), -error) << what;
    EXPECT_EQ(args.job, 0u) << what;
    untouched(what);
  }

  // A command instead of the good one, behind one that would be seen if it ran.
  void refuses_command(const char* what, const drm_godwit_command& bad, int error = EINVAL) {
    const Done done = execute(gpu_, {op::add(memory_.data(), 8, 1), bad});
    EXPECT_EQ(done.error, -error) << what;
    EXPECT_EQ(done.job, 0u) << what;
    untouched(what);
  }

  void untouched(const char* what) {
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(memory_.data()), 0u) << what;
    EXPECT_EQ(gpu_.stat(GODWIT_STAT_JOBS), 0u) << what;
  }

  Memory memory_{4 * kPage};
  drm_godwit_command command_ = {};
  drm_godwit_result result_ = {};
};

TEST_F(ExecuteArgs, EachFieldOfTheCall) {
  using Args = drm_godwit_execute*;
  refuses("commands", EFAULT, [](Args a) { a->commands = 8; });
  refuses("command_count 0", EINVAL, [](Args a) { a->command_count = 0; });
  refuses("command_count", E2BIG, [](Args a) { a->command_count = 1u << 20; });
  refuses("command_stride 0", EINVAL, [](Args a) { a->command_stride = 0; });
  refuses("command_stride small", EINVAL, [](Args a) { a->command_stride = 40; });
  refuses("command_stride odd", EINVAL, [](Args a) { a->command_stride = 49; });
  refuses("command_stride large", E2BIG, [](Args a) { a->command_stride = 1u << 20; });
  refuses("syncs without a count", EINVAL, [](Args a) { a->syncs = 8; });
  refuses("sync_stride without a count", EINVAL, [](Args a) { a->sync_stride = 16; });
  refuses("sync_stride", EINVAL, [](Args a) { a->sync_count = 1; a->syncs = 8; a->sync_stride = 8; });
  refuses("syncs", EFAULT, [](Args a) { a->sync_count = 1; a->syncs = 8; a->sync_stride = 16; });
  refuses("sync_count", E2BIG, [](Args a) { a->sync_count = 1u << 20; a->syncs = 8; a->sync_stride = 16; });
  refuses("results without waiting", EINVAL, [](Args a) { a->flags = 0; });
  refuses("result_stride without results", EINVAL, [](Args a) { a->results = 0; });
  refuses("result_stride small", EINVAL, [](Args a) { a->result_stride = 48; });
  refuses("result_stride large", E2BIG, [](Args a) { a->result_stride = 1u << 20; });
  refuses("flags", EINVAL, [](Args a) { a->flags |= 2; });
  refuses("timeout_ms", E2BIG, [](Args a) { a->timeout_ms = 3600 * 1000; });
  refuses("pad", EINVAL, [](Args a) { a->pad = 1; });
  refuses("pad2", EINVAL, [](Args a) { a->pad2 = 1; });
  drm_godwit_execute args = good();
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EXECUTE, &args), 0) << "and the good one works";
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(memory_.data()), 1u);
}

TEST_F(ExecuteArgs, EachFieldOfACommand) {
  uint8_t* at = memory_.data();
  auto with = [](drm_godwit_command command, const std::function<void(drm_godwit_command*)>& spoil) {
    spoil(&command);
    return command;
  };
  using C = drm_godwit_command*;
  refuses_command("op 0", with(op::nop(), [](C c) { c->op = 0; }));
  refuses_command("op", with(op::nop(), [](C c) { c->op = 77; }));
  refuses_command("flags", with(op::nop(), [](C c) { c->flags = 4; }));
  for (const auto& command : {op::read(at, at, 8), op::write(at, at, 8), op::fill(at, 8, 1),
                              op::copy(at, at + 64, 8), op::add(at, 8, 1), op::checksum(at, 8)}) {
    const std::string name = "op " + std::to_string(command.op);
    refuses_command((name + " length 0").c_str(), with(command, [](C c) { c->length = 0; }));
    refuses_command((name + " length").c_str(), with(command, [](C c) { c->length = ~7ull; }));
    refuses_command((name + " addr").c_str(), with(command, [](C c) { c->addr = 1ull << 63; }));
    refuses_command((name + " data").c_str(),
                    with(command, [](C c) { c->data = c->data == 0 ? 8 : 0; }));
    if (command.op != GODWIT_OP_COPY) {
      refuses_command((name + " source").c_str(), with(command, [](C c) { c->source = 8; }));
    }
    if (command.op != GODWIT_OP_FILL && command.op != GODWIT_OP_ATOMIC_ADD) {
      refuses_command((name + " operand").c_str(), with(command, [](C c) { c->operand = 8; }));
    }
  }
  refuses_command("too long", with(op::fill(at, 8, 1), [](C c) {
                    c->addr = kPage;
                    c->length = GODWIT_MAX_RANGE + 1;
                  }), E2BIG);
  refuses_command("inline bytes", op::read(at, at, 1ull << 30), E2BIG);
  refuses_command("bytes to write", with(op::write(at, at, 8), [](C c) { c->data = 8; }), EFAULT);
  refuses_command("copy overlaps", op::copy(at, at + 7, 8));
  refuses_command("copy source", op::copy(at, reinterpret_cast<void*>(1ull << 63), 8));
  refuses_command("add addr", op::add(at + 4, 8, 1));
  refuses_command("add length", op::add(at, 12, 1));
  refuses_command("walk length", op::walk(at, 0));
  refuses_command("walk operand", op::walk(at, 1, 4));
  refuses_command("walk source", with(op::walk(at, 1), [](C c) { c->source = 8; }));
  refuses_command("walk data", with(op::walk(at, 1), [](C c) { c->data = 8; }));
  for (const auto& command : {op::spin(), op::nop()}) {
    refuses_command("addr", with(command, [](C c) { c->addr = 8; }));
    refuses_command("length", with(command, [](C c) { c->length = 8; }));
    refuses_command("source", with(command, [](C c) { c->source = 8; }));
    refuses_command("operand", with(command, [](C c) { c->operand = 8; }));
    refuses_command("data", with(command, [](C c) { c->data = 8; }));
  }
}

// A caller that was built for a newer interface passes more than the driver knows.
TEST_F(ExecuteArgs, LongerCommandsAreAcceptedWhereTheRestIsZero) {
  struct {
    drm_godwit_command command;
    uint64_t more[2];
  } longer[2] = {};
  struct {
    drm_godwit_result result;
    uint64_t more[2];
  } results[2];
  memset(results, 0xff, sizeof(results));
  longer[0].command = command_;
  longer[1].command = command_;
  drm_godwit_execute args = good();
  args.commands = address(longer);
  args.command_count = 2;
  args.command_stride = sizeof(longer[0]);
  args.results = address(results);
  args.result_stride = sizeof(results[0]);
  longer[1].more[1] = 1;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EXECUTE, &args), -E2BIG);
  untouched("longer");
  longer[1].more[1] = 0;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EXECUTE, &args), 0);
  EXPECT_EQ(results[1].result.value, 1u);
  EXPECT_EQ(results[1].more[1], 0u) << "what the driver lacks is zero";
}

TEST_F(ExecuteArgs, EachFieldOfWait) {
  const Done job = submit(gpu_, {op::nop(), op::nop()});
  ASSERT_EQ(job.error, 0);
  drm_godwit_result results[2] = {};
  auto refuses = [&](const char* what, int error, const std::function<void(drm_godwit_wait*)>& spoil) {
    drm_godwit_wait args = {};
    args.job = job.job;
    args.results = address(results);
    args.result_count = 2;
    args.result_stride = sizeof(results[0]);
    args.timeout_ms = 10000;
    spoil(&args);
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_WAIT, &args), -error) << what;
  };
  using W = drm_godwit_wait*;
  refuses("job 0", ENOENT, [](W w) { w->job = 0; });
  refuses("job", ENOENT, [](W w) { w->job += 1; });
  refuses("results", EFAULT, [](W w) { w->results = 8; });
  refuses("no results", EINVAL, [](W w) { w->results = 0; });
  refuses("result_count", EINVAL, [](W w) { w->result_count = 3; });
  refuses("result_count 0", EINVAL, [](W w) { w->result_count = 0; });
  refuses("result_stride", EINVAL, [](W w) { w->result_stride = 8; });
  refuses("result_stride large", E2BIG, [](W w) { w->result_stride = 1u << 20; });
  EXPECT_TRUE(wait(gpu_, job.job, 1).ok()) << "the results are still there";
}

}  // namespace
}  // namespace godwit::guest
