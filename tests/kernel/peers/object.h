// SPDX-License-Identifier: MIT
// Objects: VRAM that is asked for by name, mapped.
#pragma once

#include "tests/kernel/guest.h"

namespace godwit::guest {

// A GEM object and its mapping. Fails the test where it cannot be made.
class Object {
 public:
  Object(const Device& device, size_t bytes, uint32_t place = GODWIT_PLACE_VRAM);
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  explicit operator bool() const { return data_ != nullptr; }
  uint8_t* data() const { return data_; }
  uint8_t* page(size_t index) const { return data_ + index * kPage; }
  size_t size() const { return size_; }

  // An enum drm_godwit_place. The second answers 0 or a negative errno, for when the device may be gone.
  uint32_t place() const;
  int find(uint32_t* place) const;
  // 0 or a negative errno.
  int move(uint32_t place) const;
  // A dma-buf of it, the caller's to close; or a negative errno.
  int dma_buf() const;

 private:
  const Device& device_;
  size_t size_;
  uint32_t handle_ = 0;
  uint8_t* data_ = nullptr;
};

}  // namespace godwit::guest
