// SPDX-License-Identifier: MIT
// The engines and devices of this machine, which of them are usable, and why others are not.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cli/system_facts.h"
#include "runtime/src/device/device.h"

namespace godwit::cli {

struct EngineEntry {
  std::string name;
  bool usable = false;
  std::string level;   // where usable
  std::string access;  // how the operating system lets us
  std::vector<std::string> reasons;
};

/// A device of the kernel module: where pages can be, not what computes.
struct KernelDeviceEntry {
  std::string path;  // of its render node
  std::string name;
  std::string driver;
  std::string kind;  // "private", "coherent", "explicit"
  std::string interface;  // version that the module serves, as "1.0"
  std::uint64_t vram_total = 0;
  std::uint64_t vram_free = 0;
  std::uint64_t huge_page_bytes = 0;  // 0: one page size
  std::vector<std::string> capabilities;
  std::vector<std::pair<std::string, std::uint64_t>> limits;
  std::string reason;  // why the kernel engine cannot use it; empty: it can
};

struct DeviceEntry {
  std::string kind;  // "soft", "vulkan"
  bool usable = false;
  DeviceInfo info;  // where usable
  std::vector<std::string> reasons;
};

struct Inventory {
  SystemFacts system;
  std::vector<EngineEntry> engines;
  std::vector<DeviceEntry> devices;
  std::vector<KernelDeviceEntry> kernel_devices;
  std::uint64_t arena_bytes = 0;  // 0: `arena_reason`
  std::string arena_reason;
  std::string auto_engine;  // empty: none is usable
  std::string auto_device;
};

/// Opens and measures everything once: some hundred milliseconds.
[[nodiscard]] Inventory take_inventory();

/// For people, and as JSON. docs/cli.md says what each line means.
[[nodiscard]] std::string inventory_text(const Inventory& inventory);
[[nodiscard]] std::string inventory_json(const Inventory& inventory);

}  // namespace godwit::cli
