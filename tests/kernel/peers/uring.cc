// SPDX-License-Identifier: MIT
#include "tests/kernel/peers/uring.h"

#include <gtest/gtest.h>

#include <cstring>

namespace godwit::guest {

Uring::Uring() {
  const int status = io_uring_queue_init(4, &ring_, 0);
  made_ = status == 0;
  EXPECT_TRUE(made_) << "io_uring: " << strerror(-status);
}

Uring::~Uring() {
  if (made_) io_uring_queue_exit(&ring_);
}

int Uring::fix(void* data, size_t bytes) {
  const iovec buffer = {data, bytes};
  return io_uring_register_buffers(&ring_, &buffer, 1);
}

int Uring::unfix() { return io_uring_unregister_buffers(&ring_); }

int Uring::read(int file, void* data, size_t bytes, size_t offset, bool fixed) {
  io_uring_sqe* request = io_uring_get_sqe(&ring_);
  const auto length = static_cast<unsigned>(bytes);
  if (fixed) {
    io_uring_prep_read_fixed(request, file, data, length, offset, 0);
  } else {
    io_uring_prep_read(request, file, data, length, offset);
  }
  return complete();
}

int Uring::write(int file, const void* data, size_t bytes, size_t offset, bool fixed) {
  io_uring_sqe* request = io_uring_get_sqe(&ring_);
  const auto length = static_cast<unsigned>(bytes);
  if (fixed) {
    io_uring_prep_write_fixed(request, file, data, length, offset, 0);
  } else {
    io_uring_prep_write(request, file, data, length, offset);
  }
  return complete();
}

int Uring::complete() {
  int status = io_uring_submit_and_wait(&ring_, 1);
  if (status < 0) return status;
  io_uring_cqe* done = nullptr;
  status = io_uring_wait_cqe(&ring_, &done);
  if (status < 0) return status;
  const int result = done->res;
  io_uring_cqe_seen(&ring_, done);
  return result;
}

}  // namespace godwit::guest
