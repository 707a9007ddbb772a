// SPDX-License-Identifier: MIT
// A logical device with its queues, and the timelines on which submissions complete.
#pragma once

#include <volk.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "godwit/result.h"
#include "runtime/src/device/vulkan/vulkan_instance.h"

namespace godwit::vulkan {

using Clock = std::chrono::steady_clock;

/// How long one look at a semaphore may block: a waiter learns this late that the device is lost.
inline constexpr std::chrono::milliseconds kWaitSlice{10};

/// `lock` is a leaf: held for vkQueueSubmit and nothing else.
struct Queue {
  VkQueue handle = VK_NULL_HANDLE;
  std::uint32_t family = 0;
  std::mutex lock;
};

class Gpu {
 public:
  /// Errors: as make_vulkan_device.
  [[nodiscard]] static Result<std::unique_ptr<Gpu>> create(bool validation, const std::string& select,
                                                           bool hardware_only);
  /// All that was made from the device is gone by now.
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  [[nodiscard]] const PhysicalDevice& physical() const { return physical_; }
  [[nodiscard]] const VkPhysicalDeviceMemoryProperties& memory() const { return memory_; }
  [[nodiscard]] const MessageLog& messages() const { return instance_->messages(); }
  [[nodiscard]] VkDevice handle() const { return device_; }
  [[nodiscard]] Queue& compute_queue() { return compute_; }
  [[nodiscard]] Queue& transfer_queue() {
    return physical_.shared_queue ? compute_ : transfer_;
  }
  /// The family indices that share buffers: one or two.
  [[nodiscard]] std::span<const std::uint32_t> families() const {
    return {families_, physical_.transfer_family == physical_.compute_family ? 1U : 2U};
  }
  /// Bytes that may still be allocated from heap `index`, as the driver says.
  [[nodiscard]] std::uint64_t heap_budget(std::uint32_t index) const;

  [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  void lose() noexcept { lost_.store(true, std::memory_order_release); }
  /// The errno for a result; any that is neither success, time-out nor memory loses the device.
  [[nodiscard]] int error_of(VkResult result) noexcept;

  VolkDeviceTable vk{};  // constant after create()

 private:
  Gpu() = default;

  std::unique_ptr<Instance> instance_;
  PhysicalDevice physical_;
  VkPhysicalDeviceMemoryProperties memory_{};
  std::uint32_t families_[2] = {0, 0};
  VkDevice device_ = VK_NULL_HANDLE;
  Queue compute_;
  Queue transfer_;  // unused where copies share the compute queue
  std::atomic<bool> lost_{false};
};

/// A timeline semaphore of one queue: each submission signals the next value. Any thread.
class Timeline {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Timeline>> create(Gpu& gpu);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  /// Submits all of `commands` to `queue` (always the same for one timeline), or none; *value is
  /// what completion reaches. No memory of the host's is allocated for one.
  [[nodiscard]] int submit(Queue& queue, std::span<const VkCommandBuffer> commands,
                           std::uint64_t* value) noexcept;
  /// -ENODEV when lost; else whether `value` is reached, in *complete.
  [[nodiscard]] int poll(std::uint64_t value, bool* complete) noexcept;
  /// 0, -ETIMEDOUT or -ENODEV.
  [[nodiscard]] int wait(std::uint64_t value, Clock::time_point deadline) noexcept;
  /// Waits for everything submitted, lost or not, before what it uses is destroyed. Bounded.
  void drain() noexcept;
  /// The value of the last submission.
  [[nodiscard]] std::uint64_t last() const noexcept {
    return last_.load(std::memory_order_acquire);
  }

 private:
  explicit Timeline(Gpu& gpu) : gpu_(gpu) {}

  Gpu& gpu_;
  VkSemaphore semaphore_ = VK_NULL_HANDLE;
  std::atomic<std::uint64_t> last_{0};  // written under the queue's lock
  /// A command buffer of one submission, for the driver. Under the queue's lock.
  struct Part {
    std::uint64_t value = 0;
    VkTimelineSemaphoreSubmitInfo timeline{};
  };
  std::vector<Part> parts_;
  std::vector<VkSubmitInfo> infos_;
};

/// A barrier that orders everything before it against everything after it, host accesses included.
void full_barrier(Gpu& gpu, VkCommandBuffer commands) noexcept;

/// Begins a command buffer for one submission, with a full barrier. Its end: end_commands.
[[nodiscard]] int begin_commands(Gpu& gpu, VkCommandBuffer commands) noexcept;
[[nodiscard]] int end_commands(Gpu& gpu, VkCommandBuffer commands) noexcept;

/// `now + timeout` without overflow.
[[nodiscard]] Clock::time_point deadline_after(std::chrono::nanoseconds timeout) noexcept;

}  // namespace godwit::vulkan
