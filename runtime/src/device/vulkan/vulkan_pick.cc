// SPDX-License-Identifier: MIT
// The choice of a physical device; declared in vulkan_instance.h.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "runtime/src/device/vulkan/vulkan_instance.h"

namespace godwit::vulkan {
namespace {

constexpr VkQueueFlags kCompute = VK_QUEUE_COMPUTE_BIT;
constexpr VkQueueFlags kTransfer = VK_QUEUE_TRANSFER_BIT;
constexpr VkQueueFlags kGraphics = VK_QUEUE_GRAPHICS_BIT;

bool has_extension(const std::vector<VkExtensionProperties>& all, const char* name) {
  return std::any_of(all.begin(), all.end(), [name](const VkExtensionProperties& extension) {
    return std::strcmp(extension.extensionName, name) == 0;
  });
}

// The compute family, and for copies a queue that a running compute command does not hold up:
// a family that only copies, else another family, else a second queue.
bool pick_queues(const InstanceTable& vk, PhysicalDevice& device) {
  std::uint32_t count = 0;
  vk.vkGetPhysicalDeviceQueueFamilyProperties(device.handle, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vk.vkGetPhysicalDeviceQueueFamilyProperties(device.handle, &count, families.data());

  const auto find = [&](VkQueueFlags with, VkQueueFlags without, std::uint32_t except) {
    for (std::uint32_t i = 0; i < count; ++i) {
      const VkQueueFlags flags = families[i].queueFlags;
      if (i != except && families[i].queueCount > 0 && (flags & with) == with &&
          (flags & without) == 0) {
        return i;
      }
    }
    return count;
  };
  // Graphics hangs are watched more closely than compute: an own compute family is better.
  std::uint32_t compute = find(kCompute, kGraphics, count);
  if (compute == count) compute = find(kCompute, 0, count);
  if (compute == count) return false;
  device.compute_family = compute;

  std::uint32_t transfer = find(kTransfer, kCompute | kGraphics, compute);
  if (transfer == count) transfer = find(kCompute, 0, compute);
  if (transfer != count) {
    device.transfer_family = transfer;
    device.transfer_index = 0;
    device.shared_queue = false;
  } else {
    device.transfer_family = compute;
    device.shared_queue = families[compute].queueCount < 2;
    device.transfer_index = device.shared_queue ? 0 : 1;
  }
  return true;
}

// Fills `device`; returns what is missing, or nothing.
std::vector<std::string> probe(const InstanceTable& vk, PhysicalDevice& device) {
  vk.vkGetPhysicalDeviceProperties(device.handle, &device.properties);
  device.is_cpu = device.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  const std::uint32_t version = device.properties.apiVersion;
  if (version < VK_API_VERSION_1_2) {
    return {"Vulkan " + std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
            std::to_string(VK_API_VERSION_MINOR(version)) + ", needs 1.2"};
  }

  std::vector<std::string> missing;
  std::uint32_t count = 0;
  vk.vkEnumerateDeviceExtensionProperties(device.handle, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  vk.vkEnumerateDeviceExtensionProperties(device.handle, nullptr, &count, extensions.data());
  extensions.resize(count);
  device.memory_host = has_extension(extensions, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  device.memory_dma_buf =
      has_extension(extensions, VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME) &&
      has_extension(extensions, VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME);
  device.memory_budget = has_extension(extensions, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);

  VkPhysicalDeviceVulkan12Features features12{};
  features12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = &features12;
  vk.vkGetPhysicalDeviceFeatures2(device.handle, &features);
  if (features12.bufferDeviceAddress == VK_FALSE) missing.emplace_back("no bufferDeviceAddress");
  if (features12.timelineSemaphore == VK_FALSE) missing.emplace_back("no timelineSemaphore");
  if (features.features.shaderInt64 == VK_FALSE) missing.emplace_back("no shaderInt64");
  device.float64 = features.features.shaderFloat64 != VK_FALSE;

  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host{};
  host.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
  VkPhysicalDeviceMaintenance3Properties limits{};
  limits.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
  limits.pNext = device.memory_host ? &host : nullptr;
  VkPhysicalDeviceDriverProperties driver{};
  driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
  driver.pNext = &limits;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &driver;
  vk.vkGetPhysicalDeviceProperties2(device.handle, &properties);
  device.driver = std::string(driver.driverName) + " " + driver.driverInfo;
  device.max_allocation = limits.maxMemoryAllocationSize;
  device.import_alignment = host.minImportedHostPointerAlignment;

  if (device.properties.limits.maxComputeWorkGroupInvocations < 256) {
    missing.emplace_back("workgroups of fewer than 256 invocations");
  }
  if (!pick_queues(vk, device)) missing.emplace_back("no compute queue");
  return missing;
}

int rank(const PhysicalDevice& device) {
  switch (device.properties.deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return 0;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return 1;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return 4;
    default: return 3;
  }
}

// True where `select` names the device `index` called `name`: a number is an index and nothing else.
bool selected(const std::string& select, std::size_t index, const char* name) {
  if (select.empty()) return true;
  std::size_t number = 0;
  const char* const end = select.data() + select.size();
  const auto parsed = std::from_chars(select.data(), end, number);
  if (parsed.ec == std::errc() && parsed.ptr == end) return number == index;
  return std::strstr(name, select.c_str()) != nullptr;
}

}  // namespace

Result<PhysicalDevice> pick_device(const Instance& instance, const std::string& select,
                                   bool hardware_only) {
  const InstanceTable& vk = instance.vk();
  std::uint32_t count = 0;
  VkResult result = vk.vkEnumeratePhysicalDevices(instance.handle(), &count, nullptr);
  std::vector<VkPhysicalDevice> handles(count);
  if (result == VK_SUCCESS && count > 0) {
    result = vk.vkEnumeratePhysicalDevices(instance.handle(), &count, handles.data());
    handles.resize(count);
  }
  if (result < VK_SUCCESS) {
    return fail(Code::kUnavailable, "Vulkan devices cannot be listed",
                {"vulkan: vkEnumeratePhysicalDevices: " + result_name(result)});
  }
  if (handles.empty()) {
    return fail(Code::kUnavailable,
                "no Vulkan device; install a driver, for example mesa-vulkan-drivers",
                {"vulkan: the loader found no physical device"});
  }

  std::vector<std::string> reasons;
  std::vector<PhysicalDevice> usable;
  std::size_t named = 0;
  for (std::size_t i = 0; i < handles.size(); ++i) {
    PhysicalDevice device;
    device.handle = handles[i];
    std::vector<std::string> missing = probe(vk, device);
    if (hardware_only && device.is_cpu) missing.emplace_back("computes on the CPUs");
    const std::string name = device.properties.deviceName;
    if (!selected(select, i, name.c_str())) {
      reasons.push_back(name + ": not selected");
      continue;
    }
    ++named;
    if (missing.empty()) {
      usable.push_back(std::move(device));
    } else {
      for (const std::string& reason : missing) reasons.push_back(name + ": " + reason);
    }
  }
  if (named == 0) {
    return fail(Code::kInvalidArgument,
                "no Vulkan device has the index or a name with \"" + select + "\"", reasons);
  }
  if (usable.empty()) {
    return fail(Code::kUnavailable, "no Vulkan device has what Godwit needs", reasons);
  }
  const auto best = std::min_element(
      usable.begin(), usable.end(),
      [](const PhysicalDevice& a, const PhysicalDevice& b) { return rank(a) < rank(b); });
  for (const PhysicalDevice& other : usable) {
    if (&other != &*best) {
      reasons.push_back(std::string(other.properties.deviceName) + ": usable, but " +
                        best->properties.deviceName + " is preferred");
    }
  }
  PhysicalDevice chosen = std::move(*best);
  chosen.reasons = std::move(reasons);
  return chosen;
}

}  // namespace godwit::vulkan
