// SPDX-License-Identifier: MIT
// Copies between host memory and VRAM by the path that measures fastest in each direction.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_memory.h"
#include "runtime/src/device/vulkan/vulkan_ring.h"

namespace godwit::vulkan {

enum class Path : std::uint8_t {
  kDirect,   // the calling thread copies: VRAM is mapped
  kStaging,  // a ring in memory of the driver
  kImport,   // a ring in an own mapping that the driver imported
};
inline constexpr std::size_t kPaths = 3;

/// Any thread; constant after create(). Copies allocate no host memory.
class Transfer {
 public:
  /// Measures with 2 MiB copies to VRAM offset 0, which are zeros afterwards. `forced` is empty or
  /// the name of the one path. Errors: kInvalidArgument for a name that is none, kUnavailable for a
  /// path that the device cannot do.
  [[nodiscard]] static Result<std::unique_ptr<Transfer>> create(Gpu& gpu, Vram& vram,
                                                                const std::string& forced,
                                                                Timeline& compute);

  [[nodiscard]] int copy(Direction direction, std::span<const CopyOp> ops) noexcept;
  [[nodiscard]] int clear(std::uint64_t vram, std::uint64_t bytes) noexcept;
  /// What a copy would return at once: 0, -EINVAL, -ENODEV, -ENOMEM. Makes the segments.
  [[nodiscard]] int check(std::span<const CopyOp> ops) noexcept;
  /// See Device::direct.
  [[nodiscard]] const std::byte* direct(std::uint64_t vram) const noexcept;

  [[nodiscard]] bool can_direct() const { return direct_; }
  [[nodiscard]] double rate(Direction direction) const {
    return rates_[static_cast<std::size_t>(direction)];
  }
  [[nodiscard]] const std::string& report() const { return report_; }

 private:
  Transfer(Gpu& gpu, Vram& vram) : gpu_(gpu), vram_(vram) {}

  [[nodiscard]] int copy_by(Path path, Direction direction, std::span<const CopyOp> ops) noexcept;
  [[nodiscard]] int copy_direct(Direction direction, std::span<const CopyOp> ops) noexcept;
  [[nodiscard]] int measure(bool forced, const bool (&usable)[kPaths]);
  [[nodiscard]] Path& path(Direction direction) {
    return paths_[static_cast<std::size_t>(direction)];
  }

  Gpu& gpu_;
  Vram& vram_;
  std::unique_ptr<Ring> rings_[kPaths];  // none for kDirect
  Path paths_[2] = {Path::kDirect, Path::kDirect};
  double rates_[2] = {0, 0};  // bytes a second
  bool direct_ = false;
  std::string report_;
};

}  // namespace godwit::vulkan
