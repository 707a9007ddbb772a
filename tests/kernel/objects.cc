// SPDX-License-Identifier: MIT
#include "tests/kernel/objects.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace godwit::guest {

int create(const Device& device, size_t size, uint32_t place, uint32_t flags, drm_godwit_gem_create* args) {
  *args = {};
  args->size = size;
  args->place = place;
  args->flags = flags;
  return device.call(DRM_IOCTL_GODWIT_GEM_CREATE, args);
}

int close_handle(const Device& device, uint32_t handle) {
  drm_gem_close args = {};
  args.handle = handle;
  return device.call(DRM_IOCTL_GEM_CLOSE, &args);
}

Object::Object(const Device& device, size_t size, uint32_t place, uint32_t flags) : device_(device), size_(size) {
  drm_godwit_gem_create args;
  EXPECT_EQ(create(device, size, place, flags, &args), 0);
  handle_ = args.handle;
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, device.fd(), static_cast<off_t>(args.map_offset));
  EXPECT_NE(at, MAP_FAILED) << strerror(errno);
  data_ = at == MAP_FAILED ? nullptr : static_cast<uint8_t*>(at);
}

Object::~Object() {
  if (data_ != nullptr) munmap(data_, size_);
  if (handle_ != 0) close_handle(device_, handle_);
}

void Object::close() {
  EXPECT_EQ(close_handle(device_, handle_), 0);
  handle_ = 0;
}

drm_godwit_gem_info Object::info() const {
  drm_godwit_gem_info args = {};
  args.handle = handle_;
  EXPECT_EQ(device_.call(DRM_IOCTL_GODWIT_GEM_INFO, &args), 0);
  return args;
}

int Object::move(uint32_t place) const {
  drm_godwit_gem_move args = {};
  args.handle = handle_;
  args.place = place;
  return device_.call(DRM_IOCTL_GODWIT_GEM_MOVE, &args);
}

}  // namespace godwit::guest
