// SPDX-License-Identifier: MIT
#include "runtime/src/base/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

namespace godwit {

int out_of_the_way(int fd) noexcept {
  constexpr int kFirst = 512;
  if (fd < 0) return fd;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirst);
  if (moved < 0) return fd;  // a low limit on descriptors: better a low one than none
  ::close(fd);
  return moved;
}

}  // namespace godwit
