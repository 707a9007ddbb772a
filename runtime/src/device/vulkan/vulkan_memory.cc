// SPDX-License-Identifier: MIT
// Vram of vulkan_memory.h.
#include "runtime/src/device/vulkan/vulkan_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace godwit::vulkan {
namespace {

constexpr VkMemoryPropertyFlags kHostFlags =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

std::uint64_t host_ram() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<std::uint64_t>(pages) *
                                     static_cast<std::uint64_t>(page)
                               : std::uint64_t{1} << 30;
}

}  // namespace

// The largest device-local heap, and in it a type that the host can see, if there is one.
bool Vram::pick_type(std::uint32_t type_bits) {
  const VkPhysicalDeviceMemoryProperties& memory = gpu_.memory();
  int best = -1;
  for (std::uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const VkMemoryType& type = memory.memoryTypes[i];
    if ((type_bits >> i & 1U) == 0) continue;
    if ((type.propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) == 0) continue;
    if ((type.propertyFlags & VK_MEMORY_PROPERTY_PROTECTED_BIT) != 0) continue;
    const std::uint64_t size = memory.memoryHeaps[type.heapIndex].size;
    const bool visible = (type.propertyFlags & kHostFlags) == kHostFlags;
    if (best < 0 || size > physical_bytes_ || (size == physical_bytes_ && visible && !mapped_)) {
      best = static_cast<int>(i);
      physical_bytes_ = size;
      mapped_ = visible;
    }
  }
  type_ = static_cast<std::uint32_t>(best);
  return best >= 0;
}

Result<std::unique_ptr<Vram>> Vram::create(Gpu& gpu, std::uint64_t bytes) {
  std::unique_ptr<Vram> vram(new Vram(gpu));
  const PhysicalDevice& physical = gpu.physical();
  // All buffers are alike, so any of them may use a type that one of them may use.
  Buffer probe;
  if (Buffer::create_host(gpu, kChunkBytes, Use::kStaging, Source::kDriver, &probe) != 0) {
    return fail(Code::kOutOfMemory, "no host-visible memory on the Vulkan device");
  }
  VkMemoryRequirements needs{};
  gpu.vk.vkGetBufferMemoryRequirements(gpu.handle(), probe.handle(), &needs);
  if (!vram->pick_type(needs.memoryTypeBits)) {
    return fail(Code::kUnavailable, std::string(physical.properties.deviceName) +
                                        " has no device-local memory for buffers");
  }

  // On a device that is a CPU, VRAM is an own mapping (see Source::kAuto), and its heap is RAM.
  std::uint64_t limit = vram->physical_bytes_;
  if (physical.is_cpu && physical.memory_host) {
    Buffer import;
    vram->import_ = Buffer::create(gpu, kChunkBytes, vram->type_, true, &import) == 0;
    if (vram->import_) vram->mapped_ = true;
  }
  if (physical.is_cpu) limit = std::max(limit, host_ram());
  if (bytes == 0) {
    const std::uint32_t heap = gpu.memory().memoryTypes[vram->type_].heapIndex;
    bytes = gpu.heap_budget(heap) / 2;
    if (physical.is_cpu) bytes = std::min(bytes, host_ram() / 4);
    bytes = std::max<std::uint64_t>(align_down(bytes, kChunkBytes), kChunkBytes);
  } else if (bytes > limit) {
    return fail(Code::kInvalidArgument, "vram_bytes is " + std::to_string(bytes) + ", but " +
                                            physical.properties.deviceName + " has " +
                                            std::to_string(limit) + " bytes; ask for less");
  }
  vram->bytes_ = align_up(bytes, kChunkBytes);
  if (physical.max_allocation < kChunkBytes) {
    return fail(Code::kUnavailable, std::string(physical.properties.deviceName) +
                                        " allocates less than 64 KiB at once");
  }
  vram->segment_bytes_ =
      align_down(std::min(kSegmentBytes, physical.max_allocation), kChunkBytes);
  const std::uint64_t count = align_up(vram->bytes_, vram->segment_bytes_) / vram->segment_bytes_;
  // Some allocations are left for rings and tables.
  if (count + 128 > physical.properties.limits.maxMemoryAllocationCount) {
    return fail(Code::kInvalidArgument, "vram_bytes needs " + std::to_string(count) +
                                            " allocations, more than the device has");
  }
  vram->segments_ = std::vector<Segment>(count);
  return vram;
}

Result<std::unique_ptr<Vram>> Vram::create(Gpu& gpu, const DeviceWindow& window) {
  const PhysicalDevice& physical = gpu.physical();
  const std::string name = physical.properties.deviceName;
  if (!physical.memory_dma_buf) {
    return fail(Code::kUnavailable,
                name + " imports no dma-buf (VK_EXT_external_memory_dma_buf; lavapipe does from Mesa "
                       "25 on), so it cannot see memory as the kernel module shows it");
  }
  if (physical.max_allocation < window.slot_bytes()) {
    return fail(Code::kUnavailable, name + " imports at most " +
                                        std::to_string(physical.max_allocation >> 20) +
                                        " MiB at once, a slot of the window has " +
                                        std::to_string(window.slot_bytes() >> 20));
  }
  std::unique_ptr<Vram> vram(new Vram(gpu));
  vram->window_ = &window;
  vram->bytes_ = window.bytes();
  vram->physical_bytes_ = window.facts().vram_physical;
  vram->segment_bytes_ = window.slot_bytes();
  vram->mapped_ = true;
  vram->segments_ = std::vector<Segment>(window.bytes() / window.slot_bytes());
  return vram;
}

int Vram::make(std::uint64_t index, Buffer* buffer) noexcept {
  if (window_ == nullptr) {
    const std::uint64_t bytes = std::min(segment_bytes_, bytes_ - index * segment_bytes_);
    return Buffer::create(gpu_, bytes, type_, import_, buffer);
  }
  const int fd = window_->slot_fd(index);
  if (fd < 0) return fd;
  const int error = Buffer::import_dma_buf(gpu_, fd, buffer);
  ::close(fd);
  return error;
}

int Vram::locate(std::uint64_t vram, Place* place) noexcept {
  const std::uint64_t index = vram / segment_bytes_;
  const std::uint64_t offset = vram % segment_bytes_;
  Segment& segment = segments_[index];
  if (!segment.ready.load(std::memory_order_acquire)) {
    const std::lock_guard guard(lock_);
    if (!segment.ready.load(std::memory_order_relaxed)) {
      if (gpu_.lost()) return -ENODEV;
      const int error = make(index, &segment.buffer);
      if (error != 0) return error == -ENODEV ? error : -ENOMEM;
      segment.ready.store(true, std::memory_order_release);
    }
  }
  const Buffer& buffer = segment.buffer;
  place->buffer = buffer.handle();
  place->offset = offset;
  place->data = buffer.data() != nullptr ? buffer.data() + offset : nullptr;
  place->address = buffer.address() + offset;
  place->bytes = buffer.bytes() - offset;
  return 0;
}

}  // namespace godwit::vulkan
