// SPDX-License-Identifier: MIT
// How fast the kernel moves pages, as the cost model wants to know it.
#pragma once

#include <cstdint>

#include "runtime/src/device/device.h"
#include "runtime/src/engine/kernel/account.h"
#include "runtime/src/engine/kernel/driver.h"

namespace godwit::kernel {

/// Moves some memory of its own there and back, twice. `vram`: bytes that may be used, of `physical`.
/// A rate is 0 where nothing could be moved.
[[nodiscard]] DeviceWindow::Facts measure_moves(const Driver& driver, Account& account,
                                                std::uint64_t vram, std::uint64_t physical);

}  // namespace godwit::kernel
