// SPDX-License-Identifier: MIT
// A peer that really moves data (tests/kernel/edu), and exports for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/kernel/edu/edu_uapi.h"
#include "tests/kernel/guest.h"

namespace godwit::guest {

// The dma-buf of a range, closed at the end.
class Export {
 public:
  Export(const Device& device, const void* addr, size_t length);
  ~Export();
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;

  int fd() const { return fd_; }
  uint64_t offset() const { return offset_; }
  void close();

 private:
  int fd_ = -1;
  uint64_t offset_ = 0;
};

// One of QEMU's edu devices. A transfer takes it 100 ms. Calls answer 0 or a negative errno.
class Edu {
 public:
  // The nth of the VM: those below the switch come first.
  explicit Edu(int number = 0);
  ~Edu();
  Edu(const Edu&) = delete;
  Edu& operator=(const Edu&) = delete;

  // Loads its driver, and says why not where it cannot be had.
  static bool load();
  static bool loaded();
  // How many there are in all.
  static int count();

  int fd() const { return fd_; }
  int import(int dmabuf, uint32_t mode = EDU_DYNAMIC) const;
  int release() const { return import(-1); }
  // dma_buf_pin(), of one that can follow.
  int pin() const;
  int unpin() const;
  // Two transfers at the same time, each in its direction, so often; by the helpers.
  int turns(uint32_t rounds) const;
  // Bytes of the memory; `address` is the DMA address that was used.
  int read(uint64_t offset, void* to, size_t length, uint64_t* address = nullptr) const;
  int write(uint64_t offset, const void* from, size_t length, uint64_t* address = nullptr) const;
  // As write(), with EDU_UNTIL_TOLD or EDU_UNTIL_ASKED.
  int write_until(uint32_t flags, uint64_t offset, const void* from, size_t length) const;
  int copy(uint64_t from, uint64_t to, size_t length) const;
  edu_counts counts() const;
  // Waits until it has begun more transfers than that, and says how many.
  int await(uint64_t* begun) const;
  // Ends a transfer of EDU_UNTIL_ASKED.
  int finish() const;

 private:
  int transfer(unsigned long request, edu_transfer* args, uint64_t* address) const;
  int fd_ = -1;
};

// Memory that comes and goes in the background: pages that somebody gave up become its pages, are filled with a pattern, and
// have to keep it. A DMA to a page that was given up shows here.
class Bait {
 public:
  Bait();
  ~Bait();
  Bait(const Bait&) = delete;
  Bait& operator=(const Bait&) = delete;

 private:
  struct State;
  State* state_;
};

// Sends and takes a descriptor over a socket.
void send_descriptor(int socket, int descriptor);
int take_descriptor(int socket);

}  // namespace godwit::guest
