// SPDX-License-Identifier: MIT
// What every guest test needs: the device, memory of every kind, and bytes that can be checked.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "godwit_drm.h"

namespace godwit::guest {

inline constexpr size_t kPage = 4096;
inline constexpr size_t kHuge = size_t{2} << 20;

// A render node of godwit.ko. All calls answer 0 or a negative errno.
class Device {
 public:
  // The nth device of the VM, in the order of their registration. Fails the test where there is none.
  explicit Device(int index = 0);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  static int count();

  int fd() const { return fd_; }
  void close();

  template <typename Args>
  int call(unsigned long request, Args* args) const {
    return raw(request, args);
  }

  drm_godwit_device_info info() const;
  drm_godwit_limits limits() const;
  uint64_t stat(drm_godwit_stat which, bool of_device = false) const;

  // Moves a range, and expects the call itself to succeed.
  drm_godwit_migrate migrate(const void* addr, size_t length, uint32_t to, uint32_t flags = 0,
                             std::vector<uint8_t>* reasons = nullptr) const;
  drm_godwit_migrate to_vram(const void* addr, size_t length, uint32_t flags = 0) const {
    return migrate(addr, length, GODWIT_PLACE_VRAM, flags);
  }
  drm_godwit_migrate to_ram(const void* addr, size_t length, uint32_t flags = 0) const {
    return migrate(addr, length, GODWIT_PLACE_SYSTEM, flags);
  }
  drm_godwit_evict evict(uint32_t what, const void* addr = nullptr, size_t length = 0,
                         uint32_t client = 0) const;
  drm_godwit_residency residency(const void* addr, size_t length,
                                 std::vector<uint32_t>* pages = nullptr) const;

  // As it answers. Without a handle the pin stays until the mirror ends.
  int pin(const void* addr, size_t length, uint32_t place, uint32_t* handle = nullptr) const;
  int unpin(uint32_t handle) const;
  int advise(const void* addr, size_t length, uint32_t advice, uint32_t value) const;
  // Expects the call itself to succeed.
  drm_godwit_discard discard(const void* addr, size_t length) const;

  // Pages of a range that are in the VRAM of this device.
  size_t in_vram(const void* addr, size_t length) const { return residency(addr, length).in_vram; }

 private:
  int raw(unsigned long request, void* args) const;
  void query(uint32_t what, void* answer, uint32_t size) const;
  int fd_ = -1;
};

// A device of godwit_soft that comes and goes with the object.
class SoftDevice {
 public:
  // As the module parameter takes it: "private:16M".
  explicit SoftDevice(const std::string& spec);
  ~SoftDevice();
  SoftDevice(const SoftDevice&) = delete;
  SoftDevice& operator=(const SoftDevice&) = delete;

  // As if it were unplugged.
  void remove();
  // Its number, for Device.
  int index() const { return index_; }

 private:
  std::string name_;
  int index_ = 0;
};

// A mapping, unmapped at the end.
class Memory {
 public:
  enum Kind { kAnonymous, kHugePages, kShared, kHugetlb };

  explicit Memory(size_t bytes, Kind kind = kAnonymous);
  Memory(size_t bytes, int flags, int fd, int protection);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  uint8_t* page(size_t index) const { return data_ + index * kPage; }
  // The mapping is no longer ours.
  void release() { data_ = nullptr; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Processes that migrate memory of theirs and check it, one for each kind, until the device is gone. All have begun when it is
// made; at the end they must have seen it go (ENODEV), and each byte of theirs right.
class Migrators {
 public:
  Migrators(int device, const std::vector<Memory::Kind>& kinds);
  ~Migrators();
  Migrators(const Migrators&) = delete;
  Migrators& operator=(const Migrators&) = delete;

 private:
  [[noreturn]] static void work(int device, Memory::Kind kind, uint64_t seed, int started);
  std::vector<pid_t> children_;
};

// Fills a range with bytes that depend on the seed and on the offset, and checks them.
void fill(void* data, size_t bytes, uint64_t seed);
// The offset of the first 8 bytes that are not those of fill(), or -1.
ptrdiff_t differs(const void* data, size_t bytes, uint64_t seed);
bool all_zero(const void* data, size_t bytes);

// Runs `body` in a child and answers its wait status. A failed expectation in it is exit status 1.
int in_child(const std::function<void()>& body);
// The same in `count` children at a time, each with its number; all are expected to exit well.
void in_children(uint64_t count, const std::function<void(uint64_t)>& body);
bool exited_well(int status);

// Keeps this thread on one processor until it is told of another one; at the end it may run where it could before.
class Processor {
 public:
  Processor();
  ~Processor();
  Processor(const Processor&) = delete;
  Processor& operator=(const Processor&) = delete;
  static void run_on(int number);
  // Frees memory (MADV_FREE) on one processor, and goes on on another: what the kernel is told of pages waits in lists of the
  // processor that was told, which hold the pages (core/drain.c), here what is left over of lists of 31.
  void free_elsewhere(const Memory& memory) const;

 private:
  cpu_set_t before_;
};

// Does `body` again and again in another thread, until `times` of what it answers have come together and it is destroyed.
class Meanwhile {
 public:
  Meanwhile(uint64_t times, std::function<uint64_t()> body)
      : thread_([this, times, body = std::move(body)] {
          uint64_t done = 0;
          while (done < times || !enough_) {
            done += body();
            if (done >= times) seen_ = true;
          }
        }) {}
  ~Meanwhile() {
    enough_ = true;
    thread_.join();
  }
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;
  bool seen() const { return seen_; }

 private:
  std::atomic<bool> enough_{false}, seen_{false};
  std::thread thread_;
};

// Whether it is so within a minute, for a machine that is busy; looks every millisecond.
bool soon(const std::function<bool()>& is_so);

// The signal that `body` raises in this process, 0 for none. Only synchronous ones.
int signal_of(const std::function<void()>& body);

// A temporary file of `bytes`, already unlinked, filled with fill(seed).
int temporary_file(size_t bytes, uint64_t seed, const char* folder = "/tmp");

// Whether the pages of the mapping at `data` are huge ones (AnonHugePages).
size_t huge_kib(const void* data);

std::string read_file(const std::string& path);
// 0 or a negative errno.
int write_file(const std::string& path, const std::string& text);

// A test on the first device: fails where VRAM is not as free afterwards as it was before.
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  Device gpu_;

 private:
  uint64_t free_before_ = 0;
};

// VRAM that is free, once it is at least `bytes`, or after a minute: pages are freed by whoever
// drops the last reference, which may be later than the call that caused it.
uint64_t wait_for_free(const Device& device, uint64_t bytes);

}  // namespace godwit::guest

#define EXPECT_BYTES(data, bytes, seed) \
  EXPECT_EQ(::godwit::guest::differs(data, bytes, seed), -1) << "seed " << (seed)
