// SPDX-License-Identifier: MIT
// Exports as files: what the call takes, and what becomes of the dma-buf. What importers do with it is in edu_*_test.cc.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

int export_range(const Device& device, uint64_t addr, uint64_t length, drm_godwit_export* args) {
  *args = {};
  args->addr = addr;
  args->length = length;
  return device.call(DRM_IOCTL_GODWIT_EXPORT, args);
}

uint64_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

using Exports = DeviceTest;

TEST_F(Exports, TheDeviceSaysThatItCan) { EXPECT_NE(gpu_.info().capabilities & GODWIT_CAP_EXPORT, 0u); }

TEST_F(Exports, AnyAlignmentIsTakenAndThePagesAroundItAreExported) {
  Memory memory(kMiB);
  drm_godwit_export args;
  const struct {
    uint64_t addr, length, offset, size;
  } cases[] = {
      {0, kPage, 0, kPage},          {1, 1, 1, kPage},
      {kPage - 1, 1, kPage - 1, kPage}, {kPage - 1, 2, kPage - 1, 2 * kPage},
      {100, kMiB - 100, 100, kMiB},  {kPage + 8, 3 * kPage, 8, 4 * kPage},
  };
  for (const auto& one : cases) {
    ASSERT_EQ(export_range(gpu_, address(memory.data()) + one.addr, one.length, &args), 0);
    EXPECT_EQ(args.offset, one.offset);
    EXPECT_EQ(lseek(args.fd, 0, SEEK_END), static_cast<off_t>(one.size));
    EXPECT_NE(fcntl(args.fd, F_GETFD) & FD_CLOEXEC, 0);
    close(args.fd);
  }
}

TEST_F(Exports, MovesNothingByItself) {
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 1);
  gpu_.to_vram(memory.data(), memory.size());
  drm_godwit_export args;
  ASSERT_EQ(export_range(gpu_, address(memory.data()), memory.size(), &args), 0);
  EXPECT_EQ(gpu_.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_EQ(gpu_.to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_PEER_REVOKES), 0u);
  close(args.fd);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

TEST_F(Exports, CannotBeMappedByACpu) {
  Memory memory(kMiB);
  drm_godwit_export args;
  ASSERT_EQ(export_range(gpu_, address(memory.data()), memory.size(), &args), 0);
  EXPECT_EQ(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, args.fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  close(args.fd);
}

TEST_F(Exports, OutliveTheirMemoryAndTheirDescriptor) {
  drm_godwit_export args;
  {
    Device other;
    Memory memory(kMiB);
    ASSERT_EQ(export_range(other, address(memory.data()), memory.size(), &args), 0);
  }
  EXPECT_EQ(lseek(args.fd, 0, SEEK_END), static_cast<off_t>(kMiB));
  close(args.fd);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_MIRRORS, true), gpu_.stat(GODWIT_STAT_MIRRORS));
}

TEST_F(Exports, AreLimitedForEachClient) {
  // So that it is not the descriptors that are.
  const rlimit limit = {1 << 16, 1 << 16};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  Device other;
  Memory memory(kPage);
  std::vector<int> fds;
  drm_godwit_export args;
  int status = 0;
  while ((status = export_range(gpu_, address(memory.data()), 1, &args)) == 0) fds.push_back(args.fd);
  EXPECT_EQ(status, -ENOSPC);
  EXPECT_EQ(args.fd, -1);
  ASSERT_EQ(export_range(other, address(memory.data()), 1, &args), 0);
  close(args.fd);
  for (const int fd : fds) close(fd);
  ASSERT_EQ(export_range(gpu_, address(memory.data()), 1, &args), 0);
  close(args.fd);
}

TEST_F(Exports, OneWrongValueAField) {
  Memory memory(kMiB);
  const auto expect = [&](int error, const std::function<void(drm_godwit_export&)>& spoil, int line) {
    drm_godwit_export args = {};
    args.addr = address(memory.data());
    args.length = memory.size();
    args.fd = 77;
    args.offset = 77;
    spoil(args);
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EXPORT, &args), error) << "line " << line;
    EXPECT_EQ(args.fd, -1) << "line " << line;
    EXPECT_EQ(args.offset, 0u) << "line " << line;
  };
  expect(-EINVAL, [](auto& args) { args.length = 0; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.addr = ~uint64_t{0} - 10; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.addr = ~uint64_t{0} - 10, args.length = 10; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.addr = 0xffff888000000000; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.length = ~uint64_t{0}; }, __LINE__);
  expect(-E2BIG, [](auto& args) { args.addr = 0, args.length = GODWIT_MAX_RANGE + 1; }, __LINE__);
  expect(-E2BIG, [](auto& args) { args.addr = 0, args.length = (uint64_t{64} << 30) + 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.flags = 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.flags = 0x80000000; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.reserved[0] = 1; }, __LINE__);
  expect(-EINVAL, [](auto& args) { args.reserved[1] = 1; }, __LINE__);
}

}  // namespace
}  // namespace godwit::guest
