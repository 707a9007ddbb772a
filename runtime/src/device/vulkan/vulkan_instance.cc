// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_instance.h"

#include <algorithm>
#include <cstring>

namespace godwit::vulkan {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

// Guards volk's global pointers.
std::mutex& volk_lock() {
  static std::mutex lock;
  return lock;
}

// An instance that lives as long as the process; with the lock of volk. The loader closes a driver with
// its last instance, and opens it again for the next: NVIDIA's, whose thread-local variables are in
// glibc's static block, could not be opened any more after some 15 devices had come and gone.
void keep_drivers_loaded(const VkInstanceCreateInfo& plain) {
  static VkInstance kept = VK_NULL_HANDLE;
  if (kept == VK_NULL_HANDLE && vkCreateInstance(&plain, nullptr, &kept) != VK_SUCCESS) {
    kept = VK_NULL_HANDLE;
  }
}

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT /*severity*/,
                                          VkDebugUtilsMessageTypeFlagsEXT /*types*/,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data,
                                          void* log) {
  static_cast<MessageLog*>(log)->add(data->pMessage != nullptr ? data->pMessage : "(no text)");
  return VK_FALSE;
}

bool layer_exists(const char* name) {
  std::uint32_t count = 0;
  if (vkEnumerateInstanceLayerProperties(&count, nullptr) != VK_SUCCESS) return false;
  std::vector<VkLayerProperties> layers(count);
  if (vkEnumerateInstanceLayerProperties(&count, layers.data()) < VK_SUCCESS) return false;
  return std::any_of(layers.begin(), layers.end(), [name](const VkLayerProperties& layer) {
    return std::strcmp(layer.layerName, name) == 0;
  });
}

template <typename Function>
bool load(VkInstance instance, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(vkGetInstanceProcAddr(instance, name));
  return *function != nullptr;
}

}  // namespace

void MessageLog::add(const char* text) noexcept {
  try {
    const std::lock_guard guard(lock_);
    if (messages_.size() < kLimit) messages_.emplace_back(text);
  } catch (...) {  // out of memory: the message is lost, the caller is a driver's C code
  }
}

std::vector<std::string> MessageLog::all() const {
  const std::lock_guard guard(lock_);
  return messages_;
}

std::string result_name(VkResult result) {
  switch (result) {
    case VK_SUCCESS: return "VK_SUCCESS";
    case VK_TIMEOUT: return "VK_TIMEOUT";
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED: return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST: return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_LAYER_NOT_PRESENT: return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT: return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT: return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER: return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_INVALID_EXTERNAL_HANDLE: return "VK_ERROR_INVALID_EXTERNAL_HANDLE";
    default: return "VkResult " + std::to_string(static_cast<int>(result));
  }
}

