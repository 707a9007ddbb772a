// SPDX-License-Identifier: MIT
// The Device of a Vulkan 1.2 device. Made by make_vulkan_device (device.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_commands.h"
#include "runtime/src/device/vulkan/vulkan_copier.h"
#include "runtime/src/device/vulkan/vulkan_transfer.h"

namespace godwit::vulkan {

class VulkanDevice final : public Device {
 public:
  [[nodiscard]] static Result<std::unique_ptr<VulkanDevice>> create(const DeviceOptions& options);
  /// Waits for what is under way.
  ~VulkanDevice() override = default;

  [[nodiscard]] DeviceInfo info() const override;
  [[nodiscard]] const std::byte* direct(std::uint64_t vram) const noexcept override;
  [[nodiscard]] int copy(Direction direction, std::span<const CopyOp> ops) noexcept override;
  [[nodiscard]] int copy_async(Direction direction, std::span<const CopyOp> ops,
                               Ticket* ticket) noexcept override;
  [[nodiscard]] int clear(std::uint64_t vram, std::size_t bytes) noexcept override;
  [[nodiscard]] int submit(const Command& command, Ticket* ticket) noexcept override;
  [[nodiscard]] int wait(Ticket ticket, std::chrono::nanoseconds timeout) noexcept override;
  [[nodiscard]] bool done(Ticket ticket) noexcept override;
  void lose() noexcept override;

  /// What the validation layers said, in order; also lines "validation: ..." of info().limits.
  [[nodiscard]] std::vector<std::string> validation_messages() const;

 private:
  VulkanDevice() = default;
  void describe();

  // In the order of dependency: destroyed from the last to the first.
  std::unique_ptr<Gpu> gpu_;
  std::unique_ptr<Vram> vram_;
  std::unique_ptr<Timeline> compute_;
  std::unique_ptr<Transfer> transfer_;
  TicketCounter tickets_;
  std::unique_ptr<Copier> copier_;
  std::unique_ptr<Commands> commands_;
  DeviceInfo info_;  // constant after create()
};

}  // namespace godwit::vulkan
