// SPDX-License-Identifier: MIT
// The Vulkan loader, an instance with or without validation layers, and the choice of a physical
// device.
#pragma once

#include <volk.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "godwit/result.h"

namespace godwit::vulkan {

/// Messages of the validation layers, at most kLimit of them. Written by any thread.
class MessageLog {
 public:
  static constexpr std::size_t kLimit = 64;
  void add(const char* text) noexcept;
  [[nodiscard]] std::vector<std::string> all() const;

 private:
  mutable std::mutex lock_;
  std::vector<std::string> messages_;
};

/// Functions of one instance. Volk's own pointers are global, and another instance (another
/// Device of this process) would store to them while this one is in use.
struct InstanceTable {
  PFN_vkDestroyInstance vkDestroyInstance;
  PFN_vkEnumeratePhysicalDevices vkEnumeratePhysicalDevices;
  PFN_vkEnumerateDeviceExtensionProperties vkEnumerateDeviceExtensionProperties;
  PFN_vkGetPhysicalDeviceFeatures2 vkGetPhysicalDeviceFeatures2;
  PFN_vkGetPhysicalDeviceMemoryProperties2 vkGetPhysicalDeviceMemoryProperties2;
  PFN_vkGetPhysicalDeviceProperties vkGetPhysicalDeviceProperties;
  PFN_vkGetPhysicalDeviceProperties2 vkGetPhysicalDeviceProperties2;
  PFN_vkGetPhysicalDeviceQueueFamilyProperties vkGetPhysicalDeviceQueueFamilyProperties;
  PFN_vkCreateDevice vkCreateDevice;
  PFN_vkCreateDebugUtilsMessengerEXT vkCreateDebugUtilsMessengerEXT;    // with validation
  PFN_vkDestroyDebugUtilsMessengerEXT vkDestroyDebugUtilsMessengerEXT;  // with validation
};

class Instance {
 public:
  /// Errors: kUnavailable for a missing loader, a missing driver or missing validation layers.
  [[nodiscard]] static Result<std::unique_ptr<Instance>> create(bool validation);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  [[nodiscard]] const InstanceTable& vk() const { return table_; }
  [[nodiscard]] VkInstance handle() const { return handle_; }
  [[nodiscard]] const MessageLog& messages() const { return messages_; }

  /// Creates a device and loads its functions: volk does that through a global pointer, so under
  /// the same lock as the creation of instances.
  [[nodiscard]] VkResult create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo& info,
                                       VkDevice* device, VolkDeviceTable* table) const;

 private:
  Instance() = default;

  InstanceTable table_{};
  VkInstance handle_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  MessageLog messages_;
};

/// A physical device that has all that Godwit needs.
struct PhysicalDevice {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  VkPhysicalDeviceProperties properties{};
  std::string driver;
  bool is_cpu = false;
  bool float64 = false;
  bool memory_host = false;    // VK_EXT_external_memory_host
  bool memory_budget = false;  // VK_EXT_memory_budget
  bool memory_dma_buf = false;  // VK_EXT_external_memory_dma_buf, and descriptors
  VkDeviceSize import_alignment = 0;
  VkDeviceSize max_allocation = 0;
  std::uint32_t compute_family = 0;
  std::uint32_t transfer_family = 0;
  std::uint32_t transfer_index = 0;   // of the queue in its family
  bool shared_queue = true;           // copies go through the compute queue
  std::vector<std::string> reasons;   // why others were passed over
};

/// Picks by `select` (an index as `vulkaninfo` counts, or a part of the name; empty: the best).
/// Errors: kUnavailable with a reason for each device, kInvalidArgument for an unknown `select`.
[[nodiscard]] Result<PhysicalDevice> pick_device(const Instance& instance,
                                                 const std::string& select, bool hardware_only);

/// "VK_ERROR_DEVICE_LOST" and so on.
[[nodiscard]] std::string result_name(VkResult result);

}  // namespace godwit::vulkan
