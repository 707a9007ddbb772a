// SPDX-License-Identifier: MIT
// How much VRAM the commands that are under way were promised. Two that need more than there is
// together would take it from each other page by page.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace godwit::kernel {

/// Thread-safe. A leaf.
class Admission {
 public:
  /// Takes `bytes` out of `capacity`; waits until others let go, `patience` at most. Which of several
  /// waiters is next is not defined. False: not in that time.
  [[nodiscard]] bool enter(std::uint64_t bytes, std::uint64_t capacity,
                           std::chrono::milliseconds patience) {
    std::unique_lock guard(mutex_);
    const auto fits = [&] { return bytes <= capacity && held_ <= capacity - bytes; };
    if (!left_.wait_for(guard, patience, fits)) return false;
    held_ += bytes;
    return true;
  }
  void leave(std::uint64_t bytes) {
    {
      const std::lock_guard guard(mutex_);
      held_ -= bytes;
    }
    left_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  std::uint64_t held_ = 0;
};

}  // namespace godwit::kernel
