// SPDX-License-Identifier: MIT
// From a camera to VRAM and to the disk. vivid stands for a capture card; its pictures are known,
// so that frames can be compared.
#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "tests/kernel/peers/camera.h"
#include "tests/kernel/peers/target.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class Capture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!camera_.missing().empty()) GTEST_SKIP() << camera_.missing();
    // Whole pages, room for a frame.
    bytes_ = (camera_.frame_bytes() + kPage - 1) / kPage * kPage;
  }
  Camera camera_;
  size_t bytes_ = 0;
};

TEST_F(Capture, FramesOfOnePictureAreTheSameAndOfTwoAreNot) {
  camera_.aim_at(0);
  const auto first = camera_.frame(), again = camera_.frame();
  camera_.aim_at(1);
  const auto other = camera_.frame();
  camera_.aim_at(2);
  const auto brighter = camera_.frame();
  ASSERT_EQ(first.size(), camera_.frame_bytes());
  EXPECT_TRUE(first == again);
  EXPECT_FALSE(first == other);
  EXPECT_FALSE(first == brighter);
}

TEST_F(Capture, FramesGoToVramByDmaBufWithoutAStop) {
  const Place place(Kind::kExplicit, 0);
  ASSERT_TRUE(place.ready());
  const Object object(place.device(), bytes_);
  ASSERT_TRUE(object);
  const int fd = object.dma_buf();
  ASSERT_GE(fd, 0);
  for (uint64_t picture = 10; picture < 14; ++picture) {
    memset(object.data(), 0, object.size());
    camera_.aim_at(picture);
    ASSERT_EQ(camera_.capture_dma_buf(fd, bytes_), 0);
    const auto wanted = camera_.frame();
    EXPECT_EQ(object.place(), GODWIT_PLACE_VRAM);
    EXPECT_TRUE(place.holds(wanted.data() + 5 * kPage)) << "the host does not see it in the BAR";
    EXPECT_EQ(memcmp(object.data(), wanted.data(), wanted.size()), 0);
  }
  close(fd);
}

TEST_F(Capture, AnObjectThatACameraHoldsStaysAndIsFreeAfterwards) {
  for (const Kind kind : {Kind::kExplicit, Kind::kPrivate, Kind::kSoft}) {
    SCOPED_TRACE(name_of(kind));
    const Place place(kind, 0);
    ASSERT_TRUE(place.ready());
    const Object object(place.device(), bytes_);
    ASSERT_TRUE(object);
    const int fd = object.dma_buf();
    ASSERT_GE(fd, 0);
    camera_.aim_at(20);
    ASSERT_EQ(camera_.begin(V4L2_MEMORY_DMABUF, nullptr, fd, bytes_), 0);
    // In the BAR where that has pages, else in RAM: and there it stays.
    const uint32_t held = kind == Kind::kExplicit ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM;
    const uint32_t elsewhere = kind == Kind::kExplicit ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM;
    EXPECT_EQ(object.place(), held);
    EXPECT_EQ(object.move(elsewhere), -EBUSY);
    place.device().evict(GODWIT_EVICT_DEVICE);
    EXPECT_EQ(object.place(), held);
    ASSERT_EQ(camera_.end(), 0);
    EXPECT_EQ(object.move(elsewhere), 0);
    const auto wanted = camera_.frame();
    EXPECT_EQ(memcmp(object.data(), wanted.data(), wanted.size()), 0);
    close(fd);
  }
}

TEST_F(Capture, ACardThatGoesAwayLeavesTheBytesAndWaitsForTheCamera) {
  Card card(0, "explicit");
  ASSERT_TRUE(card.bound());
  const Object object(card.device(), bytes_);
  ASSERT_TRUE(object);
  fill(object.data(), object.size(), 1);
  const int fd = object.dma_buf();
  ASSERT_GE(fd, 0);
  camera_.aim_at(30);
  ASSERT_EQ(camera_.begin(V4L2_MEMORY_DMABUF, nullptr, fd, bytes_), 0);
  std::atomic<int> status{1};
  std::thread remover([&] { status = card.unbind(); });
  // It can be asked until the device is unplugged; then only the bytes can be.
  uint32_t where = GODWIT_PLACE_VRAM;
  int asked = 0;
  while (asked == 0 && where != GODWIT_PLACE_SYSTEM) {
    asked = object.find(&where);
    std::this_thread::yield();
  }
  EXPECT_TRUE(asked == 0 || asked == -ENODEV) << asked;
  // Readable, and writable, in RAM: each page has old bytes or the camera's.
  object.data()[0] = 1;
  EXPECT_EQ(camera_.filled(), 0);
  EXPECT_EQ(status, 1) << "unbound although a camera has it mapped";
  EXPECT_EQ(camera_.end(), 0);
  close(fd);
  remover.join();
  EXPECT_EQ(status, 0);
}

