// SPDX-License-Identifier: MIT
// A user engine over a device as an application gets it, and plain memory to compare it with.
#pragma once

#include <cstddef>
#include <memory>

#include "runtime/src/engine/managed_engine.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::bench {

using DeviceFactory = Result<std::unique_ptr<Device>> (*)(const DeviceOptions&);

/// What the engines of this run have: the soft device, or with --device=vulkan a Vulkan one.
inline DeviceFactory the_device = make_soft_device;

struct WorldOptions {
  std::size_t vram = std::size_t{64} << 20;
  std::size_t pool = 0;  // rounded up to a block; 0: one block
  unsigned threads = 1;
  unsigned handlers = 2;
  FaultAround around{};
  std::size_t arena = std::size_t{4} << 30;
};

class World {
 public:
  [[nodiscard]] static Result<std::unique_ptr<World>> make(const WorldOptions& options);

  [[nodiscard]] ManagedEngine& engine() { return *engine_; }
  /// A new region in which every page was written.
  [[nodiscard]] std::byte* written_region(std::size_t bytes);
  /// Stores to all of VRAM, so that the system has given its memory out.
  void touch_vram();
  /// Moves the range; ends the process with a message where pages stayed behind.
  void move(const std::byte* base, std::size_t bytes, Place to);

 private:
  std::unique_ptr<Telemetry> telemetry_;
  std::unique_ptr<ManagedEngine> engine_;
};

/// Anonymous memory at a block's boundary, every page written.
class Plain {
 public:
  enum class Pages { kSmall, kHuge };
  Plain(std::size_t bytes, Pages pages);
  ~Plain();
  Plain(const Plain&) = delete;
  Plain& operator=(const Plain&) = delete;
  [[nodiscard]] std::byte* data() { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void* memory_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Prints why and ends the process: a benchmark that goes on would measure something else.
[[noreturn]] void give_up(const char* what, int error);

/// How many of these bytes are in huge pages now, by /proc/self/smaps.
[[nodiscard]] std::size_t huge_bytes(const std::byte* base, std::size_t bytes);

}  // namespace godwit::bench
