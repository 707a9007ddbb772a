// SPDX-License-Identifier: MIT
// io_uring for tests: one request in flight at a time, and one registered buffer at most.
#pragma once

#include <liburing.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace godwit::contract {

/// A ring with one request in flight at a time.
class Ring {
 public:
  Ring() { error_ = ::io_uring_queue_init(8, &ring_, 0); }
  ~Ring() {
    if (error_ == 0) ::io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  [[nodiscard]] int error() const { return error_; }

  [[nodiscard]] int lend(std::byte* base, std::size_t bytes) {
    const iovec buffer{base, bytes};
    return ::io_uring_register_buffers(&ring_, &buffer, 1);
  }
  [[nodiscard]] int take_back() { return ::io_uring_unregister_buffers(&ring_); }

  enum class Buffer { kOrdinary, kFixed };
  [[nodiscard]] int read(int fd, std::byte* to, std::size_t bytes, std::uint64_t at,
                         Buffer buffer) {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
    const auto size = static_cast<unsigned>(bytes);
    if (buffer == Buffer::kFixed) {
      ::io_uring_prep_read_fixed(entry, fd, to, size, at, 0);
    } else {
      ::io_uring_prep_read(entry, fd, to, size, at);
    }
    return finish();
  }
  [[nodiscard]] int write(int fd, const std::byte* from, std::size_t bytes, std::uint64_t at,
                          Buffer buffer) {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
    const auto size = static_cast<unsigned>(bytes);
    if (buffer == Buffer::kFixed) {
      ::io_uring_prep_write_fixed(entry, fd, from, size, at, 0);
    } else {
      ::io_uring_prep_write(entry, fd, from, size, at);
    }
    return finish();
  }

 private:
  [[nodiscard]] int finish() {
    const int submitted = ::io_uring_submit(&ring_);
    if (submitted != 1) return submitted < 0 ? submitted : -EIO;
    io_uring_cqe* done = nullptr;
    int error = ::io_uring_wait_cqe(&ring_, &done);
    while (error == -EINTR) error = ::io_uring_wait_cqe(&ring_, &done);
    if (error != 0) return error;
    const int result = done->res;
    ::io_uring_cqe_seen(&ring_, done);
    return result;
  }

  io_uring ring_{};
  int error_ = 0;
};

}  // namespace godwit::contract
