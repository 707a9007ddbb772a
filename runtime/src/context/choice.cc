// SPDX-License-Identifier: MIT
#include "runtime/src/context/choice.h"

#include <string_view>
#include <utility>

#include "runtime/src/host/user/user_host.h"

namespace godwit {
namespace {

constexpr std::string_view kVulkan = "vulkan";
constexpr const char* kNoKernelEngine =
    "kernel: no device of the godwit module was found; load the module, or use --engine=user";

Result<std::unique_ptr<Device>> make_auto_device(DeviceOptions options) {
  options.hardware_only = true;
  auto vulkan = make_vulkan_device(options);
  if (vulkan) return vulkan;
  return make_soft_device(options);
}

}  // namespace

Result<std::unique_ptr<HostMemory>> choose_host(const ContextOptions& options) {
  if (options.engine == "kernel") return fail(Code::kUnavailable, kNoKernelEngine);
  if (options.engine != "auto" && options.engine != "user") {
    return fail(Code::kInvalidArgument,
                "unknown engine \"" + options.engine + "\"; there are auto, user and kernel");
  }
  UserHostOptions host_options;
  if (options.level == "full") {
    host_options.level = HostLevelWish::kFull;
  } else if (options.level == "resident") {
    host_options.level = HostLevelWish::kResident;
  } else if (options.level != "auto") {
    return fail(Code::kInvalidArgument,
                "unknown level \"" + options.level + "\"; there are auto, full and resident");
  }
  auto host = make_user_host(host_options);
  if (host) return host;
  Error error = std::move(host.error());
  for (std::string& reason : error.reasons) reason = "user: " + reason;
  if (options.engine == "auto") error.reasons.insert(error.reasons.begin(), kNoKernelEngine);
  error.message = "no engine can be used here: " + error.message;
  return tl::unexpected(std::move(error));
}

Result<DeviceMaker> device_maker(const ContextOptions& options) {
  DeviceOptions device_options;
  device_options.vram_bytes = options.vram_bytes;
  if (options.device == "auto") return [device_options] { return make_auto_device(device_options); };
  if (options.device == "soft") return [device_options] { return make_soft_device(device_options); };
  const std::string_view wish = options.device;
  if (wish == kVulkan || (wish.starts_with(kVulkan) && wish[kVulkan.size()] == ':')) {
    if (wish.size() > kVulkan.size()) device_options.select = wish.substr(kVulkan.size() + 1);
    return [device_options] { return make_vulkan_device(device_options); };
  }
  return fail(Code::kInvalidArgument, "unknown device \"" + options.device +
                                          "\"; there are auto, soft, vulkan and "
                                          "vulkan:NAME-OR-INDEX");
}

}  // namespace godwit
