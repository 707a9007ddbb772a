// SPDX-License-Identifier: MIT
// Compute pipelines, made from SPIR-V when they are first asked for.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_gpu.h"

namespace godwit::vulkan {

enum class WordOperation : std::uint8_t { kFill, kAdd, kSum };

/// Rows and columns of C that one workgroup computes.
struct Tile {
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
};

/// Any thread. Pipelines take their parameters by push constants only.
class Pipelines {
 public:
  static constexpr std::uint32_t kPushBytes = 64;

  [[nodiscard]] static Result<std::unique_ptr<Pipelines>> create(Gpu& gpu);
  /// No command that uses a pipeline is under way.
  ~Pipelines();
  Pipelines(const Pipelines&) = delete;
  Pipelines& operator=(const Pipelines&) = delete;

  [[nodiscard]] VkPipelineLayout layout() const { return layout_; }
  /// 0 or an errno. Compiling takes up to a second on a device that is a CPU.
  [[nodiscard]] int words(WordOperation operation, VkPipeline* pipeline) noexcept;
  /// shaders/walk.comp, or shaders/rows.comp.
  [[nodiscard]] int walk(bool rows, VkPipeline* pipeline) noexcept;
  [[nodiscard]] int gemm(ScalarType type, Transpose transa, Transpose transb,
                         VkPipeline* pipeline) noexcept;
  [[nodiscard]] Tile tile(ScalarType type) const;

 private:
  struct Entry {
    std::mutex lock;  // held while it is compiled; a leaf
    VkPipeline pipeline = VK_NULL_HANDLE;
  };
  static constexpr std::size_t kWords = 3;
  static constexpr std::size_t kTransposes = 9;

  explicit Pipelines(Gpu& gpu) : gpu_(gpu) {}
  [[nodiscard]] int get(Entry& entry, std::span<const std::uint32_t> code,
                        std::span<const std::uint32_t> constants, VkPipeline* pipeline) noexcept;

  Gpu& gpu_;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  std::array<Entry, kWords + 4 * kTransposes> entries_;
  std::array<Entry, 2> walks_;
};

}  // namespace godwit::vulkan
