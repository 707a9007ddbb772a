// SPDX-License-Identifier: MIT
// The device driver's module goes while memory is in its VRAM. A program of its own: it needs the modules' files, and nobody
// else may have devices in the meantime.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

// Where the harness has them.
constexpr char kModule[] = "/modules/godwit_soft.ko";

int unload() { return syscall(SYS_delete_module, "godwit_soft", O_NONBLOCK) == 0 ? 0 : -errno; }

int load() {
  const int fd = open(kModule, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const int result = syscall(SYS_finit_module, fd, "devices=private:64M", 0) == 0 ? 0 : -errno;
  close(fd);
  return result;
}

class Unload : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { ASSERT_EQ(access(kModule, R_OK), 0); }
  void TearDown() override {
    if (Device::count() == 0) {
      EXPECT_EQ(load(), 0);
    }
  }
  Memory::Kind kind() const { return GetParam() ? Memory::kHugePages : Memory::kAnonymous; }
};

TEST_P(Unload, WithPagesInVramBringsThemHome) {
  Device gpu;
  Memory memory(8 * kHuge, kind());
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(gpu.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_EQ(unload(), 0) << "an open descriptor does not hold the driver";
  EXPECT_EQ(Device::count(), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
  drm_godwit_query query = {};
  EXPECT_EQ(gpu.call(DRM_IOCTL_GODWIT_QUERY, &query), -ENODEV);

  ASSERT_EQ(load(), 0);
  Device again;
  EXPECT_EQ(again.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

TEST_P(Unload, WhileProcessesMigrateEndsWithEveryByte) {
  const Migrators migrators(0, std::vector<Memory::Kind>(3, kind()));
  EXPECT_EQ(unload(), 0);
}

INSTANTIATE_TEST_SUITE_P(PageSize, Unload, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Huge" : "Small"; });

TEST(Core, IsHeldByAnOpenDescriptor) {
  Device gpu;
  EXPECT_NE(syscall(SYS_delete_module, "godwit", O_NONBLOCK), 0);
}

}  // namespace
}  // namespace godwit::guest
