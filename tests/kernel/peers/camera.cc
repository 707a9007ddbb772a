// SPDX-License-Identifier: MIT
#include "tests/kernel/peers/camera.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace godwit::guest {
namespace {

// Private controls of vivid, by their place in its list.
constexpr uint32_t kTestPattern = 0x00f0f000, kTextMode = 0x00f0f001;
constexpr int kNoText = 2;
// Of its menu of patterns.
constexpr int kBars = 1, kSquares = 4;

int control(int fd, uint32_t id, int value) {
  v4l2_control args = {};
  args.id = id;
  args.value = value;
  return ioctl(fd, VIDIOC_S_CTRL, &args) == 0 ? 0 : -errno;
}

v4l2_buffer first_buffer(uint32_t memory) {
  v4l2_buffer buffer = {};
  buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer.memory = memory;
  return buffer;
}

int request_buffers(int fd, uint32_t count, uint32_t memory) {
  v4l2_requestbuffers args = {};
  args.count = count;
  args.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  args.memory = memory;
  return ioctl(fd, VIDIOC_REQBUFS, &args) == 0 ? 0 : -errno;
}

}  // namespace

Camera::Camera() {
  if (system("modprobe vivid n_devs=1 node_types=0x1 no_error_inj=1") != 0) {
    missing_ = "this kernel has no vivid";
    return;
  }
  fd_ = open("/dev/video0", O_RDWR | O_CLOEXEC);
  if (fd_ < 0) {
    missing_ = std::string("/dev/video0: ") + strerror(errno);
    return;
  }
  v4l2_format format = {};
  format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  EXPECT_EQ(ioctl(fd_, VIDIOC_G_FMT, &format), 0) << strerror(errno);
  frame_bytes_ = format.fmt.pix.sizeimage;
  EXPECT_EQ(control(fd_, kTextMode, kNoText), 0);
  aim_at(0);
}

Camera::~Camera() {
  if (fd_ >= 0) close(fd_);
}

void Camera::aim_at(uint64_t picture) {
  EXPECT_EQ(control(fd_, kTestPattern, picture % 2 == 0 ? kBars : kSquares), 0);
  EXPECT_EQ(control(fd_, V4L2_CID_BRIGHTNESS, 78 + static_cast<int>(picture / 2 % 100)), 0);
}

int Camera::begin(uint32_t memory, void* data, int fd, size_t bytes) {
  memory_ = memory;
  int status = request_buffers(fd_, 1, memory);
  if (status != 0) return status;
  v4l2_buffer buffer = first_buffer(memory);
  if (memory == V4L2_MEMORY_USERPTR) buffer.m.userptr = reinterpret_cast<unsigned long>(data);
  if (memory == V4L2_MEMORY_DMABUF) buffer.m.fd = fd;
  buffer.length = static_cast<uint32_t>(bytes);
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (ioctl(fd_, VIDIOC_QBUF, &buffer) != 0 || ioctl(fd_, VIDIOC_STREAMON, &type) != 0) {
    status = -errno;
    request_buffers(fd_, 0, memory);
  }
  return status;
}

int Camera::filled() {
  pollfd ready = {fd_, POLLIN, 0};
  return poll(&ready, 1, 30'000) == 1 ? 0 : -ETIMEDOUT;
}

int Camera::end() {
  int status = filled();
  v4l2_buffer buffer = first_buffer(memory_);
  if (status == 0 && ioctl(fd_, VIDIOC_DQBUF, &buffer) != 0) status = -errno;
  if (status == 0 && (buffer.flags & V4L2_BUF_FLAG_ERROR) != 0) status = -EIO;
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  ioctl(fd_, VIDIOC_STREAMOFF, &type);
  request_buffers(fd_, 0, memory_);
  return status;
}

int Camera::capture(void* data, size_t bytes) {
  const int status = begin(V4L2_MEMORY_USERPTR, data, -1, bytes);
  return status != 0 ? status : end();
}

int Camera::capture_dma_buf(int fd, size_t bytes) {
  const int status = begin(V4L2_MEMORY_DMABUF, nullptr, fd, bytes);
  return status != 0 ? status : end();
}

int Camera::capture_mapped(const std::function<void(const uint8_t* frame)>& use) {
  int status = begin(V4L2_MEMORY_MMAP, nullptr, -1, 0);
  if (status != 0) return status;
  v4l2_buffer buffer = first_buffer(V4L2_MEMORY_MMAP);
  EXPECT_EQ(ioctl(fd_, VIDIOC_QUERYBUF, &buffer), 0) << strerror(errno);
  void* at = mmap(nullptr, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, buffer.m.offset);
  EXPECT_NE(at, MAP_FAILED) << strerror(errno);
  status = end();
  if (status == 0 && at != MAP_FAILED) use(static_cast<const uint8_t*>(at));
  if (at != MAP_FAILED) munmap(at, buffer.length);
  return status;
}

std::vector<uint8_t> Camera::frame() {
  std::vector<uint8_t> bytes;
  EXPECT_EQ(
      capture_mapped([&](const uint8_t* frame) { bytes.assign(frame, frame + frame_bytes_); }), 0);
  return bytes;
}

}  // namespace godwit::guest
