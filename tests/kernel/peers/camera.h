// SPDX-License-Identifier: MIT
// vivid, the kernel's virtual camera: a fixed picture, so that each frame can be compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace godwit::guest {

class Camera {
 public:
  // Loads the driver. It takes pictures that stand still, without any text on them.
  Camera();
  ~Camera();
  Camera(const Camera&) = delete;
  Camera& operator=(const Camera&) = delete;

  // Why there is none; empty where there is one.
  const std::string& missing() const { return missing_; }
  size_t frame_bytes() const { return frame_bytes_; }

  // At one of 200 pictures, all different.
  void aim_at(uint64_t picture);

  // One frame into memory of the process, or into a dma-buf, at least frame_bytes() long. 0 or a
  // negative errno.
  int capture(void* data, size_t bytes);
  int capture_dma_buf(int fd, size_t bytes);
  // One frame in the driver's own memory, mapped, for as long as `use` runs.
  int capture_mapped(const std::function<void(const uint8_t* frame)>& use);
  // A copy of that: what a frame should be.
  std::vector<uint8_t> frame();

  // The two halves of these, `memory` being one of V4L2_MEMORY_: in between it streams, and holds
  // the buffer. 0 or a negative errno.
  int begin(uint32_t memory, void* data, int fd, size_t bytes);
  int end();
  // Waits for the frame, which is the driver's until end().
  int filled();

 private:
  int fd_ = -1;
  uint32_t memory_ = 0;
  size_t frame_bytes_ = 0;
  std::string missing_;
};

}  // namespace godwit::guest
