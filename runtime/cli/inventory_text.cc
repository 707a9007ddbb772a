// SPDX-License-Identifier: MIT
// `godwit info` in words and as JSON; declared in inventory.h.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/cli/human.h"
#include "runtime/cli/inventory.h"

namespace godwit::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string line(std::string_view label, std::string_view value) {
  return fmt::format("  {:<29}{}\n", label, value);
}

std::string rate_text(double bytes_per_second) {
  if (bytes_per_second <= 0) return "not measured";
  return size_text(static_cast<std::uint64_t>(bytes_per_second)) + "/s";
}

std::string flops_text(double flops) {
  return flops <= 0 ? "measured at first use" : fmt::format("{:.1f} Gflop/s", flops / 1e9);
}

std::string or_none(const std::string& text) { return text.empty() ? "none is usable" : text; }

std::string engine_text(const EngineEntry& engine) {
  std::string out =
      line(engine.name, engine.usable ? fmt::format("level {}, by {}", engine.level, engine.access)
                                      : "unavailable");
  for (const std::string& reason : engine.reasons) out += line("", reason);
  return out;
}

std::string device_text(const DeviceEntry& device) {
  if (!device.usable) {
    std::string out = line(device.kind, "unavailable");
    for (const std::string& reason : device.reasons) out += line("", reason);
    return out;
  }
  const DeviceInfo& info = device.info;
  std::string out = line(info.kind, info.name);
  if (info.software && info.kind != "soft") {
    out += line("", "computes on the CPUs: auto prefers soft");
  }
  if (!info.driver.empty()) out += line("  driver", info.driver);
  out += line("  VRAM", fmt::format("{} may be used of {}", size_text(info.vram_bytes),
                                    size_text(info.vram_physical)));
  out += line("  transfers", info.transfer_path);
  out += line("  to VRAM, to RAM",
              fmt::format("{}, {}", rate_text(info.to_device_rate), rate_text(info.to_host_rate)));
  out += line("  float, double",
              fmt::format("{}, {}", flops_text(info.float_rate),
                          info.float64 ? flops_text(info.double_rate) : "no double precision"));
  for (const std::string& limit : info.limits) out += line("  limit", limit);
  for (const std::string& reason : device.reasons) out += line("", reason);
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string kernel_device_text(const KernelDeviceEntry& device) {
  std::string out = line(device.name, fmt::format("{} VRAM, {} by {}", device.kind, device.path,
                                                  device.driver));
  if (!device.reason.empty()) out += line("", "the kernel engine passes it over: " + device.reason);
  out += line("  VRAM", fmt::format("{}, {} of it free", size_text(device.vram_total),
                                    size_text(device.vram_free)));
  out += line("  interface", device.interface);
  out += line("  can", joined(device.capabilities));
  if (device.huge_page_bytes != 0) out += line("  huge pages", size_text(device.huge_page_bytes));
  for (const auto& [what, bound] : device.limits) {
    out += line("  limit", fmt::format("{} {}", bound, what));
  }
  return out;
}

Json kernel_device_json(const KernelDeviceEntry& device) {
  Json limits = Json::object();
  for (const auto& [what, bound] : device.limits) limits[what] = bound;
  return Json{{"name", device.name},
              {"kind", device.kind},
              {"node", device.path},
              {"driver", device.driver},
              {"interface", device.interface},
              {"vram_bytes", device.vram_total},
              {"vram_free", device.vram_free},
              {"huge_page_bytes", device.huge_page_bytes},
              {"capabilities", device.capabilities},
              {"limits", limits},
              {"usable", device.reason.empty()},
              {"reason", device.reason}};
}

Json device_json(const DeviceEntry& device) {
  Json entry = {{"kind", device.kind}, {"usable", device.usable}, {"reasons", device.reasons}};
  if (!device.usable) return entry;
  const DeviceInfo& info = device.info;
  entry.update(Json{{"name", info.name},
                    {"driver", info.driver},
                    {"vram_bytes", info.vram_bytes},
                    {"vram_physical", info.vram_physical},
                    {"software", info.software},
                    {"float64", info.float64},
                    {"cpu_addresses_vram", info.direct},
                    {"transfer_path", info.transfer_path},
                    {"to_device_bytes_per_second", info.to_device_rate},
                    {"to_host_bytes_per_second", info.to_host_rate},
                    {"limits", info.limits}});
  return entry;
}

}  // namespace

