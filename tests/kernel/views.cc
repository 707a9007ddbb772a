// SPDX-License-Identifier: MIT
#include "tests/kernel/views.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace godwit::guest {

int make_view(const Device& device, const void* data, size_t bytes, uint32_t flags) {
  drm_godwit_view args = {};
  args.addr = reinterpret_cast<uintptr_t>(data);
  args.length = bytes;
  args.flags = flags;
  const int error = device.call(DRM_IOCTL_GODWIT_VIEW, &args);
  return error != 0 ? error : args.fd;
}

View::View(const Device& device, const Memory& memory, uint32_t flags, int protection)
    : fd_(make_view(device, memory.data(), memory.size(), flags)), owned_(true), size_(memory.size()) {
  map(protection);
}

View::View(int fd, size_t bytes, int protection) : fd_(fd), size_(bytes) { map(protection); }

void View::map(int protection) {
  if (fd_ < 0) {
    ADD_FAILURE() << "view: " << strerror(-fd_);
    return;
  }
  void* at = mmap(nullptr, size_, protection, MAP_SHARED, fd_, 0);
  if (at == MAP_FAILED) {
    ADD_FAILURE() << "mmap of a view: " << strerror(errno);
    return;
  }
  data_ = static_cast<uint8_t*>(at);
}

View::~View() {
  if (data_ != nullptr) munmap(data_, size_);
  if (owned_ && fd_ >= 0) close(fd_);
}

}  // namespace godwit::guest
