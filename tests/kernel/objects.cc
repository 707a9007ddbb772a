// SPDX-License-Identifier: MIT
#include "tests/kernel/objects.h"

#include <fcntl.h>
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

// The driver's answer: 0 or a negative errno.
static int describe(const Device& device, uint32_t handle, drm_godwit_gem_info* args) {
  *args = {};
  args->handle = handle;
  return device.call(DRM_IOCTL_GODWIT_GEM_INFO, args);
}

Object::Object(const Device& device, size_t size, uint32_t place, uint32_t flags) : device_(device), size_(size) {
  drm_godwit_gem_create args;
  const int status = create(device, size, place, flags, &args);
  if (status != 0) {
    ADD_FAILURE() << "GEM_CREATE of " << size << " bytes: " << strerror(-status);
    return;
  }
  handle_ = args.handle;
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, device.fd(), static_cast<off_t>(args.map_offset));
  if (at == MAP_FAILED) {
    ADD_FAILURE() << "mmap of an object: " << strerror(errno);
    return;
  }
  data_ = static_cast<uint8_t*>(at);
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
  drm_godwit_gem_info args;
  EXPECT_EQ(describe(device_, handle_, &args), 0);
  return args;
}

int Object::find(uint32_t* place) const {
  drm_godwit_gem_info args;
  const int status = describe(device_, handle_, &args);
  if (status == 0) *place = args.place;
  return status;
}

int Object::move(uint32_t place) const {
  drm_godwit_gem_move args = {};
  args.handle = handle_;
  args.place = place;
  return device_.call(DRM_IOCTL_GODWIT_GEM_MOVE, &args);
}

int Object::dma_buf(bool writable) const {
  drm_prime_handle args = {};
  args.handle = handle_;
  args.flags = DRM_CLOEXEC | (writable ? DRM_RDWR : 0u);
  const int status = device_.call(DRM_IOCTL_PRIME_HANDLE_TO_FD, &args);
  return status != 0 ? status : args.fd;
}

}  // namespace godwit::guest
