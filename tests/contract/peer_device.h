// SPDX-License-Identifier: MIT
// A device that is driven from user space and has pages pinned: what the tests of peers do DMA
// with. Over the fake host it stores to pages without a fault, as a bus does; elsewhere it is
// io_uring, whose fixed buffers are pinned pages that the kernel reads and writes without the
// program's page table.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>

#include "runtime/src/host/fake/fake_host.h"
#include "tests/contract/ring.h"

namespace godwit::contract {

class PeerDevice {
 public:
  /// `host`: not null over the fake engine.
  explicit PeerDevice(FakeHost* host) : host_(host) {
    if (host_ == nullptr) file_ = ::memfd_create("godwit-peer", MFD_CLOEXEC);
  }
  ~PeerDevice() {
    (void)let_go();
    if (file_ >= 0) ::close(file_);
  }
  PeerDevice(const PeerDevice&) = delete;
  PeerDevice& operator=(const PeerDevice&) = delete;

  /// A negative errno: there is no io_uring here.
  [[nodiscard]] int error() const { return host_ != nullptr ? 0 : ring_.error(); }
  [[nodiscard]] bool registered() const { return !pages_.empty(); }

  /// Pins the pages. 0 or a negative errno.
  [[nodiscard]] int take(std::span<std::byte> pages) {
    int error = 0;
    if (host_ != nullptr) {
      error = host_->touch(pages.data(), pages.size(), true);
      if (error == 0) host_->pin(pages.data(), pages.size(), true);
    } else {
      error = ring_.lend(pages.data(), pages.size());
    }
    if (error == 0) pages_ = pages;
    return error;
  }
  int let_go() {
    if (pages_.empty()) return 0;
    if (host_ != nullptr) {
      host_->pin(pages_.data(), pages_.size(), false);
      pages_ = {};
      return 0;
    }
    pages_ = {};
    return ring_.take_back();
  }

  /// DMA: stores `from` at `to`, which is within the registered pages.
  [[nodiscard]] int write_to(std::byte* to, std::span<const std::byte> from) {
    if (host_ != nullptr) {
      std::memcpy(to, from.data(), from.size());
      return 0;
    }
    if (::pwrite(file_, from.data(), from.size(), 0) != static_cast<ssize_t>(from.size())) {
      return -errno;
    }
    return whole(ring_.read(file_, to, from.size(), 0, Ring::Buffer::kFixed), from.size());
  }
  /// DMA: loads from the registered pages.
  [[nodiscard]] int read_from(const std::byte* from, std::span<std::byte> to) {
    if (host_ != nullptr) {
      std::memcpy(to.data(), from, to.size());
      return 0;
    }
    const int error =
        whole(ring_.write(file_, from, to.size(), 0, Ring::Buffer::kFixed), to.size());
    if (error != 0) return error;
    return ::pread(file_, to.data(), to.size(), 0) == static_cast<ssize_t>(to.size()) ? 0 : -errno;
  }

 private:
  [[nodiscard]] static int whole(int result, std::size_t bytes) {
    return result < 0 ? result : static_cast<std::size_t>(result) == bytes ? 0 : -EIO;
  }

  FakeHost* host_;
  Ring ring_;
  int file_ = -1;
  std::span<std::byte> pages_;
};

}  // namespace godwit::contract
