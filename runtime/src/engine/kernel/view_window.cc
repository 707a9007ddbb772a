// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/view_window.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "godwit/units.h"
#include "runtime/src/base/descriptor.h"

namespace godwit::kernel {
namespace {

/// Behind the last address of a program (x86-64 with four levels; more needs a hint that nobody gives).
constexpr std::uintptr_t kTopAddress = (std::uintptr_t{1} << 47) - kPageBytes;

std::byte* reserve(std::size_t bytes) noexcept {
  void* at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

}  // namespace

Result<std::unique_ptr<ViewWindow>> ViewWindow::create(const Driver& driver) {
  for (std::size_t slots = kSlots; slots != 0; slots /= 2) {
    std::byte* base = reserve(slots * kSlotBytes);
    if (base == nullptr) continue;
    (void)::madvise(base, slots * kSlotBytes, MADV_DONTFORK);
    return std::unique_ptr<ViewWindow>(new ViewWindow(driver, base, slots * kSlotBytes));
  }
  return fail(Code::kOutOfMemory, "no address space of 1 GiB for views of the device; ulimit -v");
}

ViewWindow::~ViewWindow() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
  for (const int fd : fds_) ::close(fd);
}

Result<std::uint64_t> ViewWindow::offset_of(std::uintptr_t address) {
  if (address == 0 || address >= kTopAddress) {
    return fail(Code::kInvalidArgument, "there is no memory of a program at address " +
                                            std::to_string(address));
  }
  const std::lock_guard guard(mutex_);
  const std::uintptr_t index = address / kSlotBytes;
  if (const auto found = slot_of_.find(index); found != slot_of_.end()) {
    return found->second * kSlotBytes + address % kSlotBytes;
  }
  const std::size_t slot = fds_.size();
  if (slot == bytes_ / kSlotBytes) {
    return fail(Code::kOutOfMemory, "the memory that the device used lies in more than " +
                                        std::to_string(slot) + " places of 1 GiB");
  }
  const std::uintptr_t start = index * kSlotBytes;
  const std::size_t bytes = std::min<std::size_t>(kSlotBytes, kTopAddress - start);
  const int fd = out_of_the_way(driver_.view(start, bytes));
  if (fd < 0) {
    return fail(fd == -ENODEV ? Code::kDeviceLost : Code::kOutOfMemory,
                driver_.path() + ": no view of the device: " + std::strerror(-fd));
  }
  std::byte* at = base_ + slot * kSlotBytes;
  if (::mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const int error = errno;
    ::close(fd);
    return fail(Code::kOutOfMemory, "a view of the device cannot be mapped: " +
                                        std::string(std::strerror(error)));
  }
  // A child would see its parent's memory.
  (void)::madvise(at, bytes, MADV_DONTFORK);
  fds_.push_back(fd);
  slot_of_[index] = slot;
  return slot * kSlotBytes + address % kSlotBytes;
}

int ViewWindow::slot_fd(std::size_t slot) const noexcept {
  const std::lock_guard guard(mutex_);
  if (slot >= fds_.size()) return -ENOENT;
  const int copy = ::fcntl(fds_[slot], F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? -errno : copy;
}

}  // namespace godwit::kernel
