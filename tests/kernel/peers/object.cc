// SPDX-License-Identifier: MIT
#include "tests/kernel/peers/object.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace godwit::guest {

Object::Object(const Device& device, size_t bytes, uint32_t place) : device_(device), size_(bytes) {
  drm_godwit_gem_create args = {};
  args.size = bytes;
  args.place = place;
  const int status = device.call(DRM_IOCTL_GODWIT_GEM_CREATE, &args);
  if (status != 0) {
    ADD_FAILURE() << "GEM_CREATE of " << bytes << " bytes: " << strerror(-status);
    return;
  }
  handle_ = args.handle;
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device.fd(),
                  static_cast<off_t>(args.map_offset));
  if (at == MAP_FAILED) {
    ADD_FAILURE() << "mmap of an object: " << strerror(errno);
    return;
  }
  data_ = static_cast<uint8_t*>(at);
}

Object::~Object() {
  if (data_ != nullptr) munmap(data_, size_);
  drm_gem_close args = {};
  args.handle = handle_;
  if (handle_ != 0) device_.call(DRM_IOCTL_GEM_CLOSE, &args);
}

uint32_t Object::place() const {
  uint32_t place = GODWIT_PLACE_NONE;
  EXPECT_EQ(find(&place), 0);
  return place;
}

int Object::find(uint32_t* place) const {
  drm_godwit_gem_info args = {};
  args.handle = handle_;
  const int status = device_.call(DRM_IOCTL_GODWIT_GEM_INFO, &args);
  if (status == 0) *place = args.place;
  return status;
}

int Object::move(uint32_t place) const {
  drm_godwit_gem_move args = {};
  args.handle = handle_;
  args.place = place;
  return device_.call(DRM_IOCTL_GODWIT_GEM_MOVE, &args);
}

int Object::dma_buf() const {
  drm_prime_handle args = {};
  args.handle = handle_;
  args.flags = DRM_CLOEXEC | DRM_RDWR;
  const int status = device_.call(DRM_IOCTL_PRIME_HANDLE_TO_FD, &args);
  return status != 0 ? status : args.fd;
}

}  // namespace godwit::guest