TEST_F(Capture, FramesByPointerComeHomeAndGoToVramAfterwards) {
  for (const Kind kind : {Kind::kPrivate, Kind::kCoherent}) {
    SCOPED_TRACE(name_of(kind));
    const Place place(kind, 0);
    ASSERT_TRUE(place.ready());
    const Target target(place, bytes_);
    fill(target.data(), bytes_, 2);
    ASSERT_TRUE(target.to_vram());
    camera_.aim_at(40 + static_cast<uint64_t>(kind));
    ASSERT_EQ(camera_.begin(V4L2_MEMORY_USERPTR, target.data(), -1, bytes_), 0);
    // videobuf2 pins them for long.
    EXPECT_TRUE(target.in_ram());
    EXPECT_EQ(place.device().to_vram(target.data(), bytes_).moved, 0u);
    ASSERT_EQ(camera_.end(), 0);
    ASSERT_TRUE(target.to_vram());
    const auto wanted = camera_.frame();
    EXPECT_TRUE(place.holds(wanted.data() + 5 * kPage));
    EXPECT_EQ(memcmp(target.data(), wanted.data(), wanted.size()), 0);
  }
}

TEST_F(Capture, FromTheCamerasBuffersToTheDiskAndFromThereToVram) {
  const Place place(Kind::kExplicit, 0);
  Disk disk;
  ASSERT_TRUE(place.ready() && disk.fd() >= 0);
  // Whole blocks of the disk.
  const size_t bytes = camera_.frame_bytes();
  ASSERT_EQ(bytes % 512, 0u);
  constexpr off_t kAt = 96 * kMiB;
  camera_.aim_at(50);
  const int captured = camera_.capture_mapped([&](const uint8_t* frame) {
    EXPECT_EQ(pwrite(disk.fd(), frame, bytes, kAt), static_cast<ssize_t>(bytes)) << strerror(errno);
  });
  ASSERT_EQ(captured, 0);
  const auto wanted = camera_.frame();
  EXPECT_TRUE(disk.seen_by_host(kAt, bytes) == wanted);
  const Object object(place.device(), bytes_);
  ASSERT_TRUE(object);
  ASSERT_EQ(pread(disk.fd(), object.data(), bytes, kAt), static_cast<ssize_t>(bytes))
      << strerror(errno);
  EXPECT_TRUE(place.holds(wanted.data() + 5 * kPage));
  EXPECT_EQ(memcmp(object.data(), wanted.data(), bytes), 0);
}

TEST_F(Capture, FromTheCameraToVramToTheDisk) {
  const Place place(Kind::kExplicit, 0);
  Disk disk;
  ASSERT_TRUE(place.ready() && disk.fd() >= 0);
  const size_t bytes = camera_.frame_bytes();
  constexpr off_t kAt = 100 * kMiB;
  const Object object(place.device(), bytes_);
  ASSERT_TRUE(object);
  const int fd = object.dma_buf();
  ASSERT_GE(fd, 0);
  camera_.aim_at(60);
  ASSERT_EQ(camera_.capture_dma_buf(fd, bytes_), 0);
  ASSERT_EQ(pwrite(disk.fd(), object.data(), bytes, kAt), static_cast<ssize_t>(bytes))
      << strerror(errno);
  EXPECT_EQ(object.place(), GODWIT_PLACE_VRAM);
  EXPECT_TRUE(disk.seen_by_host(kAt, bytes) == camera_.frame());
  close(fd);
}

// Those of a view and of EXPORT follow pages that move: the one for whoever maps it and touches it,
// the other for whoever wants bus addresses. A camera wants a mapping in the kernel that stays.
TEST_F(Capture, ViewsAndExportsAreNotForACamera) {
  const Place place(Kind::kPrivate, 0);
  ASSERT_TRUE(place.ready());
  const Target target(place, bytes_);
  fill(target.data(), bytes_, 3);
  ASSERT_TRUE(target.to_vram());
  const int view = make_view(place.device(), target.data(), bytes_);
  drm_godwit_export args = {};
  args.addr = reinterpret_cast<uintptr_t>(target.data());
  args.length = bytes_;
  ASSERT_EQ(place.device().call(DRM_IOCTL_GODWIT_EXPORT, &args), 0);
  for (const int fd : {view, args.fd}) {
    ASSERT_GE(fd, 0);
    EXPECT_EQ(camera_.capture_dma_buf(fd, bytes_), -EFAULT);
    close(fd);
  }
  EXPECT_TRUE(target.in_vram());
  EXPECT_BYTES(target.data(), bytes_, 3u);
}

}  // namespace
}  // namespace godwit::guest
