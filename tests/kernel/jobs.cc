// SPDX-License-Identifier: MIT
#include "tests/kernel/jobs.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace godwit::guest {
namespace op {
namespace {

drm_godwit_command make(uint32_t op, const void* addr, uint64_t length, uint32_t flags) {
  drm_godwit_command command = {};
  command.op = op;
  command.flags = flags;
  command.addr = address(addr);
  command.length = length;
  return command;
}

}  // namespace

drm_godwit_command read(const void* from, void* to, uint64_t length, uint32_t flags) {
  drm_godwit_command command = make(GODWIT_OP_READ, from, length, flags);
  command.data = address(to);
  return command;
}

drm_godwit_command write(void* to, const void* from, uint64_t length, uint32_t flags) {
  drm_godwit_command command = make(GODWIT_OP_WRITE, to, length, flags);
  command.data = address(from);
  return command;
}

drm_godwit_command fill(void* at, uint64_t length, uint64_t pattern, uint32_t flags) {
  drm_godwit_command command = make(GODWIT_OP_FILL, at, length, flags);
  command.operand = pattern;
  return command;
}

drm_godwit_command copy(void* to, const void* from, uint64_t length, uint32_t flags) {
  drm_godwit_command command = make(GODWIT_OP_COPY, to, length, flags);
  command.source = address(from);
  return command;
}

drm_godwit_command add(void* at, uint64_t length, uint64_t value, uint32_t flags) {
  drm_godwit_command command = make(GODWIT_OP_ATOMIC_ADD, at, length, flags);
  command.operand = value;
  return command;
}

drm_godwit_command checksum(const void* at, uint64_t length, uint32_t flags) {
  return make(GODWIT_OP_CHECKSUM, at, length, flags);
}

drm_godwit_command walk(const void* first, uint64_t most, uint64_t offset, uint32_t flags) {
  drm_godwit_command command = make(GODWIT_OP_WALK, first, most, flags);
  command.operand = offset;
  return command;
}

drm_godwit_command spin() { return make(GODWIT_OP_SPIN, nullptr, 0, 0); }
drm_godwit_command nop() { return make(GODWIT_OP_NOP, nullptr, 0, 0); }

}  // namespace op

namespace {

Done run(const Device& device, const Commands& commands, uint32_t timeout_ms, const Syncs& syncs,
         bool wait) {
  Done done;
  drm_godwit_execute args = {};
  args.commands = address(commands.data());
  args.command_count = static_cast<uint32_t>(commands.size());
  args.command_stride = sizeof(drm_godwit_command);
  args.timeout_ms = timeout_ms;
  if (!syncs.empty()) {
    args.syncs = address(syncs.data());
    args.sync_count = static_cast<uint32_t>(syncs.size());
    args.sync_stride = sizeof(drm_godwit_sync);
  }
  if (wait) {
    done.results.resize(commands.size());
    args.results = address(done.results.data());
    args.result_stride = sizeof(drm_godwit_result);
    args.flags = GODWIT_EXECUTE_WAIT;
  }
  done.error = device.call(DRM_IOCTL_GODWIT_EXECUTE, &args);
  done.status = args.status;
  done.job = args.job;
  return done;
}

}  // namespace

Done submit(const Device& device, const Commands& commands, uint32_t timeout_ms,
            const Syncs& syncs) {
  return run(device, commands, timeout_ms, syncs, false);
}

Done execute(const Device& device, const Commands& commands, uint32_t timeout_ms,
             const Syncs& syncs) {
  return run(device, commands, timeout_ms, syncs, true);
}

Done wait(const Device& device, uint64_t job, size_t count, uint32_t timeout_ms) {
  Done done;
  drm_godwit_wait args = {};
  done.results.resize(count);
  done.job = job;
  args.job = job;
  args.timeout_ms = timeout_ms;
  if (count != 0) {
    args.results = address(done.results.data());
    args.result_count = static_cast<uint32_t>(count);
    args.result_stride = sizeof(drm_godwit_result);
  }
  done.error = device.call(DRM_IOCTL_GODWIT_WAIT, &args);
  done.status = args.status;
  return done;
}

int execute_all(const Device& device, Commands commands) {
  int busy = 0;
  while (!commands.empty()) {
    const Done done = execute(device, commands, 60000);
    if (done.error != 0 || (done.status != 0 && done.status != -EBUSY)) {
      ADD_FAILURE() << done.error << " " << done.status;
      return -1;
    }
    busy += done.status == -EBUSY;
    Commands rest;
    for (size_t c = 0; c < commands.size(); ++c) {
      if (done.results[c].done == 0) rest.push_back(commands[c]);
    }
    commands = std::move(rest);
  }
  return busy;
}

unsigned rounds(unsigned wanted) {
  return access("/proc/lockdep", F_OK) == 0 ? (wanted + 9) / 10 : wanted;
}

uint64_t fnv(const void* data, size_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  uint64_t sum = 0xcbf29ce484222325u;
  for (size_t i = 0; i < bytes; ++i) sum = (sum ^ from[i]) * 0x100000001b3u;
  return sum;
}

}  // namespace godwit::guest
