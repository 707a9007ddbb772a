// SPDX-License-Identifier: MIT
// HostMemory over userfaultfd: the descriptor, the threads that read it, and the fork event.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "godwit/result.h"
#include "runtime/src/host/host_memory.h"
#include "runtime/src/host/user/uffd.h"

namespace godwit {

struct UserHostOptions {
  HostLevelWish level = HostLevelWish::kAuto;
  unsigned handlers = 2;  // threads that serve faults
};

/// Errors: kUnavailable with the reasons.
[[nodiscard]] Result<std::unique_ptr<HostMemory>> make_user_host(const UserHostOptions& options);

/// What `godwit info` tells about this engine on this machine, without keeping anything open.
struct HostProbe {
  bool usable = false;
  HostInfo info;
  std::vector<std::string> reasons;
};
[[nodiscard]] HostProbe probe_user_host();

/// For tests: makes one fault handler return as if it had met an error that it cannot survive.
void kill_one_handler(HostMemory& host);

}  // namespace godwit
