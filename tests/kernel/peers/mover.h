// SPDX-License-Identifier: MIT
// Something that never rests: a thread that moves memory or an object to VRAM and back.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "tests/kernel/guest.h"
#include "tests/kernel/objects.h"

namespace godwit::guest {

class Mover {
 public:
  // In pieces of 64 KiB, each to VRAM and, one round later, home; both ways at any time. Between
  // two pieces it pauses.
  Mover(const Device& device, void* data, size_t bytes, std::chrono::microseconds pause = {});
  // As a whole.
  explicit Mover(const Object& object, std::chrono::microseconds pause = {});
  ~Mover();
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  // Pages (moves of an object) so far.
  uint64_t moved() const { return moved_; }
  void stop();

 private:
  void start(std::function<uint64_t(uint64_t)> step, std::chrono::microseconds pause);
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> moved_{0};
  std::thread thread_;
};

}  // namespace godwit::guest
