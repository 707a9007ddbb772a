// SPDX-License-Identifier: MIT
// Views: a range as the device sees it, mapped.
#pragma once

#include <sys/mman.h>

#include "tests/kernel/guest.h"

namespace godwit::guest {

// The dma-buf of a view, or a negative errno.
int make_view(const Device& device, const void* data, size_t bytes, uint32_t flags = 0);

// A mapping of a dma-buf.
class View {
 public:
  // Of a range; fails the test where it cannot be made or mapped.
  View(const Device& device, const Memory& memory, uint32_t flags = 0,
       int protection = PROT_READ | PROT_WRITE);
  // Of a dma-buf, whose descriptor stays the caller's.
  View(int fd, size_t bytes, int protection = PROT_READ | PROT_WRITE);
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  uint8_t* data() const { return data_; }
  uint8_t* page(size_t index) const { return data_ + index * kPage; }
  size_t size() const { return size_; }
  int fd() const { return fd_; }

 private:
  void map(int protection);
  int fd_ = -1;
  bool owned_ = false;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace godwit::guest
