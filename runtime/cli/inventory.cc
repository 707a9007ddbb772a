// SPDX-License-Identifier: MIT
#include "runtime/cli/inventory.h"

#include <memory>

#include "godwit/context.h"
#include "runtime/src/engine/engine.h"
#include "runtime/src/engine/kernel/render_node.h"
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
  if (context) {
    const EngineInfo info = (*context)->engine().info();
    entry.level = info.level;
    entry.access = info.access;
  } else {
    entry.reasons.push_back(context.error().message);
    entry.reasons.insert(entry.reasons.end(), context.error().reasons.begin(),
                         context.error().reasons.end());
  }
  return entry;
}

std::vector<std::string> capability_names(std::uint64_t capabilities) {
  constexpr std::pair<std::uint64_t, const char*> kNames[] = {
      {GODWIT_CAP_MIGRATE, "migrate"}, {GODWIT_CAP_HUGE, "huge pages"},
      {GODWIT_CAP_EXECUTE, "execute"}, {GODWIT_CAP_VIEW, "view"},
      {GODWIT_CAP_EXPORT, "export"},   {GODWIT_CAP_GEM, "objects"},
      {GODWIT_CAP_PIN, "pin"},         {GODWIT_CAP_ADVISE, "advise"},
      {GODWIT_CAP_EVENTS, "events"}};
  std::vector<std::string> names;
  for (const auto& [bit, name] : kNames) {
    if ((capabilities & bit) != 0) names.emplace_back(name);
  }
  return names;
}

std::vector<KernelDeviceEntry> kernel_devices() {
  std::vector<KernelDeviceEntry> entries;
  for (const kernel::NodeEntry& node : kernel::list_render_nodes()) {
    if (!node.ours) continue;
    const drm_godwit_limits& limits = node.limits;
    entries.push_back({.path = node.path,
                       .name = node.info.name,
                       .driver = node.info.driver,
                       .kind = kernel::kind_name(node.info.kind),
                       .interface = kernel::version_text(node.info.uapi_version),
                       .vram_total = node.info.vram_total,
                       .vram_free = node.info.vram_free,
                       .huge_page_bytes = node.info.huge_page_size,
                       .capabilities = capability_names(node.info.capabilities),
                       .limits = {{"bytes in one call", limits.max_range},
                                  {"bytes pinned by a client", limits.max_pinned},
                                  {"views of a client", limits.max_views},
                                  {"commands in a job", limits.max_commands},
                                  {"jobs of a client", limits.max_jobs},
                                  {"milliseconds of a job", limits.max_timeout_ms},
                                  {"records of an event ring", limits.max_ring_records},
                                  {"watched ranges of a client", limits.max_watches}},
                       .reason = node.reason});
  }
  return entries;
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
  inventory.kernel_devices = kernel_devices();
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
