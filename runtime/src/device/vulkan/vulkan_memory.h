// SPDX-License-Identifier: MIT
// Memory of a Vulkan device: buffers that the host sees, and VRAM in segments.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "godwit/result.h"
#include "godwit/units.h"
#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_gpu.h"

namespace godwit::vulkan {

/// Where the bytes of a buffer come from.
enum class Source : std::uint8_t {
  kDriver,  // vkAllocateMemory
  kImport,  // an own mapping, by VK_EXT_external_memory_host
  kAuto,    // an own mapping where the device is a CPU: such a driver allocates by malloc, which
            // may be Godwit's own and hand out managed memory; else the driver
};

/// What a host-visible buffer is for.
enum class Use : std::uint8_t {
  kStaging,  // both sides copy from and to it
  kTable,    // the host writes once, shaders read
};

/// One VkBuffer with its own memory and address, mapped where the type of its memory allows.
/// Destroyed only when no command uses it any more.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer();

  /// Memory of type `type`. Returns 0 or an errno; `out` is changed on success only.
  [[nodiscard]] static int create(Gpu& gpu, std::uint64_t bytes, std::uint32_t type, bool import,
                                  Buffer* out) noexcept;
  /// The memory behind a dma-buf, all of it, mapped where the host can. `fd` stays the caller's.
  [[nodiscard]] static int import_dma_buf(Gpu& gpu, int fd, Buffer* out) noexcept;
  /// Host-visible and coherent.
  [[nodiscard]] static int create_host(Gpu& gpu, std::uint64_t bytes, Use use, Source source,
                                       Buffer* out) noexcept;

  [[nodiscard]] VkBuffer handle() const { return buffer_; }
  [[nodiscard]] std::byte* data() const { return data_; }  // null where the host cannot see it
  [[nodiscard]] VkDeviceAddress address() const { return address_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept;
  /// With bytes_ set; for memory of this kind from outside, or 0.
  [[nodiscard]] int make_buffer(VkExternalMemoryHandleTypeFlagBits external) noexcept;
  /// Allocates, binds, and maps where the type allows.
  [[nodiscard]] int bind_memory(const VkMemoryAllocateInfo& allocate, bool map) noexcept;

  Gpu* gpu_ = nullptr;
  VkBuffer buffer_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  VkDeviceAddress address_ = 0;
  std::byte* data_ = nullptr;
  std::byte* mapping_ = nullptr;  // own mapping that was imported
  std::uint64_t bytes_ = 0;       // also of the mapping
};

/// VRAM: a linear range of offsets over segments, each one Buffer that is made at its first use. In a
/// window a segment is a slot, and its Buffer the slot's dma-buf.
class Vram {
 public:
  static constexpr std::uint64_t kSegmentBytes = std::uint64_t{256} << 20;

  /// A piece of VRAM within one segment.
  struct Place {
    VkBuffer buffer = VK_NULL_HANDLE;
    std::uint64_t offset = 0;  // in the buffer
    std::byte* data = nullptr;
    VkDeviceAddress address = 0;
    std::uint64_t bytes = 0;   // up to the end of the segment
  };

  /// `bytes` 0: what is suggested. Errors: kInvalidArgument, kOutOfMemory, kUnavailable.
  [[nodiscard]] static Result<std::unique_ptr<Vram>> create(Gpu& gpu, std::uint64_t bytes);

  /// `window` outlives it. Errors: kUnavailable where the device imports no such memory.
  [[nodiscard]] static Result<std::unique_ptr<Vram>> create(Gpu& gpu, const DeviceWindow& window);

  [[nodiscard]] const DeviceWindow* window() const { return window_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t physical_bytes() const { return physical_bytes_; }
  [[nodiscard]] std::uint64_t segment_bytes() const { return segment_bytes_; }
  [[nodiscard]] bool mapped() const { return mapped_; }
  [[nodiscard]] bool imported() const { return import_; }
  [[nodiscard]] bool contains(std::uint64_t vram, std::uint64_t bytes) const {
    return vram <= bytes_ && bytes <= bytes_ - vram;
  }

  /// Finds `vram`, below bytes(), and makes its segment if it has none yet. 0, -ENOMEM, -ENODEV.
  [[nodiscard]] int locate(std::uint64_t vram, Place* place) noexcept;

 private:
  struct Segment {
    std::atomic<bool> ready{false};  // released after `buffer` is written
    Buffer buffer;
  };

  explicit Vram(Gpu& gpu) : gpu_(gpu) {}
  [[nodiscard]] bool pick_type(std::uint32_t type_bits);

  [[nodiscard]] int make(std::uint64_t index, Buffer* buffer) noexcept;

  Gpu& gpu_;
  const DeviceWindow* window_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::uint64_t physical_bytes_ = 0;
  std::uint64_t segment_bytes_ = kSegmentBytes;
  std::uint32_t type_ = 0;
  bool mapped_ = false;
  bool import_ = false;
  std::mutex lock_;  // held while a segment is made; a leaf
  std::vector<Segment> segments_;
};

}  // namespace godwit::vulkan
