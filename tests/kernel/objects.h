// SPDX-License-Identifier: MIT
// Objects of a device (GEM), mapped.
#pragma once

#include "tests/kernel/guest.h"

namespace godwit::guest {

// Both answer 0 or a negative errno.
int create(const Device& device, size_t size, uint32_t place, uint32_t flags, drm_godwit_gem_create* args);
int close_handle(const Device& device, uint32_t handle);

// An object and its mapping; fails the test where it cannot be made.
class Object {
 public:
  explicit Object(const Device& device, size_t size, uint32_t place = GODWIT_PLACE_VRAM, uint32_t flags = 0);
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  explicit operator bool() const { return data_ != nullptr; }
  uint8_t* data() const { return data_; }
  uint8_t* page(size_t index) const { return data_ + index * kPage; }
  size_t size() const { return size_; }
  uint32_t handle() const { return handle_; }
  // The mapping stays.
  void close();

  drm_godwit_gem_info info() const;
  // An enum drm_godwit_place. The second answers 0 or a negative errno, for when the device may be gone.
  uint32_t place() const { return info().place; }
  int find(uint32_t* place) const;
  // 0 or a negative errno.
  int move(uint32_t place) const;
  // A dma-buf of it, the caller's to close; or a negative errno. The object has one; the first call says whether it can be
  // written to.
  int dma_buf(bool writable = true) const;

 private:
  const Device& device_;
  size_t size_;
  uint32_t handle_ = 0;
  uint8_t* data_ = nullptr;
};

}  // namespace godwit::guest
