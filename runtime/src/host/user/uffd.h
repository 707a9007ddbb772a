// SPDX-License-Identifier: MIT
// A userfaultfd and a pagemap: opening them with whatever the system allows, and their calls with
// partial results and EAGAIN handled. No policy, no threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "godwit/result.h"
#include "runtime/src/host/host_memory.h"

namespace godwit {

enum class HostLevelWish : std::uint8_t { kAuto, kFull, kResident };

/// While it lives, this thread's calls that meet a fork under way answer at once: for a thread that
/// may have to read the fork's event.
class AtOnceScope {
 public:
  AtOnceScope() noexcept;
  ~AtOnceScope();
  AtOnceScope(const AtOnceScope&) = delete;
  AtOnceScope& operator=(const AtOnceScope&) = delete;
};

/// Owns the descriptors. Calls answer 0 or a negative errno and never allocate.
class Uffd {
 public:
  /// Errors: kUnavailable with a reason for each way that was tried.
  [[nodiscard]] static Result<Uffd> open(HostLevelWish wish);
  ~Uffd();
  Uffd(Uffd&& other) noexcept;
  Uffd& operator=(Uffd&&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] const HostInfo& info() const noexcept { return info_; }
  [[nodiscard]] bool fork_events() const noexcept { return fork_events_; }

  [[nodiscard]] int add_range(std::byte* address, std::size_t bytes, bool missing) noexcept;
  [[nodiscard]] int remove_range(std::byte* address, std::size_t bytes) noexcept;
  /// `to` has none of its pages when this is called; wakes whoever waits there. *moved is exact, also
  /// where Linux 6.18's answer is not (docs/decisions/0007).
  [[nodiscard]] int move(std::byte* to, std::byte* from, std::size_t bytes,
                         std::size_t* moved) noexcept;
  [[nodiscard]] int copy(std::byte* to, const std::byte* from, std::size_t bytes, bool protect,
                         std::size_t* copied) noexcept;
  [[nodiscard]] int zero(std::byte* address, std::size_t bytes) noexcept;
  [[nodiscard]] int poison(std::byte* address, std::size_t bytes) noexcept;
  [[nodiscard]] int protect(std::byte* address, std::size_t bytes, bool on) noexcept;
  [[nodiscard]] int wake(std::byte* address, std::size_t bytes) noexcept;
  /// One entry a page: whether it is in one of `categories`. `rearm`: PM_SCAN_WP_MATCHING.
  [[nodiscard]] int scan(std::byte* address, std::span<std::uint8_t> pages,
                         std::uint64_t categories, bool rearm) noexcept;
  /// Closes the descriptors without a word to the kernel's other owner: for a forked child.
  void abandon() noexcept;

  /// The same through any userfaultfd, the child's of a fork event too.
  [[nodiscard]] static int poison_through(int fd, std::byte* address, std::size_t bytes) noexcept;
  [[nodiscard]] static int copy_through(int fd, std::byte* to, const std::byte* from,
                                        std::size_t bytes, bool protect,
                                        std::size_t* copied) noexcept;

 private:
  /// Bytes from the start of the ranges that have changed sides without having been counted.
  [[nodiscard]] std::size_t uncounted(std::byte* to, std::byte* from, std::size_t bytes) noexcept;
  Uffd(int fd, int pagemap) : fd_(fd), pagemap_(pagemap) {}
  int fd_ = -1;
  int pagemap_ = -1;
  bool fork_events_ = false;
  HostInfo info_;
};

}  // namespace godwit
