// SPDX-License-Identifier: MIT
// io_uring with one request at a time.
#pragma once

#include <liburing.h>

#include <cstddef>

namespace godwit::guest {

class Uring {
 public:
  // Fails the test where there is no io_uring.
  Uring();
  ~Uring();
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  // Registers one fixed buffer, which pins it until the ring ends or unfix(). 0 or a negative
  // errno.
  int fix(void* data, size_t bytes);
  int unfix();

  // Bytes, or a negative errno. `fixed`: within the buffer of fix().
  int read(int file, void* data, size_t bytes, size_t offset, bool fixed = false);
  int write(int file, const void* data, size_t bytes, size_t offset, bool fixed = false);

 private:
  int complete();
  io_uring ring_ = {};
  bool made_ = false;
};

}  // namespace godwit::guest
