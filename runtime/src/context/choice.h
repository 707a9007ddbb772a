// SPDX-License-Identifier: MIT
// Which engine and which device: the wish of the options against what the machine has.
#pragma once

#include <functional>
#include <memory>

#include "godwit/context.h"
#include "runtime/src/device/device.h"
#include "runtime/src/host/host_memory.h"

namespace godwit {

/// The host memory of the engine that the options ask for. Errors: kInvalidArgument for an unknown
/// engine or level, kUnavailable with a reason for each engine that was passed over.
[[nodiscard]] Result<std::unique_ptr<HostMemory>> choose_host(const ContextOptions& options);

using DeviceMaker = std::function<Result<std::unique_ptr<Device>>()>;

/// What makes the device when it is needed. Errors: kInvalidArgument for an unknown device.
/// "auto" is a GPU through Vulkan where there is one; else soft, which computes on the same CPUs as
/// a software Vulkan driver would, and is faster there (docs/performance.md).
[[nodiscard]] Result<DeviceMaker> device_maker(const ContextOptions& options);

}  // namespace godwit
