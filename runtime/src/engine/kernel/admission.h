// SPDX-License-Identifier: MIT
// How much VRAM the commands that are under way were promised. Two that need more than there is
// together would take it from each other page by page.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>

namespace godwit::kernel {

/// Thread-safe. A leaf.
class Admission {
 public:
  /// Takes `bytes` out of `capacity`; waits until others let go, `patience` at most. Nobody
  /// overtakes a waiter for whom there is room, such as a thread that has just let go and asks
  /// again; those who must wait longer are overtaken, as they may wait for the very thread that
  /// asks. False: not in that time.
  [[nodiscard]] bool enter(std::uint64_t bytes, std::uint64_t capacity,
                           std::chrono::milliseconds patience) {
    std::unique_lock guard(mutex_);
    const auto fits = [&](std::uint64_t more) {
      return more <= capacity && held_ <= capacity - more;
    };
    bool entered = false;
    if (patience == patience.zero()) {
      entered = fits(bytes);
    } else {
      const auto mine = waiting_.insert(waiting_.end(), bytes);
      entered = left_.wait_for(guard, patience, [&] {
        return fits(bytes) && std::none_of(waiting_.begin(), mine, fits);
      });
      waiting_.erase(mine);
      left_.notify_all();  // those behind this one may be next
    }
    if (entered) held_ += bytes;
    return entered;
  }
  /// How many wait.
  [[nodiscard]] std::size_t waiting() const {
    const std::lock_guard guard(mutex_);
    return waiting_.size();
  }
  void leave(std::uint64_t bytes) {
    {
      const std::lock_guard guard(mutex_);
      held_ -= bytes;
    }
    left_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable left_;
  std::uint64_t held_ = 0;
  std::list<std::uint64_t> waiting_;  // what each asks for, in the order in which they came
};

}  // namespace godwit::kernel
