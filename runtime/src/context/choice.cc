// SPDX-License-Identifier: MIT
#include "runtime/src/context/choice.h"

#include <string_view>
#include <utility>

#include "runtime/src/engine/kernel/kernel_engine.h"
#include "runtime/src/engine/kernel/render_node.h"
#include "runtime/src/engine/managed_engine.h"
#include "runtime/src/host/user/user_host.h"

namespace godwit {
namespace {

constexpr std::string_view kVulkan = "vulkan";
constexpr std::string_view kKernel = "kernel";

Result<std::unique_ptr<Device>> make_auto_device(const DeviceOptions& wish) {
  DeviceOptions options = wish;
  options.hardware_only = true;
  auto vulkan = make_vulkan_device(options);
  if (vulkan) return vulkan;
  return make_soft_device(options);
}

Result<std::unique_ptr<Engine>> make_kernel_engine(const ContextOptions& options,
                                                   const std::string& select,
                                                   Telemetry& telemetry) {
  KernelEngineOptions engine_options;
  engine_options.arena_bytes = options.arena_bytes;
  engine_options.vram_bytes = options.vram_bytes;
  auto make = device_maker(options);
  if (!make) return tl::unexpected(make.error());
  engine_options.make_device = std::move(*make);
  auto driver = kernel::open_render_node(select, GODWIT_UAPI_VERSION);
  if (!driver) return tl::unexpected(driver.error());
  auto engine = KernelEngine::create(std::move(*driver), telemetry, std::move(engine_options));
  if (!engine) return tl::unexpected(engine.error());
  return std::unique_ptr<Engine>(std::move(*engine));
}

Result<std::unique_ptr<Engine>> make_user_engine(const ContextOptions& options,
                                                 Telemetry& telemetry) {
  auto make = device_maker(options);
  if (!make) return tl::unexpected(make.error());
  UserHostOptions host_options;
  if (options.level == "full") host_options.level = HostLevelWish::kFull;
  if (options.level == "resident") host_options.level = HostLevelWish::kResident;
  auto host = make_user_host(host_options);
  if (!host) {
    Error error = std::move(host.error());
    for (std::string& reason : error.reasons) reason = "user: " + reason;
    error.message = "no engine can be used here: " + error.message;
    return tl::unexpected(std::move(error));
  }
  ManagedEngineOptions engine_options;
  engine_options.arena_bytes = options.arena_bytes;
  engine_options.pool_bytes = options.pool_bytes;
  engine_options.threads = options.threads;
  engine_options.make_device = [make = std::move(*make)] { return make(nullptr); };
  auto engine = ManagedEngine::create(std::move(*host), telemetry, std::move(engine_options));
  if (!engine) return tl::unexpected(engine.error());
  return std::unique_ptr<Engine>(std::move(*engine));
}

}  // namespace

Result<DeviceMaker> device_maker(const ContextOptions& options) {
  DeviceOptions device_options;
  device_options.vram_bytes = options.vram_bytes;
  Result<std::unique_ptr<Device>> (*make)(const DeviceOptions&) = nullptr;
  const std::string_view wish = options.device;
  if (wish == "auto") {
    make = make_auto_device;
  } else if (wish == "soft") {
    make = make_soft_device;
  } else if (wish == kVulkan || (wish.starts_with(kVulkan) && wish[kVulkan.size()] == ':')) {
    if (wish.size() > kVulkan.size()) device_options.select = wish.substr(kVulkan.size() + 1);
    make = make_vulkan_device;
  } else {
    return fail(Code::kInvalidArgument, "unknown device \"" + options.device +
                                            "\"; there are auto, soft, vulkan and "
                                            "vulkan:NAME-OR-INDEX");
  }
  return [device_options, make](DeviceWindow* window) {
    DeviceOptions mine = device_options;
    mine.window = window;
    return make(mine);
  };
}

Result<std::unique_ptr<Engine>> choose_engine(const ContextOptions& options,
                                              Telemetry& telemetry) {
  const std::string_view wish = options.engine;
  const bool named = wish.starts_with(kKernel) && wish.size() > kKernel.size() + 1 &&
                     wish[kKernel.size()] == ':';
  if (wish != "auto" && wish != "user" && wish != kKernel && !named) {
    return fail(Code::kInvalidArgument, "unknown engine \"" + options.engine +
                                            "\"; there are auto, user, kernel and "
                                            "kernel:NAME-OR-NODE");
  }
  if (options.level != "auto" && options.level != "full" && options.level != "resident") {
    return fail(Code::kInvalidArgument,
                "unknown level \"" + options.level + "\"; there are auto, full and resident");
  }
  // The resident level is the user engine's.
  Error passed_over{Code::kUnavailable, "", {}};
  if (wish != "user" && !(wish == "auto" && options.level == "resident")) {
    auto engine = make_kernel_engine(
        options, named ? std::string(wish.substr(kKernel.size() + 1)) : "", telemetry);
    if (engine || wish != "auto") return engine;
    passed_over = std::move(engine.error());
  }
  auto engine = make_user_engine(options, telemetry);
  if (!engine && !passed_over.message.empty()) {
    Error error = std::move(engine.error());
    error.reasons.insert(error.reasons.begin(), "kernel: " + passed_over.to_string());
    return tl::unexpected(std::move(error));
  }
  return engine;
}

}  // namespace godwit
