// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_gpu.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <vector>

namespace godwit::vulkan {
namespace {

// How long a destructor waits for a device that neither completes nor reports its loss.
constexpr std::chrono::minutes kDrainBound{10};

}  // namespace

Result<std::unique_ptr<Gpu>> Gpu::create(bool validation, const std::string& select,
                                         bool hardware_only) {
  auto instance = Instance::create(validation);
  if (!instance) return tl::unexpected(std::move(instance.error()));
  auto picked = pick_device(**instance, select, hardware_only);
  if (!picked) return tl::unexpected(std::move(picked.error()));

  std::unique_ptr<Gpu> gpu(new Gpu);
  gpu->instance_ = std::move(*instance);
  gpu->physical_ = std::move(*picked);
  const PhysicalDevice& physical = gpu->physical_;

  const float priorities[2] = {0.5F, 1.0F};  // copies first, where they are in one family
  VkDeviceQueueCreateInfo queues[2]{};
  queues[0].sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queues[0].queueFamilyIndex = physical.compute_family;
  queues[0].queueCount = 1;
  queues[0].pQueuePriorities = priorities;
  std::uint32_t queue_infos = 1;
  if (physical.transfer_family != physical.compute_family) {
    queues[1] = queues[0];
    queues[1].queueFamilyIndex = physical.transfer_family;
    queues[1].pQueuePriorities = priorities + 1;
    queue_infos = 2;
  } else if (!physical.shared_queue) {
    queues[0].queueCount = 2;
  }

  VkPhysicalDeviceVulkan12Features features12{};
  features12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  features12.bufferDeviceAddress = VK_TRUE;
  features12.timelineSemaphore = VK_TRUE;
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = &features12;
  features.features.shaderInt64 = VK_TRUE;
  features.features.shaderFloat64 = physical.float64 ? VK_TRUE : VK_FALSE;
  std::vector<const char*> extensions;
  if (physical.memory_host) extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  if (physical.memory_dma_buf) {
    extensions.push_back(VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME);
    extensions.push_back(VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME);
  }
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = &features;
  info.queueCreateInfoCount = queue_infos;
  info.pQueueCreateInfos = queues;
  info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  const VkResult result =
      gpu->instance_->create_device(physical.handle, info, &gpu->device_, &gpu->vk);
  if (result != VK_SUCCESS) {
    gpu->device_ = VK_NULL_HANDLE;
    const bool memory = result == VK_ERROR_OUT_OF_HOST_MEMORY ||
                        result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return fail(memory ? Code::kOutOfMemory : Code::kUnavailable,
                std::string("no Vulkan device could be made from ") +
                    physical.properties.deviceName,
                {"vulkan: vkCreateDevice: " + result_name(result)});
  }

  gpu->compute_.family = physical.compute_family;
  gpu->vk.vkGetDeviceQueue(gpu->device_, physical.compute_family, 0, &gpu->compute_.handle);
  gpu->transfer_.family = physical.transfer_family;
  gpu->vk.vkGetDeviceQueue(gpu->device_, physical.transfer_family, physical.transfer_index,
                           &gpu->transfer_.handle);
  gpu->families_[0] = physical.compute_family;
  gpu->families_[1] = physical.transfer_family;

  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  gpu->instance_->vk().vkGetPhysicalDeviceMemoryProperties2(physical.handle, &memory);
  gpu->memory_ = memory.memoryProperties;
  return gpu;
}

Gpu::~Gpu() {
  if (device_ == VK_NULL_HANDLE) return;
  static_cast<void>(vk.vkDeviceWaitIdle(device_));
  vk.vkDestroyDevice(device_, nullptr);
}

std::uint64_t Gpu::heap_budget(std::uint32_t index) const {
  if (!physical_.memory_budget) return memory_.memoryHeaps[index].size;
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{};
  budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  memory.pNext = &budget;
  instance_->vk().vkGetPhysicalDeviceMemoryProperties2(physical_.handle, &memory);
  const std::uint64_t used = budget.heapUsage[index];
  const std::uint64_t total = std::min(budget.heapBudget[index], memory_.memoryHeaps[index].size);
  return total > used ? total - used : 0;
}

int Gpu::error_of(VkResult result) noexcept {
  switch (result) {
    case VK_SUCCESS: return 0;
    case VK_TIMEOUT:
    case VK_NOT_READY: return -ETIMEDOUT;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_TOO_MANY_OBJECTS: return -ENOMEM;
    default: lose(); return -ENODEV;
  }
}

Result<std::unique_ptr<Timeline>> Timeline::create(Gpu& gpu) {
  std::unique_ptr<Timeline> timeline(new Timeline(gpu));
  timeline->parts_.resize(1);
  timeline->infos_.resize(1);
  VkSemaphoreTypeCreateInfo type{};
  type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  VkSemaphoreCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
  info.pNext = &type;
  const VkResult result =
      gpu.vk.vkCreateSemaphore(gpu.handle(), &info, nullptr, &timeline->semaphore_);
  if (result != VK_SUCCESS) {
    timeline->semaphore_ = VK_NULL_HANDLE;
    return fail(Code::kOutOfMemory, "no timeline semaphore", {result_name(result)});
  }
  return timeline;
}

Timeline::~Timeline() {
  if (semaphore_ == VK_NULL_HANDLE) return;
  drain();
  gpu_.vk.vkDestroySemaphore(gpu_.handle(), semaphore_, nullptr);
}

int Timeline::submit(Queue& queue, std::span<const VkCommandBuffer> commands,
                     std::uint64_t* value) noexcept {
  const std::lock_guard guard(queue.lock);
  if (gpu_.lost()) return -ENODEV;
  try {
    if (parts_.size() < commands.size()) parts_.resize(commands.size());
    if (infos_.size() < commands.size()) infos_.resize(commands.size());
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
  const std::uint64_t before = last_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < commands.size(); ++i) {
    // Each signals, which also keeps a driver from making one long job of them.
    Part& part = parts_[i];
    part.value = before + i + 1;
    part.timeline = {};
    part.timeline.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
    part.timeline.signalSemaphoreValueCount = 1;
    part.timeline.pSignalSemaphoreValues = &part.value;
    VkSubmitInfo& info = infos_[i];
    info = {};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.pNext = &part.timeline;
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands[i];
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = &semaphore_;
  }
  // In one call: a driver that refuses it has begun none of them, or says that the device is lost.
  const VkResult result = gpu_.vk.vkQueueSubmit(
      queue.handle, static_cast<std::uint32_t>(commands.size()), infos_.data(), VK_NULL_HANDLE);
  if (result != VK_SUCCESS) return gpu_.error_of(result);
  *value = before + commands.size();
  last_.store(*value, std::memory_order_release);
  return 0;
}

int Timeline::poll(std::uint64_t value, bool* complete) noexcept {
  if (gpu_.lost()) return -ENODEV;
  std::uint64_t reached = 0;
  const VkResult result =
      gpu_.vk.vkGetSemaphoreCounterValue(gpu_.handle(), semaphore_, &reached);
  if (result != VK_SUCCESS) return gpu_.error_of(result);
  *complete = reached >= value;
  return 0;
}

int Timeline::wait(std::uint64_t value, Clock::time_point deadline) noexcept {
  VkSemaphoreWaitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
  info.semaphoreCount = 1;
  info.pSemaphores = &semaphore_;
  info.pValues = &value;
  for (;;) {
    if (gpu_.lost()) return -ENODEV;
    const auto left = deadline - Clock::now();
    const auto slice = std::clamp<Clock::duration>(left, Clock::duration::zero(), kWaitSlice);
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(slice).count();
    const VkResult result = gpu_.vk.vkWaitSemaphores(gpu_.handle(), &info,
                                                     static_cast<std::uint64_t>(nanoseconds));
    if (result != VK_TIMEOUT) return gpu_.error_of(result);
    if (left <= kWaitSlice) return gpu_.lost() ? -ENODEV : -ETIMEDOUT;
  }
}

void Timeline::drain() noexcept {
  const std::uint64_t value = last();
  if (value == 0) return;
  VkSemaphoreWaitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
  info.semaphoreCount = 1;
  info.pSemaphores = &semaphore_;
  info.pValues = &value;
  const auto bound = std::chrono::duration_cast<std::chrono::nanoseconds>(kDrainBound).count();
  static_cast<void>(gpu_.vk.vkWaitSemaphores(gpu_.handle(), &info,
                                             static_cast<std::uint64_t>(bound)));
}

void full_barrier(Gpu& gpu, VkCommandBuffer commands) noexcept {
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT |
                          VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
  constexpr VkPipelineStageFlags kStages =
      VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT;
  gpu.vk.vkCmdPipelineBarrier(commands, kStages, kStages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

int begin_commands(Gpu& gpu, VkCommandBuffer commands) noexcept {
  VkCommandBufferBeginInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  const VkResult result = gpu.vk.vkBeginCommandBuffer(commands, &info);
  if (result != VK_SUCCESS) return gpu.error_of(result);
  full_barrier(gpu, commands);
  return 0;
}

int end_commands(Gpu& gpu, VkCommandBuffer commands) noexcept {
  full_barrier(gpu, commands);
  return gpu.error_of(gpu.vk.vkEndCommandBuffer(commands));
}

Clock::time_point deadline_after(std::chrono::nanoseconds timeout) noexcept {
  const Clock::time_point now = Clock::now();
  constexpr std::chrono::hours kForever{24 * 365};
  return now + std::min<std::chrono::nanoseconds>(timeout, kForever);
}

}  // namespace godwit::vulkan