Result<std::unique_ptr<Instance>> Instance::create(bool validation) {
  const std::lock_guard guard(volk_lock());
  if (volkInitialize() != VK_SUCCESS || vkCreateInstance == nullptr) {
    return fail(Code::kUnavailable, "the Vulkan loader is missing; install libvulkan1",
                {"vulkan: libvulkan.so.1 could not be opened"});
  }
  const std::uint32_t version = volkGetInstanceVersion();
  if (version < VK_API_VERSION_1_2) {
    return fail(Code::kUnavailable, "the Vulkan loader is older than Vulkan 1.2",
                {"vulkan: loader " + std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
                 std::to_string(VK_API_VERSION_MINOR(version))});
  }
  if (validation && !layer_exists(kValidationLayer)) {
    return fail(Code::kUnavailable,
                "the Vulkan validation layers are missing; install vulkan-validationlayers",
                {std::string("vulkan: no layer ") + kValidationLayer});
  }

  std::unique_ptr<Instance> instance(new Instance);
  const VkApplicationInfo application{.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                      .pNext = nullptr,
                                      .pApplicationName = "godwit",
                                      .applicationVersion = 0,
                                      .pEngineName = "godwit",
                                      .engineVersion = 0,
                                      .apiVersion = VK_API_VERSION_1_2};
  // Only what the layers say: the loader's own messages (GENERAL) are about drivers of others.
  const VkDebugUtilsMessengerCreateInfoEXT messenger{
      .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
      .pNext = nullptr,
      .flags = 0,
      .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                         VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
      .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                     VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
      .pfnUserCallback = on_message,
      .pUserData = &instance->messages_};
  const char* const extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
  const std::uint32_t extras = validation ? 1 : 0;
  const VkInstanceCreateInfo info{.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                  .pNext = validation ? &messenger : nullptr,
                                  .flags = 0,
                                  .pApplicationInfo = &application,
                                  .enabledLayerCount = extras,
                                  .ppEnabledLayerNames = &kValidationLayer,
                                  .enabledExtensionCount = extras,
                                  .ppEnabledExtensionNames = &extension};
  const VkResult result = vkCreateInstance(&info, nullptr, &instance->handle_);
  if (result == VK_ERROR_OUT_OF_HOST_MEMORY) {
    return fail(Code::kOutOfMemory, "no memory for a Vulkan instance");
  }
  if (result != VK_SUCCESS) {
    instance->handle_ = VK_NULL_HANDLE;
    return fail(Code::kUnavailable,
                "no Vulkan driver; install one, for example mesa-vulkan-drivers",
                {"vulkan: vkCreateInstance: " + result_name(result)});
  }
  VkInstanceCreateInfo plain = info;
  plain.pNext = nullptr;
  plain.enabledLayerCount = plain.enabledExtensionCount = 0;
  keep_drivers_loaded(plain);
  volkLoadInstanceOnly(instance->handle_);

  const VkInstance handle = instance->handle_;
  InstanceTable& vk = instance->table_;
#define GODWIT_LOAD(name) load(handle, #name, &vk.name)
  bool loaded = GODWIT_LOAD(vkDestroyInstance);
  loaded = GODWIT_LOAD(vkEnumeratePhysicalDevices) && loaded;
  loaded = GODWIT_LOAD(vkEnumerateDeviceExtensionProperties) && loaded;
  loaded = GODWIT_LOAD(vkGetPhysicalDeviceFeatures2) && loaded;
  loaded = GODWIT_LOAD(vkGetPhysicalDeviceMemoryProperties2) && loaded;
  loaded = GODWIT_LOAD(vkGetPhysicalDeviceProperties) && loaded;
  loaded = GODWIT_LOAD(vkGetPhysicalDeviceProperties2) && loaded;
  loaded = GODWIT_LOAD(vkGetPhysicalDeviceQueueFamilyProperties) && loaded;
  loaded = GODWIT_LOAD(vkCreateDevice) && loaded;
  if (validation) {
    loaded = GODWIT_LOAD(vkCreateDebugUtilsMessengerEXT) && loaded;
    loaded = GODWIT_LOAD(vkDestroyDebugUtilsMessengerEXT) && loaded;
  }
#undef GODWIT_LOAD
  if (!loaded) {
    return fail(Code::kUnavailable, "the Vulkan loader lacks functions of Vulkan 1.2");
  }
  if (validation && vk.vkCreateDebugUtilsMessengerEXT(handle, &messenger, nullptr,
                                                      &instance->messenger_) != VK_SUCCESS) {
    return fail(Code::kUnavailable, "the Vulkan validation layers take no messenger");
  }
  return instance;
}

Instance::~Instance() {
  if (messenger_ != VK_NULL_HANDLE) {
    table_.vkDestroyDebugUtilsMessengerEXT(handle_, messenger_, nullptr);
  }
  if (handle_ != VK_NULL_HANDLE && table_.vkDestroyInstance != nullptr) {
    table_.vkDestroyInstance(handle_, nullptr);
  }
}

VkResult Instance::create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo& info,
                                 VkDevice* device, VolkDeviceTable* table) const {
  const std::lock_guard guard(volk_lock());
  const VkResult result = table_.vkCreateDevice(physical, &info, nullptr, device);
  if (result == VK_SUCCESS) volkLoadDeviceTable(table, *device);
  return result;
}

}  // namespace godwit::vulkan
