// SPDX-License-Identifier: MIT
// A device made of CPU threads and their own memory: what every machine has, and the reference that
// other devices are tested against.
//
// VRAM is one anonymous mapping, or the window that it was given. Copies are made by the thread that asks for them, so that they
// overlap with commands and scale with threads; they take no lock. Commands run in SoftQueue.
//
// After a fork the child has neither VRAM nor threads: there every call fails with -ENODEV.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/src/device/device.h"
#include "runtime/src/device/soft/soft_memory.h"
#include "runtime/src/device/soft/soft_queue.h"

namespace godwit {

class SoftDevice final : public Device {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Device>> create(const DeviceOptions& options);
  ~SoftDevice() override;

  // The heap may be managed memory, which the object must not be in: fault handlers use it.
  static void* operator new(std::size_t bytes);
  static void operator delete(void* object, std::size_t bytes) noexcept;

  [[nodiscard]] DeviceInfo info() const override;
  [[nodiscard]] const std::byte* direct(std::uint64_t vram) const noexcept override;
  [[nodiscard]] int copy(Direction direction, std::span<const CopyOp> ops) noexcept override;
  /// Copies before it returns; the ticket is 0.
  [[nodiscard]] int copy_async(Direction direction, std::span<const CopyOp> ops,
                               Ticket* ticket) noexcept override;
  [[nodiscard]] int clear(std::uint64_t vram, std::size_t bytes) noexcept override;
  [[nodiscard]] int submit(const Command& command, Ticket* ticket) noexcept override;
  [[nodiscard]] int wait(Ticket ticket, std::chrono::nanoseconds timeout) noexcept override;
  [[nodiscard]] bool done(Ticket ticket) noexcept override;
  void lose() noexcept override;

 private:
  SoftDevice(unsigned threads, SoftMapping vram, const DeviceWindow* window,
             SoftMapping alive) noexcept;

  [[nodiscard]] bool in_range(std::uint64_t vram, std::size_t bytes) const noexcept {
    return vram <= memory_bytes_ && bytes <= memory_bytes_ - vram;
  }
  /// False in a child.
  [[nodiscard]] bool here() const noexcept { return *alive_.data() != std::byte{0}; }
  /// Lost, or in a child.
  [[nodiscard]] bool gone() const noexcept { return queue_.lost() || !here(); }
  void measure_copies() noexcept;

  SoftMapping vram_;  // none where there is a window
  const DeviceWindow* window_;
  std::byte* const memory_;  // of vram_, or of the window
  const std::uint64_t memory_bytes_;
  SoftMapping alive_;  // its first byte is 1; the kernel wipes it on fork
  SoftQueue queue_;
  double to_device_rate_ = 0;  // constant once the constructor is done
  double to_host_rate_ = 0;
};

}  // namespace godwit
