// SPDX-License-Identifier: MIT
// Can the engine and the device that were asked for be used on this machine, by this process?
#pragma once

#include <memory>
#include <string>

#include "godwit/context.h"
#include "godwit/result.h"
#include "runtime/src/device/device.h"

namespace godwit::cli {

struct Readiness {
  std::string engine;  // "user, full, by /dev/userfaultfd"
  std::string device;  // "soft: NAME"; empty where it was not asked for
};

/// `name_device`: make the device even where "auto" could take another one, to know its name.
/// Errors: those of Context::create and of the device, with what can be done. Makes both and ends
/// them again, on a thread whose children have all signals blocked: a driver's thread that stays
/// behind must not receive a signal that is meant for `godwit run`.
[[nodiscard]] Result<Readiness> check_readiness(const ContextOptions& options, bool name_device);

/// The device that the options ask for; "auto" as a context chooses it.
[[nodiscard]] Result<std::unique_ptr<Device>> make_wished_device(const ContextOptions& options);

}  // namespace godwit::cli
