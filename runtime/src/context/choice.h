// SPDX-License-Identifier: MIT
// Which engine and which device: the wish of the options against what the machine has.
#pragma once

#include <functional>
#include <memory>

#include "godwit/context.h"
#include "runtime/src/device/device.h"
#include "runtime/src/engine/engine.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit {

/// The engine that the options ask for; `auto` is the kernel's where there is one. Errors:
/// kInvalidArgument for an unknown engine or level, kUnavailable with a reason for each engine that was
/// passed over. `telemetry` outlives it.
[[nodiscard]] Result<std::unique_ptr<Engine>> choose_engine(const ContextOptions& options,
                                                            Telemetry& telemetry);

/// `window`: what the device computes on in place of VRAM of its own, or null.
using DeviceMaker = std::function<Result<std::unique_ptr<Device>>(DeviceWindow* window)>;

/// What makes the device when it is needed. Errors: kInvalidArgument for an unknown device.
/// "auto" is a GPU through Vulkan where there is one; else soft, which computes on the same CPUs as
/// a software Vulkan driver would, and is faster there (docs/performance.md).
[[nodiscard]] Result<DeviceMaker> device_maker(const ContextOptions& options);

}  // namespace godwit
