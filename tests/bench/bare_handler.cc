// SPDX-License-Identifier: MIT
#include "tests/bench/bare_handler.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

namespace godwit::bench {
namespace {

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

int open_uffd() {
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) return static_cast<int>(::syscall(SYS_userfaultfd, kFlags));
  const int fd = ::ioctl(device, USERFAULTFD_IOC_NEW, kFlags);
  ::close(device);
  return fd;
}

}  // namespace

Result<std::unique_ptr<BareHandler>> BareHandler::start(std::byte* base, std::size_t bytes,
                                                        std::size_t unit, const std::byte* source) {
  const int fd = open_uffd();
  if (fd < 0) return fail_errno(errno, "userfaultfd");
  const int stop = ::eventfd(0, EFD_CLOEXEC);
  std::unique_ptr<BareHandler> handler(new BareHandler(fd, stop, unit, source));
  uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
  if (::ioctl(fd, UFFDIO_API, &api) != 0) return fail_errno(errno, "UFFDIO_API");
  uffdio_register range{};
  range.range = {.start = reinterpret_cast<std::uintptr_t>(base), .len = bytes};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (::ioctl(fd, UFFDIO_REGISTER, &range) != 0) return fail_errno(errno, "UFFDIO_REGISTER");
  handler->thread_ = std::thread([raw = handler.get()] { raw->serve(); });
  return handler;
}

BareHandler::~BareHandler() {
  const std::uint64_t one = 1;
  if (thread_.joinable() && ::write(stop_, &one, sizeof(one)) == sizeof(one)) thread_.join();
  ::close(stop_);
  ::close(fd_);
}

void BareHandler::serve() noexcept {
  std::array<pollfd, 2> wait = {{{fd_, POLLIN, 0}, {stop_, POLLIN, 0}}};
  while (true) {
    if (::poll(wait.data(), wait.size(), -1) < 0) continue;
    if ((wait[1].revents & POLLIN) != 0) return;
    uffd_msg message;
    if (::read(fd_, &message, sizeof(message)) != sizeof(message)) continue;
    uffdio_copy copy{.dst = message.arg.pagefault.address / unit_ * unit_,
                     .src = reinterpret_cast<std::uintptr_t>(source_),
                     .len = unit_,
                     .mode = 0,
                     .copy = 0};
    (void)::ioctl(fd_, UFFDIO_COPY, &copy);
  }
}

}  // namespace godwit::bench
