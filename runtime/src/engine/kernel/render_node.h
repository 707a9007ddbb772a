// SPDX-License-Identifier: MIT
// Render nodes of the kernel module, found as any DRM program finds its device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/src/engine/kernel/driver.h"

namespace godwit::kernel {

/// A render node of this machine, and what its driver says of it.
struct NodeEntry {
  std::string path;
  std::string reason;  // why it cannot be used by the engine; empty: it can
  bool ours = false;   // of the godwit module: the rest is filled in
  drm_godwit_device_info info = {};
  drm_godwit_limits limits = {};
};

/// All render nodes; ours in the order of their registration, before others. Attaches nothing.
[[nodiscard]] std::vector<NodeEntry> list_render_nodes();

/// "private", "coherent" or "explicit"; a number where the driver is newer than this library.
[[nodiscard]] std::string kind_name(std::uint32_t kind);

/// Opens the first node that the engine can use, or the one that `select` names (a part of the path
/// or of the device's name), and attaches the process. Errors: kUnavailable with a reason for each
/// node, kInvalidArgument where nothing has the name.
[[nodiscard]] Result<std::unique_ptr<Driver>> open_render_node(const std::string& select,
                                                               std::uint32_t version);

}  // namespace godwit::kernel
