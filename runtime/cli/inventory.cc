// SPDX-License-Identifier: MIT
#include "runtime/cli/inventory.h"

#include <memory>

#include "godwit/context.h"
#include "runtime/src/host/user/user_host.h"

namespace godwit::cli {
namespace {

EngineEntry user_engine() {
  const HostProbe probe = probe_user_host();
  EngineEntry entry;
  entry.name = "user";
  entry.usable = probe.usable;
  entry.reasons = probe.reasons;
  if (probe.usable) {
    entry.level = probe.info.level == HostLevel::kFull ? "full" : "resident";
    entry.access = probe.info.access;
  }
  return entry;
}

EngineEntry kernel_engine() {
  ContextOptions options;
  options.engine = "kernel";
  auto context = Context::create(options);
  EngineEntry entry;
  entry.name = "kernel";
  entry.usable = context.has_value();
  if (!context) entry.reasons.push_back(context.error().message);
  return entry;
}

DeviceEntry device_entry(const std::string& kind, const Result<std::unique_ptr<Device>>& device) {
  DeviceEntry entry;
  entry.kind = kind;
  entry.usable = device.has_value();
  if (device) {
    entry.info = (*device)->info();
  } else {
    entry.reasons.push_back(device.error().message);
    entry.reasons.insert(entry.reasons.end(), device.error().reasons.begin(),
                         device.error().reasons.end());
  }
  return entry;
}

}  // namespace

Inventory take_inventory() {
  Inventory inventory;
  inventory.system = read_system_facts();
  const EngineEntry user = user_engine();
  const EngineEntry kernel = kernel_engine();
  inventory.engines = {user, kernel};
  inventory.devices.push_back(device_entry("vulkan", make_vulkan_device({})));
  inventory.devices.push_back(device_entry("soft", make_soft_device({})));
  if (auto context = Context::create({})) {
    inventory.arena_bytes = (*context)->bounds().size();
  } else {
    inventory.arena_reason = context.error().message;
  }
  // The order of preference.
  for (const EngineEntry& engine : {kernel, user}) {
    if (engine.usable && inventory.auto_engine.empty()) inventory.auto_engine = engine.name;
  }
  for (const DeviceEntry& device : inventory.devices) {
    const bool taken = device.usable && (device.kind == "soft" || !device.info.software);
    if (taken && inventory.auto_device.empty()) inventory.auto_device = device.kind;
  }
  return inventory;
}

}  // namespace godwit::cli
