// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_device.h"

#include <cerrno>
#include <new>
#include <system_error>

namespace godwit {
namespace vulkan {

Result<std::unique_ptr<VulkanDevice>> VulkanDevice::create(const DeviceOptions& options) {
  std::unique_ptr<VulkanDevice> device(new VulkanDevice);
  auto gpu = Gpu::create(options.validation, options.select, options.hardware_only);
  if (!gpu) return tl::unexpected(std::move(gpu.error()));
  device->gpu_ = std::move(*gpu);
  auto vram = options.window != nullptr ? Vram::create(*device->gpu_, *options.window)
                                        : Vram::create(*device->gpu_, options.vram_bytes);
  if (!vram) return tl::unexpected(std::move(vram.error()));
  device->vram_ = std::move(*vram);
  auto compute = Timeline::create(*device->gpu_);
  if (!compute) return tl::unexpected(std::move(compute.error()));
  device->compute_ = std::move(*compute);
  auto transfer =
      Transfer::create(*device->gpu_, *device->vram_, options.transfer, *device->compute_);
  if (!transfer) return tl::unexpected(std::move(transfer.error()));
  device->transfer_ = std::move(*transfer);
  auto commands =
      Commands::create(*device->gpu_, *device->vram_, *device->compute_, device->tickets_);
  if (!commands) return tl::unexpected(std::move(commands.error()));
  device->commands_ = std::move(*commands);
  device->copier_ =
      std::make_unique<Copier>(*device->gpu_, *device->transfer_, device->tickets_);

  if (options.window != nullptr) {  // nothing of it is ours to measure with
    device->describe();
    return device;
  }
  std::uint64_t used = 0;
  device->info_.float_rate = device->commands_->measure(ScalarType::kFloat, &used);
  device->info_.double_rate = device->commands_->measure(ScalarType::kDouble, &used);
  if (device->gpu_->lost() || device->transfer_->clear(0, used) != 0) {
    return fail(Code::kUnavailable, "the Vulkan device was lost while it was measured");
  }
  device->describe();
  return device;
}

void VulkanDevice::describe() {
  const PhysicalDevice& physical = gpu_->physical();
  info_.kind = "vulkan";
  info_.name = physical.properties.deviceName;
  info_.driver = physical.driver;
  info_.vram_bytes =
      vram_->window() != nullptr ? vram_->window()->facts().vram_bytes : vram_->bytes();
  info_.vram_physical = vram_->physical_bytes();
  info_.float64 = physical.float64;
  info_.software = physical.is_cpu;
  info_.direct = transfer_->can_direct();
  info_.transfer_path = transfer_->report();
  info_.to_device_rate = transfer_->rate(Direction::kToDevice);
  info_.to_host_rate = transfer_->rate(Direction::kToHost);
  std::vector<std::string>& limits = info_.limits;
  const std::string segments = std::to_string(vram_->segment_bytes() >> 20) + " MiB";
  if (vram_->window() != nullptr) {
    limits.push_back("the kernel module's views, imported as dma-bufs of " + segments);
  } else {
    limits.push_back("VRAM in segments of " + segments +
                     (vram_->imported() ? ", own mappings that are imported" : ""));
  }
  limits.push_back(physical.shared_queue
                       ? "one queue: copies through it wait for commands"
                       : "copies have a queue of their own (family " +
                             std::to_string(physical.transfer_family) + ")");
  if (!physical.float64) limits.emplace_back("no shaderFloat64: no double precision");
  for (const std::string& reason : physical.reasons) limits.push_back("passed over: " + reason);
}

DeviceInfo VulkanDevice::info() const {
  DeviceInfo info = info_;
  if (gpu_->lost()) info.limits.emplace_back("the device is lost");
  for (const std::string& message : validation_messages()) {
    info.limits.push_back("validation: " + message);
  }
  return info;
}

std::vector<std::string> VulkanDevice::validation_messages() const {
  return gpu_->messages().all();
}

const std::byte* VulkanDevice::direct(std::uint64_t vram) const noexcept {
  return transfer_->direct(vram);
}

int VulkanDevice::copy(Direction direction, std::span<const CopyOp> ops) noexcept {
  return transfer_->copy(direction, ops);
}

int VulkanDevice::copy_async(Direction direction, std::span<const CopyOp> ops,
                             Ticket* ticket) noexcept {
  return copier_->copy(direction, ops, ticket);
}

int VulkanDevice::clear(std::uint64_t vram, std::size_t bytes) noexcept {
  return transfer_->clear(vram, bytes);
}

int VulkanDevice::submit(const Command& command, Ticket* ticket) noexcept {
  return commands_->submit(command, ticket);
}

int VulkanDevice::wait(Ticket ticket, std::chrono::nanoseconds timeout) noexcept {
  if (!tickets_.issued(ticket)) return -EINVAL;
  const Clock::time_point deadline = deadline_after(timeout);
  if (TicketCounter::kind(ticket) == TicketKind::kCopy) return copier_->wait(ticket, deadline);
  return commands_->wait(ticket, deadline);
}

bool VulkanDevice::done(Ticket ticket) noexcept {
  if (!tickets_.issued(ticket)) return true;  // wait() says that it is none
  if (TicketCounter::kind(ticket) == TicketKind::kCopy) return copier_->done(ticket);
  return commands_->done(ticket);
}

void VulkanDevice::lose() noexcept { gpu_->lose(); }

}  // namespace vulkan

Result<std::unique_ptr<Device>> make_vulkan_device(const DeviceOptions& options) {
  try {
    auto device = vulkan::VulkanDevice::create(options);
    if (!device) return tl::unexpected(std::move(device.error()));
    return std::unique_ptr<Device>(std::move(*device));
  } catch (const std::bad_alloc&) {
    return fail(Code::kOutOfMemory, "no memory for a Vulkan device");
  } catch (const std::system_error& error) {
    return fail(Code::kOutOfMemory, std::string("no thread for copies: ") + error.what());
  }
}

}  // namespace godwit