std::string inventory_text(const Inventory& inventory) {
  const SystemFacts& system = inventory.system;
  std::string out;
  if (inventory.auto_engine.empty()) {
    out += "No engine is usable here: `godwit run` refuses, and memory would stay in RAM.\n";
  }
  out += "taken with auto\n";
  out += line("engine", or_none(inventory.auto_engine));
  out += line("device", or_none(inventory.auto_device));
  out += "engines\n";
  for (const EngineEntry& engine : inventory.engines) out += engine_text(engine);
  if (!inventory.kernel_devices.empty()) out += "devices of the kernel module\n";
  for (const KernelDeviceEntry& device : inventory.kernel_devices) {
    out += kernel_device_text(device);
  }
  out += "devices\n";
  for (const DeviceEntry& device : inventory.devices) out += device_text(device);
  out += "system\n";
  out += line("kernel", system.kernel);
  for (const std::string& lack : system.kernel_lacks) out += line("  lacks", lack);
  out += line("user id", std::to_string(system.uid));
  out += line("CAP_SYS_PTRACE", system.cap_sys_ptrace ? "yes" : "no");
  out += line("vm.unprivileged_userfaultfd", system.unprivileged_userfaultfd
                                                 ? std::to_string(*system.unprivileged_userfaultfd)
                                                 : "not in this kernel");
  out += line("/dev/userfaultfd", system.userfaultfd_device);
  out += line("transparent huge pages", system.transparent_huge_pages);
  out += line("RAM", size_text(system.ram_bytes));
  out += line("address space", inventory.arena_bytes != 0 ? size_text(inventory.arena_bytes)
                                                          : inventory.arena_reason);
  return out;
}

std::string inventory_json(const Inventory& inventory) {
  const SystemFacts& system = inventory.system;
  const auto name_or_null = [](const std::string& name) {
    return name.empty() ? Json() : Json(name);
  };
  Json result;
  result["auto"] = {{"engine", name_or_null(inventory.auto_engine)},
                    {"device", name_or_null(inventory.auto_device)}};
  Json& engines = result["engines"] = Json::array();
  for (const EngineEntry& engine : inventory.engines) {
    engines.push_back(Json{{"name", engine.name},
                           {"usable", engine.usable},
                           {"level", name_or_null(engine.level)},
                           {"access", name_or_null(engine.access)},
                           {"reasons", engine.reasons}});
  }
  Json& devices = result["devices"] = Json::array();
  for (const DeviceEntry& device : inventory.devices) devices.push_back(device_json(device));
  Json& kernel_devices = result["kernel_devices"] = Json::array();
  for (const KernelDeviceEntry& device : inventory.kernel_devices) {
    kernel_devices.push_back(kernel_device_json(device));
  }
  result["system"] = {
      {"kernel", system.kernel},
      {"kernel_lacks", system.kernel_lacks},
      {"uid", system.uid},
      {"cap_sys_ptrace", system.cap_sys_ptrace},
      {"unprivileged_userfaultfd",
       system.unprivileged_userfaultfd ? Json(*system.unprivileged_userfaultfd) : Json()},
      {"userfaultfd_device", system.userfaultfd_device},
      {"transparent_huge_pages", system.transparent_huge_pages},
      {"ram_bytes", system.ram_bytes},
      {"arena_bytes", inventory.arena_bytes}};
  return result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace godwit::cli
