// SPDX-License-Identifier: MIT
// The engines and devices of this machine, which of them are usable, and why others are not.
#pragma once

#include <cstdint>
#include <string>
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
